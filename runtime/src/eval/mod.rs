//! Many questions, scored: tasks read from files, answers judged, figures added up.
//!
//! [`read_tasks`] reads [`Task`]s, [`score`] judges one answer, a [`Summary`] adds up. `retort eval`
//! and the trainer measure with the same code. Nothing here runs a question: the agent does.

mod score;
mod summary;
mod tasks;

pub use score::{Score, normalise, score};
pub use summary::{Summary, Tally};
pub use tasks::{Task, TasksError, read_tasks};
