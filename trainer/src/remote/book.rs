//! What a stage has spent by now, in a file of its own while it runs: one that is killed has written
//! no manifest, and what was under way then is paid for as well.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::meter::Spent;

/// The file, written anew with every request: by one call, so that a process that ends in between
/// leaves the old state or the new one.
pub struct Book {
    path: PathBuf,
    file: File,
}

/// Its content.
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
        let mut spent = before;
        if !text.is_empty() {
            let Entry { spent: known, under_way } =
                serde_json::from_str(&text).with_context(|| {
                    format!("{}: not what a stage has spent; remove it", path.display())
                })?;
            if known.tokens() >= before.tokens() {
                spent = known;
                spent.add(&under_way);
            }
        }
        Ok((Self { path: path.to_owned(), file }, spent))
    }

    pub(super) fn write(&self, entry: Entry) {
        let Ok(text) = serde_json::to_string(&entry) else { return };
        // Without it, only what a killed run spent is not known.
        let written = self.file.write_all_at(text.as_bytes(), 0);
        let _ = written.and_then(|()| self.file.set_len(text.len() as u64));
    }

    /// The manifest says it now.
    pub(super) fn close(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
