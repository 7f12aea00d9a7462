//! What a stage has spent by now, in a file of its own while it runs: one that is killed has written
//! no manifest, and what was under way then is paid for as well.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::meter::Spent;

/// More than an entry has; of one length, none leaves a part of another behind it.
const LENGTH: usize = 1023;

/// The file, written anew with every request: by one call, so that a process that ends in between
/// leaves the old state or the new one.
pub struct Book {
    path: PathBuf,
    file: File,
}

/// Its content, as JSON behind which blanks stand.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Entry {
    pub spent: Spent,
    /// The most that requests without an answer can take.
    pub under_way: Spent,
}

impl Book {
    /// Opens or makes the book at `path`; gives what was spent by then, which is at least `before`.
    ///
    /// # Errors
    /// A file that cannot be opened, or is no book.
    pub fn open(path: &Path, before: Spent) -> Result<(Self, Spent)> {
        let named = || format!("{}", path.display());
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let file = options.open(path).with_context(named)?;
        let text = io::read_to_string(&file).with_context(named)?;
        let spent = if text.is_empty() { before } else { by_now(path, &text, before)? };
        Ok((Self { path: path.to_owned(), file }, spent))
    }

    /// What was spent by the book at `path`, if it is there, and at least `before`.
    ///
    /// # Errors
    /// A file that cannot be read, or is no book.
    pub fn spent(path: &Path, before: Spent) -> Result<Spent> {
        match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => by_now(path, &text, before),
            Ok(_) => Ok(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(before),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Where the book of a file of rows is.
    #[must_use]
    pub fn of(rows: &Path) -> PathBuf {
        rows.with_extension("spent.json")
    }

    pub(super) fn write(&self, entry: Entry) {
        let Ok(text) = serde_json::to_string(&entry) else { return };
        // Without it, only what a killed run spent is not known.
        let _ = self.file.write_all_at(format!("{text:<LENGTH$}\n").as_bytes(), 0);
    }

    /// The manifest says it now.
    pub(super) fn close(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn by_now(path: &Path, text: &str, before: Spent) -> Result<Spent> {
    let refused = || format!("{}: not what a stage has spent; remove it", path.display());
    let Entry { spent, under_way } = serde_json::from_str(text).with_context(refused)?;
    let mut by_now = if spent.tokens() >= before.tokens() { spent } else { before };
    by_now.add(&under_way);
    Ok(by_now)
}
