//! What the store keeps, as plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::{RunId, SessionId};

/// Status of a run that has no end.
pub const INTERRUPTED: &str = "interrupted";

/// A run as it begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The question, verbatim.
    pub question: String,
    /// Name of the model.
    pub model_name: String,
    /// SHA-256 of the model file, lower-case hexadecimal.
    pub model_sha256: String,
    /// Name of the corpus, if there is one.
    pub corpus: Option<String>,
    /// Name of the dialect.
    pub dialect: String,
    /// Hash of the dialect's texts.
    pub dialect_hash: String,
    /// Seed of sampling and of Python's random numbers.
    pub seed: u64,
    /// The resolved settings.
    pub settings_json: Value,
    /// Milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// One step: everything needed to resume after it or to replay it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Place in the run, from 0, without gaps.
    pub index: u32,
    /// SHA-256 of the prompt.
    pub prompt_sha256: String,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// The chosen reply.
    pub reply: String,
    /// Every candidate, in order.
    pub candidates_json: Value,
    /// Tool calls of the chosen candidate, with their results.
    pub tool_calls_json: Value,
    /// What came of the action, and what the model was told.
    pub outcome_json: Value,
    /// Which candidate was chosen.
    pub chosen: u32,
}

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Name of the end.
    pub status: String,
    /// `str()` of the answer.
    pub answer: Option<String>,
    /// The answer as JSON, where it has such a form.
    pub answer_json: Option<Value>,
    /// Milliseconds since 1970.
    pub finished_unix_ms: u64,
    /// What the run used.
    pub usage_json: Value,
    /// Passages that the answer rests on.
    pub citations_json: Value,
    /// What else there is to say of the end: which budget, whether forced, where the time went.
    pub detail_json: Value,
}

/// A line of the list of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its name.
    pub id: RunId,
    /// The question.
    pub question: String,
    /// Name of the model.
    pub model_name: String,
    /// Name of the corpus.
    pub corpus: Option<String>,
    /// Name of the end, or [`INTERRUPTED`].
    pub status: String,
    /// The answer.
    pub answer: Option<String>,
    /// Milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Milliseconds since 1970; `None` without an end.
    pub finished_unix_ms: Option<u64>,
    /// Steps that are durable.
    pub steps: u32,
}

/// All there is of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its name.
    pub id: RunId,
    /// How it began.
    pub run: NewRun,
    /// How it ended; `None` when it was interrupted.
    pub end: Option<RunEnd>,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
}

impl RunRecord {
    /// Name of the end, or [`INTERRUPTED`].
    #[must_use]
    pub fn status(&self) -> &str {
        self.end.as_ref().map_or(INTERRUPTED, |end| &end.status)
    }
}
