//! `retort runs`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use serde_json::{Value, json};

use super::ask;
use super::context::Context;
use super::exit::{Exit, UsageError};
use super::journal::{Journal, recorded_run, recorded_settings};
use super::model::{prompted, read_system_prompt};
use super::output::{outln, printable};
use super::setup::{RunArgs, Setup};
use super::tools;
use crate::agent::{self, Difference, Toolbox};
use crate::profile::{FLAGS, Resolved};
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::store::{INTERRUPTED, NewRun, RunRecord, Store};
use crate::transcript::Dialect;

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
    /// Execute a run again from its record, without its model, and say where it differs.
    Replay {
        /// Id, or the start of one that no other has.
        id: String,
        /// System prompt of the run, where its model's manifest named one.
        #[arg(long, value_name = "FILE")]
        system_prompt: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Go on with a run that was interrupted, cancelled or failed, after its last recorded step.
    Resume {
        /// Id, or the start of one that no other has.
        id: String,
        #[command(flatten)]
        run: RunArgs,
        /// Print one JSON object, as `ask --json`.
        #[arg(long)]
        json: bool,
    },
    /// Delete a run.
    Delete {
        /// Id, or the start of one that no other has.
        id: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Characters of a question that a list shows.
const SHOWN_MAX: usize = 200;

/// Runs the command.
pub fn run(command: &RunsCommand, context: &Context) -> Result<Exit> {
    let mut store = Store::open(&context.data_dir()?.join("runs.db"))?;
    match command {
        RunsCommand::List { limit, json: as_json } => {
            for run in store.runs(*limit)? {
                if *as_json {
                    outln!("{}", json!(run));
                } else {
                    let answer = printable(run.answer.as_deref().unwrap_or("-"));
                    let question: String = run.question.chars().take(SHOWN_MAX).collect();
                    outln!(
                        "{}  {:<17} {}  ->  {answer}",
                        run.id.as_str(),
                        run.status,
                        printable(&question)
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
        RunsCommand::Replay { id, system_prompt, json } => {
            return replay(store.run(id)?, system_prompt.as_deref(), *json, context);
        }
        RunsCommand::Resume { id, run, json } => {
            return resume(store.run(id)?, run, *json, context);
        }
        RunsCommand::Delete { id, json: as_json } => {
            let deleted = store.delete_run(id)?;
            match as_json {
                true => outln!("{}", json!({"format": 1, "deleted": deleted.as_str()})),
                false => outln!("deleted {}", deleted.as_str()),
            }
        }
    }
    Ok(Exit::Success)
}

fn replay(
    record: RunRecord,
    system_prompt: Option<&Path>,
    as_json: bool,
    context: &Context,
) -> Result<Exit> {
    let id = record.id.clone();
    let toolbox = tools::open(&context.resolved.tools)?;
    let dialect = recorded_dialect(&record.run, system_prompt, &toolbox)?;
    let run =
        recorded_run(record).with_context(|| format!("run {} cannot be replayed", id.as_str()))?;
    let options = SandboxOptions { cache_dir: context.cache_dir.clone() };
    let sandbox = Sandbox::open(&options)?;
    let differences = agent::replay(&run, &sandbox, &toolbox, &dialect, &context.cancel)?;
    if as_json {
        let steps = run.steps.len();
        outln!("{}", json!({"format": 1, "run": id, "steps": steps, "differences": differences}));
    } else {
        for Difference { step, field, recorded, replayed } in &differences {
            outln!("step {}: {field} was {recorded:?}, is {replayed:?}", step + 1);
        }
        outln!("{}: {} steps, {} differences", id.as_str(), run.steps.len(), differences.len());
    }
    Ok(if differences.is_empty() { Exit::Success } else { Exit::Failure })
}

/// Ends after which a run may go on.
const RESUMABLE: [&str; 4] = [INTERRUPTED, "cancelled", "overloaded", "model_error"];

fn resume(record: RunRecord, args: &RunArgs, as_json: bool, context: &Context) -> Result<Exit> {
    let (id, status) = (record.id.clone(), record.status());
    ensure!(
        RESUMABLE.contains(&status),
        "run {id} has its end ({status}); only one that was interrupted, cancelled or failed goes on"
    );
    refuse_other_settings(&context.resolved)?;
    let unusable = || format!("run {id} cannot go on");
    let settings = recorded_settings(&record.run).with_context(unusable)?;
    let mut context = context.clone();
    context.resolved.settings.corpus.clone_from(&record.run.corpus);
    context.resolved.settings.samples = settings.candidates;
    let mut setup = Setup::open(args, &context)?;
    let (model, recorded) = (setup.model(), &record.run);
    ensure!(
        model.sha256 == recorded.model_sha256,
        "run {id} was of the model {} (sha256 {}), this is {} ({}); name it with --model",
        recorded.model_name,
        recorded.model_sha256,
        model.name,
        model.sha256
    );
    setup.settings = settings;
    let run = recorded_run(record).with_context(unusable)?;
    let mut journal = Journal::open(&context, &setup);
    journal.resume(id.clone());
    let run = setup.resume(&run, &mut journal).with_context(|| format!("run {id}"))?;
    Ok(ask::print(&run, journal.run_id(), as_json))
}

/// Settings that say where and how a run is computed, not what it is.
const OF_THE_MACHINE: [&str; 8] = [
    "model",
    "adapter",
    "data_dir",
    "board",
    "threads",
    "context_tokens",
    "memory_bytes_max",
    "worker_launcher",
];

/// Refuses flags that a run which goes on would not heed.
fn refuse_other_settings(resolved: &Resolved) -> Result<()> {
    let is_vain = |(name, origin): &(&String, &String)| {
        *origin == FLAGS && !OF_THE_MACHINE.contains(&name.as_str())
    };
    match resolved.origins.iter().find(is_vain) {
        Some((name, _)) => Err(UsageError(format!(
            "--{}: a run goes on with the settings it began with; leave it out",
            name.replace('_', "-")
        ))
        .into()),
        None => Ok(()),
    }
}

/// The dialect of the run, with the system prompt it had.
fn recorded_dialect(
    run: &NewRun,
    system_prompt: Option<&Path>,
    toolbox: &Toolbox,
) -> Result<Dialect> {
    let mut dialect = Dialect::named(&run.dialect)?.with_tools(&toolbox.descriptions())?;
    if let Some(path) = system_prompt {
        dialect = prompted(dialect, &read_system_prompt(path, None)?)?;
    }
    if dialect.hash() != run.dialect_hash {
        tracing::warn!(
            "the words of the dialect {} are not those of the run: its prompts will differ",
            run.dialect
        );
    }
    Ok(dialect)
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
