//! Every passage of a corpus, for whoever makes something of all of them.

use tantivy::{DocAddress, TantivyDocument};

use super::CorpusError;
use super::search::{Corpus, Hit, hit};

impl Corpus {
    /// Every passage once, with score 0, in the order in which the index stores them: not that of
    /// the documents.
    ///
    /// # Errors
    /// An item is [`CorpusError::Index`] when a passage cannot be read.
    pub fn passages(&self) -> impl Iterator<Item = Result<Hit, CorpusError>> {
        let searcher = self.searcher();
        let fields = self.fields();
        let addresses: Vec<DocAddress> = (0..)
            .zip(searcher.segment_readers())
            .flat_map(|(number, segment)| {
                segment.doc_ids_alive().map(move |doc| DocAddress::new(number, doc))
            })
            .collect();
        addresses.into_iter().map(move |address| {
            let stored: Result<TantivyDocument, _> = searcher.doc(address);
            let stored = stored.map_err(|error| CorpusError::index(self.dir(), error))?;
            let (source, passage) = fields.read_document(&stored);
            Ok(hit(0.0, source, passage, None, address))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::corpus::{Corpus, IngestOptions, ingest};

    #[test]
    fn every_passage_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pages.jsonl");
        let line =
            |id: u32| format!("{{\"id\": {id}, \"title\": \"T{id}\", \"text\": \"word {id}.\"}}\n");
        std::fs::write(&file, (0..7).map(line).collect::<String>()).unwrap();
        let dir = folder.path().join("corpus");
        ingest(&dir, &[file], &IngestOptions::default(), &mut ()).unwrap();
        let corpus = Corpus::open(&dir).unwrap();
        let mut found: Vec<String> = corpus.passages().map(|hit| hit.unwrap().passage).collect();
        found.sort();
        assert_eq!(found, (0..7).map(|id| format!("word {id}.")).collect::<Vec<_>>());
    }
}
