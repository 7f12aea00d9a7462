//! Keeps sessions, runs and steps: `runs.db`, one SQLite file.
//!
//! A [`Store`] is opened once per process. A run is begun, gets its steps one durable transaction
//! each, and is finished; a run without an end was interrupted. What a run carries beyond a few
//! columns (settings, candidates, tool calls, outcomes, usage, citations) is JSON.
//! The store knows neither the agent nor the engine: [`NewRun`], [`StepRecord`] and [`RunEnd`] are
//! its own records. It reads no clock: times are passed in.

mod id;
mod read;
mod records;
mod schema;
mod write;

pub use id::{RunId, SessionId};
pub use records::{INTERRUPTED, NewRun, RunEnd, RunRecord, RunSummary, StepRecord};

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

/// How long a transaction waits for that of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why runs cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened, made or written.
    #[error("{}: {reason}", path.display())]
    Unavailable {
        /// The database file.
        path: PathBuf,
        /// What the system or SQLite said.
        reason: String,
    },
    /// The file is not a database of runs, or a damaged one.
    #[error(
        "{}: not a sound record of runs ({reason}); move it away and a new one is made",
        path.display()
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a later version.
    #[error(
        "{}: written by a later version (schema {found}, this version reads up to {expected}); \
         update retort",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The file's schema version.
        found: i64,
        /// The latest this version knows.
        expected: i64,
    },
    /// No run has this id.
    #[error("no run {id:?}; `retort runs list` shows those there are")]
    UnknownRun {
        /// What was asked for.
        id: String,
    },
    /// Several runs have an id that starts so.
    #[error("{count} runs start with {prefix:?}; give more of the id")]
    AmbiguousRun {
        /// What was asked for.
        prefix: String,
        /// How many runs match.
        count: usize,
    },
    /// A step came out of turn.
    #[error("run {run}: step {found} was given, step {expected} is next")]
    StepOrder {
        /// The run.
        run: RunId,
        /// The step that is due.
        expected: u32,
        /// The step that came.
        found: u32,
    },
    /// The run has its end already.
    #[error("run {run} has ended")]
    Ended {
        /// The run.
        run: RunId,
    },
}

/// The open record of runs.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the record at `path`; makes it, readable by its owner alone, when there is none.
    /// After an unclean stop the file is checked first.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Damaged`] or [`StoreError::Newer`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| StoreError::Unavailable {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
        // The last connection to close removes the log. Where it is still there, a process was
        // cut off, or another one is at work; a check does no harm then.
        let unclean = log_path(path).exists();
        let opened = Connection::open(path).map_err(|error| failure(path, &error))?;
        let mut store = Self { connection: opened, path: path.to_path_buf() };
        store.get(configure)?;
        if unclean {
            store.quick_check()?;
        }
        schema::migrate(&mut store)?;
        Ok(store)
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn quick_check(&self) -> Result<(), StoreError> {
        let verdict: String = self.get(|connection| {
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        })?;
        if verdict == "ok" {
            return Ok(());
        }
        Err(StoreError::Damaged { path: self.path.clone(), reason: verdict })
    }

    fn get<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(&self.connection).map_err(|error| failure(&self.path, &error))
    }
}

/// What is deleted is overwritten: a record holds questions in plain text.
/// synchronous = FULL: with NORMAL, 125 of 150 power cuts lost acknowledged rows, with FULL none.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;",
    )
}

fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn log_path(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log)
}

/// Tells a file that is wrong from one that cannot be reached now.
fn failure(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let (path, reason) = (path.to_path_buf(), error.to_string());
    match (error, error.sqlite_error_code()) {
        (_, Some(DatabaseCorrupt | NotADatabase))
        | (rusqlite::Error::FromSqlConversionFailure(..), _) => {
            StoreError::Damaged { path, reason }
        }
        _ => StoreError::Unavailable { path, reason },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
