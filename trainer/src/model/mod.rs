//! A model in f32 with hand-derived gradients: RMSNorm, rotary positions, grouped-query attention,
//! SwiGLU. [`Architecture`] says which of Llama, Qwen2 and Qwen3 it is.
//!
//! [`Shape`] gives the size, [`Layout`] the named tensors of the flat parameter vector, [`Model`]
//! computes loss and gradient of a [`Batch`], and [`start`] the initial values.
//! Nothing here knows about text, files or optimisers.

mod architecture;
pub(crate) mod attention;
mod batch;
mod gemm;
mod grow;
mod heads;
mod importance;
mod kernels;
mod lanes;
mod lora;
mod loss;
mod network;
mod shape;
pub mod start;
mod workspace;

pub use architecture::{Architecture, Llama3Rope};
pub use batch::{Batch, BatchError, SoftTargets, Target};
pub use gemm::{Matrix, MatrixMut, multiply};
pub use importance::Importance;
pub(crate) use kernels::Rotary;
pub use lanes::{adam_step, add, decay_and_add, momentum_step, scale, sum_of_squares};
pub(crate) use lora::Site;
pub use lora::{Adaptation, Lora};
pub use network::Model;
pub use shape::{Block, Layout, Role, Shape, ShapeError, Tensor};
pub use start::Start;
pub use workspace::Workspace;

#[cfg(test)]
pub(crate) mod reference;
