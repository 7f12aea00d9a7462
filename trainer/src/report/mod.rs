//! `retort-train report`: runs side by side, as a table and as curves.

mod curves;
mod metrics;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::trajectory::refuse_same;
use metrics::Run;

/// Compare training runs by their metrics.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Files of metrics, or folders that hold one `metrics.jsonl` each, at any depth.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Draw the losses and the held-out scores over the tokens.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A run in one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Summary<'a> {
    run: &'a str,
    tokens: u64,
    /// Of the budget, 0 to 1.
    done: f64,
    /// Mean cross-entropy per learned token over the last tenth of the run; none before its first
    /// step.
    loss: Option<f64>,
    /// Cross-entropy of the held-out sequences at the last evaluation.
    held_out_loss: Option<f64>,
    /// Part of the held-out sequences with every turn right, at the last evaluation.
    exact: Option<f64>,
    /// Median.
    tokens_per_second: f64,
}

impl<'a> Summary<'a> {
    fn of(run: &'a Run) -> Self {
        let last = run.points.last();
        let tokens = last.map_or(0, |point| point.tokens);
        let budget = last.map_or(0, |point| point.tokens_budget);
        let late = run.points.iter().filter(|point| point.tokens * 10 >= tokens * 9);
        let late: Vec<f64> = late.map(|point| point.loss).collect();
        let judged = run.points.iter().rev().find_map(|point| point.evaluation.as_ref());
        // The first line of a run, and of each that goes on, has no speed yet.
        let speeds = run.points.iter().map(|point| point.tokens_per_second);
        let mut speeds: Vec<f64> = speeds.filter(|speed| *speed > 0.0).collect();
        speeds.sort_by(f64::total_cmp);
        Self {
            run: &run.name,
            tokens,
            done: (tokens as f64 / budget.max(1) as f64).min(1.0),
            loss: (!late.is_empty()).then(|| late.iter().sum::<f64>() / late.len() as f64),
            held_out_loss: judged.map(|exactness| exactness.loss),
            exact: judged.map(|exactness| exactness.full),
            tokens_per_second: speeds.get(speeds.len() / 2).copied().unwrap_or_default(),
        }
    }

    fn row(&self, name_width: usize) -> String {
        let shown =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        format!(
            "{:<name_width$} {:>11} {:>5.0} {:>7} {:>9} {:>6} {:>9.0}",
            self.run,
            self.tokens,
            self.done * 100.0,
            shown(self.loss),
            shown(self.held_out_loss),
            shown(self.exact),
            self.tokens_per_second
        )
    }
}

/// Runs the command.
///
/// # Errors
/// Metrics that cannot be read, or a picture that cannot be written.
pub fn run(args: &ReportArgs) -> Result<()> {
    let runs = metrics::read(&args.runs)?;
    if let Some(svg) = &args.svg {
        runs.iter().try_for_each(|run| refuse_same(&run.file, svg))?;
    }
    let summaries: Vec<Summary<'_>> = runs.iter().map(Summary::of).collect();
    if args.json {
        for summary in &summaries {
            outln!("{}", serde_json::to_string(summary)?);
        }
    } else {
        let names = summaries.iter().map(|summary| summary.run.chars().count());
        let width = names.max().unwrap_or_default().max("run".len());
        outln!(
            "{:<width$} {:>11} {:>5} {:>7} {:>9} {:>6} {:>9}",
            "run",
            "tokens",
            "%",
            "loss",
            "held out",
            "exact",
            "tokens/s"
        );
        for summary in &summaries {
            outln!("{}", summary.row(width));
        }
    }
    match &args.svg {
        Some(file) => curves::draw(&runs, file),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::metrics::Point;
    use super::*;
    use crate::train::Exactness;

    #[test]
    fn a_run_is_summed_up_by_its_end() {
        let point = |tokens, loss, evaluation| Point {
            tokens,
            tokens_budget: 200,
            loss,
            tokens_per_second: tokens as f64,
            evaluation,
        };
        let judged = Exactness { full: 0.25, loss: 1.5, ..Exactness::default() };
        let run = Run {
            name: "a".to_owned(),
            points: vec![point(10, 9.0, None), point(91, 3.0, Some(judged)), point(100, 2.0, None)],
            ..Run::default()
        };
        let summary = Summary::of(&run);
        assert_eq!((summary.tokens, summary.done, summary.loss), (100, 0.5, Some(2.5)));
        assert_eq!((summary.held_out_loss, summary.exact), (Some(1.5), Some(0.25)));
        assert_eq!(summary.tokens_per_second, 91.0);
        assert!(summary.row(3).contains("2.500"), "{}", summary.row(3));
        let begun = Run { name: "b".to_owned(), ..Run::default() };
        assert_eq!(Summary::of(&begun).row(3).split_whitespace().nth(3), Some("-"));
    }
}
