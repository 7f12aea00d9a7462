//! Worlds: documents about entities that never existed, and questions whose answers stand in them.
//!
//! [`generate`] is a pure function of a [`WorldConfig`]. A world is a gazetteer (persons, bridges,
//! towns, rivers, museums) or a plant (machines, parts, halls, people, suppliers, fault codes); its
//! documents state facts in wordings that vary, link to others, and have neighbours of their own
//! kind with similar names. Each [`Task`] carries the [`Plan`] that answers it, for the teacher;
//! the plan names only what the question names. This module knows nothing about agents, prompts or
//! tokens.
//!
//! Facts: `kind`, `relation`, `wording`, `value`. Populations: `populate`, `gazetteer`, `plant`.
//! Documents: `page`, `filler`. Questions: `task`, `draw`, `plan`, `routes`, `questions`,
//! `measure`, `arithmetic`. For comparing students: [`Family`].

mod arithmetic;
mod command;
mod draw;
mod family;
mod filler;
mod gazetteer;
mod kind;
mod measure;
mod names;
mod page;
mod plan;
mod plant;
mod populate;
mod questions;
mod relation;
mod routes;
mod task;
mod value;
mod wording;

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use command::{WorldArgs, run};
pub use draw::reads;
pub use family::{Family, TrainingWorld};
pub use kind::EntityKind;
pub use names::{Split, split_of, syllables};
pub use plan::{Finish, NOT_IN_CORPUS, Need, Order, Plan, Read, Scale, Subject};
pub use populate::{Entity, Fact};
pub use relation::{Relation, ValueKind};
pub use task::{Task, TaskKind};
pub use value::{date_parts, items};

use names::NameSource;
use task::TaskSource;

/// Fewer documents cannot hold every kind of question.
pub const DOCUMENTS_MIN: usize = 40;

/// More of anything than a recipe can mean.
pub const COUNT_MAX: usize = 10_000_000;

/// Documents or questions of a world at most: the test split of a domain has a name for each.
pub const fn size_max(domain: Domain) -> usize {
    match domain {
        // Of 129,716 words; a page takes two or three.
        Domain::Gazetteer => 40_000,
        // Of 2,924 fault codes; every ninth page takes one, and so do questions about none.
        Domain::Plant => 20_000,
    }
}

/// What the documents of a world are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// Persons, bridges, towns, rivers and museums.
    #[default]
    Gazetteer,
    /// Machines, parts, halls, people, suppliers and fault codes.
    Plant,
}

/// How documents are written, and what is asked about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// One sentence for each fact and nothing else; seven kinds of question.
    #[default]
    Plain,
    /// Three authors, long and short pages, asides; every kind of question.
    Full,
    /// As full, but by an author whose manner no training page has.
    Unfamiliar,
}

/// What determines a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldConfig {
    /// Equal configurations give equal worlds.
    pub seed: u64,
    /// What the documents are about.
    pub domain: Domain,
    /// How they are written.
    pub style: Style,
    /// Documents in the corpus, at least [`DOCUMENTS_MIN`].
    pub documents: usize,
    /// Questions about entities whose names are in the test split.
    pub test_tasks: usize,
    /// Questions about the others. Without test tasks, no name of the test split occurs.
    pub train_tasks: usize,
}

impl WorldConfig {
    /// A full world with test questions only.
    #[must_use]
    pub fn new(seed: u64, domain: Domain, documents: usize, test_tasks: usize) -> Self {
        Self { seed, domain, style: Style::Full, documents, test_tasks, train_tasks: 0 }
    }
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
    /// What is said of it.
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
    /// The test questions that need documents, each with those that its plan reads.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        let ids: BTreeMap<&str, &str> =
            self.documents.iter().map(|row| (row.title.as_str(), row.id.as_str())).collect();
        let query = |task: &Task| {
            let (reads, _) = reads(task.plan.as_ref()?, &self.entities);
            let mut gold: Vec<String> = Vec::new();
            for read in reads {
                let id = (*ids.get(read.title.as_str())?).to_owned();
                if !gold.contains(&id) {
                    gold.push(id);
                }
            }
            let question = task.question.clone();
            (!gold.is_empty()).then_some(Query { question, gold })
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
    /// More documents or questions than there are names.
    #[error("{count} documents or questions are too many: a {domain:?} has names for {}", size_max(*domain))]
    TooLarge {
        /// What the world is about.
        domain: Domain,
        /// Documents or questions wanted.
        count: usize,
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
    generate_with(config, [TaskKind::shares(config.style); 2], 0, &|_| true)
}

/// Makes the world of `config` with these shares of kinds among its test and its training tasks.
/// Worlds that differ in `draw` alone have the same documents and other questions about them, of
/// those that `accepts` agrees to.
///
/// # Errors
/// When it has too few documents.
pub fn generate_with(
    config: &WorldConfig,
    [test_shares, train_shares]: [&[(TaskKind, usize)]; 2],
    draw: u64,
    accepts: &dyn Fn(&Task) -> bool,
) -> Result<World, WorldError> {
    let [test_documents, train_documents] = split_documents(config)?;
    let &WorldConfig { seed, domain, style, .. } = config;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut names = NameSource::default();
    let mut entities = Vec::with_capacity(config.documents);
    for (split, count) in [(Split::Test, test_documents), (Split::Train, train_documents)] {
        if count > 0 {
            entities.extend(populate::populate(domain, style, split, count, &mut names, &mut rng));
        }
    }
    entities.shuffle(&mut rng);
    let documents = documents(config, &entities, &mut rng);
    if draw > 0 {
        rng.set_stream(draw);
    }
    let mut tasks = |split, shares, count, name| {
        let id_prefix = format!("world-{seed}-{name}");
        let about = TaskSource { domain, style, split, entities: &entities, id_prefix, accepts };
        task::tasks(&about, shares, count, &mut names, &mut rng)
    };
    let test = tasks(Split::Test, test_shares, config.test_tasks, "test")?;
    let train = tasks(Split::Train, train_shares, config.train_tasks, "train")?;
    Ok(World { documents, entities, test, train })
}

/// Documents of the test split and of the training split, in proportion to their tasks.
fn split_documents(config: &WorldConfig) -> Result<[usize; 2], WorldError> {
    let documents = config.documents;
    let tasks_max = config.test_tasks.max(config.train_tasks);
    if documents.max(tasks_max) > size_max(config.domain) {
        let (domain, count) = (config.domain, documents.max(tasks_max));
        return Err(WorldError::TooLarge { domain, count });
    }
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

fn documents(config: &WorldConfig, entities: &[Entity], rng: &mut ChaCha8Rng) -> Vec<Document> {
    let document = |(index, entity): (usize, &Entity)| Document {
        id: format!("world-{}-{index:05}", config.seed),
        title: entity.title.clone(),
        text: page::write(entity, entities, config.style, rng),
    };
    entities.iter().enumerate().map(document).collect()
}

/// How running text names the entity with this title.
fn describe(title: &str) -> String {
    EntityKind::of_title(title).in_text(title)
}

#[cfg(test)]
mod tests;
