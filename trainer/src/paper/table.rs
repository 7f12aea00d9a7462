//! Rows as Markdown tables, with what they say of the paper's claims.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::ValueEnum as _;

use super::rows::{Row, Student};
use crate::world::Family;

/// Families about worlds that no student has seen.
pub(super) const UNSEEN: &[Family] =
    &[Family::FactsUnseen, Family::FactsChained, Family::FactsCompared];
/// Families that need no documents.
pub(super) const ARITHMETIC: &[Family] = &[
    Family::ArithmeticKnown,
    Family::ArithmeticLarge,
    Family::ArithmeticSteps,
    Family::ArithmeticWording,
];
/// Families that are averaged together.
const GROUPS: [(&str, &[Family]); 4] = [
    ("All eight families", &Family::ALL),
    ("Facts of unseen worlds (one or two hops, three hops, comparison)", UNSEEN),
    ("Facts of the training worlds", &[Family::FactsKnown]),
    ("Arithmetic (as learnt, larger numbers, more steps, other words)", ARITHMETIC),
];

/// Quantiles of Student's t for 95 % intervals, by degrees of freedom from 1.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
const T_OF_MANY: f64 = 1.96;

/// Pairs from which a claim is judged: two sizes with three seeds. Fewer are of one size, or too
/// alike by chance.
const PAIRS_MIN: usize = 6;

/// A mean with half the width of its 95 % interval, where there is more than one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub mean: f64,
    pub half: Option<f64>,
    values: usize,
}

impl Estimate {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let half = (values.len() > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let t = T.get(values.len() - 2).copied().unwrap_or(T_OF_MANY);
            t * (squares / (count - 1.0) / count).sqrt()
        });
        (!values.is_empty()).then_some(Self { mean, half, values: values.len() })
    }

    /// `61.2 ± 3.4`
    fn shown(self) -> String {
        match self.half {
            Some(half) => format!("{:.1} ± {half:.1}", self.mean),
            None => format!("{:.1}", self.mean),
        }
    }

    /// Whether the interval says that more is better here.
    fn verdict(self) -> &'static str {
        match self.half {
            _ if self.values < PAIRS_MIN => "too few pairs",
            Some(half) if self.mean - half > 0.0 => "holds",
            Some(half) if self.mean + half < 0.0 => "does not hold",
            _ => "undecided",
        }
    }
}

/// What is counted of a row.
type Count = fn(&Row) -> usize;

/// A student of one size and one seed.
type Sitting = (Student, usize, u64);

/// Parameters of the sizes, smallest first.
pub(super) fn sizes(rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| row.parameters).collect::<BTreeSet<_>>().into_iter().collect()
}

fn seeds(rows: &[Row]) -> BTreeSet<u64> {
    rows.iter().map(|row| row.seed).collect()
}

fn of(rows: &[Row], (student, parameters, seed): Sitting) -> impl Iterator<Item = &Row> {
    rows.iter()
        .filter(move |row| (row.student, row.parameters, row.seed) == (student, parameters, seed))
}

/// Percent answered rightly, averaged over `families`; `None` unless all are there.
fn points(rows: &[Row], sitting: Sitting, families: &[Family]) -> Option<f64> {
    let share = |row: &Row| 100.0 * row.right as f64 / row.tasks.max(1) as f64;
    let shares: Vec<f64> =
        of(rows, sitting).filter(|row| families.contains(&row.family)).map(share).collect();
    (shares.len() == families.len()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// The score of a student of one size over the seeds.
pub(super) fn score(
    rows: &[Row],
    student: Student,
    parameters: usize,
    families: &[Family],
) -> Option<Estimate> {
    over_seeds(rows, |seed| points(rows, (student, parameters, seed), families))
}

fn over_seeds(rows: &[Row], value: impl Fn(u64) -> Option<f64>) -> Option<Estimate> {
    let values: Vec<f64> = seeds(rows).into_iter().filter_map(value).collect();
    Estimate::of(&values)
}

/// Percent of the steps of a sitting that `count` counts.
fn share_of_steps(rows: &[Row], sitting: Sitting, count: Count) -> Option<f64> {
    let steps: usize = of(rows, sitting).map(|row| row.steps).sum();
    let counted: usize = of(rows, sitting).map(count).sum();
    (steps > 0).then(|| 100.0 * counted as f64 / steps as f64)
}

/// All tables.
#[must_use]
pub fn report(rows: &[Row]) -> String {
    let mut text = String::new();
    let sizes = sizes(rows);
    let heads: Vec<String> = sizes.iter().map(millions).collect();
    for (title, families) in GROUPS {
        let cell = |student, parameters: &usize| score(rows, student, *parameters, families);
        let title = format!("{title}, % right");
        text += &table(&title, &Student::ALL, &heads, sizes.iter(), cell);
    }
    // A mean of a full family and an empty one looks like two in the middle.
    let families: Vec<String> = Family::ALL.iter().map(family_name).collect();
    for parameters in &sizes {
        let cell = |student, family: &Family| {
            score(rows, student, *parameters, std::slice::from_ref(family))
        };
        let title = format!("Each family, {}, % right", millions(parameters));
        text += &table(&title, &Student::ALL, &families, Family::ALL.iter(), cell);
    }
    let acting = [Student::Agent, Student::AgentPrefix, Student::AgentPrefixVote];
    let counts: [(&str, Count); 2] = [
        ("Replies without code, % of steps", |row| row.unparsed),
        ("Actions that raised an error, % of steps", |row| row.failed),
    ];
    for (title, count) in counts {
        let cell = |student, parameters: &usize| {
            over_seeds(rows, |seed| share_of_steps(rows, (student, *parameters, seed), count))
        };
        text += &table(title, &acting, &heads, sizes.iter(), cell);
    }
    text + &claims(rows)
}

fn millions(parameters: &usize) -> String {
    format!("{:.2} M", *parameters as f64 / 1e6)
}

/// `facts unseen`
fn family_name(family: &Family) -> String {
    let value = family.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().replace('-', " "))
}

/// A row for each student, a column for each of `columns`.
fn table<'a, T: 'a>(
    title: &str,
    students: &[Student],
    heads: &[String],
    columns: impl Iterator<Item = &'a T> + Clone,
    cell: impl Fn(Student, &T) -> Option<Estimate>,
) -> String {
    let mut text = format!("{title}\n\n| student | {} |\n", heads.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(heads.len()));
    for student in students {
        let shown = |column| cell(*student, column).map_or_else(|| "–".to_owned(), Estimate::shown);
        let cells: Vec<String> = columns.clone().map(shown).collect();
        let _ = writeln!(text, "| {} | {} |", student.name(), cells.join(" | "));
    }
    text + "\n"
}

/// Differences in points, paired by size and seed.
fn claims(rows: &[Row]) -> String {
    let mut text = "Claims of the paper, as differences in points with 95 % intervals\n\n\
                    | claim | families | difference | pairs | |\n|---|---|---|---|---|\n"
        .to_owned();
    let sizes = sizes(rows);
    let same: Vec<(usize, usize)> = sizes.iter().map(|size| (*size, *size)).collect();
    let next: Vec<(usize, usize)> =
        sizes.iter().copied().zip(sizes.iter().copied().skip(1)).collect();
    let mut add = |claim: &str, group: &str, values: Vec<f64>| {
        if let Some(estimate) = Estimate::of(&values) {
            let _ = writeln!(
                text,
                "| {claim} | {group} | {} | {} | {} |",
                estimate.shown(),
                estimate.values,
                estimate.verdict()
            );
        }
    };
    let compared = [
        ("agent − CoT one size up", Student::Agent, Student::Cot, &next),
        ("agent − CoT + passages one size up", Student::Agent, Student::CotPassages, &next),
        ("prefix − no prefix", Student::AgentPrefix, Student::Agent, &same),
        ("SAG − greedy", Student::AgentPrefixVote, Student::AgentPrefix, &same),
    ];
    let groups: [(&str, &[Family]); 3] =
        [("all", &Family::ALL), ("unseen facts", UNSEEN), ("arithmetic", ARITHMETIC)];
    for (claim, one, other, pairs) in compared {
        for (group, families) in groups {
            let values = paired(rows, pairs, |a, b| {
                let one = points(rows, (one, a.0, a.1), families)?;
                Some(one - points(rows, (other, b.0, b.1), families)?)
            });
            add(claim, group, values);
        }
    }
    let wrong = |row: &Row| row.unparsed + row.failed;
    let fewer = paired(rows, &same, |a, b| {
        let greedy = share_of_steps(rows, (Student::AgentPrefix, a.0, a.1), wrong)?;
        Some(greedy - share_of_steps(rows, (Student::AgentPrefixVote, b.0, b.1), wrong)?)
    });
    add("SAG: fewer steps with an error, % of steps", "all", fewer);
    text
}

fn paired(
    rows: &[Row],
    pairs: &[(usize, usize)],
    difference: impl Fn((usize, u64), (usize, u64)) -> Option<f64>,
) -> Vec<f64> {
    let seeds = seeds(rows);
    let differences = pairs.iter().flat_map(|(one, other)| {
        seeds
            .iter()
            .filter_map(|seed| difference((*one, *seed), (*other, *seed)))
            .collect::<Vec<_>>()
    });
    differences.collect()
}
