//! Keys: titles as they are mentioned in text.

use std::ops::Range;
use std::sync::Arc;

use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, SimpleTokenizer, TextAnalyzer, TokenStream,
};
use tantivy::{DocAddress, DocSet, InvertedIndexReader, Searcher, TERMINATED};

/// Words of a key at most; a longer title is no name that text mentions.
pub(super) const KEY_WORDS_MAX: usize = 6;

/// A word of a text: folded, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Lower-case ASCII where there is such a form.
    pub folded: String,
    /// Its bytes in the text.
    pub range: Range<usize>,
}

/// The words of a text, stop words too.
pub(super) fn words(text: &str) -> Vec<Word> {
    let mut analyser = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build();
    let mut tokens = analyser.token_stream(text);
    let mut words = Vec::new();
    while tokens.advance() {
        let token = tokens.token();
        let range = token.offset_from..token.offset_to;
        words.push(Word { folded: token.text.clone(), range });
    }
    words
}

/// What text mentions a page of this title by: its folded words, without what stands in brackets
/// at the end. `None` for a title without words or with more than [`KEY_WORDS_MAX`].
pub(super) fn key_of(title: &str) -> Option<String> {
    let words = words(without_brackets(title));
    let is_name = (1..=KEY_WORDS_MAX).contains(&words.len());
    is_name.then(|| join(&words))
}

/// `Paris (Texas)` is mentioned as `Paris`.
fn without_brackets(title: &str) -> &str {
    let title = title.trim();
    let opened = title.strip_suffix(')').and_then(|inside| inside.rfind('('));
    let name = opened.and_then(|at| title.get(..at)).map(str::trim_end);
    name.filter(|name| !name.is_empty()).unwrap_or(title)
}

/// The key that these words make.
pub(super) fn join(words: &[Word]) -> String {
    let folded: Vec<&str> = words.iter().map(|word| word.folded.as_str()).collect();
    folded.join(" ")
}

/// The keys of an index.
pub(super) struct Keys {
    segments: Vec<(Arc<InvertedIndexReader>, tantivy::SegmentReader)>,
}

impl Keys {
    pub(super) fn of(searcher: &Searcher, field: Field) -> tantivy::Result<Self> {
        let open = |segment: &tantivy::SegmentReader| {
            Ok((segment.inverted_index(field)?, segment.clone()))
        };
        let segments = searcher.segment_readers().iter().map(open);
        Ok(Self { segments: segments.collect::<tantivy::Result<_>>()? })
    }

    /// Whether any passage has this key.
    pub(super) fn holds(&self, key: &str) -> tantivy::Result<bool> {
        for (index, _) in &self.segments {
            if index.terms().get(key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The passages with this key, at most `most` of them.
    pub(super) fn passages(&self, key: &str, most: usize) -> tantivy::Result<Vec<DocAddress>> {
        let mut found = Vec::new();
        for (ordinal, (index, segment)) in (0..).zip(&self.segments) {
            let Some(info) = index.terms().get(key)? else {
                continue;
            };
            let mut postings =
                index.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            while postings.doc() != TERMINATED && found.len() < most {
                if !segment.is_deleted(postings.doc()) {
                    found.push(DocAddress::new(ordinal, postings.doc()));
                }
                postings.advance();
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_title_as_text_mentions_it() {
        for (title, key) in [
            ("Heahi Bridge", Some("heahi bridge")),
            (" Malmö (Sweden) ", Some("malmo")),
            ("(I Can't Get No) Satisfaction", Some("i can t get no satisfaction")),
            ("(What)", Some("what")),
            ("J. R. R. Tolkien", Some("j r r tolkien")),
            ("ls(1)", Some("ls")),
            ("One two three four five six seven", None),
            ("…", None),
        ] {
            assert_eq!(key_of(title).as_deref(), key, "{title}");
        }
    }
}
