//! How passages are shown to the model, and the numbers that close their sentences.
//!
//! In the dialect `retort` each sentence of passage `n` ends in ` [n]` before its final punctuation.
//! A student learns to predict these closing numbers although it never writes them: every token of
//! a passage then carries which passage it is in, the skill that decides whether a tiny student can
//! read several documents at all.

use crate::types::{Passage, Segment, Source};
use crate::words::{PassageLayout, PassageWords, fill};

/// What a search for `query` returns to the model's Python.
pub(crate) fn render(words: &PassageWords, query: &str, passages: &[Passage]) -> String {
    if passages.is_empty() {
        return fill(&words.none, &[("query", query)]);
    }
    match &words.layout {
        PassageLayout::NumberedSentences => numbered_sentences(passages),
        PassageLayout::NumberedDocuments { heading, document } => {
            numbered_documents(heading, document, passages)
        }
    }
}

/// Whether an observation shows this passage, under whatever number.
pub(crate) fn shows(words: &PassageWords, observation: &str, passage: &Passage) -> bool {
    match &words.layout {
        PassageLayout::NumberedDocuments { document, .. } => {
            let values = [("title", passage.title.as_str()), ("text", passage.text.as_str())];
            // From the title on: number and similarity differ from search to search.
            let shown = fill(document, &values);
            let from_title = shown.find(&passage.title).and_then(|at| shown.get(at..));
            !passage.title.is_empty() && from_title.is_some_and(|shown| observation.contains(shown))
        }
        PassageLayout::NumberedSentences => {
            let title = one_line(&passage.title);
            let shown = |line: &str| {
                let (number, text) =
                    line.strip_prefix(&title)?.strip_prefix(" [")?.split_once("]: ")?;
                Some(text == close_sentences(&one_line(&passage.text), number.parse().ok()?))
            };
            observation.lines().any(|line| shown(line).unwrap_or(false))
        }
    }
}

/// Segments of an observation: closing markers ` [n]` are learned, all else is not. Concatenated,
/// the segments are `text`.
pub(crate) fn mark_segments(text: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut plain_start = 0;
    for (start, _) in text.match_indices(" [") {
        let Some(marker) = text.get(start..).and_then(closing_marker) else {
            continue;
        };
        let plain = text.get(plain_start..start).unwrap_or_default();
        segments.push(content(plain, false));
        segments.push(content(marker, true));
        plain_start = start + marker.len();
    }
    segments.push(content(text.get(plain_start..).unwrap_or_default(), false));
    segments.retain(|segment| !segment.text.is_empty());
    segments
}

/// The marker ` [n]` at the start of `text` if it closes a sentence: final punctuation or the end of
/// the line follows.
fn closing_marker(text: &str) -> Option<&str> {
    let inside = text.strip_prefix(" [")?;
    let digits = inside.find(|letter: char| !letter.is_ascii_digit())?;
    let after = inside.get(digits..)?.strip_prefix(']')?;
    let closes = after.is_empty() || after.starts_with(['.', '!', '?', '\n']);
    (digits > 0 && closes).then(|| text.get(..text.len() - after.len())).flatten()
}

fn content(text: &str, learned: bool) -> Segment {
    Segment { text: text.to_owned(), source: Source::Content, learned }
}

fn numbered_documents(heading: &str, document: &str, passages: &[Passage]) -> String {
    let documents = passages.iter().enumerate().map(|(number, passage)| {
        let values = [
            ("number", number.to_string()),
            ("similarity", format!("{:.2}", passage.score)),
            ("title", passage.title.clone()),
            ("text", passage.text.clone()),
        ];
        fill(document, &values.each_ref().map(|(name, value)| (*name, value.as_str())))
    });
    std::iter::once(heading.to_owned()).chain(documents).collect()
}

fn numbered_sentences(passages: &[Passage]) -> String {
    let lines = passages.iter().zip(1..).map(|(passage, number)| {
        let title = one_line(&passage.title);
        let text = close_sentences(&one_line(&passage.text), number);
        format!("{title} [{number}]: {text}").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// White space of any kind and length as single blanks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` with ` [number]` before the final punctuation of every sentence, or after a last sentence
/// that has none.
fn close_sentences(text: &str, number: usize) -> String {
    let marker = format!(" [{number}]");
    let closed = sentences(text).into_iter().map(|sentence| {
        let body = sentence.trim_end_matches(CLOSING).trim_end_matches(FINAL);
        let body =
            if body.len() < sentence.len() && ends_sentence(sentence) { body } else { sentence };
        let end = sentence.get(body.len()..).unwrap_or_default();
        format!("{body}{marker}{end}")
    });
    closed.collect::<Vec<_>>().join(" ")
}

/// Punctuation that ends a sentence.
const FINAL: [char; 3] = ['.', '!', '?'];
/// What may stand between that and the next blank.
const CLOSING: [char; 5] = ['"', '\'', ')', ']', '”'];
/// Words whose full stop rarely ends a sentence.
const ABBREVIATIONS: [&str; 14] =
    ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr", "vs", "No", "Mt", "Ft", "Gen", "Lt"];

/// Sentences of a text on one line. One ends after `.`, `!` or `?` (and closing quotes or brackets)
/// where a blank and something other than a small letter follows, except after an initial or a
/// common abbreviation. Single blanks between sentences belong to none.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (blank, _) in text.match_indices(' ') {
        let sentence = text.get(start..blank).unwrap_or_default();
        let next = text.get(blank + 1..).and_then(|rest| rest.chars().next());
        if ends_sentence(sentence) && next.is_some_and(|letter| !letter.is_lowercase()) {
            sentences.push(sentence);
            start = blank + 1;
        }
    }
    sentences.push(text.get(start..).unwrap_or_default());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(CLOSING);
    let body = text.trim_end_matches(FINAL);
    if body.len() == text.len() || body.is_empty() {
        return false;
    }
    !text.ends_with('.') || !is_abbreviation(last_word(body))
}

fn last_word(text: &str) -> &str {
    text.rsplit(|letter: char| !letter.is_alphanumeric() && letter != '.')
        .next()
        .unwrap_or_default()
}

/// An initial (`J`, `U.S`) or one of the common abbreviations.
fn is_abbreviation(word: &str) -> bool {
    let initials = word.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_none()
    });
    initials || ABBREVIATIONS.contains(&word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{close_sentences, mark_segments};

    #[track_caller]
    fn check_closed(text: &str, expected: &str) {
        assert_eq!(close_sentences(text, 2), expected);
    }

    #[test]
    fn sentences_are_closed_with_the_number() {
        check_closed("One. Two!", "One [2]. Two [2]!");
        check_closed("No end", "No end [2]");
        check_closed(
            "It costs 3.5 or so. \"Really?\" Yes.",
            "It costs 3.5 or so [2]. \"Really [2]?\" Yes [2].",
        );
        check_closed(
            "Dr. Who met J. R. Ewing in the U.S. army.",
            "Dr. Who met J. R. Ewing in the U.S. army [2].",
        );
        check_closed("What?! (Nothing.) 12 came.", "What [2]?! (Nothing [2].) 12 came [2].");
        check_closed("", "");
    }

    #[test]
    fn a_text_that_ends_in_an_abbreviation_is_closed_after_it() {
        check_closed("He left the U.S.", "He left the U.S. [2]");
    }

    #[track_caller]
    fn check_learned(text: &str, expected: &[&str]) {
        let segments = mark_segments(text);
        let learned: Vec<_> = segments
            .iter()
            .filter(|segment| segment.learned)
            .map(|segment| segment.text.as_str())
            .collect();
        assert_eq!(learned, expected);
    }

    #[test]
    fn closing_numbers_are_learned_and_others_are_not() {
        check_learned(
            "Heahi [1]: It is a river [1]. Long [1]!\nTown [12]: Small [12]",
            &[" [1]", " [1]", " [12]"],
        );
        check_learned("x [1] y [] z [a]. [2]. w[3]. [4", &[" [2]"]);
    }

    proptest! {
        #[test]
        fn segments_are_the_text(text in r"([a-z.\[\]0-9 \n]| \[[0-9]\]\.?){0,20}") {
            let joined: String = mark_segments(&text).into_iter().map(|segment| segment.text).collect();
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn every_closed_sentence_is_found_again(text in r"([A-Z][a-z]{1,6} [a-z]{1,5}[.!?] ?){1,5}") {
            let closed = close_sentences(&text.split_whitespace().collect::<Vec<_>>().join(" "), 3);
            let learned = mark_segments(&closed).into_iter().filter(|segment| segment.learned).count();
            prop_assert_eq!(learned, closed.matches(" [3]").count());
            prop_assert!(learned > 0);
        }
    }
}
