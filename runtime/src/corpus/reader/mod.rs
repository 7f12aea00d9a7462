//! Where files are taken apart: in this process, or in one that may die of them.
//!
//! Documents come from anywhere, and their parsers are large. The reader process gets one file at
//! a time as an open descriptor, no path, no environment, no way to open, start or send anything,
//! and limits on processor time and memory; what it does to itself, the ingest survives.
//! The reader knows nothing about the index or the ledger.
//!
//! Every format goes this way, those with simple parsers too: indexing 18.7 MB of JSON Lines took
//! 3.72 s of processor time with the reader process and 3.73 s without (means of three, parent
//! and child together, x86-64); four fifths of it are the index's.

mod child;
mod contain;
mod process;
mod protocol;

use std::cell::RefCell;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::formats::Sink;
use super::source::{self, Outcome, Task};
use super::{CorpusError, report::FileSkips};
use crate::cancel::Cancel;

pub use child::serve_if_reader;
use process::{Ended, Process};

/// Where files are taken apart.
#[derive(Clone, Debug, Default)]
pub enum Reader {
    /// In this process: simplest, and enough for documents of one's own. A file made to do harm
    /// may use all memory, never end, or end the process.
    #[default]
    InProcess,
    /// In a child process that is ended when a file kills or hangs it; the file is then reported
    /// and the others go on.
    Process(ReaderSettings),
}

/// How the reader process is started and watched.
#[derive(Clone, Debug)]
pub struct ReaderSettings {
    /// Program and arguments; the reader's hidden argument is appended. The program calls
    /// [`serve_if_reader`] first in `main`. Empty: the current executable.
    pub command: Vec<PathBuf>,
    /// A reader that is silent for longer on a file is ended.
    pub silence_max: Duration,
}

/// Longest silence of a reader that works: parsing the largest PDF that is read (256 MiB) says
/// nothing until it is done.
const SILENCE_MAX: Duration = Duration::from_secs(60);

impl Default for ReaderSettings {
    fn default() -> Self {
        Self { command: Vec::new(), silence_max: SILENCE_MAX }
    }
}

/// Takes files apart, one after another.
pub(super) struct Readings<'a> {
    reader: &'a Reader,
    cancel: &'a Cancel,
    /// The child, once it was needed.
    process: Option<Process>,
}

impl<'a> Readings<'a> {
    pub(super) fn new(reader: &'a Reader, cancel: &'a Cancel) -> Self {
        Self { reader, cancel, process: None }
    }

    /// Reads a file into `sink`. What is wrong with it, and what it does to its reader, becomes a
    /// skip.
    ///
    /// # Errors
    /// The sink's; [`CorpusError::Cancelled`]; [`CorpusError::Reader`] when there is no reader.
    pub(super) fn read(
        &mut self,
        mut file: File,
        task: &Task,
        advanced: &mut dyn FnMut(u64),
        sink: &mut Sink<'_>,
    ) -> Result<Outcome, CorpusError> {
        let Reader::Process(settings) = self.reader else {
            let advanced = RefCell::new(advanced);
            return source::read(file, task, &|bytes| (advanced.borrow_mut())(bytes), sink);
        };
        let idle =
            self.process.take().and_then(|mut process| process.is_ready().then_some(process));
        let mut process = match idle {
            Some(process) => process,
            None => Process::start(settings)?,
        };
        match process.read(&file, task, self.cancel, advanced, sink) {
            Ok(outcome) => {
                self.process = Some(process);
                Ok(outcome)
            }
            Err(Ended::Sink(error)) => Err(error),
            Err(Ended::Cancelled) => Err(CorpusError::Cancelled),
            Err(Ended::Died { how, by_itself }) => Ok(dead(&mut file, &how, by_itself)),
        }
    }
}

/// A file that ended its reader. Its hash is kept, so that it is not tried again as long as it is
/// the same; but not when somebody else ended the reader.
fn dead(file: &mut File, how: &str, by_itself: bool) -> Outcome {
    use std::io::Seek;
    let mut skips = FileSkips::default();
    skips.push(None, format!("the reader {how} on this file"));
    let hashed = file.rewind().and_then(|()| source::hash(file)).ok();
    let bytes = file.metadata().map_or(0, |data| data.len());
    Outcome { sha256: hashed.filter(|_| by_itself), bytes, skips, ..Outcome::default() }
}
