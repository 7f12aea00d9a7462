//! How many rows fell, and why.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::judge::Fell;

/// Counts of verdicts, over all rows and by kind of question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    rows: usize,
    kept: usize,
    fell: BTreeMap<Fell, usize>,
    /// Rows and kept ones.
    by_kind: BTreeMap<String, (usize, usize)>,
}

impl Table {
    /// Counts a verdict.
    pub fn add(&mut self, kind: Option<&str>, verdict: Option<Fell>) {
        let kind = self.by_kind.entry(kind.unwrap_or("unknown").to_owned()).or_default();
        self.rows += 1;
        kind.0 += 1;
        match verdict {
            Some(reason) => *self.fell.entry(reason).or_default() += 1,
            None => {
                self.kept += 1;
                kind.1 += 1;
            }
        }
    }

    /// Rows that were kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// For manifests and `--json`.
    #[must_use]
    pub fn json(&self) -> Map<String, Value> {
        let fell = Fell::ALL.map(|reason| {
            (reason.name().to_owned(), json!(self.fell.get(&reason).copied().unwrap_or(0)))
        });
        let by_kind = self
            .by_kind
            .iter()
            .map(|(kind, (rows, kept))| (kind.clone(), json!({"rows": rows, "kept": kept})));
        Map::from_iter([
            ("rows".to_owned(), json!(self.rows)),
            ("kept".to_owned(), json!(self.kept)),
            ("fell".to_owned(), Value::Object(fell.into_iter().collect())),
            ("by_kind".to_owned(), Value::Object(by_kind.collect())),
        ])
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, count: usize, of: usize| {
            let share = 100.0 * count as f64 / of.max(1) as f64;
            writeln!(out, "{name:<34} {count:>8} {share:>6.1} %")
        };
        line("rows", self.rows, self.rows)?;
        for reason in Fell::ALL {
            let count = self.fell.get(&reason).copied().unwrap_or(0);
            line(&format!("- {}", reason.name()), count, self.rows)?;
        }
        line("kept", self.kept, self.rows)?;
        if self.by_kind.len() > 1 {
            for (kind, (rows, kept)) in &self.by_kind {
                line(&format!("  {kind}: kept of {rows}"), *kept, *rows)?;
            }
        }
        Ok(())
    }
}
