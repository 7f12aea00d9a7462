//! Exit codes: part of the command line's contract.

use std::process::ExitCode;

use crate::agent::Status;
use crate::corpus::CorpusError;

/// Wrong usage that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; a question was answered.
    Success,
    /// The model, the machine or anything else failed.
    Failure,
    /// Wrong usage, or a question that cannot be asked.
    Usage,
    /// A budget ran out.
    Budget,
    /// Model or corpus refused: broken, missing, empty.
    Refused,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// The end of a run as an exit.
    pub fn of(status: &Status) -> Self {
        match status {
            Status::Answered => Self::Success,
            Status::BudgetExhausted { .. } => Self::Budget,
            Status::Cancelled => Self::Interrupted,
            Status::BadRequest { .. } => Self::Usage,
            Status::Overloaded { .. } | Status::ModelError { .. } => Self::Failure,
        }
    }

    /// What a corpus that cannot be used means: itself, or the machine.
    pub fn of_corpus(error: &CorpusError) -> Self {
        match error {
            CorpusError::Cancelled => Self::Interrupted,
            CorpusError::Busy { .. }
            | CorpusError::Reader { .. }
            | CorpusError::Io { .. }
            | CorpusError::Index { .. } => Self::Failure,
            _ => Self::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Budget => 3,
            Exit::Refused => 4,
            Exit::Interrupted => 130,
        })
    }
}
