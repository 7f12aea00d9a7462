//! `retort eval`: many questions, scored.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use super::score::{Score, score};
use super::setup::{RunArgs, Setup};
use crate::agent::{Event, Run, Sink, Status};

/// Answer a file of questions and score the answers.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// JSON Lines of {id, question, answer}, with optional aliases and kind; also as .zst.
    tasks: PathBuf,
    /// Only the first so many tasks.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    run: RunArgs,
    /// Print one JSON object per task, and a last one with the summary.
    #[arg(long)]
    json: bool,
}

/// One line of the file; further fields are ignored.
#[derive(Debug, Deserialize)]
struct Task {
    id: Value,
    question: String,
    answer: Value,
    #[serde(default)]
    aliases: Vec<String>,
    kind: Option<String>,
}

/// Runs the command.
pub fn run(args: &EvalArgs, context: &Context) -> Result<Exit> {
    let mut tasks = read_tasks(&args.tasks)?;
    tasks.truncate(args.limit.unwrap_or(usize::MAX));
    let mut setup = Setup::open(&args.run, context)?;
    let bar = progress_bar(tasks.len() as u64);
    let mut summary = Summary::default();
    for task in &tasks {
        let run = setup.ask(&task.question, &mut Silent);
        if run.status == Status::Cancelled {
            return Ok(Exit::Interrupted);
        }
        let score = task.score(&run);
        summary.add(task, &run, score);
        if args.json {
            println!("{}", task_json(task, &run, score));
        }
        bar.inc(1);
        bar.set_message(format!("exact match {:.3}", summary.all.share(summary.all.exact)));
    }
    bar.finish_and_clear();
    if args.json {
        println!("{}", summary.json());
    } else {
        summary.print();
    }
    Ok(Exit::Success)
}

struct Silent;

impl Sink for Silent {
    fn event(&mut self, _event: &Event<'_>) {}
}

fn progress_bar(tasks: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}");
    ProgressBar::new(tasks).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn read_tasks(path: &Path) -> Result<Vec<Task>> {
    let file = std::fs::File::open(path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
    let source: Box<dyn Read> =
        if is_compressed { Box::new(zstd::Decoder::new(file)?) } else { Box::new(file) };
    let mut tasks = Vec::new();
    for (line, number) in BufReader::new(source).lines().zip(1..) {
        let line = line.with_context(|| format!("{}:{number}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let task = serde_json::from_str(&line).with_context(|| {
            format!("{}:{number}: expected {{id, question, answer}}", path.display())
        })?;
        tasks.push(task);
    }
    if tasks.is_empty() {
        bail!("{}: holds no task", path.display());
    }
    Ok(tasks)
}

/// A string as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Task {
    fn score(&self, run: &Run) -> Score {
        let answer = match (&run.status, &run.answer) {
            (Status::Answered, Some(answer)) => answer.as_str(),
            _ => return Score::default(),
        };
        let expected = text(&self.answer);
        let aliases = self.aliases.iter().map(String::as_str);
        score(answer, std::iter::once(expected.as_str()).chain(aliases))
    }

    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("unknown")
    }
}

fn task_json(task: &Task, run: &Run, score: Score) -> Value {
    json!({
        "id": task.id,
        "kind": task.kind,
        "status": run.status.name(),
        "answer": run.answer,
        "expected": task.answer,
        "exact_match": score.exact_match,
        "f1": score.f1,
        "math": score.math,
        "steps": run.steps.len(),
        "searches": run.usage.searches,
        "citations": run.citations,
        "seconds": run.seconds.total,
    })
}

#[derive(Debug, Default)]
struct Summary {
    all: Tally,
    by_kind: BTreeMap<String, Tally>,
    statuses: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Tally {
    tasks: u64,
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

    fn share(&self, sum: f64) -> f64 {
        sum / self.tasks.max(1) as f64
    }

    fn json(&self) -> Value {
        json!({
            "tasks": self.tasks,
            "exact_match": self.share(self.exact),
            "f1": self.share(self.f1),
            "math": self.share(self.math),
        })
    }
}

impl Summary {
    fn add(&mut self, task: &Task, run: &Run, score: Score) {
        self.all.add(score);
        self.by_kind.entry(task.kind().to_owned()).or_default().add(score);
        *self.statuses.entry(run.status.name()).or_default() += 1;
    }

    fn json(&self) -> Value {
        let by_kind = self.by_kind.iter().map(|(kind, tally)| (kind.clone(), tally.json()));
        let mut summary = self.all.json();
        if let Some(fields) = summary.as_object_mut() {
            fields.insert("summary".to_owned(), Value::Bool(true));
            fields.insert("by_kind".to_owned(), Value::Object(by_kind.collect()));
            fields.insert("statuses".to_owned(), json!(self.statuses));
        }
        summary
    }

    fn print(&self) {
        println!("{:<16} {:>6} {:>12} {:>7} {:>7}", "kind", "tasks", "exact match", "F1", "math");
        let rows = self.by_kind.iter().map(|(kind, tally)| (kind.as_str(), tally));
        for (kind, tally) in rows.chain([("all", &self.all)]) {
            let share = |sum| 100.0 * tally.share(sum);
            println!(
                "{kind:<16} {:>6} {:>10.1} % {:>5.1} % {:>5.1} %",
                tally.tasks,
                share(tally.exact),
                share(tally.f1),
                share(tally.math)
            );
        }
        for (status, runs) in &self.statuses {
            println!("{status}: {runs}");
        }
    }
}
