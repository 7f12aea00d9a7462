//! What is searched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use retort::agent::{Retrieved, Retriever, RetrieverError};
use retort::cli::corpus_dir;
use retort::corpus::{Corpus, IngestOptions, Reader, ReaderSettings, ingest};
use retort::profile::Folders;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::world::World;

/// What is searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CorpusConfig {
    /// A corpus that `retort index` made, by its name in the data folder.
    Name(String),
    /// A folder: a corpus, or documents that are indexed beside the output.
    Folder(PathBuf),
}

/// Where snapshots of the interpreter are kept.
#[must_use]
pub fn cache_dir() -> Option<PathBuf> {
    Folders::from_environment(|name| std::env::var(name).ok()).cache
}

/// Opens the corpus. Documents that are no corpus yet are indexed into `scratch`.
///
/// # Errors
/// When there is none of that name, or it cannot be made or opened.
pub fn open_corpus(config: &CorpusConfig, scratch: &Path) -> Result<Corpus> {
    match config {
        CorpusConfig::Name(name) => Ok(Corpus::open(&corpus_dir(name).context("corpus.name")?)?),
        CorpusConfig::Folder(folder) if folder.join("corpus.db").is_file() => {
            Ok(Corpus::open(folder)?)
        }
        CorpusConfig::Folder(folder) => {
            let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
            ensure!(folder.exists(), "corpus.folder: there is nothing at {}", whole.display());
            let options = IngestOptions {
                // Documents come from anywhere, and their parsers are large.
                reader: Reader::Process(ReaderSettings::default()),
                ..IngestOptions::default()
            };
            let anew =
                || format!("remove {} to have the documents indexed anew", scratch.display());
            let report = ingest(scratch, std::slice::from_ref(folder), &options, &mut ());
            let report = report.with_context(anew)?;
            for skip in &report.skipped {
                errln!("passed over: {}: {}", skip.path.display(), skip.reason);
            }
            Corpus::open(scratch).with_context(anew)
        }
    }
}

/// A hash of what is in a corpus, whatever the order in which it was indexed.
///
/// # Errors
/// When a passage cannot be read.
pub fn fingerprint(corpus: &Corpus) -> Result<String> {
    let mut sum = [0_u8; 32];
    for hit in corpus.passages() {
        let hit = hit?;
        let mut hasher = Sha256::new();
        for part in [hit.document.as_bytes(), &hit.ordinal.to_le_bytes(), hit.passage.as_bytes()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        for (sum, byte) in sum.iter_mut().zip(hasher.finalize()) {
            *sum ^= byte;
        }
    }
    Ok(hex::encode(sum))
}

/// Writes the documents of `world` below `dir` and indexes them.
///
/// # Errors
/// When they cannot be written or indexed.
pub fn index_world(world: &World, dir: &Path) -> Result<Corpus> {
    let line = |document| Ok(serde_json::to_string(document)? + "\n");
    let lines = world.documents.iter().map(line).collect::<Result<String>>()?;
    let file = dir.join("corpus.jsonl");
    fs::write(&file, lines)?;
    let folder = dir.join("corpus");
    ingest(&folder, &[file], &IngestOptions::default(), &mut ())?;
    Ok(Corpus::open(&folder)?)
}

/// Nothing to search, as for mathematics.
pub struct NoCorpus;

impl Retriever for NoCorpus {
    fn retrieve(&self, _query: &str, _limit: usize) -> Result<Vec<Retrieved>, RetrieverError> {
        Ok(Vec::new())
    }
}
