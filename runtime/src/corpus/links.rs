//! Finds the pages that a text mentions by title.
//!
//! No table of links is stored: a run of words is a link when it is the key of a page.

use tantivy::schema::Field;
use tantivy::{Searcher, Term};

use super::analyse::QuestionAnalyser;
use super::keys::{KEY_WORDS_MAX, Keys, Word, join, words};

/// A key of one word needs so many letters: shorter ones are mostly something else.
const LETTERS_MIN: usize = 4;
/// The rarest word of a mention occurs in at most this share of the passages, and a few more:
/// what is everywhere names nothing.
const COMMON_SHARE: f32 = 0.02;
/// The few more, for small corpora.
const COMMON_MIN: u64 = 20;

/// Words that are looked at: those of the longest passages; a question may be any length.
const MENTION_WORDS_MAX: usize = 512;

/// How a text writes names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// A question, perhaps without a capital.
    Question,
    /// Running text: a name starts with a capital or a digit.
    Text,
}

/// A title that a text mentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Key of the page.
    pub key: String,
    /// Its words.
    pub words: usize,
}

/// Tells mentions from words that only look like one.
pub(super) struct Linker<'a> {
    pub searcher: &'a Searcher,
    /// Where terms are counted.
    pub search: Field,
    pub keys: &'a Keys,
    pub analyser: &'a QuestionAnalyser,
}

impl Linker<'_> {
    /// Distinct mentions in order of appearance, the longest where several start at a word.
    pub(super) fn mentions(&self, text: &str, writing: Writing) -> tantivy::Result<Vec<Mention>> {
        let mut words = words(text);
        words.truncate(MENTION_WORDS_MAX);
        let mut found: Vec<Mention> = Vec::new();
        let mut rest = words.as_slice();
        while let Some(first) = rest.first() {
            let taken = match may_start(text, first, writing) {
                true => self.longest(rest)?,
                false => None,
            };
            let mut step = 1;
            if let Some(mention) = taken {
                let named = rest.get(..mention.words).unwrap_or(rest);
                if self.counts(text, named)? {
                    step = mention.words;
                    if !found.contains(&mention) {
                        found.push(mention);
                    }
                }
            }
            rest = rest.get(step..).unwrap_or_default();
        }
        Ok(found)
    }

    /// The longest key that the words start with.
    fn longest(&self, words: &[Word]) -> tantivy::Result<Option<Mention>> {
        for count in (1..=KEY_WORDS_MAX.min(words.len())).rev() {
            let key = join(words.get(..count).unwrap_or_default());
            if self.keys.holds(&key)? {
                return Ok(Some(Mention { key, words: count }));
            }
        }
        Ok(None)
    }

    fn counts(&self, text: &str, words: &[Word]) -> tantivy::Result<bool> {
        if let [word] = words
            && word.folded.chars().count() < LETTERS_MIN
        {
            return Ok(false);
        }
        let ends_in_filler = words.last().is_some_and(|word| {
            starts_lower(text, word) && self.analyser.title_terms(&word.folded).is_empty()
        });
        Ok(!ends_in_filler && self.is_rare(words)?)
    }

    fn is_rare(&self, words: &[Word]) -> tantivy::Result<bool> {
        let most = (self.searcher.num_docs() as f32 * COMMON_SHARE) as u64 + COMMON_MIN;
        for term in self.analyser.title_terms(&join(words)) {
            let term = Term::from_field_text(self.search, &term);
            if self.searcher.doc_freq(&term)? <= most {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn may_start(text: &str, word: &Word, writing: Writing) -> bool {
    writing == Writing::Question || !starts_lower(text, word)
}

fn starts_lower(text: &str, word: &Word) -> bool {
    let first = text.get(word.range.clone()).and_then(|word| word.chars().next());
    first.is_some_and(char::is_lowercase)
}
