//! Trajectories: the teacher acts in generated worlds through the runtime's own loop, sandbox and
//! corpus, so every observation is real. What it answered rightly is kept.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retort::agent::{Settings, Status};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::{Dialect, Transcript};
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, index_world};
use crate::teach::{Manner, Slips, TeacherEngine, first_search_missed};
use crate::world::{self, Domain, Style, Task, TaskKind, World, WorldConfig, WorldError};

/// Passages a search returns, drawn per task: mostly the runtime's default, but a student that
/// has seen only one number fails on others.
const PASSAGES: [usize; 6] = [3, 3, 3, 2, 4, 3];

/// Seeds that are tried for one world: about one in a hundred of 400 documents lacks a kind of
/// question among its few held-out pages.
const WORLD_ATTEMPTS: u64 = 8;

/// What to collect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassroomConfig {
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
    /// How documents are written, and what is asked about them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub style: Style,
    /// What the worlds are about, in turn.
    #[serde(default = "gazetteer", skip_serializing_if = "is_gazetteer")]
    pub domains: Vec<Domain>,
    /// Share of the teacher's actions that are wrong, 0..=1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub slips: f64,
    /// Share of a kind of question among the training tasks, beside those of the style: what is
    /// hard is asked more often. Only their ratios count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shares: BTreeMap<TaskKind, usize>,
}

impl ClassroomConfig {
    /// What decides the trajectories: threads do not. Keys of students hold their usual number.
    pub(crate) fn made_by(&self) -> Self {
        Self { threads: 2, ..self.clone() }
    }

    /// The shares of every kind among the training tasks.
    pub(crate) fn train_shares(&self) -> Vec<(TaskKind, usize)> {
        let usual = TaskKind::shares(self.style).iter();
        usual.map(|(kind, share)| (*kind, *self.shares.get(kind).unwrap_or(share))).collect()
    }
}

/// The domains of recipes that name none.
pub fn gazetteer() -> Vec<Domain> {
    vec![Domain::Gazetteer]
}

// What a recipe does not say is not written either, so that its key stays as it was.
fn is_gazetteer(domains: &[Domain]) -> bool {
    domains == gazetteer()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How the teacher did in one kind of question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Tasks.
    pub tasks: usize,
    /// Answered rightly.
    pub right: usize,
    /// Tasks whose first search did not show what it was for, though the corpus holds it.
    pub missed: usize,
    /// Of these, answered rightly.
    pub missed_right: usize,
}

/// How the teacher did, by kind of question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallies(pub BTreeMap<TaskKind, Tally>);

impl Tallies {
    /// All kinds together.
    #[must_use]
    pub fn all(&self) -> Tally {
        self.0.values().fold(Tally::default(), |mut all, tally| {
            all.add(tally);
            all
        })
    }

    /// Counts one task.
    pub fn count(&mut self, kind: TaskKind, is_right: bool, missed: bool) {
        let one = Tally {
            tasks: 1,
            right: usize::from(is_right),
            missed: usize::from(missed),
            missed_right: usize::from(missed && is_right),
        };
        self.0.entry(kind).or_default().add(&one);
    }

    /// Counts those of another world too.
    pub fn merge(&mut self, other: &Self) {
        for (kind, tally) in &other.0 {
            self.0.entry(*kind).or_default().add(tally);
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.right += other.right;
        self.missed += other.missed;
        self.missed_right += other.missed_right;
    }
}

impl fmt::Display for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>6} {:>6} {:>12} {:>6}",
            "kind", "tasks", "right", "first missed", "right"
        )?;
        let rows = self.0.iter().map(|(kind, tally)| (format!("{kind:?}"), *tally));
        for (kind, tally) in rows.chain([("all".to_owned(), self.all())]) {
            let Tally { tasks, right, missed, missed_right } = tally;
            writeln!(f, "{kind:<12} {tasks:>6} {right:>6} {missed:>12} {missed_right:>6}")?;
        }
        Ok(())
    }
}

/// The trajectories of a world that are kept, in the order of its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// [`COLLECTED_VERSION`] of the writer.
    pub version: u32,
    /// Number of the world.
    pub world: usize,
    /// For training.
    pub train: Vec<Transcript>,
    /// For judging.
    pub held_out: Vec<Transcript>,
    /// How the teacher did.
    pub tallies: Tallies,
}

impl Collected {
    /// Nothing yet of a world.
    fn of(world: usize) -> Self {
        let (train, held_out) = (Vec::new(), Vec::new());
        Self { version: COLLECTED_VERSION, world, train, held_out, tallies: Tallies::default() }
    }
}

/// The world that `config` puts at `index`. Where its pages happen to allow too few questions of a
/// kind, another one stands there.
///
/// # Errors
/// When the generator cannot make it, however often it tries.
pub fn world(config: &ClassroomConfig, index: usize) -> Result<World> {
    let domain = config.domains.get(index % config.domains.len().max(1)).copied();
    let domain = domain.context("collect.domains is empty: name gazetteer, plant or both")?;
    let shares = config.train_shares();
    let generate = |attempt: u64| {
        let seed = config.seed.wrapping_add(index as u64).wrapping_add(attempt << 32);
        let world = WorldConfig {
            seed,
            domain,
            style: config.style,
            documents: config.documents,
            test_tasks: config.held_out_tasks,
            train_tasks: config.tasks,
        };
        world::generate_with(&world, [TaskKind::shares(config.style), &shares], 0, &|_| true)
    };
    let too_few =
        |made: &Result<World, WorldError>| matches!(made, Err(WorldError::TooFewDocuments { .. }));
    let made = (0..WORLD_ATTEMPTS).map(generate).find(|made| !too_few(made));
    Ok(made.unwrap_or_else(|| generate(0))?)
}

/// Version of [`Collected`] in files.
pub const COLLECTED_VERSION: u32 = 1;

/// Collects in the worlds that `known` lacks, and gives those of all in their order. `keep` is called
/// with each that is new.
///
/// # Errors
/// When a world cannot be made, indexed or kept, or the sandbox cannot start.
pub fn collect(
    config: &ClassroomConfig,
    dialect: &Dialect,
    known: Vec<Collected>,
    keep: &(dyn Fn(&Collected) -> Result<()> + Sync),
) -> Result<Vec<Collected>> {
    let sandbox = Sandbox::open(&SandboxOptions { cache_dir: None })?;
    let missing: Vec<usize> = (0..config.worlds)
        .filter(|index| known.iter().all(|collected| collected.world != *index))
        .collect();
    let one = |index| {
        let collected = collect_world(config, index, dialect, &sandbox)?;
        keep(&collected)?;
        Ok(collected)
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.threads.max(1)).build()?;
    let new = pool.install(|| missing.into_par_iter().map(one).collect::<Result<Vec<_>>>())?;
    let mut all = known;
    all.extend(new);
    all.sort_by_key(|collected| collected.world);
    Ok(all)
}

fn collect_world(
    config: &ClassroomConfig,
    index: usize,
    dialect: &Dialect,
    sandbox: &Sandbox,
) -> Result<Collected> {
    let world = world(config, index)?;
    let dir = tempfile::tempdir().context("a temporary folder")?;
    let corpus = index_world(&world, dir.path())?;
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    random.set_stream(index as u64);
    let mut collected = Collected::of(index);
    let environment = Environment { dialect, sandbox, retriever: &corpus };
    let classroom = Classroom { environment, manner: Manner::default() };
    let tasks = world.train.iter().map(|task| (task, true));
    for (number, (task, is_training)) in
        tasks.chain(world.test.iter().map(|task| (task, false))).enumerate()
    {
        let passages = match is_training {
            true => PASSAGES.get(random.random_range(0..PASSAGES.len())).copied().unwrap_or(3),
            false => 3,
        };
        let seed = ((config.seed.wrapping_add(index as u64)) << 20) | number as u64;
        let lesson = classroom.teach(task, passages, Slips { rate: config.slips, seed })?;
        collected.tallies.count(task.kind, lesson.is_right, lesson.missed);
        match (lesson.is_right, is_training) {
            (false, _) => {}
            (true, true) => collected.train.push(lesson.transcript),
            (true, false) => collected.held_out.push(lesson.transcript),
        }
    }
    Ok(collected)
}

/// Where the teacher acts.
pub struct Classroom<'a> {
    /// What it meets there.
    pub environment: Environment<'a>,
    /// How the teacher thinks.
    pub manner: Manner,
}

/// What the teacher did with one task.
pub struct Attempt {
    /// All it did.
    pub transcript: Transcript,
    /// Its answer.
    pub answer: Option<String>,
    /// Whether that is the right one.
    pub is_right: bool,
    /// Whether the first search did not show what it was for, though the corpus holds it.
    pub missed: bool,
}

impl Classroom<'_> {
    /// The teacher's way through `task` with this many passages a search.
    ///
    /// # Errors
    /// When the task has no plan.
    pub fn teach(&self, task: &Task, passages: usize, slips: Slips) -> Result<Attempt> {
        let plan = task.plan.as_ref().with_context(|| format!("{}: no plan", task.id))?;
        let dialect = self.environment.dialect;
        let mut engine = TeacherEngine::new(plan, dialect, self.manner, slips);
        let settings = Settings { passages_per_search: passages, ..Settings::default() };
        let run = self.environment.run(&mut engine, &task.question, settings);
        let run = run.with_context(|| task.id.clone())?;
        let is_right = run.status == Status::Answered
            && !run.forced
            && run.answer.as_deref() == Some(task.answer.as_str());
        let missed = task.kind != TaskKind::Absent && first_search_missed(plan, &run.transcript);
        Ok(Attempt { transcript: run.transcript, answer: run.answer, is_right, missed })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_world_that_lacks_a_kind_of_question_gives_way() {
        let config = ClassroomConfig {
            seed: 310_000,
            worlds: 2,
            documents: 400,
            tasks: 350,
            held_out_tasks: 14,
            threads: 1,
            style: Style::Full,
            domains: vec![Domain::Gazetteer, Domain::Plant],
            slips: 0.0,
            shares: BTreeMap::new(),
        };
        let drawn =
            WorldConfig { train_tasks: 350, ..WorldConfig::new(310_001, Domain::Plant, 400, 14) };
        assert!(matches!(world::generate(&drawn), Err(WorldError::TooFewDocuments { .. })));
        let made = world(&config, 1).unwrap();
        assert_eq!((made.test.len(), made.train.len()), (14, 350));
        assert_eq!(made, world(&config, 1).unwrap());
        let told = world(&ClassroomConfig { documents: 90, ..config }, 1).unwrap_err().to_string();
        assert!(told.contains("ask for more documents or fewer tasks"), "{told}");
    }

    #[test]
    fn what_is_hard_is_asked_more_often_in_training_alone() {
        let usual = ClassroomConfig {
            seed: 3,
            worlds: 1,
            documents: 200,
            tasks: 50,
            held_out_tasks: 14,
            threads: 1,
            style: Style::Full,
            domains: gazetteer(),
            slips: 0.0,
            shares: BTreeMap::new(),
        };
        let shares = BTreeMap::from([(TaskKind::Chain, 58), (TaskKind::NoSearch, 0)]);
        let harder = ClassroomConfig { shares, ..usual.clone() };
        let count = |tasks: &[Task], kind| tasks.iter().filter(|task| task.kind == kind).count();
        let (usual, harder) = (world(&usual, 0).unwrap(), world(&harder, 0).unwrap());
        assert_eq!(usual.documents, harder.documents);
        assert_eq!(usual.test, harder.test);
        assert_eq!(harder.train.len(), 50);
        assert!(count(&harder.train, TaskKind::Chain) > 3 * count(&usual.train, TaskKind::Chain));
        assert_eq!(count(&harder.train, TaskKind::NoSearch), 0);
    }

    #[test]
    fn worlds_that_are_there_are_not_collected_again() {
        let config = ClassroomConfig {
            seed: 1,
            worlds: 3,
            documents: 120,
            tasks: 12,
            held_out_tasks: 2,
            threads: 2,
            style: Style::Plain,
            domains: gazetteer(),
            slips: 0.0,
            shares: BTreeMap::new(),
        };
        let dialect = Dialect::named("retort").unwrap();
        let kept = std::sync::Mutex::new(Vec::new());
        let keep = |collected: &Collected| {
            kept.lock().unwrap().push(collected.world);
            Ok(())
        };
        let all = collect(&config, &dialect, Vec::new(), &keep).unwrap();
        assert_eq!(all.iter().map(|one| one.world).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(kept.lock().unwrap().len(), 3);
        kept.lock().unwrap().clear();
        let some = vec![all[2].clone(), all[0].clone()];
        assert_eq!(collect(&config, &dialect, some, &keep).unwrap(), all);
        assert_eq!(*kept.lock().unwrap(), [1]);
    }
}
