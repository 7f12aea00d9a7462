//! The one integration binary: real programs, real models (small, of random weights), real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod conversation;
mod corpus;
mod distil;
mod documents;
mod engine;
mod export;
mod hostile;
mod hub;
mod layers;
mod paper;
mod poisoned;
mod resume;
mod smolagents;
mod student;
mod tool_runs;
mod tools;
mod vote;
mod whole_runs;
