//! `retort-train questions`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
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
use crate::gather::{CorpusConfig, DistilConfig, Done, Pool, Teacher, fingerprint, open_corpus};
use crate::hash::{file_sha256, is_drawn, sha256};
use crate::remote::{Pace, SystemPace};
use crate::trajectory::{Journal, Keyed as _, Manifest, manifest_path, versioned, write_rows};

/// Have a teacher write questions about the documents of a corpus, each checked.
#[derive(Debug, Args)]
pub struct QuestionsArgs {
    /// Configuration of teaching.
    config: PathBuf,
    /// File of tasks to write; a test set is written beside it as NAME.test.jsonl.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the corpus, in place of the configuration's.
    #[arg(long, value_name = "NAME")]
    corpus: Option<String>,
    /// Passages that are read, in place of the configuration's.
    #[arg(long, value_name = "N")]
    passages: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// Anything that keeps a passage from being read: what was done is kept, and the next run goes on.
pub fn run(args: &QuestionsArgs) -> Result<()> {
    let mut config = DistilConfig::read(&args.config)?;
    if let Some(name) = &args.corpus {
        config.corpus = Some(CorpusConfig::Name(name.clone()));
    }
    config.questions.passages = args.passages.or(config.questions.passages);
    write_questions(&config, &args.out, Arc::new(SystemPace::default()))
}

/// Writes questions about the configured corpus into `out`.
///
/// # Errors
/// As [`run`].
pub fn write_questions(config: &DistilConfig, out: &Path, pace: Arc<dyn Pace>) -> Result<()> {
    let corpus = config.corpus.as_ref().context(
        "there is no corpus: name one with --corpus, or corpus.folder in the configuration",
    )?;
    let corpus = open_corpus(corpus, &out.with_extension("corpus"))?;
    let passages = passages(&corpus, config)?;
    let record = out.with_extension("passages.jsonl");
    let path = manifest_path(&record);
    let mut manifest = Manifest::new("questions", made_by(config, &corpus)?);
    let earlier = manifest.earlier(&path)?.unwrap_or_default();
    let (mut journal, rows) = Journal::open(&record, |text| {
        versioned::<PassageRow>(text, "version", PASSAGE_ROW_VERSION, "a row of a passage")
    })?;
    let rows_spent = rows.iter().map(|row| &row.spent).sum();
    manifest.spent = earlier.spent_with(rows_spent);
    manifest.rows_spent = Some(rows_spent);
    let teacher = Teacher::open(&config.teacher, config.seed, manifest.spent, pace)?;
    manifest.write(&path)?;
    let known: BTreeSet<&str> = rows.iter().map(|row| row.key()).collect();
    let missing: Vec<&Hit> =
        passages.iter().filter(|hit| !known.contains(key(hit).as_str())).collect();
    let done = read_passages(&teacher, config, &corpus, &missing, &mut journal, passages.len())?;
    drop(journal);
    finish(config, out, &record, manifest, &teacher, &passages, &done)
}

/// The passages that are read, in a drawn order that does not depend on that of the index.
fn passages(corpus: &Corpus, config: &DistilConfig) -> Result<Vec<Hit>> {
    let least = config.questions.passage_words_min;
    let mut passages = corpus.passages().collect::<Result<Vec<_>, _>>()?;
    passages.retain(|hit| hit.passage.split_whitespace().count() >= least);
    ensure!(
        !passages.is_empty(),
        "no passage of the corpus has {least} words; lower questions.passage_words_min"
    );
    passages.sort_by_cached_key(key);
    passages.shuffle(&mut ChaCha8Rng::seed_from_u64(config.seed));
    passages.truncate(config.questions.passages.unwrap_or(usize::MAX));
    Ok(passages)
}

fn made_by(config: &DistilConfig, corpus: &Corpus) -> Result<Map<String, Value>> {
    let questions = &config.questions;
    let count = questions.per_passage;
    let words = instruction(count) + &pair_instruction(count) + ANSWER;
    Ok(Map::from_iter([
        ("corpus".to_owned(), json!(fingerprint(corpus)?)),
        ("seed".to_owned(), json!(config.seed)),
        ("teacher".to_owned(), config.teacher.identity()?),
        ("words".to_owned(), json!(sha256(words.as_bytes()))),
        ("reply_tokens_max".to_owned(), json!(questions.reply_tokens_max)),
        ("answer_words_max".to_owned(), json!(questions.answer_words_max)),
        ("pairs_share".to_owned(), json!(questions.pairs_share)),
    ]))
}

fn read_passages(
    teacher: &Teacher,
    config: &DistilConfig,
    corpus: &Corpus,
    missing: &[&Hit],
    journal: &mut Journal,
    all: usize,
) -> Result<Done> {
    let asking = Asking::new(&config.questions, config.seed, corpus)?;
    let pool = Pool { teacher, failures_max: config.questions.failures_max };
    pool.run_shown(
        ("writing questions", "passages", all),
        missing,
        journal,
        &|seat, hit| asking.passage(seat, hit),
        &|hit| key(hit),
    )
}

/// Selects among all rows and writes the tasks, the test, and the manifest.
fn finish(
    config: &DistilConfig,
    out: &Path,
    record: &Path,
    mut manifest: Manifest,
    teacher: &Teacher,
    passages: &[Hit],
    done: &Done,
) -> Result<()> {
    let (_, mut rows) = Journal::open(record, |text| {
        versioned::<PassageRow>(text, "version", PASSAGE_ROW_VERSION, "a row of a passage")
    })?;
    let rows_spent = rows.iter().map(|row| &row.spent).sum();
    let places: BTreeMap<String, usize> =
        passages.iter().zip(0..).map(|(hit, place)| (key(hit), place)).collect();
    rows.retain(|row| places.contains_key(&row.key));
    rows.sort_by_key(|row| places.get(&row.key).copied());
    let (questions, ends) = select(&rows, &config.questions);
    let (test, train): (Vec<_>, Vec<_>) =
        questions.iter().map(task).partition(|task| is_test(task, config));
    let test_path = out.with_extension("test.jsonl");
    for (path, tasks) in [(out, &train), (&test_path, &test)] {
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
    manifest.sha256 = Some(file_sha256(out)?);
    manifest.write(&manifest_path(record))?;
    manifest.write(&manifest_path(out))?;
    report(out, &test_path, &manifest, &ends);
    for (passage, reason) in &done.failures {
        eprintln!("passage {passage} failed: {reason}");
    }
    match &done.halt {
        Some(halt) => bail!("stopped: {halt}. What was done is kept; run again to go on"),
        None if is_too_many(passages.len() - rows.len(), passages.len(), &config.questions) => {
            bail!("{} passages failed; run again to try only those", done.failed)
        }
        None if questions.is_empty() => bail!("no question was kept; the counts say why"),
        None => Ok(()),
    }
}

fn is_too_many(missing: usize, passages: usize, config: &QuestionsConfig) -> bool {
    missing as f64 > config.failed_share_max * passages as f64
}

fn report(out: &Path, test: &Path, manifest: &Manifest, ends: &BTreeMap<Verdict, usize>) {
    let count = |name: &str| manifest.counts.get(name).cloned().unwrap_or_default();
    println!("{:<40} {:>8}", "passages read", count("passages_read"));
    println!("{:<40} {:>8}", "replies without a question", count("replies_without_a_question"));
    for verdict in Verdict::ALL {
        println!("{:<40} {:>8}", verdict.name(), ends.get(&verdict).copied().unwrap_or(0));
    }
    println!("{} questions: {}", count("tasks"), out.display());
    println!("{} questions set aside for a test: {}", count("test"), test.display());
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
fn is_test(task: &Value, config: &DistilConfig) -> bool {
    let question = task.get("question").and_then(Value::as_str).unwrap_or_default();
    is_drawn(question, config.questions.test_share)
}
