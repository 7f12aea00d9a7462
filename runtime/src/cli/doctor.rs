//! `retort doctor`: tries every part and says what is wrong and what to do.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, DEFAULT_CORPUS};
use super::exit::Exit;
use super::output::outln;
use super::setup::{RunArgs, action_limits};
use super::tools;
use crate::agent::Toolbox;
use crate::cancel::Cancel;
use crate::corpus::{self, CorpusState};
use crate::profile::DeclaredTool;
use crate::sandbox::{NoTools, Sandbox, SandboxOptions, Seed};
use crate::store::Store;

/// Try every part: settings, folders, model, Python, tools, corpora, record of runs.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was tried and what came of it.
struct Finding {
    part: String,
    /// What was found, or what is wrong.
    found: Result<String>,
}

/// Runs the command.
pub fn run(args: &DoctorArgs, context: &Context) -> Result<Exit> {
    let mut findings = vec![
        finding("program", Ok(program())),
        finding("board", Ok(board(context))),
        finding("data folder", data_folder(context)),
        finding("record of runs", record_of_runs(context)),
        finding("model", model(context)),
        finding("python", python(context)),
    ];
    findings.extend(context.resolved.tools.iter().map(|declared| own_tool(context, declared)));
    findings.extend(corpora(context));
    let is_well = findings.iter().all(|finding| finding.found.is_ok());
    if args.json {
        let parts: Vec<Value> = findings.iter().map(finding_json).collect();
        outln!("{}", json!({"format": 1, "well": is_well, "parts": parts}));
    } else {
        for Finding { part, found } in &findings {
            match found {
                Ok(found) => outln!("ok      {part}: {found}"),
                Err(error) => outln!("broken  {part}: {}", super::told(error)),
            }
        }
    }
    Ok(if is_well { Exit::Success } else { Exit::Failure })
}

fn finding(part: &str, found: Result<String>) -> Finding {
    Finding { part: part.to_owned(), found }
}

fn finding_json(Finding { part, found }: &Finding) -> Value {
    let text = match found {
        Ok(found) => found.clone(),
        Err(error) => super::told(error),
    };
    json!({"part": part, "ok": found.is_ok(), "found": text})
}

fn program() -> String {
    format!("retort {} for {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH)
}

fn board(context: &Context) -> String {
    let settings = &context.resolved.settings;
    format!(
        "{}: {} threads, {} MiB for the model, {} tokens of context, {} replies per step",
        settings.board,
        settings.threads,
        settings.memory_bytes_max >> 20,
        settings.context_tokens,
        settings.samples
    )
}

/// Writes a file and takes it away again.
fn data_folder(context: &Context) -> Result<String> {
    let dir = context.data_dir()?;
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("{} cannot be written", dir.display()))?;
    Ok(dir.display().to_string())
}

fn record_of_runs(context: &Context) -> Result<String> {
    let path = context.data_dir()?.join("runs.db");
    let latest = Store::open(&path)?.runs(1)?;
    let latest = latest
        .first()
        .map_or("no runs yet".to_owned(), |run| format!("latest {}", run.id.as_str()));
    Ok(format!("{}, {latest}", path.display()))
}

/// Loads the model in a worker, as a run would.
fn model(context: &Context) -> Result<String> {
    let (engine, dialect) = RunArgs::default().engine(context, &Toolbox::default())?;
    let model = engine.model();
    Ok(format!(
        "{}, {} tokens of context, dialect {}, its worker answers",
        model.name,
        model.context_tokens,
        dialect.name()
    ))
}

fn python(context: &Context) -> Result<String> {
    let sandbox = Sandbox::open(&SandboxOptions { cache_dir: context.cache_dir.clone() })?;
    let mut session = sandbox.session(&Seed::default())?;
    let code = "import sys; sys.version.split()[0]";
    let outcome =
        session.run(code, &action_limits(&context.resolved), &mut NoTools, &Cancel::default());
    let version = outcome.value.context("it does not run: install the program again")?;
    Ok(format!("CPython {version} answers in {:.0} ms", 1000.0 * outcome.seconds))
}

/// Opens a declared tool and makes it a function, as a run would.
fn own_tool(context: &Context, declared: &DeclaredTool) -> Finding {
    let found = || {
        let toolbox = tools::open(std::slice::from_ref(declared))?;
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: context.cache_dir.clone() })?;
        toolbox.define(&mut sandbox.session(&Seed::default())?, &Cancel::default())?;
        let effects = declared.effects.name();
        Ok(format!("{} can be called, effects {effects}", tools::signature(declared)))
    };
    Finding { part: format!("tool {}", declared.name), found: found() }
}

fn corpora(context: &Context) -> Vec<Finding> {
    let listed = context.data_dir().and_then(|dir| Ok(corpus::list(&dir.join("corpora"))?));
    match listed {
        Err(error) => vec![finding("corpora", Err(error))],
        Ok(entries) => {
            let named = context.resolved.settings.corpus.as_deref();
            let lacks = |name: &&str| entries.iter().all(|entry| entry.name != **name);
            let missing = named.filter(lacks).filter(|name| *name != DEFAULT_CORPUS).map(|name| {
                let told = anyhow::anyhow!("there is none: `retort index PATH --corpus {name}`");
                finding(&format!("corpus {name}"), Err(told))
            });
            let found = entries.iter().map(|entry| {
                let found = corpus_state(&entry.state, &entry.path);
                Finding { part: format!("corpus {}", entry.name), found }
            });
            found.chain(missing).collect()
        }
    }
}

fn corpus_state(state: &CorpusState, path: &Path) -> Result<String> {
    match state {
        CorpusState::Ready(stats) => {
            corpus::Corpus::open(path)?;
            Ok(format!("{} passages of {} documents", stats.passages, stats.documents))
        }
        CorpusState::Ingesting(stats) => {
            Ok(format!("being indexed, {} passages so far", stats.passages))
        }
        CorpusState::Interrupted(stats) => {
            corpus::Corpus::open(path)?;
            Ok(format!(
                "{} passages; an ingest was cut off, `retort index` with the same paths goes on",
                stats.passages
            ))
        }
        CorpusState::Empty => Ok("empty: index files into it".to_owned()),
        CorpusState::Unusable(reason) => anyhow::bail!("{reason}"),
    }
}
