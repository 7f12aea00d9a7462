//! The three kinds of teachers, behind the runtime's engine.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use anyhow::{Context as _, Result};
use retort::cancel::Cancel;
use retort::engine::{Engine, ModelFile, WorkerEngine, WorkerSettings};
use retort_transcript::Dialect;

use super::config::{GgufConfig, TeacherConfig};
use super::task::{Solution, TeacherTask};
use crate::remote::{Book, Client, Pace, RemoteEngine, ServerConfig, Spent};
use crate::teach::{Slips, TeacherEngine};

/// Who teaches, shared by all threads.
pub enum Teacher {
    /// A server.
    Server(Arc<Client>),
    /// A model file.
    Gguf(GgufConfig),
    /// The programmatic teacher with so many threads.
    Program(usize),
}

/// The place of one thread at the teacher's.
pub enum Seat<'a> {
    /// A server.
    Server(&'a Arc<Client>),
    /// A copy of the model.
    Gguf(Box<WorkerEngine>),
    /// The programmatic teacher.
    Program,
}

impl Teacher {
    /// Makes ready; a server is not spoken to yet. `before` is what earlier runs have spent by their
    /// manifests, `book` the file that says more while a run goes on.
    ///
    /// # Errors
    /// A configuration that cannot be meant, or a key that is not there.
    pub fn open(
        config: &TeacherConfig,
        seed: u64,
        before: Spent,
        book: &Path,
        pace: Arc<dyn Pace>,
    ) -> Result<Self> {
        Ok(match config {
            TeacherConfig::Server(server) => {
                let (book, before) = Book::open(book, before)?;
                let client = Client::new(server.as_ref().clone(), seed, before, Some(book), pace)?;
                Self::Server(Arc::new(client))
            }
            TeacherConfig::Gguf(gguf) => Self::Gguf(gguf.clone()),
            TeacherConfig::Program(program) => Self::Program(program.concurrent_max),
        })
    }

    /// Its name in rows.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Server(client) => client.config().model.clone(),
            Self::Gguf(gguf) => {
                let stem = gguf.path.file_stem().unwrap_or_default();
                stem.to_string_lossy().into_owned()
            }
            Self::Program(_) => "program".to_owned(),
        }
    }

    /// Threads that are of use.
    #[must_use]
    pub fn concurrent_max(&self) -> usize {
        match self {
            Self::Server(client) => {
                let ServerConfig { url, concurrent_max, .. } = client.config();
                concurrent_max * url.all().len()
            }
            Self::Gguf(gguf) => gguf.concurrent_max,
            Self::Program(threads) => *threads,
        }
    }

    /// Why no further task will be answered, if that is so.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        match self {
            Self::Server(client) => client.halted().map(|error| error.to_string()),
            Self::Gguf(_) | Self::Program(_) => None,
        }
    }

    /// What a server has been paid, earlier runs and failures included.
    #[must_use]
    pub fn spent(&self) -> Option<Spent> {
        match self {
            Self::Server(client) => Some(client.spent()),
            Self::Gguf(_) | Self::Program(_) => None,
        }
    }

    /// A manifest says what was spent.
    pub fn close_book(&self) {
        if let Self::Server(client) = self {
            client.close_book();
        }
    }

    /// A place for a thread.
    ///
    /// # Errors
    /// When the model file is refused or its worker does not start.
    pub fn seat(&self) -> Result<Seat<'_>> {
        Ok(match self {
            Self::Server(client) => Seat::Server(client),
            Self::Gguf(gguf) => Seat::Gguf(Box::new(load(gguf)?)),
            Self::Program(_) => Seat::Program,
        })
    }
}

impl Seat<'_> {
    /// Lends the engine for one task, whose prompts are in `dialect`. What a server counted is
    /// returned beside; other engines count for themselves.
    ///
    /// # Errors
    /// The programmatic teacher has nothing to say to a task without a plan.
    pub fn with_engine<T>(
        &mut self,
        task: Option<&TeacherTask>,
        dialect: &Dialect,
        work: impl FnOnce(&mut dyn Engine) -> T,
    ) -> Result<(T, Option<Spent>)> {
        match self {
            Self::Server(client) => {
                let mut engine = RemoteEngine::new(Arc::clone(client), dialect);
                let done = work(&mut engine);
                let tally = engine.tally();
                let spent = *tally.lock().unwrap_or_else(PoisonError::into_inner);
                Ok((done, Some(spent)))
            }
            Self::Gguf(engine) => Ok((work(engine.as_mut()), None)),
            Self::Program => {
                let Solution { plan, manner, .. } = known(task)?;
                let mut engine = TeacherEngine::new(plan, dialect, *manner, Slips::default());
                Ok((work(&mut engine), None))
            }
        }
    }
}

/// How the programmatic teacher answers `task`.
///
/// # Errors
/// When it does not know how: the task is of no generated world.
pub fn known(task: Option<&TeacherTask>) -> Result<&Solution> {
    task.and_then(|task| task.solution.as_ref()).context(
        "the programmatic teacher answers only the tasks of a generated world; name a server or a \
         GGUF as the teacher",
    )
}

fn load(gguf: &GgufConfig) -> Result<WorkerEngine> {
    let file = ModelFile::open(&gguf.path)?;
    let mut settings =
        WorkerSettings { context_tokens: gguf.context_tokens, ..WorkerSettings::default() };
    if let Some(threads) = gguf.threads {
        settings.threads = threads;
    }
    Ok(WorkerEngine::load(file, settings, Cancel::default())?)
}
