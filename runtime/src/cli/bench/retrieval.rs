//! Sets of questions with the documents that answer them, and how well a ranking finds those.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// Hits that are looked at.
pub const DEPTH: usize = 10;

/// A document of a set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// Unique in the set.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    /// Its title, perhaps empty.
    #[serde(default)]
    pub title: String,
    /// Its text.
    pub text: String,
}

/// A question of a set.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// The text that is searched for.
    pub question: String,
    /// Ids of the documents that answer it.
    #[serde(deserialize_with = "ids")]
    pub gold: Vec<String>,
}

/// A corpus with questions.
pub struct RetrievalSet {
    /// The folder's name.
    pub name: String,
    /// The file with the documents.
    pub corpus: PathBuf,
    /// The documents.
    pub documents: Vec<Document>,
    /// The questions that have an answer.
    pub questions: Vec<Question>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawId {
    Number(serde_json::Number),
    Text(String),
}

impl RawId {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

fn text_or_number<'a, D: serde::Deserializer<'a>>(value: D) -> Result<String, D::Error> {
    Ok(RawId::deserialize(value)?.text())
}

fn ids<'a, D: serde::Deserializer<'a>>(value: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<RawId>::deserialize(value)?.into_iter().map(RawId::text).collect())
}

impl RetrievalSet {
    /// Reads `corpus.jsonl` and `queries.jsonl` in a folder, either perhaps with `.zst` after it.
    ///
    /// # Errors
    /// Names the file and the line that cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let (corpus, documents) = rows(folder, "corpus.jsonl")?;
        let (_, mut questions) = rows::<Question>(folder, "queries.jsonl")?;
        questions.retain(|question| !question.gold.is_empty());
        if questions.is_empty() {
            bail!("{}: queries.jsonl has no row with a `gold` document", folder.display());
        }
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, corpus, documents, questions })
    }
}

fn rows<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<(PathBuf, Vec<T>)> {
    let plain = folder.join(name);
    let compressed = folder.join(format!("{name}.zst"));
    let (path, reader): (_, Box<dyn Read>) = if plain.is_file() {
        let file = std::fs::File::open(&plain);
        let file = file.with_context(|| plain.display().to_string())?;
        (plain, Box::new(file))
    } else {
        let file = std::fs::File::open(&compressed);
        let file = file.with_context(|| format!("{} (or .zst)", plain.display()))?;
        (compressed, Box::new(zstd::Decoder::new(file)?))
    };
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(reader).lines()) {
        let row = line
            .map_err(anyhow::Error::from)
            .and_then(|line| serde_json::from_str(&line).map_err(anyhow::Error::from));
        rows.push(row.with_context(|| format!("{}: line {number}", path.display()))?);
    }
    Ok((path, rows))
}

/// What a system answered to one question.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Ranked {
    /// Ids of documents, best first.
    pub ids: Vec<String>,
    /// Processor time.
    pub ms: f64,
}

/// How well a system did on a set. Shares are in per cent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scores {
    /// Gold documents among the first two, mean over the questions.
    pub recall_2: f64,
    /// Among the first three.
    pub recall_3: f64,
    /// Among the first five.
    pub recall_5: f64,
    /// Among the first ten.
    pub recall_10: f64,
    /// Questions with all gold documents among the first five.
    pub all_gold_5: f64,
    /// Mean of 1 / place of the first gold document among ten.
    pub mrr_10: f64,
    /// Normalised discounted cumulative gain of ten, gold counting 1 (Järvelin and Kekäläinen
    /// 2002, with logarithm base 2).
    pub ndcg_10: f64,
    /// Median processor time of a question.
    pub cpu_ms_p50: f64,
    /// 99th percentile of it.
    pub cpu_ms_p99: f64,
}

impl Scores {
    /// Judges the answers to `questions`, in their order.
    pub fn of(questions: &[Question], answers: &[Ranked]) -> Self {
        let mut scores = Self::default();
        for (question, answer) in questions.iter().zip(answers) {
            scores.add(&question.gold, &distinct(&answer.ids));
        }
        let share = 100.0 / questions.len().max(1) as f64;
        for sum in [
            &mut scores.recall_2,
            &mut scores.recall_3,
            &mut scores.recall_5,
            &mut scores.recall_10,
            &mut scores.all_gold_5,
            &mut scores.mrr_10,
            &mut scores.ndcg_10,
        ] {
            *sum *= share;
        }
        let mut times: Vec<f64> = answers.iter().map(|answer| answer.ms).collect();
        times.sort_by(f64::total_cmp);
        scores.cpu_ms_p50 = percentile(&times, 50);
        scores.cpu_ms_p99 = percentile(&times, 99);
        scores
    }

    fn add(&mut self, gold: &[String], ids: &[&str]) {
        let is_gold = |id: &&str| gold.iter().any(|gold| gold == id);
        let recall = |depth: usize| {
            ids.iter().take(depth).filter(|id| is_gold(id)).count() as f64 / gold.len() as f64
        };
        self.recall_2 += recall(2);
        self.recall_3 += recall(3);
        self.recall_5 += recall(5);
        self.recall_10 += recall(DEPTH);
        self.all_gold_5 += f64::from(u8::from(recall(5) >= 1.0));
        let first = ids.iter().take(DEPTH).position(is_gold);
        self.mrr_10 += first.map_or(0.0, |place| 1.0 / (place + 1) as f64);
        let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let found = ids.iter().take(DEPTH).enumerate().filter(|(_, id)| is_gold(id));
        let ideal: f64 = (0..gold.len().min(DEPTH)).map(gain).sum();
        self.ndcg_10 += found.map(|(place, _)| gain(place)).sum::<f64>() / ideal;
    }
}

/// The sample below which so many per cent of the sorted samples are.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Processor time of this thread.
pub fn thread_milliseconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Ids without repeats: a document of several passages counts where its first one stands.
fn distinct(ids: &[String]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for id in ids {
        if !found.contains(&id.as_str()) {
            found.push(id);
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn question(gold: &[&str]) -> Question {
        let gold = gold.iter().map(|id| (*id).to_owned()).collect();
        Question { question: String::new(), gold }
    }

    fn ranked(ids: &[&str]) -> Ranked {
        Ranked { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ms: 1.0 }
    }

    #[test]
    fn scores_are_those_of_the_definitions() {
        let questions = [question(&["a", "b"]), question(&["c"])];
        let answers = [ranked(&["a", "a", "x", "b"]), ranked(&["x", "y"])];
        let scores = Scores::of(&questions, &answers);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(scores.recall_2, 25.0);
        near(scores.recall_3, 50.0);
        near(scores.all_gold_5, 50.0);
        near(scores.mrr_10, 50.0);
        near(scores.ndcg_10, 50.0 * (1.0 + 0.5) / (1.0 + 1.0 / 3f64.log2()));
    }

    #[test]
    fn a_set_is_read_and_a_bad_line_named() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("corpus.jsonl", "{\"id\": 7, \"text\": \"x\"}\n");
        write(
            "queries.jsonl",
            "{\"question\": \"q\", \"gold\": [7]}\n{\"question\": \"r\", \"gold\": []}\n",
        );
        let set = RetrievalSet::read(folder.path()).unwrap();
        assert_eq!((set.documents[0].id.as_str(), set.questions.len()), ("7", 1));
        write("queries.jsonl", "{\"question\": \"q\"}\n");
        let error = RetrievalSet::read(folder.path()).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("queries.jsonl: line 1: missing field `gold`"));
    }
}
