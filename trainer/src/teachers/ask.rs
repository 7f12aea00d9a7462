//! Single replies in plain words.

use anyhow::{Result, bail};
use retort::engine::{Engine, Flow, SampleRequest, Sampling, Stop};
use retort_transcript::{Dialect, Transcript};

use super::walk::Walk;
use crate::remote::Spent;

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
    let request = SampleRequest {
        candidates: 1,
        sampling,
        seed,
        stops: Vec::new(),
        reply_tokens_max,
        wall_max: None,
    };
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

/// The dialect of a single reply under the instruction `told`.
///
/// # Errors
/// None: the words are fixed, and brackets in them are no template's.
pub fn instructed(dialect: &Dialect, told: &str) -> Result<Dialect> {
    let template = format!("{{% raw %}}{told}{{% endraw %}}");
    Ok(dialect.clone().with_system_prompt(&template, &[])?)
}
