//! Where an agent acts: the runtime's own loop with its sandbox, before a corpus.

mod corpus;

pub use corpus::{CorpusConfig, NoCorpus, cache_dir, fingerprint, index_world, open_corpus};

use std::time::Duration;

use anyhow::{Result, bail};
use retort::agent::{Agent, Clock, Retriever, Run, Settings, Status, SystemClock, Toolbox};
use retort::cancel::Cancel;
use retort::engine::Engine;
use retort::sandbox::Sandbox;
use retort_transcript::Dialect;

/// Wall time of one run: a server may be waited for long, and a slow board takes its time. Steps,
/// tokens and fuel end a run.
const WALL_MAX: Duration = Duration::from_secs(4 * 3600);
/// 2026-01-01T00:00:00Z: what an agent's Python does must not depend on when.
const UNIX_SECONDS: i64 = 1_767_225_600;

/// What an agent meets.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The words that it reads and writes.
    pub dialect: &'a Dialect,
    /// Runs its actions.
    pub sandbox: &'a Sandbox,
    /// Is searched.
    pub retriever: &'a dyn Retriever,
}

impl Environment<'_> {
    /// The way of the agent that `engine` speaks for, from a question to its end.
    ///
    /// # Errors
    /// When the run ended for another reason than what the agent wrote: the engine failed, or the
    /// machine has no room.
    pub fn run(
        &self,
        engine: &mut dyn Engine,
        question: &str,
        mut settings: Settings,
    ) -> Result<Run> {
        settings.budgets.wall_max = WALL_MAX;
        let mut agent = Agent {
            engine,
            sandbox: self.sandbox,
            retriever: self.retriever,
            toolbox: &Toolbox::default(),
            dialect: self.dialect,
            clock: &FixedDate(SystemClock::default()),
            settings,
            cancel: Cancel::default(),
        };
        let run = agent.run(question, &mut ());
        match &run.status {
            Status::ModelError { reason } | Status::Overloaded { reason } => bail!("{reason}"),
            _ => Ok(run),
        }
    }
}

/// The machine's clock with a fixed date.
struct FixedDate(SystemClock);

impl Clock for FixedDate {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn unix_seconds(&self) -> i64 {
        UNIX_SECONDS
    }
}
