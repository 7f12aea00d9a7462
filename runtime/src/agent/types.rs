//! What goes into a run, what comes out of it, and who is told on the way.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use retort_transcript::{Passage, Transcript};
use serde::{Deserialize, Serialize};

use crate::engine::{ModelInfo, Sampling};
use crate::sandbox::{Limit, Limits, PythonError};

/// Finds passages. The corpus is one, canned replies are another.
pub trait Retriever {
    /// The best passages for `query`, best first, at most `limit` of them.
    ///
    /// # Errors
    /// Whatever keeps the implementation from searching; the model is told the text.
    fn retrieve(&self, query: &str, limit: usize) -> Result<Vec<Retrieved>, RetrieverError>;
}

/// Why a search could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RetrieverError(pub String);

/// A passage with what a citation needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retrieved {
    /// What the model reads.
    pub passage: Passage,
    /// Id of the document.
    pub document: String,
    /// Absolute path of the file it came from.
    pub source: String,
}

/// Time since the run began. Passed in, so that tests need no real clock.
pub trait Clock {
    /// Time since an arbitrary fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Seconds since 1970, read once at the start of a run: Python's clock stands there.
    fn unix_seconds(&self) -> i64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_seconds(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Hears what happens in a run, as it happens. The journal, the trace on the terminal, the
/// trainer's collector and tests are sinks.
pub trait Sink {
    /// Called once per event, in order. A step is durable when this returns.
    fn event(&mut self, event: &Event<'_>);
}

/// Hears nothing.
impl Sink for () {
    fn event(&mut self, _event: &Event<'_>) {}
}

/// What a [`Sink`] hears.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The question was accepted.
    Started {
        /// The question.
        question: &'a str,
        /// What answers it.
        model: &'a ModelInfo,
        /// The run's settings.
        settings: &'a Settings,
        /// The second at which Python's clock stands.
        unix_seconds: i64,
    },
    /// A run goes on from its record.
    Resumed {
        /// Steps that it had.
        steps: usize,
    },
    /// A step is over.
    Step(&'a StepReport),
    /// The run is over.
    Ended(&'a Run),
}

/// How a run samples and where it must stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Replies drawn per step.
    pub candidates: u8,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Seed of sampling and of Python's random numbers.
    pub seed: u64,
    /// Passages a search returns.
    pub passages_per_search: usize,
    /// Tokens of a passage, at four bytes each; of a longer one, the sentences nearest to the query
    /// are shown.
    pub passage_tokens_max: u32,
    /// Share of the last step's candidates that must agree on an answer for it to be given, 0..=1.
    pub min_agreement: f64,
    /// Limits of the whole run.
    pub budgets: Budgets,
    /// Limits of one action.
    #[serde(skip)]
    pub action: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            candidates: 1,
            sampling: Sampling::Greedy,
            seed: 42,
            passages_per_search: 3,
            passage_tokens_max: 256,
            min_agreement: 0.0,
            budgets: Budgets::default(),
            action: Limits::default(),
        }
    }
}

/// Limits of a whole run. Steps and reply length are those of the published students.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budgets {
    /// Turns of the model; one more is asked for an answer when they are spent.
    pub steps_max: u32,
    /// Tokens of one reply.
    pub reply_tokens_max: u32,
    /// Tokens sampled in the run, over all candidates.
    pub run_tokens_max: u32,
    /// Distinct searches in the run.
    pub searches_max: u32,
    /// Fuel of all actions together.
    pub fuel_max: u64,
    /// Wall time of the run.
    pub wall_max: Duration,
    /// Bytes of a question; a longer one is a bad request.
    pub question_bytes_max: usize,
    /// How often the same action may have the same outcome before an answer is asked for.
    pub repeats_max: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            steps_max: 5,
            reply_tokens_max: 1024,
            run_tokens_max: 65_536,
            searches_max: 64,
            fuel_max: 20_000_000_000,
            wall_max: Duration::from_secs(600),
            question_bytes_max: 16 * 1024,
            repeats_max: 2,
        }
    }
}

/// The six ends of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// `final_answer` was called.
    Answered,
    /// A limit of [`Budgets`] was reached first.
    BudgetExhausted {
        /// Which one.
        budget: Budget,
    },
    /// The cancel token was set.
    Cancelled,
    /// The machine could not take the run on.
    Overloaded {
        /// What was short.
        reason: String,
    },
    /// The model or its worker failed.
    ModelError {
        /// What failed.
        reason: String,
    },
    /// The question cannot be asked.
    BadRequest {
        /// What is wrong with it and what was expected.
        reason: String,
    },
}

impl Status {
    /// The stable name in JSON and tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::BudgetExhausted { .. } => "budget_exhausted",
            Self::Cancelled => "cancelled",
            Self::Overloaded { .. } => "overloaded",
            Self::ModelError { .. } => "model_error",
            Self::BadRequest { .. } => "bad_request",
        }
    }
}

/// A limit of [`Budgets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// `steps_max`, and the last request brought no answer.
    Steps,
    /// `run_tokens_max`, or the last reply had no room to come to its end.
    Tokens,
    /// `searches_max`.
    Searches,
    /// `fuel_max`.
    Fuel,
    /// `wall_max`.
    Wall,
    /// The model's context is full.
    Context,
}

/// How many of a step's candidates came how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    /// Replies drawn to their end.
    pub sampled: u32,
    /// Of these, replies that held code.
    pub parsed: u32,
    /// Of these, actions that ran without error.
    pub ran: u32,
    /// Candidates with the winner's result, the winner included.
    pub agreed: u32,
}

/// A tool call of the chosen candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolUse {
    /// Name of the tool.
    pub name: String,
    /// Its arguments as JSON.
    pub arguments: serde_json::Value,
    /// What it returned, or the error's text.
    pub result: String,
    /// Fuel that the tool used; it is part of the action's.
    #[serde(default)]
    pub fuel: u64,
    /// `result` is an error's text.
    #[serde(default)]
    pub failed: bool,
    /// `result` is JSON of something other than text.
    #[serde(default)]
    pub is_json: bool,
}

/// One step: what was chosen and what it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepReport {
    /// From 0.
    pub index: u32,
    /// SHA-256 of the rendered prompt.
    pub prompt_sha256: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens the context held already.
    pub reused_tokens: u32,
    /// Tokens sampled, over all candidates.
    pub completion_tokens: u32,
    /// The chosen reply.
    pub reply: String,
    /// Every reply, in order of the candidates.
    pub replies: Vec<String>,
    /// Which candidate was chosen.
    pub chosen: usize,
    /// The chosen reply had no room to come to its end.
    #[serde(default)]
    pub is_cut_off: bool,
    /// The chosen reply's thought.
    pub thought: String,
    /// The chosen reply's code; empty when the reply held none.
    pub code: String,
    /// What the code printed.
    pub logs: String,
    /// `str()` of its last expression.
    pub value: Option<String>,
    /// What it raised; a parse error has kind `ParseError`.
    pub error: Option<PythonError>,
    /// The limit it reached.
    pub limit: Option<Limit>,
    /// It called `final_answer`.
    pub is_final: bool,
    /// `str()` of the final answer.
    pub answer: Option<String>,
    /// How far the candidates came.
    pub candidates: Sampled,
    /// Tool calls of the chosen candidate.
    pub tool_calls: Vec<ToolUse>,
    /// Distinct searches of all candidates.
    pub searches: u32,
    /// What the chosen candidate's searches returned.
    pub passages: Vec<Citation>,
    /// The chosen candidate's action was given text from outside.
    pub has_read: bool,
    /// What the model is told next; empty after a final answer.
    pub observation: String,
    /// Fuel of all candidates' actions.
    pub fuel: u64,
}

/// A passage the run read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// Id of the document.
    pub document: String,
    /// Its title.
    pub title: String,
    /// Absolute path of the file it came from.
    pub source: String,
    /// Text of the passage.
    pub passage: String,
}

impl Citation {
    /// What is cited of a passage.
    #[must_use]
    pub fn of(found: &Retrieved) -> Self {
        Self {
            document: found.document.clone(),
            title: found.passage.title.clone(),
            source: found.source.clone(),
            passage: found.passage.text.clone(),
        }
    }
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
    /// Of these, tokens that did not have to be decoded again.
    pub reused_tokens: u64,
    /// Tokens sampled.
    pub completion_tokens: u64,
    /// Distinct searches.
    pub searches: u32,
    /// Fuel of all actions.
    pub fuel: u64,
}

/// Where a run's time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// From question to end.
    pub total: f64,
    /// Decoding prompts.
    pub prefill: f64,
    /// Sampling replies, the actions between them not counted.
    pub decode: f64,
    /// Running Python, searches not counted.
    pub sandbox: f64,
    /// Searching.
    pub search: f64,
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The question.
    pub question: String,
    /// How it ended.
    pub status: Status,
    /// `str()` of the answer.
    pub answer: Option<String>,
    /// The answer as JSON, where it has such a form.
    pub answer_json: Option<serde_json::Value>,
    /// The answer came only when the spent budget made the loop ask for it.
    pub forced: bool,
    /// Share of the last step's sampled candidates that agreed on the answer, 0..=1.
    pub agreement: f64,
    /// The answer was withheld: too few candidates agreed on it
    /// ([`Settings::min_agreement`]).
    pub abstained: bool,
    /// Passages that the run read and that support its answer, most supportive first.
    pub citations: Vec<Citation>,
    /// The steps.
    pub steps: Vec<StepReport>,
    /// What a student would learn from.
    pub transcript: Transcript,
    /// What it used.
    pub usage: Usage,
    /// Where the time went.
    pub seconds: Seconds,
    /// What answered.
    pub model: ModelInfo,
    /// The seed.
    pub seed: u64,
}
