//! What a model scores before and after its weights are rounded: an agent may lose more by it than
//! its perplexity says.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use retort::agent::Settings;
use retort::corpus::Corpus;
use retort::engine::ModelFile;
use retort::eval::{Summary, Task, read_tasks};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;

use crate::environment::{CorpusConfig, Environment, cache_dir, open_corpus};
use crate::score::{ask, compare};

/// What the model must still be able to do.
#[derive(Debug, Args)]
pub struct GateArgs {
    /// Questions with answers (JSON Lines): the file is written only if the model answers nearly as
    /// many of them as before.
    #[arg(long, value_name = "FILE", requires_all = ["corpus", "dialect"])]
    gate: Option<PathBuf>,
    /// Folder of the corpus that the questions are about, or of its documents.
    #[arg(long, value_name = "DIR", requires = "gate")]
    corpus: Option<PathBuf>,
    /// How much less it may answer exactly, in points of a hundred.
    #[arg(long, value_name = "POINTS", default_value_t = 2.0, requires = "gate")]
    drop_max: f64,
}

/// Questions and where they are answered.
pub(super) struct RoundingGate {
    path: PathBuf,
    tasks: Vec<Task>,
    corpus: Corpus,
    _scratch: tempfile::TempDir,
    sandbox: Sandbox,
    drop_max: f64,
}

impl RoundingGate {
    /// Opens what the arguments name; `None` when they name nothing.
    ///
    /// # Errors
    /// Questions or a corpus that cannot be used.
    pub fn open(args: &GateArgs) -> Result<Option<Self>> {
        let (Some(path), Some(corpus)) = (&args.gate, &args.corpus) else { return Ok(None) };
        let drop_max = args.drop_max;
        ensure!(drop_max >= 0.0, "--drop-max is {drop_max}, expected 0 or more points");
        let scratch = tempfile::tempdir().context("a temporary folder")?;
        let opened = open_corpus(&CorpusConfig::Folder(corpus.clone()), scratch.path())?;
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: cache_dir() })?;
        Ok(Some(Self {
            path: path.clone(),
            tasks: read_tasks(path)?,
            corpus: opened,
            _scratch: scratch,
            sandbox,
            drop_max,
        }))
    }

    /// Puts the questions to a model before and after, and says what came of it as a table.
    ///
    /// # Errors
    /// When the second answers too few, with both figures.
    pub fn pass(
        &self,
        dialect: &Dialect,
        (before, whole): (&str, &Path),
        (after, rounded): (&str, &Path),
    ) -> Result<String> {
        let [whole, rounded] = [self.score(dialect, whole)?, self.score(dialect, rounded)?];
        let questions = self.tasks.len();
        ensure!(
            whole.all.exact_match() > 0.0,
            "{before} answers none of {questions} questions exactly: are they about --corpus, and is \
             --dialect the one it was trained in? Nothing was written"
        );
        let table = compare((before, &whole), (after, &rounded), self.drop_max)
            .context("--drop-max: take a larger --type, or --calibrate it")?;
        let name = self.path.file_name().unwrap_or_default().display();
        Ok(format!("{table}\n{questions} questions of `{name}`, answered greedily.\n"))
    }

    fn score(&self, dialect: &Dialect, path: &Path) -> Result<Summary> {
        let environment = Environment { dialect, sandbox: &self.sandbox, retriever: &self.corpus };
        let mut summary = Summary::default();
        let file = ModelFile::open(path)?;
        ask(
            &environment,
            &Settings::default(),
            &self.tasks,
            file,
            "asking",
            &mut |task, run, score| {
                summary.add(task, run, score);
            },
        )?;
        Ok(summary)
    }
}
