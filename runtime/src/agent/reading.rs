//! What a run is shown of what a search found.

use std::collections::BTreeSet;

use retort_transcript::{Dialect, Passage};

use super::types::Retrieved;
use crate::corpus;

/// Bytes that count as a token: what byte-level vocabularies make of English.
const TOKEN_BYTES: usize = 4;
/// Passages asked for beyond those shown, to stand in for near-duplicates, as a multiple.
const SPARE: usize = 2;
/// Words in which two passages of one title may differ and count as the same, in per cent.
const DIFFERENT_PERCENT_MAX: usize = 5;

/// Rules of what is shown, and what was shown before.
pub struct Reading<'a> {
    dialect: &'a Dialect,
    /// What the run was told so far.
    observations: Vec<String>,
    passages_max: usize,
    passage_tokens_max: u32,
}

/// What is shown of a search, and the passages that it rests on.
pub struct Shown {
    /// What the model's Python is given.
    pub text: String,
    /// The passages in it, those too that are only named because they were shown before.
    pub passages: Vec<Retrieved>,
}

impl<'a> Reading<'a> {
    /// `passages_max` passages of at most `passage_tokens_max` tokens, of a run that was told
    /// `observations`.
    pub fn new(
        dialect: &'a Dialect,
        observations: Vec<String>,
        passages_max: usize,
        passage_tokens_max: u32,
    ) -> Self {
        Self { dialect, observations, passages_max, passage_tokens_max }
    }

    /// Passages to ask for.
    pub fn wanted(&self) -> usize {
        self.passages_max.saturating_mul(SPARE)
    }

    /// What to show of what was found, best first.
    pub fn show(&self, query: &str, found: Vec<Retrieved>) -> Shown {
        let bytes_max = self.passage_tokens_max as usize * TOKEN_BYTES;
        let mut passages: Vec<Retrieved> = Vec::new();
        for mut hit in found {
            if passages.len() == self.passages_max {
                break;
            }
            if !passages.iter().any(|kept| is_near(&kept.passage, &hit.passage)) {
                let text = corpus::excerpt(&hit.passage.text, query, bytes_max);
                hit.passage.text = text.to_owned();
                passages.push(hit);
            }
        }
        let shown: Vec<Passage> = passages.iter().map(|hit| hit.passage.clone()).collect();
        let shown = self.dialect.without_repeats(&shown, &self.observations);
        Shown { text: self.dialect.render_passages(query, &shown), passages }
    }
}

/// Whether two passages of one title say the same: but for a few small words, and in no number
/// and no name.
fn is_near(one: &Passage, other: &Passage) -> bool {
    if one.title != other.title {
        return false;
    }
    let (ours, theirs) = (words(&one.text), words(&other.text));
    let different: Vec<&&str> = ours.symmetric_difference(&theirs).collect();
    let matters =
        |word: &&&str| word.chars().any(|letter| letter.is_numeric() || letter.is_uppercase());
    different.len() * 100 <= ours.len().max(theirs.len()) * DIFFERENT_PERCENT_MAX
        && !different.iter().any(matters)
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hit(title: &str, text: &str) -> Retrieved {
        Retrieved {
            passage: Passage { title: title.to_owned(), text: text.to_owned(), score: 0.5 },
            document: title.to_owned(),
            source: "/notes".to_owned(),
        }
    }

    fn titles(shown: &Shown) -> Vec<&str> {
        shown.passages.iter().map(|hit| hit.document.as_str()).collect()
    }

    #[test]
    fn copies_are_merged_and_tables_are_not() {
        let dialect = Dialect::named("retort").unwrap();
        let reading = Reading::new(&dialect, Vec::new(), 3, 100);
        let text = "The pump needs oil every month. ".to_owned()
            + "Use the grade that the plate names, and close the lid again after filling it up.";
        let mut copy = hit("Pump", &text.replace(" again", ""));
        copy.document = "copy".to_owned();
        let mut other = hit("Pump", &text.replace("month", "8 weeks"));
        other.document = "other".to_owned();
        let elsewhere = hit("Valve", &text);
        let found = vec![hit("Pump", &text), copy, other, elsewhere];
        assert_eq!(titles(&reading.show("pump oil", found)), ["Pump", "other", "Valve"]);
    }

    #[test]
    fn no_more_is_shown_than_is_asked_for() {
        let dialect = Dialect::named("retort").unwrap();
        let reading = Reading::new(&dialect, Vec::new(), 2, 10);
        let long = "It is old. It was painted in 1931. Nobody knows why it stands there at all.";
        let found = ["A", "B", "C"].map(|title| hit(title, long)).to_vec();
        let shown = reading.show("when was it painted", found);
        assert_eq!(titles(&shown), ["A", "B"]);
        assert_eq!(shown.passages[0].passage.text, "It is old. It was painted in 1931.");
    }

    #[test]
    fn what_was_shown_is_named() {
        let dialect = Dialect::named("retort").unwrap();
        let first = Reading::new(&dialect, Vec::new(), 1, 100);
        let told = first.show("q", vec![hit("Pump", "It is old.")]).text;
        let second = Reading::new(&dialect, vec![told], 2, 100);
        let shown = second.show("q", vec![hit("Pump", "It is old."), hit("Valve", "It is new.")]);
        assert_eq!(shown.text, "Pump [1]: shown above [1].\nValve [2]: It is new [2].");
        assert_eq!(shown.passages[0].passage.text, "It is old.");
    }
}
