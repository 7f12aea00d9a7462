//! Trajectories: the teacher acts in generated worlds through the runtime's own loop, sandbox and
//! corpus, so every observation is real. What it answered rightly is kept.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retort::agent::{Agent, Clock, Settings, Status, Toolbox};
use retort::cancel::Cancel;
use retort::corpus::{Corpus, IngestOptions, ingest};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::{Dialect, Transcript};
use serde::{Deserialize, Serialize};

use crate::teach::TeacherEngine;
use crate::world::{self, Task, World, WorldConfig};

/// Passages a search returns, drawn per task: mostly the runtime's default, but a student that
/// has seen only one number fails on others.
const PASSAGES: [usize; 6] = [3, 3, 3, 2, 4, 3];

/// What to collect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectConfig {
    /// Seed of the first world; the others follow.
    pub seed: u64,
    /// Worlds.
    pub worlds: usize,
    /// Documents of a world.
    pub documents: usize,
    /// Training tasks of a world.
    pub tasks: usize,
    /// Held-out tasks of a world, on names that training never uses.
    pub held_out_tasks: usize,
    /// Threads; no part of the result.
    pub threads: usize,
}

/// Kept trajectories, in order of worlds and tasks.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// For training.
    pub train: Vec<Transcript>,
    /// For judging.
    pub held_out: Vec<Transcript>,
    /// Tasks the teacher did not answer rightly.
    pub dropped: usize,
}

/// Stands still: what a teacher's Python does must not depend on when.
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn unix_seconds(&self) -> i64 {
        0
    }
}

/// The world that `config` puts at `index`.
///
/// # Errors
/// When the generator cannot make it.
pub fn world(config: &CollectConfig, index: usize) -> Result<World> {
    let config = WorldConfig {
        seed: config.seed.wrapping_add(index as u64),
        documents: config.documents,
        test_tasks: config.held_out_tasks,
        train_tasks: config.tasks,
    };
    Ok(world::generate(&config)?)
}

/// Collects in all worlds. `finished` is called after each.
///
/// # Errors
/// When a world cannot be made or indexed, or the sandbox cannot start.
pub fn collect(
    config: &CollectConfig,
    dialect: &Dialect,
    finished: &(dyn Fn() + Sync),
) -> Result<Collected> {
    let sandbox = Sandbox::open(&SandboxOptions { cache_dir: None })?;
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Collected>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..config.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= config.worlds {
                        return;
                    }
                    let collected = collect_world(config, index, dialect, &sandbox);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, collected));
                    finished();
                }
            });
        }
    });
    let mut worlds = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    worlds.sort_by_key(|(index, _)| *index);
    let mut all = Collected::default();
    for (_, collected) in worlds {
        let collected = collected?;
        all.train.extend(collected.train);
        all.held_out.extend(collected.held_out);
        all.dropped += collected.dropped;
    }
    Ok(all)
}

fn collect_world(
    config: &CollectConfig,
    index: usize,
    dialect: &Dialect,
    sandbox: &Sandbox,
) -> Result<Collected> {
    let world = world(config, index)?;
    let dir = tempfile::tempdir().context("a temporary folder")?;
    let corpus = index_world(&world, dir.path())?;
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    random.set_stream(index as u64);
    let mut collected = Collected::default();
    for task in &world.train {
        let passages = PASSAGES.get(random.random_range(0..PASSAGES.len())).copied().unwrap_or(3);
        match teach(task, dialect, sandbox, &corpus, passages) {
            Some(transcript) => collected.train.push(transcript),
            None => collected.dropped += 1,
        }
    }
    for task in &world.test {
        match teach(task, dialect, sandbox, &corpus, 3) {
            Some(transcript) => collected.held_out.push(transcript),
            None => collected.dropped += 1,
        }
    }
    Ok(collected)
}

/// Writes the documents of `world` below `dir` and indexes them.
///
/// # Errors
/// When they cannot be written or indexed.
pub fn index_world(world: &World, dir: &Path) -> Result<Corpus> {
    let lines: Vec<String> = world
        .documents
        .iter()
        .map(|document| {
            let (id, title, text) = (&document.id, &document.title, &document.text);
            serde_json::json!({"id": id, "title": title, "text": text}).to_string() + "\n"
        })
        .collect();
    let file = dir.join("corpus.jsonl");
    std::fs::write(&file, lines.concat())?;
    let folder = dir.join("corpus");
    ingest(&folder, &[file], &IngestOptions::default(), &mut ())?;
    Ok(Corpus::open(&folder)?)
}

/// The teacher's trajectory, if its answer is right.
fn teach(
    task: &Task,
    dialect: &Dialect,
    sandbox: &Sandbox,
    corpus: &Corpus,
    passages: usize,
) -> Option<Transcript> {
    let mut engine = TeacherEngine::new(task.plan.as_ref()?, dialect);
    let mut agent = Agent {
        engine: &mut engine,
        sandbox,
        retriever: corpus,
        toolbox: &Toolbox::default(),
        dialect,
        clock: &StillClock,
        settings: Settings { passages_per_search: passages, ..Settings::default() },
        cancel: Cancel::default(),
    };
    let run = agent.run(&task.question, &mut ());
    let is_right = run.status == Status::Answered
        && !run.forced
        && run.answer.as_deref() == Some(task.answer.as_str());
    is_right.then_some(run.transcript)
}
