//! The stage of writing questions: a row a passage, resumable, and what is selected from all rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use retort::corpus::{Corpus, Hit};
use serde_json::{Map, Value, json};

use super::asking::{Asking, key};
use super::check::ANSWER;
use super::config::QuestionsConfig;
use super::row::{PASSAGE_ROW_VERSION, PassageRow, Verdict};
use super::select::{Question, select};
use super::write::{instruction, pair_instruction};
use crate::environment::{fingerprint, open_corpus};
use crate::hash::{file_sha256, is_drawn, sha256};
use crate::remote::{Book, Pace};
use crate::teachers::{Done, Pool, Teacher, Teaching};
use crate::trajectory::{
    Journal, Keyed as _, Manifest, manifest_path, refuse_unknown_rows, versioned, write_rows,
};

/// Where the questions stand that are set aside for a test, beside those in `questions`.
#[must_use]
pub fn test_set(questions: &Path) -> PathBuf {
    questions.with_extension("test.jsonl")
}

/// Writes questions about the configured corpus into `out`.
///
/// # Errors
/// Anything that keeps a passage from being read: what was done is kept, and the next run goes on.
pub fn write_questions(
    teaching: Teaching<'_>,
    config: &QuestionsConfig,
    out: &Path,
    pace: Arc<dyn Pace>,
) -> Result<()> {
    let corpus = teaching.corpus.context(
        "there is no corpus: name one with --corpus, or corpus.folder in the configuration",
    )?;
    let record = out.with_extension("passages.jsonl");
    let path = manifest_path(&record);
    let is_ours = path.exists() || manifest_path(out).exists();
    for file in [out.to_owned(), test_set(out)] {
        ensure!(
            is_ours || !file.exists(),
            "{}: questions that were not written here; name another --out, or learn from them by \
             collect.tasks.file",
            file.display()
        );
    }
    let corpus = open_corpus(corpus, &out.with_extension("corpus"))?;
    let passages = passages(&corpus, config, teaching.seed)?;
    let mut manifest = Manifest::new("questions", made_by(teaching, config, &corpus)?);
    let earlier = manifest.earlier(&path)?;
    let (mut journal, rows) = Journal::open(&record, |text| {
        versioned::<PassageRow>(text, "version", PASSAGE_ROW_VERSION, "a row of a passage")
    })?;
    refuse_unknown_rows(&record, earlier.is_some(), rows.len())?;
    let earlier = earlier.unwrap_or_default();
    let rows_spent = rows.iter().map(|row| &row.spent).sum();
    manifest.spent = earlier.spent_with(rows_spent);
    manifest.rows_spent = Some(rows_spent);
    let book = Book::of(&record);
    let teacher = Teacher::open(teaching.teacher, teaching.seed, manifest.spent, &book, pace)?;
    manifest.write(&path)?;
    // Where not a single reply held a question, the teacher was at fault and has been mended since.
    let is_barren = rows.iter().all(|row| row.proposed.is_empty());
    let known: BTreeSet<&str> = rows.iter().filter(|_| !is_barren).map(|row| row.key()).collect();
    let missing: Vec<&Hit> =
        passages.iter().filter(|hit| !known.contains(key(hit).as_str())).collect();
    let done = read_passages(
        &teacher,
        teaching.seed,
        config,
        &corpus,
        &missing,
        &mut journal,
        passages.len(),
    )?;
    drop(journal);
    finish(config, out, &record, manifest, &teacher, &passages, &done)
}

/// The passages that are read, in a drawn order that does not depend on that of the index.
fn passages(corpus: &Corpus, config: &QuestionsConfig, seed: u64) -> Result<Vec<Hit>> {
    let least = config.passage_words_min;
    let mut passages = corpus.passages().collect::<Result<Vec<_>, _>>()?;
    passages.retain(|hit| hit.passage.split_whitespace().count() >= least);
    ensure!(
        !passages.is_empty(),
        "no passage of the corpus has {least} words; lower questions.passage_words_min"
    );
    passages.sort_by_cached_key(key);
    passages.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    passages.truncate(config.passages.unwrap_or(usize::MAX));
    Ok(passages)
}

fn made_by(
    teaching: Teaching<'_>,
    config: &QuestionsConfig,
    corpus: &Corpus,
) -> Result<Map<String, Value>> {
    let count = config.per_passage;
    let words = instruction(count) + &pair_instruction(count) + ANSWER;
    Ok(Map::from_iter([
        ("corpus".to_owned(), json!(fingerprint(corpus)?)),
        ("seed".to_owned(), json!(teaching.seed)),
        ("teacher".to_owned(), teaching.teacher.identity()?),
        ("words".to_owned(), json!(sha256(words.as_bytes()))),
        ("reply_tokens_max".to_owned(), json!(config.reply_tokens_max)),
        ("answer_words_max".to_owned(), json!(config.answer_words_max)),
        ("pairs_share".to_owned(), json!(config.pairs_share)),
    ]))
}

fn read_passages(
    teacher: &Teacher,
    seed: u64,
    config: &QuestionsConfig,
    corpus: &Corpus,
    missing: &[&Hit],
    journal: &mut Journal,
    all: usize,
) -> Result<Done> {
    let asking = Asking::new(config, seed, corpus)?;
    let pool = Pool { teacher, failures_max: config.failures_max };
    pool.run_shown(
        ("writing questions", "passages", all),
        missing,
        journal,
        &|seat, hit| asking.passage(seat, hit),
        &|hit| key(hit),
    )
}

/// Keeps questions that somebody changed since they were written, beside those that are written now.
fn keep_edited(path: &Path, tasks: &[Value]) -> Result<()> {
    let Ok(found) = fs::read(path) else { return Ok(()) };
    let lines: String = tasks.iter().map(|task| format!("{task}\n")).collect();
    let written = Manifest::read(&manifest_path(path)).ok().and_then(|manifest| manifest.sha256);
    if found == lines.as_bytes() || written == Some(sha256(&found)) {
        return Ok(());
    }
    let numbered = |number: u32| match number {
        1 => path.with_extension("edited.jsonl"),
        _ => path.with_extension(format!("edited-{number}.jsonl")),
    };
    let free = (1..).map(numbered).find(|name| !name.exists());
    let kept = free.context("there is no name left for changed questions")?;
    fs::rename(path, &kept).with_context(|| format!("{} cannot be written", kept.display()))?;
    errln!(
        "{} was changed since it was written: that is now {}; to learn from it name it in \
         collect.tasks.file",
        path.display(),
        kept.display()
    );
    Ok(())
}

/// Selects among all rows and writes the tasks, the test, and the manifest.
fn finish(
    config: &QuestionsConfig,
    out: &Path,
    record: &Path,
    mut manifest: Manifest,
    teacher: &Teacher,
    passages: &[Hit],
    done: &Done,
) -> Result<()> {
    // Held until the book is closed.
    let (_held, mut rows) = Journal::open(record, |text| {
        versioned::<PassageRow>(text, "version", PASSAGE_ROW_VERSION, "a row of a passage")
    })?;
    let rows_spent = rows.iter().map(|row| &row.spent).sum();
    let places: BTreeMap<String, usize> =
        passages.iter().zip(0..).map(|(hit, place)| (key(hit), place)).collect();
    // A passage that was read again has two rows.
    rows.reverse();
    let mut seen = BTreeSet::new();
    rows.retain(|row| places.contains_key(&row.key) && seen.insert(row.key.clone()));
    rows.sort_by_key(|row| places.get(&row.key).copied());
    let (questions, ends) = select(&rows, config);
    let (test, train): (Vec<_>, Vec<_>) =
        questions.iter().map(task).partition(|task| is_test(task, config));
    let test_path = test_set(out);
    for (path, tasks) in [(out, &train), (&test_path, &test)] {
        keep_edited(path, tasks)?;
        write_rows(path, tasks.iter())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    manifest.complete = rows.len() == passages.len();
    manifest.spent = teacher.spent().unwrap_or_else(|| manifest.spent_with(rows_spent));
    manifest.rows_spent = Some(rows_spent);
    let unread = rows.iter().filter(|row| row.proposed.is_empty()).count();
    manifest.counts = Map::from_iter([
        ("passages".to_owned(), json!(passages.len())),
        ("passages_read".to_owned(), json!(rows.len())),
        ("replies_without_a_question".to_owned(), json!(unread)),
        ("tasks".to_owned(), json!(train.len())),
        ("test".to_owned(), json!(test.len())),
    ]);
    for (verdict, count) in &ends {
        manifest.counts.insert(verdict.name().to_owned(), json!(count));
    }
    manifest.write(&manifest_path(record))?;
    teacher.close_book();
    for path in [&test_path, out] {
        manifest.sha256 = Some(file_sha256(path)?);
        manifest.write(&manifest_path(path))?;
    }
    report(out, &test_path, &manifest, &ends);
    for (passage, reason) in &done.failures {
        errln!("passage {passage} failed: {reason}");
    }
    match &done.halt {
        Some(halt) => bail!("stopped: {halt}. What was done is kept; run again to go on"),
        None if is_too_many(passages.len() - rows.len(), passages.len(), config) => {
            bail!("{} passages failed; run again to try only those", done.failed)
        }
        None if questions.is_empty() => bail!(
            "no question was kept; the counts say why. If no reply held one, the passages are read \
             again when this is run again"
        ),
        None => Ok(()),
    }
}

fn is_too_many(missing: usize, passages: usize, config: &QuestionsConfig) -> bool {
    missing as f64 > config.failed_share_max * passages as f64
}

fn report(out: &Path, test: &Path, manifest: &Manifest, ends: &BTreeMap<Verdict, usize>) {
    let count = |name: &str| manifest.counts.get(name).cloned().unwrap_or_default();
    outln!("{:<40} {:>8}", "passages read", count("passages_read"));
    outln!("{:<40} {:>8}", "replies without a question", count("replies_without_a_question"));
    for verdict in Verdict::ALL {
        outln!("{:<40} {:>8}", verdict.name(), ends.get(&verdict).copied().unwrap_or(0));
    }
    outln!("{} questions: {}", count("tasks"), out.display());
    outln!("{} questions set aside for a test: {}", count("test"), test.display());
}

fn task(question: &Question) -> Value {
    let hash = sha256(question.question.as_bytes());
    json!({
        "id": format!("q-{}", hash.get(..12).unwrap_or_default()),
        "question": question.question,
        "answer": question.answer,
        "kind": if question.second.is_some() { "pair" } else { "passage" },
        "documents": std::iter::once(&question.document).chain(&question.second).collect::<Vec<_>>(),
    })
}

/// By its hash, so that a question stays on its side when others come.
fn is_test(task: &Value, config: &QuestionsConfig) -> bool {
    let question = task.get("question").and_then(Value::as_str).unwrap_or_default();
    is_drawn(question, config.test_share)
}
