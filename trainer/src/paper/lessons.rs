//! What the students of a table learn from: the same questions, answered by the same teacher.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use rayon::prelude::*;
use retort::agent::Retriever;
use retort::sandbox::Sandbox;
use retort_transcript::{Dialect, Passage, Transcript};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::config::PaperRecipe;
use crate::classroom::Classroom;
use crate::environment::NoCorpus;
use crate::environment::{Environment, index_world};
use crate::student::{Drills, Rendered, curriculum};
use crate::teach::{Drill, Manner, Slips, explain, with_passages};
use crate::tokenizer::Vocabulary;
use crate::trajectory::Manifest;
use crate::world::{Finish, Task, World, reads};

/// What a student is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regime {
    /// Chains of thought.
    Cot,
    /// Chains of thought under retrieved passages.
    CotPassages,
    /// Trajectories.
    Agent,
    /// Trajectories with a first-thought prefix.
    AgentPrefix,
}

impl Regime {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cot, Self::CotPassages, Self::Agent, Self::AgentPrefix];

    /// Name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cot => "cot",
            Self::CotPassages => "cot-passages",
            Self::Agent => "agent",
            Self::AgentPrefix => "agent-prefix",
        }
    }
}

/// What every student of a table has in common.
pub(super) struct Lessons {
    runs: [Vec<Rendered>; Regime::ALL.len()],
    /// The same for all.
    pub drills: Drills,
    /// The same for all.
    pub vocabulary: Vocabulary,
    tasks: usize,
}

/// One question as each of [`Regime::ALL`] learns it.
type Lesson = [Transcript; Regime::ALL.len()];

impl Lessons {
    /// The teacher's lessons in all training worlds. A question counts when both of its trajectories
    /// end in the right answer; the other regimes then have the same questions.
    pub fn collect(
        recipe: &PaperRecipe,
        dialect: &Dialect,
        sandbox: &Sandbox,
        bar: &ProgressBar,
    ) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(recipe.threads.max(1)).build()?;
        let indices = 0..recipe.worlds;
        let worlds: Vec<(usize, Vec<Lesson>)> = pool.install(|| {
            let taught = indices.clone().into_par_iter().map(|index| {
                let taught = world_lessons(recipe, index, dialect, sandbox);
                bar.inc(1);
                taught
            });
            taught.collect::<Result<_>>()
        })?;
        let tasks = worlds.iter().map(|(tasks, _)| tasks).sum();
        let mut runs: [Vec<Rendered>; Regime::ALL.len()] = Default::default();
        for lesson in worlds.into_iter().flat_map(|(_, lessons)| lessons) {
            for (runs, transcript) in runs.iter_mut().zip(&lesson) {
                runs.push(dialect.render_training(transcript));
            }
        }
        let worlds = indices.map(|index| training(recipe, index));
        let per_world = recipe.drills.div_ceil(recipe.worlds);
        let skills = [Drill::Copy, Drill::Recall, Drill::Lookup];
        let drills = Drills::draw(worlds, &skills, per_world, recipe.world_seed, dialect, false)?;
        let [cot, passages, agent, prefix] = &runs;
        let all = cot.iter().zip(passages).zip(agent.iter().zip(prefix));
        let all = all.flat_map(|((cot, passages), (agent, prefix))| [cot, passages, agent, prefix]);
        let vocabulary = curriculum::vocabulary(all, &drills, recipe.vocabulary_max)?;
        Ok(Self { runs, drills, vocabulary, tasks })
    }

    pub fn of(&self, regime: Regime) -> &[Rendered] {
        self.runs.get(regime as usize).map_or(&[], Vec::as_slice)
    }

    /// Writes into `folder` how many questions the teacher's slips took away, and from what.
    pub fn record(&self, recipe: &str, folder: &Path) -> Result<()> {
        let kept = self.of(Regime::Cot).len();
        let made_by = Map::from_iter([("recipe".to_owned(), json!(recipe))]);
        let mut manifest = Manifest { complete: true, ..Manifest::new("lessons", made_by) };
        manifest.counts = Map::from_iter([
            ("questions".to_owned(), json!(self.tasks)),
            ("kept".to_owned(), json!(kept)),
            ("slipped".to_owned(), json!(self.tasks - kept)),
            ("vocabulary".to_owned(), json!(self.vocabulary.len())),
        ]);
        fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        manifest.write(&folder.join("lessons.manifest.json"))
    }

    pub fn summary(&self) -> String {
        let kept = self.of(Regime::Cot).len();
        format!(
            "{kept} of {} questions kept: the teacher slipped in the others; {} tokens",
            self.tasks,
            self.vocabulary.len()
        )
    }
}

fn training(recipe: &PaperRecipe, index: usize) -> Result<World> {
    Ok(recipe.training_world(index).generate()?)
}

/// The tasks of a world, and the lessons that are kept.
fn world_lessons(
    recipe: &PaperRecipe,
    index: usize,
    dialect: &Dialect,
    sandbox: &Sandbox,
) -> Result<(usize, Vec<Lesson>)> {
    let world = training(recipe, index)?;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let corpus = index_world(&world, folder.path())?;
    let mut kept = Vec::new();
    for (number, task) in world.train.iter().enumerate() {
        let corpus: &dyn Retriever = if is_factual(task) { &corpus } else { &NoCorpus };
        let seed = ((recipe.world_seed + index as u64) << 20) | number as u64;
        let slips = Slips { rate: recipe.slips, seed };
        let environment = Environment { dialect, sandbox, retriever: corpus };
        let act = |manner| Classroom { environment, manner }.teach(task, 3, slips);
        let (bare, prefixed) = (act(Manner::Bare)?, act(Manner::Prefixed)?);
        if bare.is_right && prefixed.is_right {
            let plan = task.plan.as_ref().context("a task has no plan")?;
            let text = explain(plan, &reads(plan, &world.entities).0, &task.answer);
            let passages = passages(corpus, &task.question, recipe.passages)?;
            let under = |passages| with_passages(dialect, &task.question, passages, &text);
            kept.push([under(&[]), under(&passages), bare.transcript, prefixed.transcript]);
        }
    }
    Ok((world.train.len(), kept))
}

/// Whether a task is about documents.
fn is_factual(task: &Task) -> bool {
    !matches!(&task.plan, Some(plan) if matches!(plan.finish, Finish::Compute { .. }))
}

/// What a student that does not search is shown.
pub(super) fn passages(
    corpus: &dyn Retriever,
    question: &str,
    count: usize,
) -> Result<Vec<Passage>> {
    let found = corpus.retrieve(question, count)?;
    Ok(found.into_iter().map(|found| found.passage).collect())
}
