//! What came of one passage.

use serde::{Deserialize, Serialize};

use crate::remote::Spent;
use crate::trajectory::Keyed;

/// Version of [`PassageRow`].
pub const PASSAGE_ROW_VERSION: u32 = 1;

/// One line of the record of passages: durable before the next passage is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassageRow {
    /// [`PASSAGE_ROW_VERSION`] of the writer.
    pub version: u32,
    /// Document and place of the passage.
    pub key: String,
    /// Id of the document.
    pub document: String,
    /// Its title.
    pub title: String,
    /// Id of the document whose passage was shown beside it.
    #[serde(default)]
    pub second: Option<String>,
    /// The questions, each with what became of it; empty when the teacher wrote none.
    pub proposed: Vec<Proposed>,
    /// What it took.
    pub spent: Spent,
}

/// A question as the teacher wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// The question.
    pub question: String,
    /// The answer the teacher had in mind.
    pub answer: String,
    /// Whether it is of use.
    pub verdict: Verdict,
}

/// Whether a question is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Answered alike from the passage again.
    Kept,
    /// It speaks of a passage that nobody sees who is asked.
    NotAlone,
    /// The answer is too long to be compared.
    LongAnswer,
    /// The answer does not stand in the passage, and is no number, yes or no that could follow.
    AnswerNotThere,
    /// Asked again with the passage, the teacher answers otherwise.
    NotAnswerable,
    /// There was such a question already.
    Duplicate,
    /// There are too many of yes and no.
    YesNo,
}

impl Verdict {
    /// All, in the order in which they are looked for.
    pub const ALL: [Self; 7] = [
        Self::Kept,
        Self::NotAlone,
        Self::LongAnswer,
        Self::AnswerNotThere,
        Self::NotAnswerable,
        Self::Duplicate,
        Self::YesNo,
    ];

    /// Its name in tables and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::NotAlone => "does not stand alone",
            Self::LongAnswer => "the answer is long",
            Self::AnswerNotThere => "the answer is not in the passage",
            Self::NotAnswerable => "answered otherwise from the passage",
            Self::Duplicate => "asked already",
            Self::YesNo => "too many yes/no questions",
        }
    }
}

impl Keyed for PassageRow {
    fn key(&self) -> &str {
        &self.key
    }
}
