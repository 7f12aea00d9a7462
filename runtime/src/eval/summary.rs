//! Figures over many tasks.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::{Score, Task};
use crate::agent::Run;

/// Figures of an evaluation: over all tasks, by kind of question, and how the runs ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Over all tasks.
    pub all: Tally,
    /// By kind; tasks without one are of kind `unknown`.
    pub by_kind: BTreeMap<String, Tally>,
    /// Runs by their end.
    pub statuses: BTreeMap<&'static str, u64>,
}

/// Sums over tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    tasks: u32,
    exact: f64,
    f1: f64,
    math: f64,
}

impl Tally {
    fn add(&mut self, score: Score) {
        self.tasks += 1;
        self.exact += f64::from(u8::from(score.exact_match));
        self.f1 += score.f1;
        self.math += f64::from(u8::from(score.math));
    }

    /// How many tasks.
    #[must_use]
    pub fn tasks(&self) -> u32 {
        self.tasks
    }

    /// Share of tasks answered exactly, 0..=1.
    #[must_use]
    pub fn exact_match(&self) -> f64 {
        self.mean(self.exact)
    }

    fn mean(&self, sum: f64) -> f64 {
        sum / f64::from(self.tasks.max(1))
    }

    fn json(&self) -> Value {
        json!({
            "tasks": self.tasks,
            "exact_match": self.exact_match(),
            "f1": self.mean(self.f1),
            "math": self.mean(self.math),
        })
    }
}

impl Summary {
    /// Adds a run and its score.
    pub fn add(&mut self, task: &Task, run: &Run, score: Score) {
        let kind = task.kind.as_deref().unwrap_or("unknown");
        self.all.add(score);
        self.by_kind.entry(kind.to_owned()).or_default().add(score);
        *self.statuses.entry(run.status.name()).or_default() += 1;
    }

    /// The last line of `retort eval --json`.
    #[must_use]
    pub fn json(&self) -> Value {
        let by_kind = self.by_kind.iter().map(|(kind, tally)| (kind.clone(), tally.json()));
        let mut summary = self.all.json();
        if let Some(fields) = summary.as_object_mut() {
            fields.insert("summary".to_owned(), Value::Bool(true));
            fields.insert("by_kind".to_owned(), Value::Object(by_kind.collect()));
            fields.insert("statuses".to_owned(), json!(self.statuses));
        }
        summary
    }
}

/// A table: one row for each kind, one for all, then how the runs ended.
impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<16} {:>6} {:>12} {:>7} {:>7}",
            "kind", "tasks", "exact match", "F1", "math"
        )?;
        let rows = self.by_kind.iter().map(|(kind, tally)| (kind.as_str(), tally));
        for (kind, tally) in rows.chain([("all", &self.all)]) {
            let percent = |sum| 100.0 * tally.mean(sum);
            writeln!(
                out,
                "{kind:<16} {:>6} {:>10.1} % {:>5.1} % {:>5.1} %",
                tally.tasks,
                percent(tally.exact),
                percent(tally.f1),
                percent(tally.math)
            )?;
        }
        let mut ends = self.statuses.iter().map(|(status, runs)| format!("{status}: {runs}"));
        ends.try_for_each(|end| writeln!(out, "{end}"))
    }
}
