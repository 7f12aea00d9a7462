//! `retort bench corpus`: whether a search finds what answers the question, and what it costs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::output::outln;
use super::peers::call;
use super::retrieval::{DEPTH, Ranked, RetrievalSet, Scores, thread_milliseconds};
use super::retrieval_chart;
use super::scale::{self, Costs};
use crate::corpus::{self, Corpus, PlainIndex};

const PEERS: &str = include_str!("peer_search.py");

/// Measure search: recall, rank and cost on sets of questions whose documents are known.
#[derive(Debug, Args)]
pub struct CorpusBenchArgs {
    /// Folders with corpus.jsonl ({id, title, text}) and queries.jsonl ({question, gold: [id]}),
    /// either perhaps compressed as .zst.
    #[arg(required = true)]
    sets: Vec<PathBuf>,
    /// Print one JSON object per set and system.
    #[arg(long)]
    json: bool,
    /// Draw recall at 5 into a file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// A Python whose SQLite has FTS5 to compare with, and bm25s where that is installed.
    #[arg(long, value_name = "PATH")]
    peer_python: Option<PathBuf>,
    /// Measure too what a corpus of so many passages costs, made of the sets' sentences.
    #[arg(long, value_name = "N")]
    passages: Option<usize>,
}

/// How a system did on a set.
pub struct Row {
    /// Name of the set.
    pub set: String,
    /// Name of the system.
    pub system: &'static str,
    /// How it did.
    pub scores: Scores,
}

/// Runs the command.
pub fn run(args: &CorpusBenchArgs, context: &Context) -> Result<Exit> {
    let mut rows = Vec::new();
    let sets = args.sets.iter().map(|folder| RetrievalSet::read(folder));
    let sets: Vec<RetrievalSet> = sets.collect::<Result<_>>()?;
    for set in &sets {
        let mut systems = vec![("retort", own(set, context)?), ("tantivy", plain(set)?)];
        if let Some(python) = &args.peer_python {
            systems.extend(peers(set, python)?);
        }
        let judged = systems.into_iter().map(|(system, answers)| Row {
            set: set.name.clone(),
            system,
            scores: Scores::of(&set.questions, &answers),
        });
        let judged: Vec<Row> = judged.collect();
        print(set, &judged, args.json);
        rows.extend(judged);
    }
    if let Some(passages) = args.passages {
        let costs = scale::measure(&sets, passages, &context.ingest_options())?;
        print_costs(&costs, args.json);
    }
    if let Some(file) = &args.svg {
        retrieval_chart::draw(&rows, file)
            .with_context(|| format!("{}: not drawn", file.display()))?;
    }
    Ok(Exit::Success)
}

fn own(set: &RetrievalSet, context: &Context) -> Result<Vec<Ranked>> {
    let folder = tempfile::tempdir()?;
    let options = context.ingest_options();
    corpus::ingest(folder.path(), std::slice::from_ref(&set.corpus), &options, &mut ())?;
    let corpus = Corpus::open(folder.path())?;
    timed(set, |question| {
        let hits = corpus.search(question, DEPTH)?;
        Ok(hits.into_iter().map(|hit| hit.document).collect())
    })
}

fn plain(set: &RetrievalSet) -> Result<Vec<Ranked>> {
    let documents = set.documents.iter();
    let documents = documents.map(|row| (row.id.as_str(), format!("{}\n{}", row.title, row.text)));
    let index = PlainIndex::build(documents)?;
    timed(set, |question| Ok(index.search(question, DEPTH)?))
}

/// Asks every question once without a clock, so that all pages are in memory, then with one.
fn timed(set: &RetrievalSet, search: impl Fn(&str) -> Result<Vec<String>>) -> Result<Vec<Ranked>> {
    for question in &set.questions {
        search(&question.question)?;
    }
    let ask = |text: &str| {
        let begun = thread_milliseconds();
        let ids = search(text)?;
        Ok(Ranked { ids, ms: thread_milliseconds() - begun })
    };
    set.questions.iter().map(|question| ask(&question.question)).collect()
}

#[derive(Deserialize)]
struct PeerAnswers {
    fts5: Vec<Ranked>,
    bm25s: Option<Vec<Ranked>>,
}

fn peers(set: &RetrievalSet, python: &Path) -> Result<Vec<(&'static str, Vec<Ranked>)>> {
    let questions: Vec<&str> = set.questions.iter().map(|row| row.question.as_str()).collect();
    let request = json!({"documents": set.documents, "questions": questions, "depth": DEPTH});
    let answer = call(Command::new(python).args(["-c", PEERS]), &request.to_string())
        .with_context(|| python.display().to_string())?;
    let answers: PeerAnswers =
        serde_json::from_str(answer.trim()).context("the peers' answer is not understood")?;
    let mut systems = vec![("sqlite fts5", answers.fts5)];
    systems.extend(answers.bm25s.map(|answers| ("bm25s", answers)));
    Ok(systems)
}

fn print(set: &RetrievalSet, rows: &[Row], as_json: bool) {
    if as_json {
        for row in rows {
            let (name, system) = (&row.set, row.system);
            outln!("{}", json!({"set": name, "system": system, "scores": row.scores}));
        }
        return;
    }
    outln!("{}: {} documents, {} questions", set.name, set.documents.len(), set.questions.len());
    outln!(
        "  {:<12}{:>7}{:>7}{:>7}{:>7}{:>9}{:>8}{:>9}{:>9}{:>9}",
        "",
        "R@2",
        "R@3",
        "R@5",
        "R@10",
        "all@5",
        "MRR@10",
        "nDCG@10",
        "CPU p50",
        "p99 ms"
    );
    for row in rows {
        let scores = &row.scores;
        outln!(
            "  {:<12}{:>7.1}{:>7.1}{:>7.1}{:>7.1}{:>9.1}{:>8.1}{:>9.1}{:>9.2}{:>9.2}",
            row.system,
            scores.recall_2,
            scores.recall_3,
            scores.recall_5,
            scores.recall_10,
            scores.all_gold_5,
            scores.mrr_10,
            scores.ndcg_10,
            scores.cpu_ms_p50,
            scores.cpu_ms_p99
        );
    }
}

fn print_costs(costs: &Costs, as_json: bool) {
    if as_json {
        outln!("{}", json!({"costs": costs}));
        return;
    }
    let megabytes = costs.text_bytes as f64 / 1e6;
    outln!("{} passages, {megabytes:.0} MB of text", costs.passages);
    for (name, value, unit) in [
        ("indexing", costs.index_mb_per_cpu_second, "MB of text per processor second"),
        ("indexing", costs.index_anonymous_mb, "MB of anonymous memory at most"),
        ("index", costs.index_bytes_per_text_byte, "bytes per byte of text"),
        ("asking", costs.query_anonymous_mb, "MB of anonymous memory"),
        ("asking", costs.query_cpu_ms_p50, "ms of processor time, median"),
        ("asking", costs.query_cpu_ms_p99, "ms of processor time, 99th percentile"),
    ] {
        outln!("  {name:<10}{value:>10.2} {unit}");
    }
}
