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

/// Share of function words that tells a running text of a language: written English has about 40
/// per cent of them, another language's text hardly any.
const FUNCTION_WORD_SHARE: f32 = 0.2;
/// Words of a text that are looked at for it.
const LOOKED_AT_WORDS: usize = 40;

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

/// The commonest words that carry no matter, lower-case, of the languages written in letters that
/// several share; not those that are English words too.
const FUNCTION_WORDS: [(Language, &str); 14] = [
    (Language::Danish, "og i det er en til på der med af som den ikke et har de var fra blev"),
    (Language::Dutch, "de het van een en dat op te zijn met voor niet aan door als werd bij wie"),
    (Language::English, "the of and in to a is was for on with as by at from that it an are who"),
    (Language::Finnish, "ja ei oli se että hän mutta joka kun tai myös ovat sen kuin mitä kuka"),
    (Language::French, "de la le les et des en un une du est dans que qui par pour sur au il"),
    (Language::German, "der die und den von zu das mit ist des im ein dem eine auf wer als nicht"),
    (Language::Hungarian, "a az és egy hogy is nem volt ez de mint csak meg vagy aki amely ki"),
    (Language::Italian, "di il la e che un una del per è con della si da le al dei chi nel"),
    (Language::Norwegian, "og i det er en på til som av med ble var har den ikke et de fra hvem"),
    (Language::Portuguese, "de o que e da em um para com não uma os se na por dos quem foi mais"),
    (Language::Romanian, "de și în la cu pe din un care o este al ale mai fost prin nu sau lui"),
    (Language::Spanish, "de la el en y que los del se las un por con una su para es al quién fue"),
    (Language::Swedish, "och i att det är en som på av för med den till ett var har de inte om"),
    (Language::Turkish, "ve bir bu da de için ile olarak olan çok daha en gibi kadar ne kim mi"),
];

impl Language {
    /// The language of the next text of a series whose last one was in `usual`: running text of
    /// the same language is told by its function words, at a hundredth of the cost of a detection.
    pub(super) fn next_of(usual: Self, text: &str) -> Self {
        if usual.function_words(text).share() >= FUNCTION_WORD_SHARE {
            return usual;
        }
        Self::detect(text).unwrap_or(usual)
    }

    /// How many of the first words of a text are function words of this language.
    pub(super) fn function_words(self, text: &str) -> FunctionWords {
        let known = FUNCTION_WORDS.iter().find(|(language, _)| *language == self);
        let known = known.map_or("", |(_, words)| words);
        let is_letter = |letter: char| letter.is_alphabetic();
        let words = text.split(|letter| !is_letter(letter)).filter(|word| !word.is_empty());
        let mut counts = FunctionWords::default();
        for word in words.take(LOOKED_AT_WORDS) {
            counts.words += 1;
            let word = word.to_lowercase();
            counts.found += usize::from(known.split(' ').any(|known| known == word));
        }
        counts
    }

    /// The language of a text by its letters and their sequences; `None` when that is uncertain.
    pub(super) fn detect(text: &str) -> Option<Self> {
        let start = start_of(text, LOOKED_AT_BYTES);
        if start.len() < JUDGED_BYTES_MIN {
            return None;
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
        by_code.map(|(language, ..)| *language).or_else(|| Lang::from_str(code).ok().map(Self::of))
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

/// Function words of one language in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FunctionWords {
    /// How many.
    pub found: usize,
    /// Of how many words.
    words: usize,
}

impl FunctionWords {
    fn share(self) -> f32 {
        self.found as f32 / self.words.max(1) as f32
    }
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
    fn the_language_of_a_series_changes_with_its_texts() {
        let english = "The bridge was designed by an architect and is in the south of the town.";
        let german =
            "Die Brücke wurde von einem Architekten entworfen und steht im Süden der Stadt.";
        let mut usual = Language::default();
        let mut told = Vec::new();
        for text in [english, "Heahi, 1931", german, "Malmö 12", german, english] {
            usual = Language::next_of(usual, text);
            told.push(usual.code());
        }
        assert_eq!(told, ["en", "en", "de", "de", "de", "en"]);
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
