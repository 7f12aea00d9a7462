//! Trajectories from any teacher: `retort-train collect`.
//!
//! The teacher walks the runtime's own loop, sandbox and corpus (`agent`), or writes a chain of
//! thought (`cot`), about the tasks of a file or of a generated world (`source`). A [`Shard`] of the
//! tasks is for one of several machines. `words` has what teachers are told; students never see it.

mod agent;
mod config;
mod cot;
mod shard;
mod source;
mod stage;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod words;

pub use config::{CollectConfig, TasksConfig, WorldTasks};
pub use shard::Shard;
pub use stage::collect;
pub use words::chain_answer;
