//! Tokens in, tokens out.
//!
//! [`Engine`] is what the agent drives: make the context equal to a prompt, sample candidate
//! replies from it, keep one. [`WorkerEngine`] runs llama.cpp in a child process;
//! [`ScriptedEngine`] answers from a script, for tests.
//! The engine knows nothing about actions, Python or documents.

mod adapter_file;
mod client;
mod family;
mod generate;
pub mod gguf;
mod llama;
mod model_file;
mod process;
mod processor;
mod protocol;
mod sampling;
mod scripted;
mod stops;
mod tokenizer;
mod turns;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use retort_transcript::Segment;
use serde::{Deserialize, Serialize};

pub use adapter_file::AdapterFile;
pub use client::{WorkerEngine, quantise};
pub use family::Family;
pub use model_file::ModelFile;
pub use processor::{UnfitProcessor, check_processor};
pub use scripted::{Replies, Script, ScriptError, ScriptedEngine, SearchQuestion};
pub use tokenizer::{PreTokenizer, TokenizeError, Tokenizer};
pub use turns::Turns;
pub use worker::serve_if_worker;

/// How the worker process is started and what it may use.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Program and arguments; the worker's hidden argument is appended. A launcher such as
    /// `qemu-aarch64-static -L ...` may stand before the program. Default: the current executable.
    pub command: Vec<PathBuf>,
    /// Tokens of the context; the model's own limit if that is smaller.
    pub context_tokens: u32,
    /// Candidates drawn at once, at most.
    pub candidates_max: u8,
    /// Threads of decoding.
    pub threads: u16,
    /// A worker that is silent for longer while it works is ended and counts as dead.
    pub silence_max: Duration,
}

/// A model under a prompt. Implementations hold one context at a time.
pub trait Engine {
    /// What is loaded.
    fn model(&self) -> &ModelInfo;

    /// Makes the context equal to `prompt`. Only what the context lacks is decoded.
    ///
    /// # Errors
    /// [`EngineError::ContextFull`] when the prompt leaves no room to reply.
    fn prefill(&mut self, prompt: &[Segment]) -> Result<Prefilled, EngineError>;

    /// Samples `request.candidates` replies that continue the context, in one batch.
    /// `finished` hears of each reply as it ends, in an order that depends on the request alone,
    /// and may end the others early; those come back with [`Stop::Dropped`].
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] when the cancel token was set, or the worker's failures.
    fn sample(
        &mut self,
        request: &SampleRequest,
        finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError>;

    /// Whether the replies of one sample share the context's room; a server gives each its own.
    fn shares_context(&self) -> bool {
        true
    }

    /// Makes the reply of `candidate` part of the context; the others are dropped.
    ///
    /// # Errors
    /// The worker's failures.
    fn keep(&mut self, candidate: usize) -> Result<(), EngineError>;
}

/// Whether sampling goes on after a candidate has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Decode the remaining candidates.
    Continue,
    /// Drop the remaining candidates.
    Stop,
}

/// Tells `finished` of whole replies in their order, for engines that draw them all at once. When it
/// has heard enough, the rest become empty and [`Stop::Dropped`].
pub fn hand_over(replies: &mut [Candidate], finished: &mut dyn FnMut(usize, &Candidate) -> Flow) {
    let mut flow = Flow::Continue;
    for (index, reply) in replies.iter_mut().enumerate() {
        match flow {
            Flow::Continue => flow = finished(index, reply),
            Flow::Stop => {
                let mean_logprob = reply.mean_logprob;
                *reply =
                    Candidate { text: String::new(), tokens: 0, mean_logprob, stop: Stop::Dropped };
            }
        }
    }
}

/// What is loaded, for records and budgets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Name in the manifest or the file's stem.
    pub name: String,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Tokens one context can hold.
    pub context_tokens: u32,
}

/// What [`Engine::prefill`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefilled {
    /// Tokens of the whole prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens that were in the context already.
    pub reused_tokens: u32,
}

/// How replies are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRequest {
    /// Replies to draw, at least 1. With greedy sampling one is enough.
    pub candidates: u8,
    /// How each token is drawn.
    pub sampling: Sampling,
    /// Seed; candidate `i` draws from a stream derived from `(seed, i)`.
    pub seed: u64,
    /// Texts that end a reply and are not part of it.
    pub stops: Vec<String>,
    /// Tokens of a reply at most.
    pub reply_tokens_max: u32,
    /// How long drawing may take; replies under way then come back with [`Stop::Dropped`].
    pub wall_max: Option<Duration>,
}

/// How a token is drawn from the model's distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The most probable token.
    Greedy,
    /// Temperature, then the smallest set of tokens with probability `top_p`.
    Nucleus {
        /// Divisor of the logits, above 0.
        temperature: f32,
        /// Probability mass kept, in (0, 1].
        top_p: f32,
    },
}

/// One sampled reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The reply without the stop string or end token.
    pub text: String,
    /// Tokens sampled, the ending one included.
    pub tokens: u32,
    /// Mean natural-log probability per token under the model's own (temperature 1) distribution.
    pub mean_logprob: f32,
    /// Why it ended.
    pub stop: Stop,
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// An end-of-turn token.
    End,
    /// A stop string.
    Text,
    /// `reply_tokens_max`, or the context is full.
    Length,
    /// The caller needed no more candidates.
    Dropped,
}

/// Why the engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model file is not one this runtime loads.
    #[error("{path}: {reason}")]
    Refused {
        /// The model file.
        path: String,
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// The prompt does not fit.
    #[error("the prompt has {prompt_tokens} tokens, the context holds {context_tokens}")]
    ContextFull {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens the context holds.
        context_tokens: u32,
    },
    /// The cancel token was set.
    #[error("cancelled")]
    Cancelled,
    /// The worker process ended and could not be brought back.
    #[error("the model's worker process ended: {0}")]
    WorkerDied(String),
    /// The worker answered something this version does not understand, or llama.cpp failed.
    #[error("the model's worker process failed: {0}")]
    WorkerFailed(String),
    /// An engine without a worker, such as a server, has no reply.
    #[error("{0}")]
    NoReply(String),
}
