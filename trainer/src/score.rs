//! Questions put to a student through the runtime's own loop, greedily, as `retort eval --samples 1`
//! does.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use retort::agent::{Run, Settings, Status};
use retort::cancel::Cancel;
use retort::engine::{ModelFile, WorkerEngine, WorkerSettings};
use retort::eval::{Score, Task};

use crate::environment::Environment;

/// Has the student in `file` answer `tasks`; `each` sees every run. The bar says what is done.
///
/// # Errors
/// When the student is refused, or a run failed for another reason than what it wrote.
pub fn ask(
    environment: &Environment,
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
        let run = environment.run(&mut engine, &task.question, Settings::default());
        if let Status::ModelError { reason } | Status::Overloaded { reason } = &run.status {
            bail!("{}: {reason}", task.question);
        }
        each(task, &run, task.score(&run));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}
