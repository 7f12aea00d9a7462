//! What a corpus of many passages costs: to make, to keep, and to ask.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::json;

use super::retrieval::{DEPTH, RetrievalSet, percentile, thread_milliseconds};
use crate::corpus::{self, Corpus, IngestOptions};

/// Words of a passage.
const WORDS: usize = 100;
/// Seed of the passages.
const SEED: u64 = 1;
/// How often memory is looked at while passages are indexed.
const LOOK: Duration = Duration::from_millis(20);

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// Passages.
    pub passages: usize,
    /// Bytes of their titles and texts.
    pub text_bytes: u64,
    /// Text indexed per second of processor time, all processes together, in 10^6 bytes.
    pub index_mb_per_cpu_second: f64,
    /// Most anonymous memory of all processes together while indexing, in 10^6 bytes.
    pub index_anonymous_mb: f64,
    /// Bytes of the index per byte of text.
    pub index_bytes_per_text_byte: f64,
    /// Anonymous memory that opening the corpus and asking took, in 10^6 bytes.
    pub query_anonymous_mb: f64,
    /// Median processor time of a question.
    pub query_cpu_ms_p50: f64,
    /// 99th percentile of it.
    pub query_cpu_ms_p99: f64,
}

/// Indexes `passages` passages made of the sets' sentences, and asks the sets' questions.
///
/// # Errors
/// When the files cannot be written, or the corpus cannot be made.
pub fn measure(sets: &[RetrievalSet], passages: usize, options: &IngestOptions) -> Result<Costs> {
    let folder = tempfile::tempdir()?;
    let documents = folder.path().join("passages.jsonl");
    let text_bytes =
        write(sets, passages, &documents).with_context(|| documents.display().to_string())?;
    let dir = folder.path().join("corpus");
    let begun = processor_seconds()?;
    let peak = with_memory_watched(|| {
        corpus::ingest(&dir, &[documents], options, &mut ())?;
        Ok(())
    })?;
    let seconds = processor_seconds()? - begun;
    let before = anonymous_bytes(&own_process()?)?;
    let corpus = Corpus::open(&dir)?;
    let mut times = Vec::new();
    for question in sets.iter().flat_map(|set| &set.questions) {
        corpus.search(&question.question, DEPTH)?;
        let begun = thread_milliseconds();
        corpus.search(&question.question, DEPTH)?;
        times.push(thread_milliseconds() - begun);
    }
    let asking = anonymous_bytes(&own_process()?)?.saturating_sub(before);
    times.sort_by(f64::total_cmp);
    Ok(Costs {
        passages,
        text_bytes,
        index_mb_per_cpu_second: text_bytes as f64 / 1e6 / seconds,
        index_anonymous_mb: peak as f64 / 1e6,
        index_bytes_per_text_byte: corpus.stats().index_bytes as f64 / text_bytes as f64,
        query_anonymous_mb: asking as f64 / 1e6,
        query_cpu_ms_p50: percentile(&times, 50),
        query_cpu_ms_p99: percentile(&times, 99),
    })
}

/// Writes passages of sentences drawn from all sets, titled by two of their names.
fn write(sets: &[RetrievalSet], passages: usize, path: &Path) -> Result<u64> {
    let documents = || sets.iter().flat_map(|set| &set.documents);
    let sentences: Vec<&str> =
        documents().flat_map(|document| document.text.split_inclusive(". ")).collect();
    let names: BTreeSet<&str> = documents()
        .flat_map(|document| document.title.split_whitespace())
        .filter(|word| word.starts_with(char::is_uppercase))
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    anyhow::ensure!(!sentences.is_empty() && !names.is_empty(), "the sets hold no named text");
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut draw = |from: &[&str]| {
        let index = rng.random_range(0..from.len());
        from.get(index).copied().unwrap_or_default().to_owned()
    };
    let mut file = BufWriter::new(File::create(path)?);
    let mut bytes = 0;
    for id in 0..passages {
        let title = format!("{} {}", draw(&names), draw(&names));
        let (mut text, mut words) = (String::new(), 0);
        while words < WORDS {
            let sentence = draw(&sentences);
            words += sentence.split_whitespace().count().max(1);
            text.push_str(sentence.trim());
            text.push(' ');
        }
        bytes += (title.len() + text.len()) as u64;
        writeln!(file, "{}", json!({"id": id, "title": title, "text": text}))?;
    }
    file.flush()?;
    Ok(bytes)
}

/// The most anonymous memory that this process and its children have while `work` runs.
fn with_memory_watched(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let (most, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let outcome = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let bytes = processes().iter().filter_map(|id| anonymous_bytes(id).ok()).sum();
                most.fetch_max(bytes, Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        // A panic too must end the watching, or the scope waits for ever.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    outcome.map(|()| most.into_inner())
}

fn own_process() -> Result<String> {
    Ok(std::process::id().to_string())
}

/// This process and its children.
fn processes() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<String> = children
        .flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    children.into_iter().chain([std::process::id().to_string()]).collect()
}

fn anonymous_bytes(process: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kibibytes.context("no RssAnon in /proc")?.parse::<u64>()? * 1024)
}

/// Processor time of this process and of its children that have ended.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name may hold anything; the state follows its closing parenthesis.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/self/stat is not understood")?;
    let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<u64>);
    let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.into_iter().sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_a_small_corpus_are_measured() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "corpus.jsonl",
            "{\"id\": 1, \"title\": \"Heahi Bridge\", \"text\": \"It is long. It is old.\"}\n",
        );
        write("queries.jsonl", "{\"question\": \"Heahi\", \"gold\": [1]}\n");
        let set = RetrievalSet::read(folder.path()).unwrap();
        let costs = measure(&[set], 200, &IngestOptions::default()).unwrap();
        assert_eq!(costs.passages, 200);
        assert!(costs.text_bytes > 200 * 100 && costs.index_bytes_per_text_byte > 0.0);
        assert!(costs.index_anonymous_mb > 0.0);
    }
}
