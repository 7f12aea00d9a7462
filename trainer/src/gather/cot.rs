//! Single replies in plain words: chains of thought.

use anyhow::{Result, bail};
use retort::agent::Retriever;
use retort::engine::{Engine, Flow, SampleRequest, Sampling, Stop};
use retort_transcript::{Dialect, Passage, Step, Transcript};

use super::tasks::GatherTask;
use super::walk::Walk;
use super::words::chain_answer;
use crate::remote::Spent;
use crate::teach::with_passages;

/// How a single reply is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Seed.
    pub seed: u64,
    /// Tokens at most.
    pub reply_tokens_max: u32,
}

/// The reply of `engine` to `question` in a dialect whose system prompt is the instruction.
///
/// # Errors
/// What keeps the engine from replying.
pub fn ask(
    engine: &mut dyn Engine,
    dialect: &Dialect,
    question: &str,
    draw: Draw,
    spent: &mut Spent,
) -> Result<String> {
    let transcript = Transcript { question: question.to_owned(), ..Transcript::default() };
    let Draw { sampling, seed, reply_tokens_max } = draw;
    let request =
        SampleRequest { candidates: 1, sampling, seed, stops: Vec::new(), reply_tokens_max };
    let mut walk = Walk::plain(engine);
    let outcome = walk
        .prefill(&dialect.render_prompt(&transcript))
        .and_then(|_| walk.sample(&request, &mut |_, _| Flow::Continue));
    spent.add(&walk.spent);
    match outcome?.into_iter().next() {
        Some(reply) if reply.stop == Stop::Length => {
            bail!("the reply was cut off at {reply_tokens_max} tokens; raise reply_tokens_max")
        }
        Some(reply) if !reply.text.trim().is_empty() => Ok(reply.text.trim().to_owned()),
        _ => bail!("the teacher's reply is empty"),
    }
}

/// A chain of thought as a student learns it: what `reply` says to the question, and its answer.
/// Passages stand under the question, as a student of that kind will read them.
pub fn chain(
    dialect: &Dialect,
    task: &GatherTask,
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
