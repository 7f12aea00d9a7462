//! The one integration binary: real programs, real models (small, of random weights), real files.

mod cli;
mod engine;
mod layers;
mod smolagents;
mod whole_runs;
