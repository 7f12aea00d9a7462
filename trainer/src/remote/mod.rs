//! A teacher behind HTTP: any server that speaks OpenAI's chat completions (vLLM, llama-server,
//! hosted ones).
//!
//! [`RemoteEngine`] is the runtime's engine over such a server, so that a teacher walks the very
//! loop, sandbox and corpus of a student. [`Client`] sends one request until it is answered:
//! `gate` keeps to the allowed number and rate of requests, `meter` to the budget, `retry` says how
//! long to wait after a failure, `wire` and `stream` are the protocol. Time comes from a [`Pace`],
//! so tests wait for nothing; `book` keeps what was spent. This module knows nothing of questions or
//! corpora.

mod book;
mod client;
mod config;
mod engine;
mod error;
mod frame;
mod gate;
mod http;
mod meter;
mod pace;
mod prefix;
mod retry;
mod secret;
mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod wire;

pub use book::Book;
pub use client::Client;
pub use config::{Addresses, BudgetConfig, PrefixBy, Price, ReplyLimitField, ServerConfig};
pub use engine::{RemoteEngine, Tally};
pub use error::CallError;
pub use meter::Spent;
pub use pace::{Pace, SystemPace};
pub use prefix::spoken;
pub use wire::{ChatRequest, Completion, Reply};
