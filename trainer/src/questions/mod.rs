//! Questions about a user's own documents: `retort-train questions`.
//!
//! The teacher reads passages one by one and writes questions (`write`); each is answered again from
//! its passage (`check`), and those that are not answered alike, do not stand alone, occur twice or
//! can be guessed too easily are dropped (`select`). Counts say how many and why.

mod asking;
mod check;
mod config;
mod row;
mod select;
mod stage;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod write;

pub use config::QuestionsConfig;
pub use row::{PASSAGE_ROW_VERSION, PassageRow, Proposed, Verdict};
pub use stage::{test_set, write_questions};
