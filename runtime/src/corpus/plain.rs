//! tantivy as it comes: what the corpus' own ranking is compared with.

use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, STORED, STRING, Schema, TEXT, Value};
use tantivy::{Index, IndexReader, TantivyDocument};

/// Titles and texts in one field of an index in memory, under tantivy's default analyser and query
/// parser.
pub struct PlainIndex {
    reader: IndexReader,
    parser: QueryParser,
    id: Field,
}

/// Bytes the writer may hold.
const WRITER_BYTES: usize = 64 << 20;

impl PlainIndex {
    /// Indexes documents, each an id and its text with the title before it.
    ///
    /// # Errors
    /// What tantivy says.
    pub fn build<'a>(
        documents: impl Iterator<Item = (&'a str, String)>,
    ) -> Result<Self, PlainIndexError> {
        let mut schema = Schema::builder();
        let id = schema.add_text_field("id", STRING | STORED);
        let text = schema.add_text_field("text", TEXT);
        let index = Index::create_in_ram(schema.build());
        let mut writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        for (name, words) in documents {
            let mut document = TantivyDocument::new();
            document.add_text(id, name);
            document.add_text(text, words);
            writer.add_document(document)?;
        }
        writer.commit()?;
        let parser = QueryParser::for_index(&index, vec![text]);
        Ok(Self { reader: index.reader()?, parser, id })
    }

    /// Ids of the best documents.
    ///
    /// # Errors
    /// What tantivy says.
    pub fn search(&self, question: &str, limit: usize) -> Result<Vec<String>, PlainIndexError> {
        let searcher = self.reader.searcher();
        let (query, _) = self.parser.parse_query_lenient(question);
        let best = searcher.search(&query, &TopDocs::with_limit(limit).order_by_score())?;
        let id = |(_, address)| -> tantivy::Result<String> {
            let stored: TantivyDocument = searcher.doc(address)?;
            let id = stored.get_first(self.id).and_then(|id| id.as_str());
            Ok(id.unwrap_or_default().to_owned())
        };
        Ok(best.into_iter().map(id).collect::<tantivy::Result<_>>()?)
    }
}

/// tantivy failed.
#[derive(Debug, thiserror::Error)]
#[error("the plain index failed: {0}")]
pub struct PlainIndexError(#[from] tantivy::TantivyError);
