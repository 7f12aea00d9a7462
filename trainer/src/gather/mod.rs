//! Trajectories from any teacher: `retort-train collect`.
//!
//! A teacher (`teacher`: a server, a GGUF file, the programmatic one) walks the runtime's own loop,
//! sandbox and corpus (`agent`), or writes a chain of thought (`cot`). `tasks` reads questions,
//! `pool` runs them side by side and appends each row before the next is begun, so that a run that
//! was cut off goes on where it stopped. A [`Shard`] of the tasks is for one of several machines.
//! `words` has what teachers are told; students never see it.

mod agent;
mod command;
mod config;
mod corpus;
mod cot;
mod pool;
mod shard;
mod source;
mod tasks;
mod teacher;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod walk;
mod words;

pub use command::{GatherArgs, gather, run};
pub use config::{
    CorpusConfig, DistilConfig, GatherConfig, GgufConfig, ProgramConfig, TasksConfig,
    TeacherConfig, WorldTasks,
};
pub use corpus::{cache_dir, fingerprint, open_corpus};
pub use cot::{Draw, ask};
pub use pool::{Done, Halt, Pool};
pub use shard::Shard;
pub use source::NoCorpus;
pub use tasks::{GatherTask, read_gather_tasks};
pub use teacher::{Seat, Teacher};
pub use words::{chain_answer, instructed};
