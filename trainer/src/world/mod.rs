//! Worlds: documents about entities that never existed, and questions whose answers stand in them.
//!
//! [`generate`] is a pure function of a [`WorldConfig`]. A world has persons, bridges, towns,
//! rivers and museums; every document states two to four facts in one of several wordings, links
//! to others, and has neighbours of its own kind with similar names. Each [`Task`] carries the
//! [`Plan`] that answers it, for the teacher; the plan names only what the question names.
//! This module knows nothing about agents, prompts or tokens.

mod command;
mod names;
mod populate;
mod questions;
mod relation;
mod task;
mod wording;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use command::{Domain, WorldArgs, run};
pub use names::{Split, split_of, syllables};
pub use populate::{Entity, Fact};
pub use questions::Operation;
pub use relation::{EntityKind, Relation};
pub use task::{Plan, Task, TaskKind};

use names::NameSource;

/// Fewer documents cannot hold every kind of question.
pub const DOCUMENTS_MIN: usize = 40;

/// What determines a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// Equal configurations give equal worlds.
    pub seed: u64,
    /// Documents in the corpus, at least [`DOCUMENTS_MIN`].
    pub documents: usize,
    /// Questions about entities whose names are in the test split.
    pub test_tasks: usize,
    /// Questions about the others. Without test tasks, no name of the test split occurs.
    pub train_tasks: usize,
}

/// A generated world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The corpus, in random order.
    pub documents: Vec<Document>,
    /// What the documents are about, in the same order.
    pub entities: Vec<Entity>,
    /// Questions on names of the test split.
    pub test: Vec<Task>,
    /// Questions on the other names.
    pub train: Vec<Task>,
}

/// One row of `corpus.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Unique in the world.
    pub id: String,
    /// Name of the entity.
    pub title: String,
    /// Two to four sentences.
    pub text: String,
}

/// A question with the documents that it takes, for measuring search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The question.
    pub question: String,
    /// Ids of the documents.
    pub gold: Vec<String>,
}

impl World {
    /// The test questions, each with the documents that its plan reads.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        let ids: BTreeMap<&str, &str> =
            self.documents.iter().map(|row| (row.title.as_str(), row.id.as_str())).collect();
        let value = |title: &str, relation| {
            let entity = self.entities.iter().find(|entity| entity.title == title);
            entity.and_then(|entity| entity.value(relation)).map(str::to_owned)
        };
        let query = |task: &Task| {
            let titles = match task.plan.as_ref()? {
                Plan::Lookup { title, .. } | Plan::Span { title, .. } => vec![title.clone()],
                Plan::Hop { title, via, .. } => vec![title.clone(), value(title, *via)?],
                Plan::Age { title, maker } => vec![title.clone(), value(title, *maker)?],
                Plan::Pair { titles, .. } => titles.to_vec(),
            };
            let gold = titles.iter().filter_map(|title| ids.get(title.as_str()));
            let gold = gold.map(|id| (*id).to_owned()).collect();
            Some(Query { question: task.question.clone(), gold })
        };
        self.test.iter().filter_map(query).collect()
    }
}

/// Why there is no such world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// The number of documents is too small for any world.
    #[error(
        "{documents} documents are too few: a world needs at least {DOCUMENTS_MIN} (and twice as many when it has test and training tasks)"
    )]
    TooSmall {
        /// Documents wanted.
        documents: usize,
    },
    /// The documents do not allow as many different questions.
    #[error(
        "{documents} documents do not allow {wanted} different questions of kind {kind:?}: ask for more documents or fewer tasks"
    )]
    TooFewDocuments {
        /// Kind of question that ran out.
        kind: TaskKind,
        /// Questions of that kind wanted.
        wanted: usize,
        /// Documents of the world.
        documents: usize,
    },
}

/// Makes the world of `config`.
///
/// # Errors
/// When it has too few documents.
pub fn generate(config: &WorldConfig) -> Result<World, WorldError> {
    let [test_documents, train_documents] = split_documents(config)?;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let mut names = NameSource::default();
    let mut entities = Vec::with_capacity(config.documents);
    for (split, count) in [(Split::Test, test_documents), (Split::Train, train_documents)] {
        if count > 0 {
            entities.extend(populate::populate(split, count, &mut names, &mut rng));
        }
    }
    entities.shuffle(&mut rng);
    let documents = documents(config.seed, &entities, &mut rng);
    let mut tasks = |split, count, name| {
        let id_prefix = format!("world-{}-{name}", config.seed);
        task::tasks(&entities, split, count, &id_prefix, &mut rng)
    };
    let test = tasks(Split::Test, config.test_tasks, "test")?;
    let train = tasks(Split::Train, config.train_tasks, "train")?;
    Ok(World { documents, entities, test, train })
}

/// Documents of the test split and of the training split, in proportion to their tasks.
fn split_documents(config: &WorldConfig) -> Result<[usize; 2], WorldError> {
    let documents = config.documents;
    let parts = usize::from(config.test_tasks > 0) + usize::from(config.train_tasks > 0);
    if documents < DOCUMENTS_MIN * parts.max(1) {
        return Err(WorldError::TooSmall { documents });
    }
    let tasks = config.test_tasks + config.train_tasks;
    let test = match (config.test_tasks, config.train_tasks) {
        (0, _) => 0,
        (_, 0) => documents,
        (test, _) => (documents * test / tasks).clamp(DOCUMENTS_MIN, documents - DOCUMENTS_MIN),
    };
    Ok([test, documents - test])
}

fn documents(seed: u64, entities: &[Entity], rng: &mut ChaCha8Rng) -> Vec<Document> {
    let document = |(index, entity): (usize, &Entity)| Document {
        id: format!("world-{seed}-{index:05}"),
        title: entity.title.clone(),
        text: populate::document_text(entity, rng),
    };
    entities.iter().enumerate().map(document).collect()
}

/// How running text names the entity with this title.
fn describe(title: &str) -> String {
    EntityKind::of_title(title).in_text(title)
}

#[cfg(test)]
mod tests;
