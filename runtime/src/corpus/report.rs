//! What ingest is told, what it tells while it works, and what it reports.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::reader::Reader;
use crate::cancel::Cancel;

/// Settings of one ingest.
#[derive(Clone, Debug, Default)]
pub struct IngestOptions {
    /// Where files are taken apart.
    pub reader: Reader,
    /// Judge every file by its bytes, also one whose size and times are as they were.
    pub rehash: bool,
    /// Also let files leave when the whole folder they were in is gone or empty; without this they
    /// stay, since its disk may only not be mounted.
    pub forget: bool,
    /// Ends the ingest early: files finished so far stay, the rest waits for the next ingest.
    pub cancel: Cancel,
}

/// Hears how far an ingest is. `()` hears nothing.
pub trait IngestProgress {
    /// The files that will be looked at, and their bytes together.
    fn planned(&mut self, _files: u64, _bytes: u64) {}
    /// Work on a file begins.
    fn started(&mut self, _path: &Path) {}
    /// So many bytes more were read. A changed file is read twice, and told once.
    fn advanced(&mut self, _bytes: u64) {}
}

impl IngestProgress for () {}

/// Something that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The file or folder.
    pub path: PathBuf,
    /// The line, counted from 1, when only a line was passed over.
    pub line: Option<u64>,
    /// What is wrong and what was expected.
    pub reason: String,
}

/// What an ingest did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// Files that gave passages: new ones and changed ones.
    pub indexed: u64,
    /// Files that gave passages before and are as they were.
    pub unchanged: u64,
    /// Files that are gone and left the corpus.
    pub removed: u64,
    /// Passages added.
    pub passages: u64,
    /// What was passed over, unchanged files' lines too; at most 20 of a file and 1,000 in all.
    pub skipped: Vec<Skip>,
    /// How many lines and files were passed over.
    pub skipped_total: u64,
    /// The ingest was ended early.
    pub cancelled: bool,
}

/// Skips listed in a report at most.
const SKIPS_MAX: usize = 1_000;
/// Characters of a reason at most.
const REASON_CHARACTERS_MAX: usize = 400;
/// Skips of one file listed at most.
const SKIPS_OF_FILE_MAX: usize = 20;

impl IngestReport {
    pub(super) fn skip(&mut self, path: &Path, reason: impl ToString) {
        let reason = reason.to_string();
        let skip = FileSkip { line: None, reason };
        self.skip_lines(path, &FileSkips { listed: vec![skip], total: 1 });
    }

    pub(super) fn skip_lines(&mut self, path: &Path, skips: &FileSkips) {
        self.skipped_total += skips.total;
        let room = SKIPS_MAX.saturating_sub(self.skipped.len());
        let listed = skips.listed.iter().take(room).map(|skip| Skip {
            path: path.to_path_buf(),
            line: skip.line,
            reason: skip.reason.clone(),
        });
        self.skipped.extend(listed);
    }
}

/// A reason as it may stand on a terminal: files choose parts of it.
fn printable(reason: &str) -> String {
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    reason.chars().take(REASON_CHARACTERS_MAX).map(shown).collect()
}

/// A line of a known file that was passed over, or the rest of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSkip {
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What was passed over in one file: the first few, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSkips {
    /// The first of them.
    pub listed: Vec<FileSkip>,
    /// How many there were.
    pub total: u64,
}

impl FileSkips {
    pub(super) fn push(&mut self, line: Option<u64>, reason: impl ToString) {
        self.total += 1;
        if self.listed.len() < SKIPS_OF_FILE_MAX {
            self.listed.push(FileSkip { line, reason: printable(&reason.to_string()) });
        }
    }

    /// Says once that a file of `lines` lines held nothing.
    pub(super) fn collapse(&mut self, lines: u64) {
        let Some(first) = self.listed.first() else {
            return;
        };
        let at = first.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let reason = format!("none of its {lines} lines is a document; {at}{}", first.reason);
        *self = Self::default();
        self.push(None, reason);
    }
}
