//! The last stage: a student of what was kept, and how it answers the questions that were set aside.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use retort::agent::{Budgets, Settings};
use retort::engine::ModelFile;
use retort::eval::{Summary, read_tasks};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;
use serde::{Deserialize, Serialize};

use crate::collect::CollectConfig;
use crate::cuda::Device;
use crate::durable::replace_text;
use crate::environment::{CorpusConfig, Environment, cache_dir, open_corpus};
use crate::score::ask;
use crate::student::{self, Recipe};
use crate::trajectory::{DataConfig, Mode};

/// What becomes of the trajectories that are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentConfig {
    /// Recipe of a student, relative to the folder of the file that names it. Whatever its `data`
    /// says, it learns from what was kept.
    pub recipe: PathBuf,
}

/// A student that is yet to be made.
pub(super) struct Pupil {
    recipe: Recipe,
    dialect: Dialect,
    /// As its teacher acted.
    settings: Settings,
}

impl Pupil {
    /// Reads the recipe, and refuses one whose student could not be made below `out` or could not
    /// learn what `collect` brings.
    pub fn read(
        config: &StudentConfig,
        collect: &CollectConfig,
        (out, kept): (&Path, &Path),
        device: Device,
    ) -> Result<Self> {
        let named = || "student.recipe";
        let mut recipe = Recipe::read(&config.recipe).with_context(named)?;
        let (theirs, own) = (&collect.dialect, &recipe.dialect);
        ensure!(
            theirs == own,
            "student.recipe: {} is of dialect {own:?}, collect.dialect is {theirs:?}",
            config.recipe.display()
        );
        ensure!(
            collect.mode == Mode::Agent,
            "student: collect.mode is {}; a student that acts learns from mode {}",
            collect.mode,
            Mode::Agent
        );
        ensure!(
            recipe.data_share > 0.0,
            "student.recipe: {}: data_share is 0, so nothing of what is collected would be learnt",
            config.recipe.display()
        );
        // What it learns from is not there yet.
        let without_data = Recipe { data: None, ..recipe.clone() };
        student::check(&without_data, out, device).with_context(named)?;
        let trajectories = kept.to_owned();
        recipe.data = Some(match recipe.data {
            Some(data) => DataConfig { trajectories, ..data },
            None => DataConfig::of(trajectories),
        });
        let dialect = Dialect::named(own)?;
        let budgets = Budgets { steps_max: collect.steps_max, ..Budgets::default() };
        let settings = Settings {
            passages_per_search: collect.passages_per_search,
            budgets,
            ..Settings::default()
        };
        Ok(Self { recipe, dialect, settings })
    }

    /// Makes it below `out`; gives its file.
    pub fn make(&self, out: &Path, device: Device) -> Result<PathBuf> {
        student::make(&self.recipe, out, device)
    }

    /// Has the student in `gguf` answer `questions` about a corpus, documents of which are indexed
    /// into `scratch`; the lines of `retort eval --json` are written beside it.
    pub fn score(
        &self,
        gguf: &Path,
        questions: &Path,
        (corpus, scratch): (&CorpusConfig, &Path),
    ) -> Result<Summary> {
        let tasks = read_tasks(questions)?;
        let corpus = open_corpus(corpus, scratch)?;
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: cache_dir() })?;
        let environment =
            Environment { dialect: &self.dialect, sandbox: &sandbox, retriever: &corpus };
        let (mut summary, mut lines) = (Summary::default(), String::new());
        let file = ModelFile::open(gguf)?;
        ask(&environment, &self.settings, &tasks, file, "asking", &mut |task, run, score| {
            summary.add(task, run, score);
            lines += &(task.report(run, score, None).to_string() + "\n");
        })?;
        let path = gguf.with_extension("questions.jsonl");
        replace_text(&path, &(lines + &summary.json().to_string() + "\n"))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(summary)
    }
}
