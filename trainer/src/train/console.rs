//! A progress bar on standard error and metrics as JSON Lines.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Exactness, Progress, StepReport};
use crate::durable::append_lines;

/// Steps between two lines of metrics.
const STEPS_PER_LINE: u64 = 10;

/// Shows a run to a person and keeps its metrics.
pub struct Console {
    bar: ProgressBar,
    metrics: Option<File>,
    started: Option<(Instant, u64)>,
    exactness: String,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    report: &'a StepReport,
    tokens_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation: Option<&'a Exactness>,
}

impl Console {
    /// A bar, hidden when standard error is no terminal; metrics are appended to a file.
    ///
    /// # Errors
    /// When the metrics file cannot be opened.
    pub fn new(metrics: Option<&Path>) -> io::Result<Self> {
        Self::on(ProgressBar::new(0), metrics)
    }

    /// As [`Console::new`], on a bar beside others.
    ///
    /// # Errors
    /// As [`Console::new`].
    pub fn on(bar: ProgressBar, metrics: Option<&Path>) -> io::Result<Self> {
        let style = "{bar:30} {percent}% {elapsed}/{duration} {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
        let opened = metrics.map(|path| {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            append_lines(path).map_err(named)
        });
        let metrics = opened.transpose()?;
        Ok(Console { bar, metrics, started: None, exactness: String::new() })
    }

    /// Tokens per second since the first step heard of.
    fn speed(&mut self, report: &StepReport) -> f64 {
        let (start, tokens) = *self.started.get_or_insert((Instant::now(), report.tokens));
        let seconds = start.elapsed().as_secs_f64();
        if seconds > 0.0 { (report.tokens - tokens) as f64 / seconds } else { 0.0 }
    }

    /// A line of the log. A hidden bar prints nothing, and a log of a long run should show its
    /// evaluations.
    fn say(&self, line: &str) {
        self.bar.suspend(|| {
            // Nothing can be done when standard error is closed.
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Metrics are a convenience: a full disk does not end a run, it is said once.
    fn write(&mut self, line: &Line<'_>) {
        let Some(file) = &mut self.metrics else {
            return;
        };
        let written = serde_json::to_string(line)
            .map_err(io::Error::from)
            .and_then(|line| writeln!(file, "{line}"));
        if let Err(error) = written {
            self.metrics = None;
            self.say(&format!("metrics are no longer written: {error}"));
        }
    }
}

impl Progress for Console {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let tokens_per_second = self.speed(report);
        self.bar.set_length(report.tokens_budget);
        self.bar.set_position(report.tokens.min(report.tokens_budget));
        let (loss, exactness) = (shown(report.loss), &self.exactness);
        self.bar.set_message(format!("loss {loss} {tokens_per_second:.0} tokens/s {exactness}"));
        if report.step.is_multiple_of(STEPS_PER_LINE) {
            self.write(&Line { report, tokens_per_second, evaluation: None });
        }
        ControlFlow::Continue(())
    }

    fn evaluated(&mut self, report: &StepReport, exactness: &Exactness) {
        let tokens_per_second = self.speed(report);
        let turns: Vec<String> = exactness.turns.iter().map(|part| format!("{part:.2}")).collect();
        let judged = exactness.sequences > 0;
        let held_out = match judged {
            true => {
                self.exactness = format!("exact {:.3}", exactness.full);
                let (loss, turns) = (shown(exactness.loss), turns.join(" "));
                format!("held out {loss}  exact {:.3}  turns {turns}", exactness.full)
            }
            false => "nothing held out".to_owned(),
        };
        let (tokens, loss) = (report.tokens, shown(report.loss));
        let left = report.tokens_budget.saturating_sub(tokens) as f64 / tokens_per_second;
        let left = match Duration::try_from_secs_f64(left) {
            Ok(left) if !left.is_zero() => format!("  {} left", HumanDuration(left)),
            _ => String::new(),
        };
        self.say(&format!(
            "{tokens:>9} tokens  loss {loss}  {held_out}  {tokens_per_second:.0} tokens/s{left}"
        ));
        let evaluation = judged.then_some(exactness);
        self.write(&Line { report, tokens_per_second, evaluation });
        if report.tokens >= report.tokens_budget {
            self.bar.finish();
        }
    }
}

/// A loss; the small ones of a student that has learnt nearly everything too.
fn shown(loss: f64) -> String {
    if loss < 0.01 { format!("{loss:.1e}") } else { format!("{loss:.3}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_lines_of_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut console = Console::new(Some(&path)).unwrap();
        let mut report = StepReport {
            step: 10,
            tokens: 100,
            tokens_budget: 200,
            loss: 1.5,
            gradient_norm: 2.0,
            learning_rate: 0.5,
        };
        assert!(console.step(&report).is_continue());
        report.step = 11;
        assert!(console.step(&report).is_continue());
        let judged = Exactness { sequences: 4, full: 0.25, ..Exactness::default() };
        console.evaluated(&report, &judged);
        console.evaluated(&report, &Exactness::default());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["loss"], 1.5);
        assert_eq!(lines[1]["evaluation"]["full"], 0.25);
        assert!(lines[2]["evaluation"].is_null(), "nothing was held out");
        assert_eq!(["4.3e-4", "0.250"], [0.000_43, 0.25].map(shown));
    }
}
