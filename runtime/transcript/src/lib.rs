//! What the model reads and writes: the transcript of a run, the dialects that turn it into text,
//! the one renderer, and the parser of replies.
//!
//! A [`Transcript`] is plain data. A [`Dialect`] renders it into [`Segment`]s, each marked with
//! where its text came from and whether a student learns it, and parses what the model replied.
//! This crate knows nothing about tokens, models, files or Python.

mod dialect;
mod parse;
mod render;
mod types;

pub use dialect::{Dialect, DialectError};
pub use parse::ParseError;
pub use types::{Action, Observation, Passage, Segment, Source, Step, Transcript};
