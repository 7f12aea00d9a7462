//! Files of rows.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use retort_transcript::Dialect;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::row::{TRAJECTORY_VERSION, Trajectory};
use crate::durable::replace_file;

/// Why a file of rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is no row.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
    /// There is no row in it.
    #[error("{}: holds no row; expected JSON Lines, one row each", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Lines of a JSON Lines file with their numbers from 1, blank ones passed over.
///
/// # Errors
/// [`ReadError`] names file and line.
pub fn read_rows<T>(
    path: &Path,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ReadError> {
    let io = |source| ReadError::Io { path: path.to_path_buf(), source };
    let file = BufReader::new(File::open(path).map_err(io)?);
    let mut rows = Vec::new();
    for (bytes, line) in file.split(b'\n').zip(1..) {
        let bytes = bytes.map_err(io)?;
        let refused = |reason| ReadError::Line { path: path.to_path_buf(), line, reason };
        let text = str::from_utf8(&bytes);
        let text = text.map_err(|error| refused(format!("{error}; expected UTF-8")))?;
        // Editors of some systems begin a file with a byte order mark.
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if !text.trim().is_empty() {
            rows.push(read(text).map_err(refused)?);
        }
    }
    if rows.is_empty() {
        return Err(ReadError::Empty { path: path.to_path_buf() });
    }
    Ok(rows)
}

/// The trajectories of a file.
///
/// # Errors
/// [`ReadError`]; a row of a newer version is named with its version.
pub fn read_trajectories(path: &Path) -> Result<Vec<Trajectory>, ReadError> {
    read_rows(path, |text| versioned(text, "version", TRAJECTORY_VERSION, "a trajectory"))
}

/// As [`read_trajectories`], of a file that may have none yet.
///
/// # Errors
/// As [`read_trajectories`].
pub fn read_collected(path: &Path) -> Result<Vec<Trajectory>, ReadError> {
    match read_trajectories(path) {
        Err(ReadError::Empty { .. }) => Ok(Vec::new()),
        rows => rows,
    }
}

/// The trajectories of a file, all of them in `dialect`.
///
/// # Errors
/// As [`read_trajectories`], and a row in another dialect.
pub fn read_in(path: &Path, dialect: &Dialect) -> anyhow::Result<Vec<Trajectory>> {
    let rows = read_trajectories(path)?;
    if let Some(other) = rows.iter().find(|row| row.dialect != dialect.name()) {
        anyhow::bail!(
            "{}: row {:?} is in dialect {}, expected {}; collect with that one",
            path.display(),
            other.id,
            other.dialect,
            dialect.name()
        );
    }
    let hash = dialect.hash();
    let others = rows.iter().filter(|row| !row.dialect_hash.is_empty() && row.dialect_hash != hash);
    let others = others.count();
    if others > 0 {
        errln!(
            "note: {others} of {} rows of {} were collected in other words of the dialect {}, which a \
             student of this version does not read: collect them again",
            rows.len(),
            path.display(),
            dialect.name()
        );
    }
    Ok(rows)
}

/// Reads a row after a look at its version.
pub fn versioned<T: DeserializeOwned>(
    text: &str,
    field: &str,
    newest: u32,
    what: &str,
) -> Result<T, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("{error}; expected {what} as JSON"))?;
    let version = value.get(field).and_then(serde_json::Value::as_u64);
    if let Some(version) = version.filter(|version| *version > u64::from(newest)) {
        return Err(format!(
            "{what} of format {version}; this program reads up to {newest}: use a newer \
             retort-train"
        ));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, told) = (error.path().to_string(), error.inner());
        if path == "." { format!("{told}; expected {what}") } else { format!("{path}: {told}") }
    })
}

/// Writes rows as JSON Lines: the whole new file or the old one.
///
/// # Errors
/// What the file system reported.
pub fn write_rows<T: Serialize>(path: &Path, rows: impl Iterator<Item = T>) -> std::io::Result<()> {
    replace_file(path, |file| {
        for row in rows {
            serde_json::to_writer(&mut *file, &row)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })
}
