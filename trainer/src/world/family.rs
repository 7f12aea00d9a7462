//! Eight families of test questions: in what a student's questions differ from those it learnt on.
//!
//! Students learn on the facts and on the arithmetic of *training worlds* ([`training_world`]).
//! Four families ask for facts, four for arithmetic. The pages are plain ones: students are compared
//! that are too small for long pages.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::arithmetic::{Story, StoryConfig, story};
use super::plan::{Finish, Plan};
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
    /// One or two hops about the entities of a training world; a question may by chance be one of
    /// those that were learnt.
    FactsKnown,
    /// One or two hops in a world of names that no training world has.
    FactsUnseen,
    /// Three hops in such a world; training has two at most.
    FactsChained,
    /// Comparisons in such a world; half can be guessed.
    FactsCompared,
    /// Two steps of numbers below 100.
    ArithmeticKnown,
    /// Two steps of numbers up to a million.
    ArithmeticLarge,
    /// Five steps of numbers below 100.
    ArithmeticSteps,
    /// Two steps of numbers below 100, in words that no training question uses.
    ArithmeticWording,
}

/// Kinds of question of training worlds.
const LEARNT: &[(TaskKind, usize)] = &[
    (TaskKind::Lookup, 35),
    (TaskKind::Hop, 35),
    (TaskKind::Span, 15),
    (TaskKind::Comparison, 15),
];
/// Kinds of question of the families that ask as training worlds do.
const KNOWN: &[(TaskKind, usize)] =
    &[(TaskKind::Lookup, 40), (TaskKind::Hop, 40), (TaskKind::Span, 20)];
const CHAINED: &[(TaskKind, usize)] = &[(TaskKind::Chain, 1)];
const COMPARED: &[(TaskKind, usize)] = &[(TaskKind::Comparison, 1)];
/// Seeds of test worlds: apart from those of training worlds.
const UNSEEN_SEEDS: u64 = 1 << 40;
/// Stories of training worlds have as many steps.
const STEPS: usize = 2;

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

    /// `count` test questions with the documents they are about. `seed` is that of the training
    /// world; arithmetic needs no documents.
    ///
    /// # Errors
    /// When the documents do not allow so many questions.
    pub fn draw(self, seed: u64, documents: usize, count: usize) -> Result<World, WorldError> {
        let shares = match self {
            Self::FactsKnown | Self::FactsUnseen => KNOWN,
            Self::FactsChained => CHAINED,
            Self::FactsCompared => COMPARED,
            _ => return Ok(self.arithmetic(seed, count)),
        };
        if self == Self::FactsKnown {
            let mut world = facts(seed, documents, [0, count], KNOWN, 1)?;
            world.test = std::mem::take(&mut world.train);
            return Ok(world);
        }
        facts(seed.wrapping_add(UNSEEN_SEEDS), documents, [count, 0], shares, 0)
    }

    fn arithmetic(self, seed: u64, count: usize) -> World {
        let config = StoryConfig { steps: STEPS, number_max: 99, other_words: false };
        let config = match self {
            Self::ArithmeticLarge => StoryConfig { number_max: 999_999, ..config },
            Self::ArithmeticSteps => StoryConfig { steps: 5, ..config },
            Self::ArithmeticWording => StoryConfig { other_words: true, ..config },
            _ => config,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(UNSEEN_SEEDS));
        rng.set_stream(self as u64);
        let test = stories(&config, &format!("family-{seed}"), count, &mut rng);
        World { documents: Vec::new(), entities: Vec::new(), test, train: Vec::new() }
    }
}

/// The world whose facts students of the families learn, with `tasks` questions about them and half
/// as many of arithmetic.
///
/// # Errors
/// When the documents do not allow so many questions.
pub fn training_world(seed: u64, documents: usize, tasks: usize) -> Result<World, WorldError> {
    let mut world = facts(seed, documents, [0, tasks], LEARNT, 0)?;
    let config = StoryConfig { steps: STEPS, number_max: 99, other_words: false };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    world.train.extend(stories(&config, &format!("story-{seed}"), tasks / 2, &mut rng));
    Ok(world)
}

fn facts(
    seed: u64,
    documents: usize,
    [test_tasks, train_tasks]: [usize; 2],
    shares: &[(TaskKind, usize)],
    draw: u64,
) -> Result<World, WorldError> {
    let config = WorldConfig {
        seed,
        domain: Domain::Gazetteer,
        style: Style::Plain,
        documents,
        test_tasks,
        train_tasks,
    };
    generate_with(&config, [shares, shares], draw)
}

fn stories(config: &StoryConfig, id: &str, count: usize, rng: &mut ChaCha8Rng) -> Vec<Task> {
    let mut seen = std::collections::BTreeSet::new();
    let mut tasks = Vec::with_capacity(count);
    while tasks.len() < count {
        let Story { question, code, answer, working } = story(config, rng);
        if seen.insert(question.clone()) {
            let finish = Finish::Compute { code, answer: answer.clone(), working };
            let plan = Some(Plan { needs: Vec::new(), finish });
            let id = format!("{id}-{:04}", tasks.len());
            tasks.push(Task { id, question, answer, kind: TaskKind::NoSearch, plan });
        }
    }
    tasks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn families_are_functions_of_their_seed_and_hold_what_was_asked_for() {
        for family in Family::ALL {
            let world = family.draw(5, 200, 60).unwrap();
            assert_eq!(world.test.len(), 60, "{family:?}");
            assert!(world.train.is_empty());
            assert_eq!(family.draw(5, 200, 60).unwrap(), world);
            assert_ne!(family.draw(6, 200, 60).unwrap().test, world.test);
        }
    }

    #[test]
    fn known_facts_are_those_of_the_training_world_and_unseen_ones_are_not() {
        let titles = |world: &World| -> BTreeSet<String> {
            world.documents.iter().map(|document| document.title.clone()).collect()
        };
        let training = training_world(5, 200, 60).unwrap();
        assert_eq!(training.train.len(), 90);
        let known = Family::FactsKnown.draw(5, 200, 60).unwrap();
        assert_eq!(known.documents, training.documents);
        let learnt: BTreeSet<&str> = training.train.iter().map(|t| t.question.as_str()).collect();
        let repeated = known.test.iter().filter(|t| learnt.contains(t.question.as_str())).count();
        assert!(repeated < 6, "{repeated} of 60");
        let unseen = Family::FactsUnseen.draw(5, 200, 60).unwrap();
        assert!(titles(&unseen).is_disjoint(&titles(&training)));
    }
}
