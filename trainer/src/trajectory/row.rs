//! One task as a teacher did it.

use std::fmt;

use retort_transcript::{Observation, Transcript};
use serde::{Deserialize, Serialize};

use super::journal::Keyed;
use crate::remote::Spent;

/// Version of [`Trajectory`]; a row of a newer one is refused.
pub const TRAJECTORY_VERSION: u32 = 1;

/// What the teacher was asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(clap::ValueEnum)]
pub enum Mode {
    /// Walk the agent loop.
    #[default]
    Agent,
    /// Write a chain of thought: one reply, no code.
    Cot,
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Agent => "agent",
            Self::Cot => "cot",
        })
    }
}

/// One line of a file of trajectories. It can also be read as a
/// [`TranscriptRow`](retort_transcript::TranscriptRow); further fields are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// [`TRAJECTORY_VERSION`] of the writer.
    pub version: u32,
    /// Of the task, unique in its file.
    pub id: String,
    /// Kind of question, for figures.
    #[serde(default)]
    pub kind: Option<String>,
    /// What the teacher was asked to do.
    #[serde(default)]
    pub mode: Mode,
    /// The bare question. The transcript's may have retrieved passages under it.
    pub question: String,
    /// The right answer.
    pub answer: String,
    /// Other right answers.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The teacher's answer.
    pub generated: Option<String>,
    /// How the run ended, as the runtime names it.
    pub status: String,
    /// The answer came only when the steps were spent and the loop asked for it.
    #[serde(default)]
    pub forced: bool,
    /// The first-thought prefix with which the first reply begins.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Name of the dialect the replies are written in.
    pub dialect: String,
    /// Its hash at the time of writing, without the teacher's own system prompt.
    pub dialect_hash: String,
    /// What was asked, written and observed.
    pub transcript: Transcript,
    /// Name of the teacher.
    pub teacher: String,
    /// What it took, the first thought included.
    #[serde(default)]
    pub spent: Spent,
}

impl Trajectory {
    /// Whether `other` answers the same question, by the same answers.
    #[must_use]
    pub fn is_of_same_task(&self, other: &Self) -> bool {
        (&self.question, &self.answer, &self.aliases)
            == (&other.question, &other.answer, &other.aliases)
    }

    /// Whether any reply could not be parsed.
    #[must_use]
    pub fn has_parse_error(&self) -> bool {
        let is_parse_error = |told: &Observation| matches!(told, Observation::ParseError { .. });
        self.transcript.steps.iter().filter_map(|s| s.observation.as_ref()).any(is_parse_error)
    }

    /// All right answers.
    pub fn expected(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.answer.as_str()).chain(self.aliases.iter().map(String::as_str))
    }
}

impl Keyed for Trajectory {
    fn key(&self) -> &str {
        &self.id
    }
}
