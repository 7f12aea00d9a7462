//! Documents in, passages out: ingest, index, search, cite.
//!
//! A corpus is a folder: `index/`, a tantivy index that stores the passages, and `corpus.db`, the
//! ledger of the files they came from. [`ingest`] brings the folder up to date with files on
//! disk, [`Corpus`] searches it, [`list`] names the corpora below a folder.
//! A corpus built on one machine opens unchanged on another.
//!
//! [`ingest`] reads text, Markdown, HTML, PDF, EPUB, DOCX, CSV, JSON Lines and ZIM files
//! (`formats/`), on request in a child process that may die of them (`reader/`).
//!
//! The corpus knows nothing about models, prompts or Python. Query text is never parsed as a
//! query language. Only `ledger.rs` names SQLite.

mod analyse;
mod around;
mod every;
mod excerpt;
mod export;
mod formats;
mod index;
mod ingest;
mod keys;
mod language;
mod ledger;
mod links;
mod list;
mod plain;
mod rank;
mod reader;
mod repair;
mod report;
mod search;
mod source;
mod split;
mod stamp;
mod walk;
mod words;

pub use analyse::{ANALYSER, QUERY_TERMS_MAX};
pub use around::InDocument;
pub use excerpt::excerpt;
pub use export::{export, import};
pub use ingest::ingest;
pub use list::{CorpusEntry, CorpusState, list, remove};
pub use plain::{PlainIndex, PlainIndexError};
pub use reader::{Reader, ReaderSettings, serve_if_reader};
pub use repair::repair;
pub use report::{IngestOptions, IngestProgress, IngestReport, Skip};
pub use search::{Corpus, CorpusStats, HITS_MAX, Hit, is_guarded};

use std::path::{Path, PathBuf};

use language::Language;
use serde::{Deserialize, Serialize};
use tantivy::TantivyError;
use tantivy::directory::error::{OpenDirectoryError, OpenReadError};

/// Why a corpus cannot be used or built.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// There is no corpus at this path.
    #[error("{}: no corpus is here; `retort index PATH --corpus NAME` makes one", path.display())]
    Missing {
        /// The folder that was named.
        path: PathBuf,
    },
    /// The corpus is sound and holds no passage.
    #[error("{}: the corpus is empty; index documents into it", path.display())]
    Empty {
        /// The corpus folder.
        path: PathBuf,
    },
    /// The corpus was made by a version whose format or analyser differs.
    #[error(
        "{}: the corpus has {found}, this version reads {expected}; \
         `retort corpus check {} --repair` brings it up to date",
        path.display(), name(path)
    )]
    Incompatible {
        /// The corpus folder.
        path: PathBuf,
        /// What the corpus says.
        found: String,
        /// What this version reads.
        expected: String,
    },
    /// The corpus was made by a later version.
    #[error("{}: a newer retort made this corpus (format {format}); use that version", path.display())]
    Newer {
        /// The corpus folder.
        path: PathBuf,
        /// What the corpus says.
        format: i64,
    },
    /// The corpus cannot be trusted.
    #[error(
        "{}: the corpus is damaged ({reason}); `retort corpus check {} --repair` rebuilds it",
        path.display(), name(path)
    )]
    Damaged {
        /// The corpus folder.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A corpus is there already.
    #[error(
        "{}: a corpus is here already; remove it with `retort corpus remove` or name another",
        path.display()
    )]
    Exists {
        /// The corpus folder.
        path: PathBuf,
    },
    /// The file is no archive of a corpus that this version can take.
    #[error("{}: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Another process is indexing into the corpus.
    #[error("{}: another process is indexing into this corpus; wait for it", path.display())]
    Busy {
        /// The corpus folder.
        path: PathBuf,
    },
    /// There is no process to take files apart in.
    #[error("the reader process {} {reason}", program.display())]
    Reader {
        /// What was started.
        program: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The cancel token was set. [`ingest`] keeps what was durable and does not return this.
    #[error("cancelled")]
    Cancelled,
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index failed while reading or writing.
    #[error("{}: the index failed: {reason}", path.display())]
    Index {
        /// The corpus folder.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
}

/// A corpus is named by its folder.
fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

impl CorpusError {
    /// Whether [`repair`] may help.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Incompatible { .. })
    }

    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// What kept an index from being read: damage, unless the machine is the reason (no right to
    /// read, no descriptor or memory left), which a rebuild would not mend.
    fn unreadable(path: &Path, error: impl Into<TantivyError>) -> Self {
        let error = error.into();
        match machine_error(&error) {
            Some(reason) => Self::io(&index::folder(path), reason),
            None => Self::damaged(path, error),
        }
    }

    fn index(path: &Path, reason: impl ToString) -> Self {
        Self::Index { path: path.to_path_buf(), reason: reason.to_string() }
    }
}

/// What the system said, where it says nothing of the index itself.
fn machine_error(error: &TantivyError) -> Option<std::io::Error> {
    use std::io::ErrorKind;
    let (TantivyError::IoError(said)
    | TantivyError::OpenReadError(OpenReadError::IoError { io_error: said, .. })
    | TantivyError::OpenDirectoryError(OpenDirectoryError::IoError { io_error: said, .. })) = error
    else {
        return None;
    };
    let number = said.raw_os_error()?;
    let of_index = matches!(
        said.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    );
    (!of_index && number != libc::EIO).then(|| std::io::Error::from_raw_os_error(number))
}

/// A passage on its way into the index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Passage {
    /// The line's id, or the path of the file below the indexed folder.
    document: String,
    /// Title shown and, four times over, searched; empty when the document has none.
    title: String,
    /// Headings above the passage, outermost first.
    heading: Vec<String>,
    /// Page of a paged document, counted from 1, on which the passage starts.
    page: Option<u64>,
    /// What its words are analysed as.
    language: Language,
    /// Bytes of the (decompressed) file: the passage itself, or the row that holds it; `0..0`
    /// where a passage is no part of the bytes as they stand (HTML, PDF, EPUB, DOCX, ZIM).
    byte_range: std::ops::Range<u64>,
    /// Place among the passages of its document.
    ordinal: u64,
    /// The text.
    text: String,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod gates;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
