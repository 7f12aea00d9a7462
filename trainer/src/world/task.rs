//! Questions with their answers, and the plan that answers them.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::names::Split;
use super::populate::Entity;
use super::questions::{self, Operation};
use super::relation::Relation;
use super::{WorldError, describe};

/// What answering takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// One search, one fact.
    Lookup,
    /// Two searches: the first finds what to search next.
    Hop,
    /// Two searches, then the name of one of two entities.
    Comparison,
    /// Two searches, the second for somebody the first found, then a difference of years.
    Age,
    /// Two searches, then a difference.
    Difference,
    /// Two searches, then a sum.
    Total,
    /// One search, then a difference of two years found there.
    Span,
}

impl TaskKind {
    /// All kinds with their share of a world's tasks in percent. Comparisons can be guessed half
    /// of the time, so there are no more of them than needed.
    pub const SHARES: [(Self, usize); 7] = [
        (Self::Lookup, 15),
        (Self::Hop, 16),
        (Self::Comparison, 11),
        (Self::Age, 15),
        (Self::Difference, 15),
        (Self::Total, 14),
        (Self::Span, 14),
    ];
}

/// How to answer a question, in terms of what the question names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Read one fact of an entity.
    Lookup {
        /// Title of the entity.
        title: String,
        /// The fact.
        relation: Relation,
    },
    /// Read which entity `via` leads to, then a fact of that one.
    Hop {
        /// Title of the first entity.
        title: String,
        /// Leads to the second.
        via: Relation,
        /// The fact of the second.
        relation: Relation,
    },
    /// Read when a work opened and who made it, then when that person was born.
    Age {
        /// Title of the work.
        title: String,
        /// Leads to the person.
        maker: Relation,
    },
    /// Read two years of one entity.
    Span {
        /// Title of the entity.
        title: String,
        /// The later year.
        end: Relation,
        /// The earlier year.
        start: Relation,
    },
    /// Read the same fact of two entities.
    Pair {
        /// Their titles.
        titles: [String; 2],
        /// The fact.
        relation: Relation,
        /// What to do with the two numbers.
        operation: Operation,
    },
}

/// One row of a task file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in its world.
    pub id: String,
    /// The question.
    pub question: String,
    /// The answer, as `str()` prints it.
    pub answer: String,
    /// What answering takes.
    pub kind: TaskKind,
    /// How to answer; not part of the row.
    #[serde(skip)]
    pub plan: Option<Plan>,
}

/// Where a question can be continued: the fact that leads on, and the facts asked then.
const HOPS: &[(Relation, &[Relation])] = &[
    (Relation::Designer, PERSON),
    (Relation::Founder, PERSON),
    (Relation::Teacher, PERSON),
    (Relation::BirthTown, TOWN),
    (Relation::InTown, TOWN),
    (Relation::Mouth, TOWN),
    (Relation::Crosses, RIVER),
    (Relation::OnRiver, RIVER),
];
const PERSON: &[Relation] =
    &[Relation::BirthYear, Relation::BirthTown, Relation::DeathYear, Relation::Teacher];
const TOWN: &[Relation] = &[Relation::FoundingYear, Relation::Population, Relation::RailwayYear];
const RIVER: &[Relation] = &[Relation::RiverLength, Relation::Depth, Relation::Mouth];
/// Later and earlier year of one entity.
const SPANS: &[(Relation, Relation)] = &[
    (Relation::DeathYear, Relation::BirthYear),
    (Relation::RailwayYear, Relation::FoundingYear),
    (Relation::RebuildingYear, Relation::OpeningYear),
];
/// Draws in a row that may fail before a world counts as too small for its tasks.
const FAILURES_MAX: usize = 3000;

/// Exactly `count` different tasks about the entities of `split`, in random order.
///
/// # Errors
/// [`WorldError::TooFewDocuments`] when the entities do not allow so many.
pub fn tasks(
    entities: &[Entity],
    split: Split,
    count: usize,
    id_prefix: &str,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Task>, WorldError> {
    let source = Source::new(entities, split);
    let mut seen = BTreeSet::new();
    let mut drawn = Vec::with_capacity(count);
    for (kind, quota) in quotas(count) {
        let mut failures = 0;
        let wanted = drawn.len() + quota;
        while drawn.len() < wanted {
            match source.draw(kind, rng).filter(|task| seen.insert(task.question.clone())) {
                Some(task) => drawn.push(task),
                None if failures < FAILURES_MAX => failures += 1,
                None => return Err(too_few(kind, quota, entities.len())),
            }
        }
    }
    drawn.shuffle(rng);
    for (index, task) in drawn.iter_mut().enumerate() {
        task.id = format!("{id_prefix}-{index:04}");
    }
    Ok(drawn)
}

fn too_few(kind: TaskKind, wanted: usize, documents: usize) -> WorldError {
    WorldError::TooFewDocuments { kind, wanted, documents }
}

/// How many tasks of each kind make `count`: rounded down, the rest one each from the front.
fn quotas(count: usize) -> Vec<(TaskKind, usize)> {
    let mut quotas: Vec<_> =
        TaskKind::SHARES.iter().map(|(kind, share)| (*kind, count * share / 100)).collect();
    // Comparisons come last so that rounding adds guessable questions last.
    quotas.sort_by_key(|(kind, _)| *kind == TaskKind::Comparison);
    let rest = count - quotas.iter().map(|(_, quota)| quota).sum::<usize>();
    let shares_to_fill = quotas.iter_mut().take(rest);
    shares_to_fill.for_each(|(_, quota)| *quota += 1);
    quotas
}

/// The entities of one split, by title.
struct Source<'a> {
    entities: Vec<&'a Entity>,
    by_title: BTreeMap<&'a str, &'a Entity>,
}

impl<'a> Source<'a> {
    fn new(entities: &'a [Entity], split: Split) -> Self {
        let entities: Vec<&Entity> = entities.iter().filter(|e| e.split == split).collect();
        let by_title = entities.iter().map(|entity| (entity.title.as_str(), *entity)).collect();
        Self { entities, by_title }
    }

    /// One task of `kind`; `None` when what was drawn does not fit together.
    fn draw(&self, kind: TaskKind, rng: &mut ChaCha8Rng) -> Option<Task> {
        let (plan, answer) = match kind {
            TaskKind::Lookup => self.lookup(rng),
            TaskKind::Hop => self.hop(rng),
            TaskKind::Age => self.age(rng),
            TaskKind::Span => self.span(rng),
            TaskKind::Difference => self.pair(Operation::Difference, rng),
            TaskKind::Total => self.pair(Operation::Sum, rng),
            TaskKind::Comparison => {
                let operation = [Operation::Smaller, Operation::Larger].choose(rng).copied()?;
                self.pair(operation, rng)
            }
        }?;
        let question = question(&plan, rng);
        Some(Task { id: String::new(), question, answer, kind, plan: Some(plan) })
    }

    fn lookup(&self, rng: &mut ChaCha8Rng) -> Option<(Plan, String)> {
        let relation = *Relation::ALL.choose(rng)?;
        let (entity, value) = self.entity_with(relation, rng)?;
        Some((Plan::Lookup { title: entity.title.clone(), relation }, value.to_owned()))
    }

    fn hop(&self, rng: &mut ChaCha8Rng) -> Option<(Plan, String)> {
        let (via, relations) = *HOPS.choose(rng)?;
        let relation = *relations.choose(rng)?;
        let (entity, next) = self.entity_with(via, rng)?;
        let answer = self.by_title.get(next)?.value(relation)?.to_owned();
        Some((Plan::Hop { title: entity.title.clone(), via, relation }, answer))
    }

    fn age(&self, rng: &mut ChaCha8Rng) -> Option<(Plan, String)> {
        let maker = *[Relation::Designer, Relation::Founder].choose(rng)?;
        let (work, person) = self.entity_with(maker, rng)?;
        let opening: u32 = work.value(Relation::OpeningYear)?.parse().ok()?;
        let birth: u32 = self.by_title.get(person)?.value(Relation::BirthYear)?.parse().ok()?;
        let answer = opening.abs_diff(birth).to_string();
        Some((Plan::Age { title: work.title.clone(), maker }, answer))
    }

    fn span(&self, rng: &mut ChaCha8Rng) -> Option<(Plan, String)> {
        let (end, start) = *SPANS.choose(rng)?;
        let (entity, last) = self.entity_with(end, rng)?;
        let (last, first): (u32, u32) = (last.parse().ok()?, entity.value(start)?.parse().ok()?);
        let plan = Plan::Span { title: entity.title.clone(), end, start };
        Some((plan, last.abs_diff(first).to_string()))
    }

    fn pair(&self, operation: Operation, rng: &mut ChaCha8Rng) -> Option<(Plan, String)> {
        let relation = *questions::pair_relations(operation).choose(rng)?;
        let (a, a_value) = self.entity_with(relation, rng)?;
        let (b, b_value) = self.entity_with(relation, rng)?;
        let (a_value, b_value): (u32, u32) = (a_value.parse().ok()?, b_value.parse().ok()?);
        if a_value == b_value {
            return None;
        }
        let answer = match operation {
            Operation::Difference => a_value.abs_diff(b_value).to_string(),
            Operation::Sum => (a_value + b_value).to_string(),
            Operation::Smaller if a_value < b_value => a.title.clone(),
            Operation::Larger if a_value > b_value => a.title.clone(),
            Operation::Smaller | Operation::Larger => b.title.clone(),
        };
        let titles = [a.title.clone(), b.title.clone()];
        Some((Plan::Pair { titles, relation, operation }, answer))
    }

    fn entity_with(
        &self,
        relation: Relation,
        rng: &mut ChaCha8Rng,
    ) -> Option<(&'a Entity, &'a str)> {
        let with = |entity: &&'a Entity| entity.value(relation).map(|value| (*entity, value));
        let candidates: Vec<_> = self.entities.iter().filter_map(with).collect();
        candidates.choose(rng).copied()
    }
}

fn question(plan: &Plan, rng: &mut ChaCha8Rng) -> String {
    let [wording, other] = [rng.random_range(0..60), rng.random_range(0..60)];
    match plan {
        Plan::Lookup { title, relation } => questions::lookup(*relation, &describe(title), wording),
        Plan::Hop { title, via, relation } => {
            questions::lookup(*relation, &questions::description(*via, title, other), wording)
        }
        Plan::Age { title, maker } => questions::age(*maker, title, wording),
        Plan::Span { title, end, .. } => questions::span(*end, title, wording),
        Plan::Pair { titles: [a, b], relation, operation } => {
            questions::pair(*relation, *operation, [a, b], wording)
        }
    }
}
