//! `retort eval`: many questions, scored.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::context::Context;
use super::exit::Exit;
use super::journal::Journal;
use super::output::{out, outln};
use super::setup::{RunArgs, Setup};
use crate::agent::Status;
use crate::eval::{Summary, read_tasks};

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

/// Runs the command.
pub fn run(args: &EvalArgs, context: &Context) -> Result<Exit> {
    let mut tasks = read_tasks(&args.tasks)?;
    tasks.truncate(args.limit.unwrap_or(usize::MAX));
    let mut setup = Setup::open(&args.run, context)?;
    let mut journal = Journal::open(context, &setup);
    let bar = progress_bar(tasks.len() as u64);
    let mut summary = Summary::default();
    for task in &tasks {
        let run = setup.ask(&task.question, &mut journal);
        if run.status == Status::Cancelled {
            return Ok(Exit::Interrupted);
        }
        let score = task.score(&run);
        summary.add(task, &run, score);
        if args.json {
            outln!("{}", task.report(&run, score, journal.run_id()));
        }
        bar.inc(1);
        bar.set_message(format!("exact match {:.3}", summary.all.exact_match()));
    }
    bar.finish_and_clear();
    if args.json {
        outln!("{}", summary.json());
    } else {
        out!("{summary}");
    }
    Ok(Exit::Success)
}

fn progress_bar(tasks: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}");
    ProgressBar::new(tasks).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
