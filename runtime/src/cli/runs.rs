//! `retort runs`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use super::output::outln;
use crate::store::{RunRecord, Store};

/// Commands about the record of runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first.
    List {
        /// Runs at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print one JSON object per run.
        #[arg(long)]
        json: bool,
    },
    /// Show a run with its steps.
    Show {
        /// Id, or the start of one that no other has.
        id: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Delete a run.
    Delete {
        /// Id, or the start of one that no other has.
        id: String,
    },
}

/// Runs the command.
pub fn run(command: &RunsCommand, context: &Context) -> Result<Exit> {
    let mut store = Store::open(&context.data_dir()?.join("runs.db"))?;
    match command {
        RunsCommand::List { limit, json: as_json } => {
            for run in store.runs(*limit)? {
                if *as_json {
                    outln!("{}", json!(run));
                } else {
                    let answer = run.answer.as_deref().unwrap_or("-");
                    outln!(
                        "{}  {:<17} {}  ->  {answer}",
                        run.id.as_str(),
                        run.status,
                        run.question
                    );
                }
            }
        }
        RunsCommand::Show { id, json: as_json } => {
            let run = store.run(id)?;
            if *as_json {
                outln!("{}", json!(run));
            } else {
                print_run(&run);
            }
        }
        RunsCommand::Delete { id } => outln!("deleted {}", store.delete_run(id)?.as_str()),
    }
    Ok(Exit::Success)
}

fn print_run(record: &RunRecord) {
    outln!("run {}: {}", record.id.as_str(), record.status());
    outln!("question: {}", record.run.question);
    outln!("model: {} (seed {})", record.run.model_name, record.run.seed);
    for step in &record.steps {
        outln!("--- step {}", step.index + 1);
        outln!("{}", step.reply);
        let observation = step.outcome_json.get("observation").and_then(Value::as_str);
        outln!("> {}", observation.unwrap_or_default().replace('\n', "\n> "));
    }
    if let Some(end) = &record.end {
        outln!("answer: {}", end.answer.as_deref().unwrap_or("-"));
    }
}
