//! The corpus as the loop sees it.

use retort_transcript::Passage;

use super::types::{Retrieved, Retriever, RetrieverError};
use crate::corpus::Corpus;

impl Retriever for Corpus {
    fn retrieve(&self, query: &str, limit: usize) -> Result<Vec<Retrieved>, RetrieverError> {
        let hits = self.search(query, limit).map_err(|error| RetrieverError(error.to_string()))?;
        let retrieved = hits.into_iter().map(|hit| Retrieved {
            passage: Passage { title: hit.title, text: hit.passage, score: hit.score },
            document: hit.document,
            source: hit.source,
        });
        Ok(retrieved.collect())
    }
}
