//! Eight families of test questions: in what a student's questions differ from those it learnt on.
//!
//! Students learn on the facts and on the arithmetic of *training worlds* ([`TrainingWorld`]).
//! Four families ask for facts, four for arithmetic. The pages are plain ones: students are compared
//! that are too small for long pages. What lessons show of a family's difficulty is little or less
//! of it, but not nothing: a student that has never seen two lengths cannot know that lengths vary.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::arithmetic::{LESSONS, Python, REWORDED, Story, StoryConfig, Words, story};
use super::draw::reads;
use super::plan::{Finish, Plan};
use super::relation::Relation;
use super::task::{Task, TaskKind};
use super::{Domain, Style, World, WorldConfig, WorldError, generate_with};

/// A family of test questions.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    clap::ValueEnum,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Facts of a training world that lessons asked for, over one or two hops, in other words or for
    /// another purpose.
    FactsKnown,
    /// The same of a world of names that no training world has.
    FactsUnseen,
    /// Three hops in such a world; of the lessons about facts 6 % have as many.
    FactsChained,
    /// Comparisons in such a world; half can be guessed.
    FactsCompared,
    /// As most lessons: one to four steps, amounts up to 9,999.
    ArithmeticKnown,
    /// Amounts from 9,999 to 999,999.
    ArithmeticLarge,
    /// Five or six steps; of the lessons about arithmetic one in ten has as many.
    ArithmeticSteps,
    /// Sentences that no lesson has, of words that lessons use.
    ArithmeticWording,
}

/// Kinds of question of training worlds.
const LEARNT: &[(TaskKind, usize)] = &[
    (TaskKind::Lookup, 26),
    (TaskKind::Hop, 26),
    (TaskKind::Chain, 6),
    (TaskKind::Age, 10),
    (TaskKind::Difference, 10),
    (TaskKind::Span, 10),
    (TaskKind::Comparison, 12),
];
/// Kinds of question of the families that ask as training worlds do.
const KNOWN: &[(TaskKind, usize)] = &[
    (TaskKind::Lookup, 30),
    (TaskKind::Hop, 30),
    (TaskKind::Age, 14),
    (TaskKind::Difference, 14),
    (TaskKind::Span, 12),
];
const CHAINED: &[(TaskKind, usize)] = &[(TaskKind::Chain, 1)];
const COMPARED: &[(TaskKind, usize)] = &[(TaskKind::Comparison, 1)];
/// Seeds of test worlds: apart from those of training worlds.
const UNSEEN_SEEDS: u64 = 1 << 40;
/// Stories of training worlds, and those that one in [`LONG_EVERY`] of them is.
const TAUGHT: Stories = Stories { steps: 1..=4, digits: 1..=4, words: &LESSONS };
const LONG: Stories = Stories { steps: 5..=6, ..TAUGHT };
const LONG_EVERY: usize = 10;

/// Stories that differ in length, numbers and sentences.
struct Stories {
    steps: RangeInclusive<usize>,
    digits: RangeInclusive<u32>,
    words: &'static Words,
}

/// The world whose facts students of the families learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingWorld {
    /// Equal seeds give equal worlds.
    pub seed: u64,
    /// Documents.
    pub documents: usize,
    /// Questions about them; half as many of arithmetic are added.
    pub tasks: usize,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::FactsKnown,
        Self::FactsUnseen,
        Self::FactsChained,
        Self::FactsCompared,
        Self::ArithmeticKnown,
        Self::ArithmeticLarge,
        Self::ArithmeticSteps,
        Self::ArithmeticWording,
    ];

    /// `count` test questions for students of `training`, with the documents they are about;
    /// arithmetic needs none.
    ///
    /// # Errors
    /// When the documents do not allow so many questions.
    pub fn draw(self, training: &TrainingWorld, count: usize) -> Result<World, WorldError> {
        let &TrainingWorld { seed, documents, .. } = training;
        let unseen = |shares| {
            let seed = seed.wrapping_add(UNSEEN_SEEDS);
            facts(seed, documents, [count, 0], shares, 0, &|_| true)
        };
        let stories = |stories: Stories| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(UNSEEN_SEEDS));
            rng.set_stream(self as u64);
            let test = stories.draw(&format!("family-{seed}"), count, &mut rng);
            Ok(World { documents: Vec::new(), entities: Vec::new(), test, train: Vec::new() })
        };
        match self {
            Self::FactsKnown => training.asked_otherwise(count),
            Self::FactsUnseen => unseen(KNOWN),
            Self::FactsChained => unseen(CHAINED),
            Self::FactsCompared => unseen(COMPARED),
            Self::ArithmeticKnown => stories(TAUGHT),
            Self::ArithmeticLarge => stories(Stories { digits: 5..=6, ..TAUGHT }),
            Self::ArithmeticSteps => stories(Stories { steps: 5..=6, ..TAUGHT }),
            Self::ArithmeticWording => stories(Stories { words: &REWORDED, ..TAUGHT }),
        }
    }
}

impl TrainingWorld {
    /// It, with its questions.
    ///
    /// # Errors
    /// When the documents do not allow so many questions.
    pub fn generate(&self) -> Result<World, WorldError> {
        let mut world = facts(self.seed, self.documents, [0, self.tasks], LEARNT, 0, &|_| true)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::MAX);
        let id = format!("story-{}", self.seed);
        let (stories, long) = (self.tasks / 2, self.tasks / 2 / LONG_EVERY);
        world.train.extend(TAUGHT.draw(&id, stories - long, &mut rng));
        world.train.extend(LONG.draw(&format!("long-{id}"), long, &mut rng));
        Ok(world)
    }

    /// `count` other questions whose facts its own questions ask for.
    fn asked_otherwise(&self, count: usize) -> Result<World, WorldError> {
        let training = self.generate()?;
        let facts_of = |task: &Task| -> Vec<(String, Relation)> {
            let read = task.plan.iter().flat_map(|plan| reads(plan, &training.entities).0);
            read.map(|read| (read.title, read.relation)).collect()
        };
        let taught: BTreeSet<(String, Relation)> =
            training.train.iter().flat_map(facts_of).collect();
        let questions: BTreeSet<&str> =
            training.train.iter().map(|task| task.question.as_str()).collect();
        let accepts = |task: &Task| {
            !questions.contains(task.question.as_str())
                && facts_of(task).iter().all(|fact| taught.contains(fact))
        };
        let mut world = facts(self.seed, self.documents, [0, count], KNOWN, 1, &accepts)?;
        world.test = std::mem::take(&mut world.train);
        Ok(world)
    }
}

impl Stories {
    /// `count` different ones.
    fn draw(&self, id: &str, count: usize, rng: &mut ChaCha8Rng) -> Vec<Task> {
        let mut seen = BTreeSet::new();
        let mut tasks = Vec::with_capacity(count);
        while tasks.len() < count {
            let config = StoryConfig {
                steps: rng.random_range(self.steps.clone()),
                number_max: 10_i64.pow(rng.random_range(self.digits.clone())) - 1,
                words: self.words,
                python: Python::Lines,
            };
            let Story { question, code, answer, working } = story(&config, rng);
            if seen.insert(question.clone()) {
                let finish = Finish::Compute { code, answer: answer.clone(), working };
                let plan = Some(Plan { needs: Vec::new(), finish });
                let id = format!("{id}-{:04}", tasks.len());
                tasks.push(Task { id, question, answer, kind: TaskKind::NoSearch, plan });
            }
        }
        tasks
    }
}

fn facts(
    seed: u64,
    documents: usize,
    [test_tasks, train_tasks]: [usize; 2],
    shares: &[(TaskKind, usize)],
    draw: u64,
    accepts: &dyn Fn(&Task) -> bool,
) -> Result<World, WorldError> {
    let config = WorldConfig {
        seed,
        domain: Domain::Gazetteer,
        style: Style::Plain,
        documents,
        test_tasks,
        train_tasks,
    };
    generate_with(&config, [shares, shares], draw, accepts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TRAINING: TrainingWorld = TrainingWorld { seed: 5, documents: 200, tasks: 120 };

    #[test]
    fn families_are_functions_of_their_seed_and_hold_what_was_asked_for() {
        for family in Family::ALL {
            let world = family.draw(&TRAINING, 60).unwrap();
            assert_eq!(world.test.len(), 60, "{family:?}");
            assert!(world.train.is_empty());
            assert_eq!(family.draw(&TRAINING, 60).unwrap(), world);
            let other = TrainingWorld { seed: 6, ..TRAINING };
            assert_ne!(family.draw(&other, 60).unwrap().test, world.test);
        }
    }

    #[test]
    fn known_facts_are_those_that_lessons_asked_for_and_unseen_ones_are_of_other_names() {
        let titles = |world: &World| -> BTreeSet<String> {
            world.documents.iter().map(|document| document.title.clone()).collect()
        };
        let training = TRAINING.generate().unwrap();
        assert_eq!(training.train.len(), 180);
        let known = Family::FactsKnown.draw(&TRAINING, 60).unwrap();
        assert_eq!(known.documents, training.documents);
        let facts = |task: &Task| -> Vec<(String, String)> {
            let (read, is_whole) = reads(task.plan.as_ref().unwrap(), &training.entities);
            assert!(is_whole);
            read.into_iter().map(|read| (read.title, read.value)).collect()
        };
        let taught: Vec<(String, String)> = training.train.iter().flat_map(facts).collect();
        for task in &known.test {
            assert!(training.train.iter().all(|learnt| learnt.question != task.question));
            assert!(facts(task).iter().all(|fact| taught.contains(fact)), "{}", task.question);
        }
        let unseen = Family::FactsUnseen.draw(&TRAINING, 60).unwrap();
        assert!(titles(&unseen).is_disjoint(&titles(&training)));
    }

    #[test]
    fn each_family_of_arithmetic_goes_beyond_lessons_in_one_thing() {
        let digits = |world: &World| -> BTreeSet<usize> {
            let is_number = |word: &&str| word.parse::<u64>().is_ok();
            let amount = |task: &Task| task.question.split(' ').find(is_number).map(str::len);
            world.test.iter().filter_map(amount).collect()
        };
        let steps = |world: &World| -> BTreeSet<usize> {
            world.test.iter().map(|task| task.question.matches(". ").count() - 1).collect()
        };
        let draw = |family: Family| family.draw(&TRAINING, 60).unwrap();
        for (world, many, long) in [
            (draw(Family::ArithmeticKnown), 1..=4, 1..=4),
            (draw(Family::ArithmeticLarge), 1..=4, 5..=6),
            (draw(Family::ArithmeticSteps), 5..=6, 1..=4),
            (draw(Family::ArithmeticWording), 1..=4, 1..=4),
        ] {
            assert_eq!(steps(&world), many.collect());
            assert_eq!(digits(&world), long.collect());
        }
    }
}
