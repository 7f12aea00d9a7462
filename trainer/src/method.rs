//! The values of the published method (arXiv 2505.17612) for pretrained students: what recipes take
//! where they say nothing, and what other trainers are handed.

/// How often the data are seen.
pub const EPOCHS: u32 = 2;
/// Peak of the learning rate, which falls linearly to zero.
pub const LEARNING_RATE: f64 = 2e-4;
/// Largest norm of the gradient.
pub const GRADIENT_NORM_MAX: f32 = 1.0;
/// Conversations of a step.
pub const STEP_CONVERSATIONS: u32 = 8;
/// Rank of the adapters of all linear layers.
pub const LORA_RANK: usize = 64;
/// Their scale, times the rank.
pub const LORA_ALPHA: u32 = 128;
/// Share of their inputs that a step leaves out.
pub const LORA_DROPOUT: f64 = 0.05;
/// Seed of the order.
pub const SEED: u64 = 42;
