//! A passage in its document.

use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, DocSet, Searcher, TERMINATED, TantivyDocument, Term};

use super::index::Fields;
use super::search::{Corpus, Hit, hit};
use super::{CorpusError, Passage};

/// Passages of a file that are looked through for one that does not lie beside its neighbour.
const LOOKED_THROUGH_MAX: usize = 20_000;

/// A hit with the passages around it.
#[derive(Clone, Debug, PartialEq)]
pub struct InDocument {
    /// Passages before it, in order.
    pub before: Vec<Hit>,
    /// Passages after it, in order.
    pub after: Vec<Hit>,
}

impl Corpus {
    /// Up to `count` passages on either side of a hit in its document.
    ///
    /// # Errors
    /// [`CorpusError::Index`] when the index cannot be read.
    pub fn around(&self, found: &Hit, count: u64) -> Result<InDocument, CorpusError> {
        let searcher = self.searcher();
        let walk = Walk { searcher: &searcher, fields: self.fields(), found };
        let first = found.ordinal.saturating_sub(count);
        let before = walk.passages((first..found.ordinal).rev());
        let after = walk.passages(found.ordinal + 1..=found.ordinal.saturating_add(count));
        let failed = |error| CorpusError::index(self.dir(), error);
        let mut before = before.map_err(failed)?;
        before.reverse();
        Ok(InDocument { before, after: after.map_err(failed)? })
    }
}

/// A way through a document, starting at a hit.
struct Walk<'a> {
    searcher: &'a Searcher,
    fields: Fields,
    found: &'a Hit,
}

impl Walk<'_> {
    /// The passages with these numbers, until one is not there.
    fn passages(&self, ordinals: impl Iterator<Item = u64>) -> tantivy::Result<Vec<Hit>> {
        let mut passages = Vec::new();
        for ordinal in ordinals {
            let beside = self.beside(ordinal)?;
            let passage = match beside {
                Some(passage) => Some(passage),
                None => self.in_file(ordinal)?,
            };
            match passage {
                Some(passage) => passages.push(passage),
                None => break,
            }
        }
        Ok(passages)
    }

    /// Passages of a document are written one after the other, and mostly stay so.
    fn beside(&self, ordinal: u64) -> tantivy::Result<Option<Hit>> {
        let DocAddress { segment_ord, doc_id } = self.found.place.0;
        let number = i128::from(doc_id) + i128::from(ordinal) - i128::from(self.found.ordinal);
        let segment = self.searcher.segment_reader(segment_ord);
        match u32::try_from(number) {
            Ok(doc) if doc < segment.max_doc() && !segment.is_deleted(doc) => {
                self.wanted(DocAddress::new(segment_ord, doc), ordinal)
            }
            _ => Ok(None),
        }
    }

    /// Looks through the passages of the file.
    fn in_file(&self, ordinal: u64) -> tantivy::Result<Option<Hit>> {
        let term = Term::from_field_text(self.fields.source, &self.found.source);
        let mut room = LOOKED_THROUGH_MAX;
        for (number, segment) in (0..).zip(self.searcher.segment_readers()) {
            let index = segment.inverted_index(self.fields.source)?;
            let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else {
                continue;
            };
            while postings.doc() != TERMINATED && room > 0 {
                room -= 1;
                if !segment.is_deleted(postings.doc()) {
                    let found = self.wanted(DocAddress::new(number, postings.doc()), ordinal)?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                postings.advance();
            }
        }
        Ok(None)
    }

    /// The passage at an address, if it is this one of the document.
    fn wanted(&self, address: DocAddress, ordinal: u64) -> tantivy::Result<Option<Hit>> {
        let stored: TantivyDocument = self.searcher.doc(address)?;
        let (source, passage) = self.fields.read_document(&stored);
        let Passage { document, .. } = &passage;
        let fits = source == self.found.source
            && *document == self.found.document
            && passage.ordinal == ordinal;
        Ok(fits.then(|| hit(0.0, source, passage, None, address)))
    }
}
