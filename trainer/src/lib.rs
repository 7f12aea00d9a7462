//! The trainer: teach -> filter -> dataset -> train -> export -> quantise -> evaluate -> report.
//!
//! [`model`] is the network with its gradients, [`optimise`] changes its parameters,
//! [`tokenizer`] cuts text into tokens, [`dataset`] turns rendered transcripts into sequences,
//! [`train`] is the loop, [`checkpoint`] makes it resumable, and [`gguf`] writes what the runtime
//! reads. [`world`] makes documents and questions, [`teach`] answers them through the agent loop.
//! [`report`] compares runs, [`bench`] measures the speed.

pub mod bench;
pub mod checkpoint;
pub mod collect;
pub mod dataset;
pub mod durable;
pub mod gguf;
pub mod model;
pub mod optimise;
pub mod parallel;
pub mod recipe;
pub mod report;
pub mod teach;
pub mod tokenizer;
pub mod train;
pub mod world;

#[cfg(test)]
mod parity;
