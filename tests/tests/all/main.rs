//! The one integration binary: real programs, real models (small, of random weights), real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod corpus;
mod documents;
mod engine;
mod layers;
mod smolagents;
mod student;
mod tools;
mod vote;
mod whole_runs;
