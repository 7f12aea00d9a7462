//! Why a request was not answered.

use std::time::Duration;

/// Why a request was not answered. No text of it holds the key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke before the reply began.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// Silent for too long.
    #[error("the server did not answer in time: {0}")]
    TimedOut(String),
    /// HTTP 429.
    #[error("the server is asked too often (HTTP 429): {message}")]
    Busy {
        /// How long the server asks to wait.
        after: Option<Duration>,
        /// What it said.
        message: String,
    },
    /// HTTP 408, 409, 5xx, or an error in the midst of a stream.
    #[error("the server failed (HTTP {status}): {message}")]
    Failed {
        /// The status.
        status: u16,
        /// How long the server asks to wait.
        after: Option<Duration>,
        /// What it said.
        message: String,
    },
    /// The stream ended half-way.
    #[error("the reply broke off: {0}")]
    Broken(String),
    /// What came is not the protocol.
    #[error("the server's answer is no chat completion: {0}")]
    Garbage(String),
    /// A reply of nothing.
    #[error(
        "the reply has no text; the model may have called a tool of its own, or thought up to \
         reply_tokens_max"
    )]
    NoText,
    /// The server will not take this request, however often it is sent.
    #[error("the server refused the request (HTTP {status}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The server's certificate is not trusted, or it speaks no TLS.
    #[error("no trusted connection: {0}; teacher.certificate names an authority of your own")]
    Untrusted(String),
    /// The budget leaves no room for another request.
    #[error("the budget is spent: {0}")]
    BudgetSpent(String),
    /// Sent as often as allowed.
    #[error("given up after {attempts} attempts: {last}")]
    GivenUp {
        /// How often it was sent.
        attempts: u32,
        /// What came of the last.
        last: Box<CallError>,
    },
}

impl CallError {
    /// Whether the same request may be answered later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Busy { .. }
            | Self::Failed { .. }
            | Self::Broken(_)
            | Self::Garbage(_) => true,
            Self::Refused { .. }
            | Self::NoText
            | Self::Untrusted(_)
            | Self::BudgetSpent(_)
            | Self::GivenUp { .. } => false,
        }
    }

    /// Whether no other request will fare better: the key, the model or the budget.
    #[must_use]
    pub fn concerns_all(&self) -> bool {
        match self {
            Self::BudgetSpent(_) | Self::Untrusted(_) => true,
            Self::Refused { status, .. } => matches!(status, 300..=399 | 401..=405),
            _ => false,
        }
    }

    /// How long the server asks to wait.
    #[must_use]
    pub fn asked_to_wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { after, .. } | Self::Failed { after, .. } => *after,
            _ => None,
        }
    }

    /// The error of an answer with this status.
    #[must_use]
    pub fn of_status(status: u16, after: Option<Duration>, message: String) -> Self {
        match status {
            429 => Self::Busy { after, message },
            408 | 409 | 425 | 500.. => Self::Failed { status, after, message },
            _ => Self::Refused { status, message },
        }
    }
}
