//! Where things lie, and how the parts of a run are opened by name.

use std::cell::OnceCell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::exit::UsageError;
use super::model::{self, Model};
use crate::bundled;
use crate::cancel::Cancel;
use crate::corpus::{
    self, Corpus, CorpusError, CorpusState, IngestOptions, Reader, ReaderSettings,
};
use crate::profile::Resolved;

/// The corpus that is asked when none is named and there are several.
pub const DEFAULT_CORPUS: &str = "demo";

/// The settings in force, and the token that ends work.
#[derive(Clone)]
pub struct Context {
    /// Settings, board profile, and where each value came from.
    pub resolved: Resolved,
    /// Snapshots of the sandbox; `None` without a home.
    pub cache_dir: Option<PathBuf>,
    /// Set by Ctrl-C.
    pub cancel: Cancel,
    /// Where the demo corpus lies when it is not kept; gone when the program ends.
    pub scratch: Rc<OnceCell<TempDir>>,
}

impl Context {
    /// The data folder, where one is needed.
    pub fn data_dir(&self) -> Result<&Path> {
        let dir = self.resolved.settings.data_dir.as_deref();
        dir.context("there is no home directory: name a data folder with --data-dir")
    }

    /// The folder of a corpus.
    pub fn corpus_dir(&self, name: &str) -> Result<PathBuf> {
        if !is_plain_word(name) {
            let message = format!("{name:?} is no name of a corpus: expected a plain word");
            return Err(UsageError(message).into());
        }
        Ok(self.data_dir()?.join("corpora").join(name))
    }

    /// How files are indexed: taken apart in a process of their own.
    pub fn ingest_options(&self) -> IngestOptions {
        IngestOptions {
            cancel: self.cancel.clone(),
            reader: Reader::Process(ReaderSettings::default()),
            ..IngestOptions::default()
        }
    }

    /// Opens the corpus; if none is set the only one there is, else `demo`.
    pub fn corpus(&self) -> Result<(String, Corpus)> {
        let name = match &self.resolved.settings.corpus {
            Some(name) => name.clone(),
            None => self.only_corpus()?,
        };
        if name == DEFAULT_CORPUS && self.resolved.settings.data_dir.is_none() {
            tracing::warn!("there is no home directory: the demo corpus is not kept");
            return Ok((name, self.scratch_corpus()?));
        }
        let dir = self.corpus_dir(&name)?;
        let cache_bytes = self.resolved.profile.corpus_cache_bytes;
        let corpus = match Corpus::open_cached(&dir, cache_bytes) {
            Err(CorpusError::Missing { .. } | CorpusError::Empty { .. })
                if name == DEFAULT_CORPUS =>
            {
                self.demo_corpus(&dir)?
            }
            // An older version of the program made it; it is small.
            Err(CorpusError::Incompatible { .. }) if name == DEFAULT_CORPUS => {
                corpus::repair(&dir, &self.ingest_options(), &mut ())?;
                Corpus::open_cached(&dir, cache_bytes)?
            }
            opened => opened?,
        };
        Ok((name, corpus))
    }

    /// Indexes the documents that are part of the program; where the home cannot be written, into
    /// a temporary folder.
    fn demo_corpus(&self, dir: &Path) -> Result<Corpus> {
        match build_demo(dir) {
            Ok(corpus) => Ok(corpus),
            Err(error) => {
                tracing::warn!("the demo corpus is not kept: {error:#}");
                self.scratch_corpus()
            }
        }
    }

    fn scratch_corpus(&self) -> Result<Corpus> {
        let dir = tempfile::tempdir()?;
        build_demo(&self.scratch.get_or_init(|| dir).path().join(DEFAULT_CORPUS))
    }

    fn only_corpus(&self) -> Result<String> {
        let Some(data) = &self.resolved.settings.data_dir else {
            return Ok(DEFAULT_CORPUS.to_owned());
        };
        let mut entries = corpus::list(&data.join("corpora"))?;
        // One whose first ingest found nothing does not stand before the demo.
        entries.retain(|entry| !matches!(entry.state, CorpusState::Empty));
        match entries.pop() {
            Some(only) if entries.is_empty() => Ok(only.name),
            _ => Ok(DEFAULT_CORPUS.to_owned()),
        }
    }

    /// A model by path or by its name in the models folder; the bundled student without one.
    pub fn model(&self, named: Option<&Path>) -> Result<Model> {
        match named {
            None => Model::bundled(),
            Some(named) => Model::open(&model::locate(named, &self.resolved.settings)?),
        }
    }
}

/// Whether a name is one of a file in its folder, and of one line.
pub fn is_plain_word(name: &str) -> bool {
    let is_odd = |letter: char| letter.is_control() || matches!(letter, '/' | '\\');
    !name.is_empty() && !name.starts_with('.') && !name.contains(is_odd)
}

/// Builds it aside and moves it into its place whole: it may be cut off, and others may build it at
/// the same time.
fn build_demo(dir: &Path) -> Result<Corpus> {
    let folder = dir.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let documents = dir.with_extension("jsonl");
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bundled::DEMO_CORPUS.as_ref())?;
    file.persist(&documents)?;
    let aside = tempfile::Builder::new().prefix(".demo-").tempdir_in(folder)?;
    corpus::ingest(aside.path(), &[documents], &IngestOptions::default(), &mut ())?;
    if std::fs::rename(aside.path(), dir).is_err() {
        match Corpus::open(dir) {
            // Its making was cut off. One that is being filled is busy.
            Err(CorpusError::Empty { .. }) => corpus::remove(dir)?,
            opened => return Ok(opened?),
        }
        std::fs::rename(aside.path(), dir)?;
    }
    Ok(Corpus::open(dir)?)
}
