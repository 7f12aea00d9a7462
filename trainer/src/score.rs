//! Questions put to a student through the runtime's own loop, greedily, as `retort eval --samples 1`
//! does.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use retort::agent::{Run, Settings};
use retort::cancel::Cancel;
use retort::engine::{ModelFile, WorkerEngine, WorkerSettings};
use retort::eval::{Score, Summary, Task};

use crate::environment::Environment;

/// Has the student in `file` answer `tasks` by these settings; `each` sees every run. The bar says
/// what is done.
///
/// # Errors
/// When the student is refused, or a run failed for another reason than what it wrote.
pub fn ask(
    environment: &Environment,
    settings: &Settings,
    tasks: &[Task],
    file: ModelFile,
    doing: &'static str,
    each: &mut dyn FnMut(&Task, &Run, Score),
) -> Result<()> {
    let usual = WorkerSettings::default();
    let threads = file.useful_threads(usual.threads);
    let worker = WorkerSettings { threads, candidates_max: 1, ..usual };
    let mut engine = WorkerEngine::load(file, worker, Cancel::default())?;
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} questions {eta}")?;
    let bar = ProgressBar::new(tasks.len() as u64).with_style(style).with_message(doing);
    for task in tasks {
        let run = environment.run(&mut engine, &task.question, settings.clone());
        let run = run.with_context(|| task.question.clone())?;
        each(task, &run, task.score(&run));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// What a model answered before and after its weights were rounded, each under its type's name, as
/// a table by kind of question.
///
/// # Errors
/// When it answers exactly more than `drop_max` points of a hundred less, with both figures.
pub fn compare(
    (before, whole): (&str, &Summary),
    (after, rounded): (&str, &Summary),
    drop_max: f64,
) -> Result<String> {
    let [first, second] = [whole, rounded].map(|own| 100.0 * own.all.exact_match());
    // 55 minus 53 of 100 is a little more than 2 in binary.
    ensure!(
        first - second <= drop_max + 1e-9,
        "{before} answers {first:.1} % of {} questions exactly, {after} {second:.1} %: more than \
         {drop_max} points less. Nothing was written",
        whole.all.tasks()
    );
    let mut table = format!("| exact match | {before} | {after} |\n|---|---|---|\n");
    let kinds = whole.by_kind.iter().zip(rounded.by_kind.values());
    let kinds = kinds.map(|((kind, before), after)| (kind.as_str(), before, after));
    for (kind, before, after) in kinds.chain([("all", &whole.all, &rounded.all)]) {
        let [before, after] = [before, after].map(|own| 100.0 * own.exact_match());
        writeln!(table, "| {kind} | {before:.1} % | {after:.1} % |")?;
    }
    Ok(table)
}
