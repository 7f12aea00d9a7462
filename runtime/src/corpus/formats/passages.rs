//! Where the passages of a file go: cut, cleaned, counted, capped.

use std::borrow::Cow;
use std::ops::Range;

use super::super::language::Language;
use super::super::source::Outcome;
use super::super::{CorpusError, Passage, split};
use super::{Kind, Stop};

/// Characters of a title or a heading that are kept: they are stored with every passage.
const TITLE_CHARACTERS_MAX: usize = 300;
/// Headings above a passage that are kept, the innermost ones.
const HEADINGS_MAX: usize = 8;

/// What one file may give. It bounds the disk that a hostile file can fill.
#[derive(Clone, Copy, Debug)]
struct Caps {
    passages: u64,
    text_bytes: u64,
}

/// A file of one document: a shelf of books fits.
const DOCUMENT_CAPS: Caps = Caps { passages: 1_000_000, text_bytes: 512 << 20 };
/// A file of many documents: the whole of a large encyclopedia fits.
const COLLECTION_CAPS: Caps = Caps { passages: 200_000_000, text_bytes: 128 << 30 };

impl Caps {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::JsonLines | Kind::Zim => COLLECTION_CAPS,
            _ => DOCUMENT_CAPS,
        }
    }
}

/// Takes passages; an error ends the reading.
pub(in crate::corpus) type Sink<'a> = dyn FnMut(Passage) -> Result<(), CorpusError> + 'a;

/// The document that passages belong to.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    name: String,
    title: String,
    language: Language,
    passages: u64,
}

impl Document {
    /// White space and control characters in a title count as one blank.
    pub(super) fn new(name: impl Into<String>, title: &str, language: Language) -> Self {
        let mut name = name.into();
        name.retain(|letter| !letter.is_control());
        Self { name, title: line(title), language, passages: 0 }
    }
}

/// Where a text stands in its document.
#[derive(Clone, Debug, Default)]
pub(super) struct Place<'a> {
    /// Headings above it, outermost first.
    pub heading: &'a [String],
    /// Page, counted from 1.
    pub page: Option<u64>,
    /// Bytes of the file.
    pub bytes: Bytes,
}

/// Bytes of the file that a text came from.
#[derive(Clone, Debug, Default)]
pub(super) enum Bytes {
    /// The text is not a part of the file's bytes as they stand; passages say 0..0.
    #[default]
    Unknown,
    /// The text begins at this byte and stands there as it is.
    From(u64),
    /// The text came from these bytes as a whole.
    Within(Range<u64>),
}

impl Bytes {
    fn of(&self, part: &Range<usize>) -> Range<u64> {
        match self {
            Self::Unknown => 0..0,
            Self::From(start) => start + part.start as u64..start + part.end as u64,
            Self::Within(range) => range.clone(),
        }
    }
}

/// Takes the texts of a file.
pub(in crate::corpus) struct Passages<'a> {
    sink: &'a mut Sink<'a>,
    /// Called again and again while there is work without passages.
    alive: &'a dyn Fn(),
    caps: Caps,
    text_bytes: u64,
    pub(in crate::corpus) outcome: Outcome,
}

impl<'a> Passages<'a> {
    pub(in crate::corpus) fn new(kind: Kind, sink: &'a mut Sink<'a>, alive: &'a dyn Fn()) -> Self {
        Self { sink, alive, caps: Caps::of(kind), text_bytes: 0, outcome: Outcome::default() }
    }

    /// A sign of life: long work without a passage is not a hang.
    pub(super) fn alive(&self) {
        (self.alive)();
    }

    /// Passes over a part of the file.
    pub(super) fn skip(&mut self, line: Option<u64>, reason: impl ToString) {
        self.outcome.skips.push(line, reason);
    }

    /// Whether nothing was given yet.
    pub(super) fn is_empty(&self) -> bool {
        self.outcome.passages == 0
    }

    /// Cuts a running text into passages.
    pub(super) fn add(
        &mut self,
        document: &mut Document,
        place: &Place<'_>,
        text: &str,
    ) -> Result<(), Stop> {
        self.send(document, place, text, split::split(text))
    }

    /// Keeps a row whole when it is not too long.
    pub(super) fn add_row(
        &mut self,
        document: &mut Document,
        place: &Place<'_>,
        text: &str,
    ) -> Result<(), Stop> {
        self.send(document, place, text, split::split_row(text))
    }

    fn send(
        &mut self,
        document: &mut Document,
        place: &Place<'_>,
        text: &str,
        parts: Vec<Range<usize>>,
    ) -> Result<(), Stop> {
        let above = place.heading.len().saturating_sub(HEADINGS_MAX);
        let heading: Vec<String> =
            place.heading.iter().skip(above).map(|text| line(text)).collect();
        for part in parts {
            let cleaned = clean(text.get(part.clone()).unwrap_or_default());
            let kept = cleaned.trim();
            if kept.is_empty() {
                continue;
            }
            self.count(kept.len() as u64)?;
            let passage = Passage {
                document: document.name.clone(),
                title: document.title.clone(),
                heading: heading.clone(),
                page: place.page,
                language: document.language,
                byte_range: place.bytes.of(&part),
                ordinal: document.passages,
                text: kept.to_owned(),
            };
            (self.sink)(passage).map_err(Stop::Sink)?;
            self.outcome.passages += 1;
            self.outcome.documents += u64::from(document.passages == 0);
            document.passages += 1;
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), Stop> {
        self.text_bytes += bytes;
        if self.outcome.passages >= self.caps.passages {
            return Err(format!("it gives more than {} passages", self.caps.passages).into());
        }
        if self.text_bytes > self.caps.text_bytes {
            let limit = self.caps.text_bytes >> 20;
            return Err(format!("it gives more than {limit} MiB of text").into());
        }
        Ok(())
    }
}

/// A text on one line, of bounded length.
pub(super) fn line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > TITLE_CHARACTERS_MAX * char::MAX.len_utf8() {
            break;
        }
    }
    if let Some((end, _)) = line.char_indices().nth(TITLE_CHARACTERS_MAX) {
        line.truncate(end);
    }
    line
}

/// A text whose only control characters are line ends and tabs.
fn clean(text: &str) -> Cow<'_, str> {
    let kept = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(kept) {
        return Cow::Borrowed(text);
    }
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{b}', '\u{c}', '\u{85}'], "\n");
    Cow::Owned(text.chars().filter(|c| kept(*c)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(in crate::corpus) mod tests {
    use super::super::{Opened, read};
    use super::*;

    /// What `bytes` give as the file `f` of the document `d/f`; a refusal becomes a skip.
    pub(in crate::corpus) fn passages(kind: Kind, bytes: &[u8]) -> (Vec<Passage>, Outcome) {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut given = Vec::new();
        let mut sink = |passage| {
            given.push(passage);
            Ok(())
        };
        let mut out = Passages::new(kind, &mut sink, &|| ());
        let opened = Opened { bytes: &mut &bytes[..], file: &file, name: "f", document: "d/f" };
        match read(kind, opened, &mut out) {
            Ok(()) => {}
            Err(Stop::Refused(reason)) => out.skip(None, reason),
            Err(Stop::Sink(error)) => panic!("{error}"),
        }
        let outcome = out.outcome;
        (given, outcome)
    }

    #[test]
    fn control_characters_do_not_reach_a_passage() {
        assert_eq!(clean("a\r\nb\rc\u{0}d\u{1b}[31m\te\u{9d}"), "a\nb\ncd[31m\te");
        assert!(matches!(clean("as it is\n\t"), Cow::Borrowed(_)));
        assert_eq!(line(" a\n\u{7} b\u{1b} "), "a b");
        assert_eq!(line(&"ä".repeat(1_000)).chars().count(), TITLE_CHARACTERS_MAX);
    }

    #[test]
    fn a_cap_is_told() {
        let mut given = 0;
        let mut sink = |_: Passage| {
            given += 1;
            Ok(())
        };
        let mut out = Passages::new(Kind::Text, &mut sink, &|| ());
        out.caps = Caps { passages: 2, text_bytes: 1_000 };
        let mut document = Document::new("d", "t", Language::English);
        let place = Place::default();
        out.add(&mut document, &place, "One.").unwrap();
        out.add(&mut document, &place, "Two.").unwrap();
        let Err(Stop::Refused(reason)) = out.add(&mut document, &place, "Three.") else {
            panic!("the cap holds");
        };
        assert_eq!(reason, "it gives more than 2 passages");
        assert_eq!((out.outcome.passages, out.outcome.documents), (2, 1));
        assert_eq!(given, 2);
    }
}
