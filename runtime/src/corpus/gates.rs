//! Recall on the measured sets must not fall below what this design reached.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::{Corpus, IngestOptions, ingest};

#[derive(Deserialize)]
struct RawQuestion {
    question: String,
    gold: Vec<u64>,
}

/// Mean share of the gold passages among the first five hits, in per cent.
fn recall_at_5(set: &Path) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let inputs = [set.join("corpus.jsonl.zst")];
    ingest(folder.path(), &inputs, &IngestOptions::default(), &mut ()).unwrap();
    let corpus = Corpus::open(folder.path()).unwrap();
    let file = std::fs::File::open(set.join("queries.jsonl.zst")).unwrap();
    let lines = BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    let (mut total, mut count) = (0.0, 0.0);
    for line in lines {
        let question: RawQuestion = serde_json::from_str(&line.unwrap()).unwrap();
        let hits = corpus.search(&question.question, 5).unwrap();
        let found: HashSet<String> = hits.into_iter().map(|hit| hit.document).collect();
        let right = question.gold.iter().filter(|id| found.contains(&id.to_string())).count();
        total += right as f64 / question.gold.len() as f64;
        count += 1.0;
    }
    100.0 * total / count
}

/// Recall at 5 of set `name`, in per cent, must reach `gate`.
fn check(name: &str, gate: f64) {
    let Some(set) = retort_test_data::shared(&format!("data/{name}")) else { return };
    let recall = recall_at_5(&set);
    println!("{name}: R@5 {recall:.1}");
    assert!(recall >= gate, "{name}: R@5 {recall:.2} is below {gate}");
}

#[test]
fn recall_on_hotpotqa() {
    check("hotpotqa-dev500", 90.6);
}

#[test]
fn recall_on_2wiki() {
    check("2wiki-pool", 94.6);
}

#[test]
fn recall_on_xquad() {
    check("xquad-en", 98.6);
}

#[test]
fn recall_on_cranfield() {
    check("cranfield", 30.1);
}
