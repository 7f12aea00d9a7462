//! The one integration binary: real programs, real models (small, of random weights), real files.

mod engine;
mod layers;
