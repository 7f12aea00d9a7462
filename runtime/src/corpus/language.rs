//! Languages whose words are analysed by rules of their own, and how a text's is told.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use whatlang::Lang;

/// Bytes of a text that are looked at to tell its language.
const LOOKED_AT_BYTES: usize = 1_000;
/// Shorter texts are not judged: names alone look like any language.
const JUDGED_BYTES_MIN: usize = 60;

/// A language with a stemmer, or any other.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(super) enum Language {
    Arabic,
    Danish,
    Dutch,
    /// What a text counts as when nothing says otherwise.
    #[default]
    English,
    Finnish,
    French,
    German,
    Greek,
    Hungarian,
    Italian,
    Norwegian,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Tamil,
    Turkish,
    /// Words as they stand, folded.
    Other,
}

/// ISO 639-1 code of each language, and its name in the detector.
const CODES: [(Language, &str, Lang); 18] = [
    (Language::Arabic, "ar", Lang::Ara),
    (Language::Danish, "da", Lang::Dan),
    (Language::Dutch, "nl", Lang::Nld),
    (Language::English, "en", Lang::Eng),
    (Language::Finnish, "fi", Lang::Fin),
    (Language::French, "fr", Lang::Fra),
    (Language::German, "de", Lang::Deu),
    (Language::Greek, "el", Lang::Ell),
    (Language::Hungarian, "hu", Lang::Hun),
    (Language::Italian, "it", Lang::Ita),
    (Language::Norwegian, "no", Lang::Nob),
    (Language::Portuguese, "pt", Lang::Por),
    (Language::Romanian, "ro", Lang::Ron),
    (Language::Russian, "ru", Lang::Rus),
    (Language::Spanish, "es", Lang::Spa),
    (Language::Swedish, "sv", Lang::Swe),
    (Language::Tamil, "ta", Lang::Tam),
    (Language::Turkish, "tr", Lang::Tur),
];

/// ISO 639-1 code of [`Language::Other`]: ISO's own for "no linguistic content or not applicable"
/// has three letters, so this is none of theirs.
const OTHER_CODE: &str = "other";

impl Language {
    /// The language of a text by its letters and their sequences; `None` when that is uncertain.
    pub(super) fn detect(text: &str) -> Option<Self> {
        let start = start_of(text, LOOKED_AT_BYTES);
        if start.len() < JUDGED_BYTES_MIN {
            return None;
        }
        if is_plainly_english(start) {
            return Some(Self::English);
        }
        let found = whatlang::detect(start).filter(whatlang::Info::is_reliable)?;
        Some(Self::of(found.lang()))
    }

    /// The language that a document declares: `de`, `de-AT`, `deu`. `None` for no known code.
    pub(super) fn declared(tag: &str) -> Option<Self> {
        let code = tag.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let code = match code.as_str() {
            "nb" | "nn" | "nor" | "nno" => "no",
            other => other,
        };
        let by_code = CODES.iter().find(|(_, known, _)| *known == code);
        by_code
            .map(|(language, ..)| *language)
            .or_else(|| Lang::from_str(code).ok().map(Self::of))
    }

    fn of(lang: Lang) -> Self {
        let found = CODES.iter().find(|(_, _, known)| *known == lang);
        found.map_or(Self::Other, |(language, ..)| *language)
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        CODES.iter().map(|(language, ..)| *language).chain([Self::Other])
    }

    /// ISO 639-1 code, or `other`.
    pub(super) fn code(self) -> &'static str {
        let found = CODES.iter().find(|(language, ..)| *language == self);
        found.map_or(OTHER_CODE, |(_, code, _)| code)
    }

    /// The inverse of [`code`](Self::code).
    pub(super) fn of_code(code: &str) -> Option<Self> {
        let found = CODES.iter().find(|(_, known, _)| *known == code);
        found
            .map(|(language, ..)| *language)
            .or_else(|| (code == OTHER_CODE).then_some(Self::Other))
    }
}

/// Whether a text is full of words that are common in English and nowhere else together. It spares
/// the detector, which cost 60 % of all processor time of indexing English rows (18 MB in 7.4 s
/// with it, measured on two virtual cores).
fn is_plainly_english(text: &str) -> bool {
    let (mut words, mut common, mut articles) = (0_usize, 0, 0);
    for word in text.split_ascii_whitespace() {
        let is = |known: &&str| word.eq_ignore_ascii_case(known);
        words += 1;
        articles += usize::from(is(&"the"));
        common += usize::from(["the", "of", "and", "to"].iter().any(|known| is(known)));
    }
    articles * 50 >= words && common * 10 >= words && words > 0
}

/// At most the first `bytes` of a text.
fn start_of(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_by_their_text() {
        for (text, language) in [
            (
                "Die Brücke wurde im Jahr 1931 von einem Architekten aus Malmö entworfen und gebaut.",
                Language::German,
            ),
            (
                "Le pont a été conçu par un architecte suédois et ouvert à la circulation en 1931.",
                Language::French,
            ),
            (
                "The bridge was designed by an architect from the south and opened to all in 1931.",
                Language::English,
            ),
            (
                "この橋は一九三一年に開通した。設計者はスウェーデン出身の建築家である。川の長さは長い。",
                Language::Other,
            ),
            (
                "Мост был спроектирован архитектором из Швеции и открыт для движения в 1931 году.",
                Language::Russian,
            ),
        ] {
            assert_eq!(Language::detect(text), Some(language), "{text}");
        }
        assert_eq!(Language::detect("Heahi Bridge"), None);
    }

    #[test]
    fn declared_languages_are_understood() {
        for (tag, language) in [
            ("de", Some(Language::German)),
            ("de-AT", Some(Language::German)),
            ("deu", Some(Language::German)),
            ("EN_us", Some(Language::English)),
            ("nb-NO", Some(Language::Norwegian)),
            ("jpn", Some(Language::Other)),
            ("", None),
            ("mul", None),
        ] {
            assert_eq!(Language::declared(tag), language, "{tag}");
        }
    }

    #[test]
    fn codes_are_read_back() {
        for language in Language::all() {
            assert_eq!(Language::of_code(language.code()), Some(language));
        }
    }
}
