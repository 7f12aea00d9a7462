//! The stage of collecting: a row a question, resumable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;
use serde_json::{Map, Value, json};

use super::agent::Collector;
use super::config::CollectConfig;
use super::source::Source;
use super::words::{CHAIN, teacher_dialect};
use crate::environment::cache_dir;
use crate::hash::file_sha256;
use crate::remote::{Book, Pace, Spent};
use crate::teach::check_dialect;
use crate::teachers::{Done, Pool, Teacher, TeacherConfig, TeacherTask, Teaching, instructed};
use crate::trajectory::{
    Journal, Keyed as _, Manifest, Mode, TRAJECTORY_VERSION, Trajectory, manifest_path,
    read_collected, refuse_unknown_rows, versioned, write_rows,
};

/// Collects into `out` what is missing there.
///
/// # Errors
/// Anything that keeps a task from its row: what was done is kept, and the next run goes on.
pub fn collect(
    teaching: Teaching<'_>,
    config: &CollectConfig,
    out: &Path,
    pace: Arc<dyn Pace>,
) -> Result<()> {
    let is_program = matches!(teaching.teacher, TeacherConfig::Program(_));
    if is_program && config.mode == Mode::Agent {
        check_dialect(&Dialect::named(&config.dialect)?)?;
    }
    let source = Source::open(teaching, config, out)?;
    let path = manifest_path(out);
    let mut manifest = Manifest::new("collect", made_by(teaching, config, &source)?);
    let earlier = manifest.earlier(&path)?;
    let (mut journal, rows) =
        Journal::open(out, |text| versioned(text, "version", TRAJECTORY_VERSION, "a trajectory"))?;
    let rows: Vec<Trajectory> = rows;
    refuse_unknown_rows(out, earlier.is_some(), rows.len())?;
    let earlier = earlier.unwrap_or_default();
    refuse_other_tasks(out, &rows, &source.tasks)?;
    manifest.inputs = source.inputs.clone();
    manifest.spent = earlier.spent_with(sum(&rows));
    manifest.rows_spent = Some(sum(&rows));
    manifest.parts = earlier.parts;
    let book = Book::of(out);
    let teacher = Teacher::open(teaching.teacher, teaching.seed, manifest.spent, &book, pace)?;
    manifest.write(&path)?;

    let known: BTreeSet<&str> = rows.iter().map(|row| row.key()).collect();
    let missing: Vec<&TeacherTask> =
        source.tasks.iter().filter(|task| !known.contains(task.id.as_str())).collect();
    let sandbox = Sandbox::open(&SandboxOptions { cache_dir: cache_dir() })?;
    let collector = Collector::new(
        config,
        teaching.seed,
        &sandbox,
        source.retriever(),
        teacher.name(),
        is_program,
    )?;
    let pool = Pool { teacher: &teacher, failures_max: config.failures_max };
    let done = pool.run_shown(
        ("collecting", "tasks", source.tasks.len()),
        &missing,
        &mut journal,
        &|seat, task| collector.teach(seat, task),
        &|task| task.id.clone(),
    )?;
    // The file is this process's until it stands there in order.
    let finished = finish(out, manifest, config, &source, &teacher, &done);
    drop(journal);
    finished
}

/// Rows stay when tasks are added or left out, but a task under a known id must be the same one.
fn refuse_other_tasks(out: &Path, rows: &[Trajectory], tasks: &[TeacherTask]) -> Result<()> {
    let tasks: BTreeMap<&str, &TeacherTask> =
        tasks.iter().map(|task| (task.id.as_str(), task)).collect();
    let other = rows.iter().find(|row| {
        tasks.get(row.id.as_str()).is_some_and(|task| {
            (&row.question, &row.answer, &row.aliases)
                != (&task.question, &task.answer, &task.aliases)
        })
    });
    if let Some(row) = other {
        bail!(
            "{}: the row of task {:?} answers another question or expects another answer than the \
             task now does; name another file with --out, or remove that row",
            out.display(),
            row.id
        );
    }
    Ok(())
}

/// Everything the rows depend on.
fn made_by(
    teaching: Teaching<'_>,
    config: &CollectConfig,
    source: &Source,
) -> Result<Map<String, Value>> {
    let mut made_by = source.identity.clone();
    let mut collect = json!(config);
    if let Some(fields) = collect.as_object_mut() {
        // Where the tasks lie and how many are wanted changes no row.
        let how = ["tasks", "limit", "shard", "failures_max", "failed_share_max", "system_prompt"];
        for name in how {
            fields.remove(name);
        }
        made_by.append(fields);
    }
    let student = Dialect::named(&config.dialect)?;
    let acting = teacher_dialect(config, &student)?;
    let thinking = instructed(&student, CHAIN)?;
    made_by.insert("words".to_owned(), json!([acting.hash(), thinking.hash()]));
    made_by.insert("seed".to_owned(), json!(teaching.seed));
    made_by.insert("teacher".to_owned(), teaching.teacher.identity()?);
    Ok(made_by)
}

/// Puts the rows in the order of the tasks and writes the manifest.
fn finish(
    out: &Path,
    mut manifest: Manifest,
    config: &CollectConfig,
    source: &Source,
    teacher: &Teacher,
    done: &Done,
) -> Result<()> {
    let mut rows = read_collected(out)?;
    let places: BTreeMap<&str, usize> =
        source.tasks.iter().zip(0..).map(|(task, place)| (task.id.as_str(), place)).collect();
    rows.sort_by_key(|row| places.get(row.id.as_str()).copied().unwrap_or(usize::MAX));
    let rows_spent = sum(&rows);
    // Files that were put together by hand may have a row twice.
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert(row.id.clone()));
    let have = rows.iter().filter(|row| places.contains_key(row.id.as_str())).count();
    manifest.complete = have == source.tasks.len();
    manifest.spent = teacher.spent().unwrap_or_else(|| manifest.spent_with(rows_spent));
    manifest.rows_spent = Some(rows_spent);
    manifest.counts = counts(source.tasks.len(), &rows, done);
    if manifest.complete {
        write_rows(out, rows.iter())
            .with_context(|| format!("{} cannot be written", out.display()))?;
        manifest.sha256 = Some(file_sha256(out)?);
    }
    manifest.write(&manifest_path(out))?;
    teacher.close_book();
    for (task, reason) in &done.failures {
        errln!("task {task} failed: {reason}");
    }
    let Spent { prompt_tokens, completion_tokens, cost, .. } = manifest.spent;
    outln!(
        "{have} of {} tasks: {} (prompts {prompt_tokens}, replies {completion_tokens} tokens, cost \
         {cost:.4})",
        source.tasks.len(),
        out.display()
    );
    match &done.halt {
        Some(halt) => bail!("stopped: {halt}. What was done is kept; run again to go on"),
        None if is_too_many(source.tasks.len() - have, source.tasks.len(), config) => {
            bail!("{} tasks failed; run again to try only those", done.failed)
        }
        None => Ok(()),
    }
}

fn is_too_many(missing: usize, tasks: usize, config: &CollectConfig) -> bool {
    missing as f64 > config.failed_share_max * tasks as f64
}

fn counts(tasks: usize, rows: &[Trajectory], done: &Done) -> Map<String, Value> {
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *statuses.entry(&row.status).or_default() += 1;
    }
    Map::from_iter([
        ("tasks".to_owned(), json!(tasks)),
        ("rows".to_owned(), json!(rows.len())),
        ("statuses".to_owned(), json!(statuses)),
        ("failed_in_last_run".to_owned(), json!(done.failed)),
    ])
}

fn sum(rows: &[Trajectory]) -> Spent {
    rows.iter().map(|row| &row.spent).sum()
}
