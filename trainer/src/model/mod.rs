//! A qwen2 model in f32 with hand-derived gradients: RMSNorm, rotary positions, grouped-query
//! attention with biases on query, key and value, SwiGLU, and a head tied to the embedding.
//!
//! [`Shape`] gives the size, [`Layout`] the named tensors of the flat parameter vector, [`Model`]
//! computes loss and gradient of a [`Batch`], and [`start`] the initial values.
//! Nothing here knows about text, files or optimisers.

mod attention;
mod gemm;
mod kernels;
mod lanes;
mod loss;
mod network;
mod shape;
pub mod start;
mod workspace;

pub use gemm::{Matrix, MatrixMut, multiply};
pub use lanes::{adam_step, add, decay_and_add, momentum_step, scale, sum_of_squares};
pub use network::{Batch, BatchError, Model, Target};
pub use shape::{Block, Layout, Role, Shape, ShapeError, Tensor};
pub use start::Start;
pub use workspace::Workspace;

#[cfg(test)]
mod reference;
