//! Questions with their answers.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::draw::Source;
use super::names::{NameSource, Split};
use super::plan::Plan;
use super::populate::Entity;
use super::{Domain, Style, WorldError};

/// What answering takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// One search, one fact.
    Lookup,
    /// Two searches: the first finds what to search next.
    Hop,
    /// Three searches, each for what the one before found.
    Chain,
    /// Two searches, then the name of one of two entities.
    Comparison,
    /// Two searches, the second for what the first found, then a difference of years.
    Age,
    /// Two searches, then a difference.
    Difference,
    /// Two searches, then a sum.
    Total,
    /// One search, then a difference of two years found there.
    Span,
    /// One search, then the length of a list.
    Count,
    /// One search, then the days between two dates.
    Days,
    /// One search, then the number in another unit.
    Units,
    /// One or two searches, then `yes` or `no`.
    YesNo,
    /// No search: the question gives all that is needed.
    NoSearch,
    /// Searches that find nothing; the answer is [`NOT_IN_CORPUS`](super::NOT_IN_CORPUS).
    Absent,
}

/// Share of each kind in percent. What can be guessed half of the time is asked no more often than
/// needed.
const PLAIN_SHARES: &[(TaskKind, usize)] = &[
    (TaskKind::Lookup, 15),
    (TaskKind::Hop, 16),
    (TaskKind::Age, 15),
    (TaskKind::Difference, 15),
    (TaskKind::Total, 14),
    (TaskKind::Span, 14),
    (TaskKind::Comparison, 11),
];
const SHARES: &[(TaskKind, usize)] = &[
    (TaskKind::Lookup, 9),
    (TaskKind::Hop, 9),
    (TaskKind::Chain, 8),
    (TaskKind::Age, 7),
    (TaskKind::Difference, 7),
    (TaskKind::Total, 7),
    (TaskKind::Span, 7),
    (TaskKind::Count, 7),
    (TaskKind::Days, 7),
    (TaskKind::Units, 6),
    (TaskKind::NoSearch, 6),
    (TaskKind::Absent, 8),
    (TaskKind::Comparison, 6),
    (TaskKind::YesNo, 6),
];
/// Draws in a row that may fail before a world counts as too small for its tasks.
const FAILURES_MAX: usize = 3000;

impl TaskKind {
    /// The kinds that worlds of `style` ask, with their share of the tasks in percent.
    #[must_use]
    pub fn shares(style: Style) -> &'static [(Self, usize)] {
        if style == Style::Plain { PLAIN_SHARES } else { SHARES }
    }
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

/// Whom tasks are about, and what they are called.
pub struct TaskSource<'a> {
    pub domain: Domain,
    pub style: Style,
    pub split: Split,
    pub entities: &'a [Entity],
    pub id_prefix: String,
    /// Tasks that it refuses are drawn anew.
    pub accepts: &'a dyn Fn(&Task) -> bool,
}

/// Exactly `count` different tasks, in random order. `names` knows every name of the world.
///
/// # Errors
/// [`WorldError::TooFewDocuments`] when the entities do not allow so many.
pub fn tasks(
    about: &TaskSource,
    shares: &[(TaskKind, usize)],
    count: usize,
    names: &mut NameSource,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Task>, WorldError> {
    let mut source = Source::new(about, names);
    let mut seen = BTreeSet::new();
    let mut drawn = Vec::with_capacity(count);
    for (kind, quota) in quotas(shares, count) {
        let mut failures = 0;
        let wanted = drawn.len() + quota;
        while drawn.len() < wanted {
            let task = source.draw(kind, rng).filter(about.accepts);
            match task.filter(|task| seen.insert(task.question.clone())) {
                Some(task) => {
                    drawn.push(task);
                    failures = 0;
                }
                None if failures < FAILURES_MAX => failures += 1,
                None => {
                    let documents = about.entities.len();
                    return Err(WorldError::TooFewDocuments { kind, wanted: quota, documents });
                }
            }
        }
    }
    drawn.shuffle(rng);
    for (index, task) in drawn.iter_mut().enumerate() {
        task.id = format!("{}-{index:04}", about.id_prefix);
    }
    Ok(drawn)
}

/// How many tasks of each kind make `count`: rounded down, the rest one each from the front. A kind
/// without a share is not asked.
fn quotas(shares: &[(TaskKind, usize)], count: usize) -> Vec<(TaskKind, usize)> {
    let total: usize = shares.iter().map(|(_, share)| share).sum();
    let part = |(kind, share): &(TaskKind, usize)| (*kind, count * share / total.max(1));
    let mut quotas: Vec<_> = shares.iter().map(part).collect();
    let rest = count - quotas.iter().map(|(_, quota)| quota).sum::<usize>();
    let asked = quotas.iter_mut().zip(shares).filter(|(_, (_, share))| *share > 0);
    asked.take(rest).for_each(|((_, quota), _)| *quota += 1);
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_and_quotas_add_up() {
        for style in [Style::Plain, Style::Full] {
            let shares = TaskKind::shares(style);
            assert_eq!(shares.iter().map(|(_, share)| share).sum::<usize>(), 100);
            for count in [0, 1, 3, 99, 200] {
                let quotas = quotas(shares, count);
                assert_eq!(quotas.iter().map(|(_, quota)| quota).sum::<usize>(), count);
            }
        }
        assert!(TaskKind::shares(Style::Full).len() >= 12);
        let without = [(TaskKind::Lookup, 0), (TaskKind::Hop, 2), (TaskKind::Chain, 1)];
        let expected = [(TaskKind::Lookup, 0), (TaskKind::Hop, 4), (TaskKind::Chain, 1)];
        assert_eq!(quotas(&without, 5), expected);
    }
}
