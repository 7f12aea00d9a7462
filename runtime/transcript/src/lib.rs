//! What the model reads and writes: the transcript of a run, the dialects that turn it into text,
//! the one renderer, and the parser of replies.
//!
//! A [`Transcript`] is plain data. A [`Dialect`] renders it into [`Segment`]s, each marked with
//! where its text came from and whether a student learns it, and parses what the model replied.
//! This crate knows nothing about tokens, models, files or Python's run time.
//!
//! The words of a dialect are data (`dialects/*.toml`, read by `words`); the code is the same for
//! all of them: `render` walks the turns, `observation` words an outcome, `passages` words what was
//! found, `parse` reads a reply.

mod dialect;
mod observation;
mod parse;
mod passages;
mod prompt;
mod python;
mod render;
mod row;
mod types;
mod words;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use dialect::{Dialect, DialectError};
pub use parse::ParseError;
pub use prompt::template_from_yaml;
pub use row::{TRANSCRIPT_ROW_VERSION, TranscriptRow};
pub use types::{
    Action, Message, Observation, Passage, Role, Segment, Source, Step, SyntaxPlace,
    ToolDescription, ToolInput, Transcript,
};
