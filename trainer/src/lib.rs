//! The trainer: teach -> filter -> dataset -> train -> export -> quantise -> evaluate -> report.
//!
//! [`model`] is the network with its gradients, [`optimise`] changes its parameters,
//! [`tokenizer`] cuts text into tokens, [`dataset`] turns rendered transcripts into sequences,
//! [`train`] is the loop, which can be interrupted, [`cuda`] its place on an NVIDIA device, and
//! [`gguf`] writes what the runtime reads. [`world`] makes documents and questions, [`teach`]
//! answers them; [`environment`] is where it acts, and every student; [`classroom`] keeps what it
//! did, and [`student`] goes the whole way from there to a student.
//! Any other teacher: [`remote`] speaks to a server, [`teachers`] asks it as any other,
//! [`questions`] has questions written about documents, [`collect`] has them answered,
//! [`trajectory`] keeps that in files, [`filter`] says what is worth learning from, [`distil`] does
//! all of it in one folder. [`hub`] reads and writes published checkpoints and adapters,
//! [`finetune`] trains them, with the values in [`method`] where a recipe says nothing.
//! [`score`] puts questions to a student, [`paper`] compares ways of learning, [`recipe`] runs what a
//! file says. [`report`] compares runs, [`mod@bench`] measures the speed. [`durable`] and [`hash`]
//! are about files, [`parallel`] about threads.

/// Output that ends quietly where nobody reads any more, in the place of the standard library's.
#[macro_use]
extern crate retort;

pub mod bench;
pub mod classroom;
pub mod collect;
pub mod cuda;
pub mod dataset;
pub mod distil;
pub mod durable;
pub mod environment;
pub mod filter;
pub mod finetune;
pub mod gguf;
pub mod hash;
pub mod hub;
pub mod method;
pub mod model;
pub mod optimise;
pub mod paper;
pub mod parallel;
pub mod questions;
pub mod recipe;
pub mod remote;
pub mod report;
pub mod score;
pub mod student;
pub mod teach;
pub mod teachers;
pub mod tokenizer;
pub mod train;
pub mod trajectory;
pub mod world;

#[cfg(test)]
mod parity;
