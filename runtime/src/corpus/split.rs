//! Cuts text into passages at the ends of sentences.

use std::ops::Range;

/// Words a passage of a longer text aims at.
const PASSAGE_WORDS: usize = 100;
/// A passage takes one more sentence while it stays within this.
const PASSAGE_WORDS_FULL: usize = PASSAGE_WORDS + PASSAGE_WORDS / 4;
/// A last passage below this joins the one before it.
const TAIL_WORDS_MIN: usize = PASSAGE_WORDS / 4;
/// A sentence longer than this is cut between words.
const SENTENCE_WORDS_MAX: usize = 2 * PASSAGE_WORDS;
/// A row of a JSON Lines file stays one passage up to this many words.
const ROW_WORDS_MAX: usize = 400;
/// So many bytes count as a word where fewer spaces stand: scripts without spaces, encoded data.
const WORD_BYTES: usize = 24;

/// Abbreviations whose full stop ends no sentence.
const ABBREVIATIONS: &[&str] = &[
    "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Sr", "Jr", "Gen", "Col", "Lt", "Sgt", "Capt", "Rev",
    "Hon", "vs", "No", "Fig", "Vol", "pp", "e.g", "i.e", "cf", "approx",
];

/// The passages of a row: the whole text when it is short enough, else as [`split`].
pub(super) fn split_row(text: &str) -> Vec<Range<usize>> {
    let whole = trim(text, 0..text.len());
    if whole.is_empty() {
        return Vec::new();
    }
    if words(text) <= ROW_WORDS_MAX { vec![whole] } else { split(text) }
}

/// Byte ranges of passages of about [`PASSAGE_WORDS`] words, in order, without the white space
/// between them.
pub(super) fn split(text: &str) -> Vec<Range<usize>> {
    let mut passages: Vec<(Range<usize>, usize)> = Vec::new();
    for sentence in sentences(text).into_iter().flat_map(|range| cut_long(text, range)) {
        let sentence = trim(text, sentence);
        let count = words(slice(text, &sentence));
        match passages.last_mut() {
            _ if sentence.is_empty() => {}
            Some((passage, total)) if *total + count <= PASSAGE_WORDS_FULL => {
                passage.end = sentence.end;
                *total += count;
            }
            _ => passages.push((sentence, count)),
        }
    }
    join_short_tail(&mut passages);
    passages.into_iter().map(|(range, _)| range).collect()
}

fn join_short_tail(passages: &mut Vec<(Range<usize>, usize)>) {
    if passages.len() < 2 || passages.last().is_none_or(|(_, count)| *count >= TAIL_WORDS_MIN) {
        return;
    }
    if let (Some((tail, _)), Some((before, _))) = (passages.pop(), passages.last_mut()) {
        before.end = tail.end;
    }
}

/// Words between white space, or the count that the bytes suggest where that is higher.
fn words(text: &str) -> usize {
    text.split_whitespace().count().max(text.len() / WORD_BYTES)
}

fn slice<'a>(text: &'a str, range: &Range<usize>) -> &'a str {
    text.get(range.clone()).unwrap_or_default()
}

fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let part = slice(text, &range);
    let start = range.start + (part.len() - part.trim_start().len());
    let end = start + part.trim().len();
    start..end
}

/// Cuts a sentence of more than [`SENTENCE_WORDS_MAX`] words every [`PASSAGE_WORDS`] words.
fn cut_long(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let part = slice(text, &range);
    if words(part) <= SENTENCE_WORDS_MAX {
        return vec![range];
    }
    let mut pieces = Vec::new();
    let (mut start, mut spaces, mut in_space) = (0, 0, true);
    for (at, character) in part.char_indices() {
        let space = character.is_whitespace();
        spaces += usize::from(space && !in_space);
        in_space = space;
        if spaces >= PASSAGE_WORDS || at - start >= PASSAGE_WORDS * WORD_BYTES {
            pieces.push(range.start + start..range.start + at);
            (start, spaces) = (at, 0);
        }
    }
    pieces.push(range.start + start..range.end);
    pieces
}

/// Byte ranges of sentences: they cover the text without gaps.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(offset) = text.get(at..).and_then(|rest| rest.find(is_terminator)) {
        let terminator = at + offset;
        let end = terminator + terminators_bytes(text, terminator);
        if ends_sentence(text, terminator, end) {
            found.push(start..end);
            start = end;
        }
        at = end;
    }
    if start < text.len() {
        found.push(start..text.len());
    }
    found
}

fn is_terminator(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…' | '\n') || is_full_width(character)
}

fn is_full_width(character: char) -> bool {
    matches!(character, '。' | '！' | '？')
}

/// Bytes of the run of terminators and closing quotes or brackets at `at`; a line end stands alone.
fn terminators_bytes(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    if rest.starts_with('\n') {
        return 1;
    }
    let closes = |character: char| {
        (is_terminator(character) && character != '\n')
            || matches!(character, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」')
    };
    rest.find(|character| !closes(character)).unwrap_or(rest.len())
}

fn ends_sentence(text: &str, terminator: usize, end: usize) -> bool {
    let rest = text.get(end..).unwrap_or_default();
    let mark = text.get(terminator..).and_then(|tail| tail.chars().next());
    match mark {
        Some('\n') => starts_block(rest),
        Some(character) if is_full_width(character) => true,
        _ if !rest.starts_with(char::is_whitespace) => rest.is_empty(),
        Some('.') if end == terminator + 1 && is_abbreviation(text, terminator) => false,
        _ => !rest.trim_start().starts_with(char::is_lowercase),
    }
}

/// Whether what follows a line end is a blank line, a list item or a table row.
fn starts_block(rest: &str) -> bool {
    let line = rest.trim_start_matches([' ', '\t', '\r']);
    let line = line.split('\n').next().unwrap_or_default();
    line.is_empty()
        || ["- ", "* ", "+ ", "|", "> "].iter().any(|mark| line.starts_with(mark))
        || line.contains(" | ")
}

fn is_abbreviation(text: &str, full_stop: usize) -> bool {
    let before = text.get(..full_stop).unwrap_or_default();
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_start_matches(['(', '[', '"', '\'', '“', '‘']);
    let mut characters = word.chars();
    let initial = characters.next().is_some_and(char::is_uppercase) && characters.next().is_none();
    initial || ABBREVIATIONS.contains(&word)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sentence_texts(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| text[range].trim()).collect()
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        assert_eq!(
            sentence_texts("Dr. J. Smith came. \"Why?\" he said. It cost 3.5 euros (e.g. once)."),
            ["Dr. J. Smith came.", "\"Why?\" he said.", "It cost 3.5 euros (e.g. once)."]
        );
        assert_eq!(sentence_texts("One line\nwraps. Next"), ["One line\nwraps.", "Next"]);
        assert_eq!(sentence_texts("A head\n\nA body"), ["A head", "A body"]);
        assert_eq!(sentence_texts("list:\n- one\n- two"), ["list:", "- one", "- two"]);
        assert_eq!(sentence_texts("a | b\nc | d\n"), ["a | b", "c | d"]);
        assert_eq!(sentence_texts("橋は古い。川は長い。"), ["橋は古い。", "川は長い。"]);
    }

    #[test]
    fn a_row_stays_whole_up_to_its_limit() {
        let short = format!(" {} ", "word ".repeat(ROW_WORDS_MAX).trim());
        assert_eq!(split_row(&short), vec![trim(&short, 0..short.len())]);
        assert!(split_row(&"A word here. ".repeat(200)).len() > 3);
        assert!(split_row(" \n ").is_empty());
    }

    #[test]
    fn passages_cover_every_word_once() {
        let text: String = (0..3_000)
            .map(|word| format!("w{word}{}", if word % 17 == 16 { ". " } else { " " }))
            .map(|word| word.replace(". w", ". W"))
            .collect();
        let text = text.replace(" w", " W");
        let passages = split(&text);
        let joined: Vec<&str> =
            passages.iter().flat_map(|range| text[range.clone()].split_whitespace()).collect();
        assert_eq!(joined, text.split_whitespace().collect::<Vec<_>>());
        for range in &passages {
            let count = words(&text[range.clone()]);
            assert!((TAIL_WORDS_MIN..=PASSAGE_WORDS_FULL + TAIL_WORDS_MIN).contains(&count));
        }
    }

    #[test]
    fn text_without_spaces_or_full_stops_is_cut_too() {
        for text in ["あ".repeat(50_000), "word ".repeat(10_000), ".".repeat(100_000)] {
            let longest = split(&text).into_iter().map(|range| range.len()).max().unwrap();
            assert!(longest <= 2 * SENTENCE_WORDS_MAX * WORD_BYTES, "{longest}");
        }
    }
}
