//! Names the corpora below a folder.

use std::path::{Path, PathBuf};

use super::search::{CorpusStats, stats_of};
use super::{CorpusError, ingest, ledger};

/// A corpus in a folder of corpora.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusEntry {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// How it is.
    pub state: CorpusState,
}

/// How a corpus is, as far as its ledger says; [`Corpus::check`](super::Corpus::check) says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorpusState {
    /// It can be searched.
    Ready(CorpusStats),
    /// It is sound and holds no passage.
    Empty,
    /// An ingest is running.
    Ingesting(CorpusStats),
    /// An ingest was cut off; what it made durable can be searched, and the next one goes on.
    Interrupted(CorpusStats),
    /// It cannot be used, with the reason.
    Unusable(String),
}

/// The corpora in `corpora_dir`, by name. A folder that does not exist holds none.
///
/// # Errors
/// [`CorpusError::Io`] when the folder cannot be read.
pub fn list(corpora_dir: &Path) -> Result<Vec<CorpusEntry>, CorpusError> {
    let entries = match std::fs::read_dir(corpora_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CorpusError::io(corpora_dir, error)),
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut corpora: Vec<CorpusEntry> =
        paths.filter(|path| !is_hidden(path) && ledger::path(path).is_file()).map(entry).collect();
    corpora.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(corpora)
}

/// Removes the corpus at `dir`; the files it was made from stay.
///
/// # Errors
/// [`CorpusError::Missing`] when there is none; [`CorpusError::Busy`] while an ingest runs;
/// [`CorpusError::Io`] when the folder cannot be removed.
pub fn remove(dir: &Path) -> Result<(), CorpusError> {
    if !ledger::path(dir).is_file() {
        return Err(CorpusError::Missing { path: dir.to_path_buf() });
    }
    let _lock = ingest::lock(dir)?;
    std::fs::remove_dir_all(dir).map_err(|error| CorpusError::io(dir, error))
}

/// Whether a folder is one of those in which an import grows.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn entry(path: PathBuf) -> CorpusEntry {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let state = match stats_of(&path) {
        Err(error) => CorpusState::Unusable(error.to_string()),
        Ok((stats, _)) if ingest::is_running(&path) => CorpusState::Ingesting(stats),
        Ok((stats, _)) if stats.passages == 0 => CorpusState::Empty,
        Ok((stats, true)) => CorpusState::Ready(stats),
        Ok((stats, false)) => CorpusState::Interrupted(stats),
    };
    CorpusEntry { name, path, state }
}
