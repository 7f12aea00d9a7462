//! Questions put to a student through the runtime's own loop, greedily, as `retort eval --samples 1`
//! does.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use retort::agent::{Agent, Retriever, Run, Settings, Status, SystemClock, Toolbox};
use retort::cancel::Cancel;
use retort::engine::{ModelFile, WorkerEngine, WorkerSettings};
use retort::eval::{Score, Task};
use retort::sandbox::Sandbox;
use retort_transcript::Dialect;

/// What students are asked, and where.
pub struct Exam<'a> {
    /// The questions.
    pub tasks: &'a [Task],
    /// What is searched.
    pub retriever: &'a dyn Retriever,
    /// Where actions run.
    pub sandbox: &'a Sandbox,
    /// The words that the student reads.
    pub dialect: &'a Dialect,
}

impl Exam<'_> {
    /// Has the student in `file` answer; `each` sees every run. The bar says what is done.
    ///
    /// # Errors
    /// When the student is refused, or a run failed for another reason than what it wrote.
    pub fn put(
        &self,
        file: ModelFile,
        doing: &'static str,
        each: &mut dyn FnMut(&Task, &Run, Score),
    ) -> Result<()> {
        let usual = WorkerSettings::default();
        let threads = file.useful_threads(usual.threads);
        let worker = WorkerSettings { threads, candidates_max: 1, ..usual };
        let mut engine = WorkerEngine::load(file, worker, Cancel::default())?;
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} questions {eta}")?;
        let bar = ProgressBar::new(self.tasks.len() as u64).with_style(style).with_message(doing);
        for task in self.tasks {
            let mut agent = Agent {
                engine: &mut engine,
                sandbox: self.sandbox,
                retriever: self.retriever,
                toolbox: &Toolbox::default(),
                dialect: self.dialect,
                clock: &SystemClock::default(),
                settings: Settings::default(),
                cancel: Cancel::default(),
            };
            let run = agent.run(&task.question, &mut ());
            if let Status::ModelError { reason } | Status::Overloaded { reason } = &run.status {
                bail!("{}: {reason}", task.question);
            }
            each(task, &run, task.score(&run));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }
}
