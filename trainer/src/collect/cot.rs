//! Chains of thought.

use anyhow::Result;
use retort::agent::Retriever;
use retort_transcript::{Dialect, Passage, Step, Transcript};

use super::words::chain_answer;
use crate::teach::with_passages;
use crate::teachers::TeacherTask;

/// A chain of thought as a student learns it: what `reply` says to the question, and its answer.
/// Passages stand under the question, as a student of that kind will read them.
pub fn chain(
    dialect: &Dialect,
    task: &TeacherTask,
    passages: Option<(&dyn Retriever, usize)>,
    reply: impl FnOnce(&str) -> Result<String>,
) -> Result<(Transcript, Option<String>)> {
    let found = match passages {
        Some((retriever, count)) => retriever.retrieve(&task.question, count)?,
        None => Vec::new(),
    };
    let found: Vec<Passage> = found.into_iter().map(|hit| hit.passage).collect();
    let mut transcript = with_passages(dialect, &task.question, &found, "");
    let reply = reply(&transcript.question)?;
    let answer = chain_answer(&reply);
    transcript.steps = vec![Step { reply, observation: None }];
    Ok((transcript, answer))
}
