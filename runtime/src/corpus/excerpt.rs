//! The part of a passage that speaks of a question.

use std::collections::BTreeSet;
use std::ops::Range;

use super::keys::words;
use super::split::sentences;

/// The consecutive sentences of `text`, at most `bytes_max` together, that share most words with
/// the question; of equals the longest, then the first. A text that fits is whole, and of a sentence that
/// does not fit the start is taken.
#[must_use]
pub fn excerpt<'a>(text: &'a str, question: &str, bytes_max: usize) -> &'a str {
    if text.len() <= bytes_max {
        return text;
    }
    let asked: BTreeSet<String> = words(question).into_iter().map(|word| word.folded).collect();
    let sentences = sentences(text);
    let starts = sentences.iter().map(|sentence| sentence.start);
    let windows = starts.map(|start| window(text, &sentences, start, bytes_max));
    let shared = |range: &Range<usize>| {
        let found = words(text.get(range.clone()).unwrap_or_default());
        let found: BTreeSet<String> = found.into_iter().map(|word| word.folded).collect();
        found.intersection(&asked).count()
    };
    let best = windows.max_by_key(|range| (shared(range), range.len(), usize::MAX - range.start));
    text.get(best.unwrap_or_default()).unwrap_or_default().trim()
}

/// As many whole sentences from `start` on as fit; of one that is too long, as much as fits.
fn window(text: &str, sentences: &[Range<usize>], start: usize, bytes_max: usize) -> Range<usize> {
    let mut fitting = sentences
        .iter()
        .filter(|sentence| sentence.start >= start && sentence.end - start <= bytes_max);
    let end = fitting.next_back().map_or(start + bytes_max, |sentence| sentence.end);
    start..text.floor_char_boundary(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "The bridge is old. It was opened in 1931 by the mayor. It is long. \
                        The river below it is wide. Boats pass.";

    #[test]
    fn the_sentences_that_share_most_are_taken() {
        assert_eq!(excerpt(TEXT, "anything", 1_000), TEXT);
        assert_eq!(excerpt(TEXT, "when was it opened", 40), "It was opened in 1931 by the mayor.");
        assert_eq!(excerpt(TEXT, "how wide is the river", 30), "The river below it is wide.");
        assert_eq!(
            excerpt(TEXT, "nothing of this", 60),
            "The bridge is old. It was opened in 1931 by the mayor."
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_between_letters() {
        assert_eq!(excerpt("橋は古い", "橋", 7), "橋は");
        assert_eq!(excerpt("One long sentence", "long", 8), "One long");
        assert_eq!(excerpt("", "x", 0), "");
    }
}
