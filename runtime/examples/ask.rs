//! The library alone: index documents, load a model, ask, print the answer with its citations.
//!
//! `cargo run --release --example ask -- models/demo/corpus.jsonl "How old was the architect of the
//! Wiva Bridge when it opened?"` asks the bundled student.

use std::path::PathBuf;

use anyhow::Context;
use retort::agent::{Agent, Settings, SystemClock, Toolbox};
use retort::bundled;
use retort::cancel::Cancel;
use retort::corpus::{self, Corpus, IngestOptions};
use retort::engine::{WorkerEngine, WorkerSettings};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort::transcript::Dialect;

fn main() -> anyhow::Result<()> {
    // The model runs in a child process, which is this program again.
    retort::engine::serve_if_worker();
    let mut arguments = std::env::args().skip(1);
    let documents: PathBuf = arguments.next().context("usage: ask DOCUMENTS QUESTION")?.into();
    let question = arguments.next().context("usage: ask DOCUMENTS QUESTION")?;

    let folder = tempfile::tempdir()?;
    corpus::ingest(folder.path(), &[documents], &IngestOptions::default(), &mut ())?;
    let corpus = Corpus::open(folder.path())?;

    let settings = WorkerSettings { threads: 1, ..WorkerSettings::default() };
    let mut engine = WorkerEngine::load(bundled::student()?, settings, Cancel::default())?;
    let mut agent = Agent {
        engine: &mut engine,
        sandbox: &Sandbox::open(&SandboxOptions::default())?,
        retriever: &corpus,
        toolbox: &Toolbox::default(),
        dialect: &Dialect::named("retort")?,
        clock: &SystemClock::default(),
        settings: Settings::default(),
        cancel: Cancel::default(),
    };
    let run = agent.run(&question, &mut ());

    println!("{}", run.answer.as_deref().unwrap_or("no answer"));
    for citation in &run.citations {
        println!("  {}: {}", citation.title, citation.passage);
    }
    Ok(())
}
