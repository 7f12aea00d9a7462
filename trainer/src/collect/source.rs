//! Where tasks and passages come from.

use std::path::Path;

use anyhow::{Context as _, Result};
use retort::agent::Retriever;
use retort::corpus::Corpus;
use serde_json::{Map, Value, json};

use super::config::{CollectConfig, TasksConfig, WorldTasks};
use crate::environment::{CorpusConfig, NoCorpus, fingerprint, index_world, open_corpus};
use crate::hash::file_sha256;
use crate::teach::{Manner, explain};
use crate::teachers::{Solution, TeacherTask, Teaching, read_teacher_tasks};
use crate::world::{self, WorldConfig, reads};

/// Tasks with what is searched for them.
pub struct Source {
    /// The tasks.
    pub tasks: Vec<TeacherTask>,
    corpus: Option<Corpus>,
    /// What all rows depend on.
    pub identity: Map<String, Value>,
    /// Whence the tasks are; there may be more of them later.
    pub inputs: Map<String, Value>,
    /// Holds the corpus of a generated world.
    _scratch: Option<tempfile::TempDir>,
}

impl Source {
    /// Reads the tasks and opens the corpus; documents that are none yet are indexed beside `out`.
    ///
    /// # Errors
    /// No tasks, or a file or corpus that cannot be used.
    pub fn open(teaching: Teaching<'_>, config: &CollectConfig, out: &Path) -> Result<Self> {
        let tasks = config.tasks.as_ref().context(
            "there are no tasks: name a file with --tasks or collect.tasks.file, or a world",
        )?;
        let manner = match config.first_thought_prefix {
            true => Manner::Prefixed,
            false => Manner::default(),
        };
        let mut source = match tasks {
            TasksConfig::File(path) => Self::of_file(path, teaching.corpus, out)?,
            TasksConfig::World(world) => Self::of_world(world, manner)?,
        };
        source.tasks.truncate(config.limit.unwrap_or(usize::MAX));
        if let Some(shard) = config.shard {
            source.tasks.retain(|task| shard.holds(&task.id));
        }
        Ok(source)
    }

    fn of_file(path: &Path, corpus: Option<&CorpusConfig>, out: &Path) -> Result<Self> {
        let tasks = read_teacher_tasks(path)?;
        let scratch = out.with_extension("corpus");
        let corpus = corpus.map(|corpus| open_corpus(corpus, &scratch));
        let corpus = corpus.transpose()?;
        let inputs = Map::from_iter([("tasks".to_owned(), json!(file_sha256(path)?))]);
        let print = corpus.as_ref().map(fingerprint).transpose()?;
        let identity = Map::from_iter([("corpus".to_owned(), json!(print))]);
        Ok(Self { tasks, corpus, identity, inputs, _scratch: None })
    }

    fn of_world(wanted: &WorldTasks, manner: Manner) -> Result<Self> {
        let world = world::generate(&WorldConfig {
            seed: wanted.seed,
            domain: wanted.domain,
            style: wanted.style,
            documents: wanted.documents,
            test_tasks: 0,
            train_tasks: wanted.tasks,
        })?;
        let scratch = tempfile::tempdir().context("a temporary folder")?;
        let corpus = index_world(&world, scratch.path())?;
        let tasks = world.train.iter().map(|task| {
            let kind = serde_json::to_value(task.kind)?;
            let solution = task.plan.as_ref().map(|plan| {
                let (read, _) = reads(plan, &world.entities);
                let chain = explain(plan, &read, &task.answer);
                Solution { plan: plan.clone(), manner, chain }
            });
            Ok(TeacherTask {
                id: task.id.clone(),
                question: task.question.clone(),
                answer: task.answer.clone(),
                aliases: Vec::new(),
                kind: kind.as_str().map(str::to_owned),
                solution,
            })
        });
        let tasks = tasks.collect::<Result<Vec<_>>>()?;
        let identity = Map::from_iter([
            ("world".to_owned(), json!(wanted)),
            ("corpus".to_owned(), json!(fingerprint(&corpus)?)),
        ]);
        let (corpus, inputs) = (Some(corpus), Map::new());
        Ok(Self { tasks, corpus, identity, inputs, _scratch: Some(scratch) })
    }

    /// What is searched; without a corpus a search finds nothing.
    pub fn retriever(&self) -> &(dyn Retriever + Sync) {
        match &self.corpus {
            Some(corpus) => corpus,
            None => &NoCorpus,
        }
    }
}
