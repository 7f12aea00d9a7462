//! Buffers of one pass, kept between passes: fresh memory costs page faults.

use super::{attention, lora};

/// Makes `buffer` exactly `length` long. What it holds is unspecified.
pub fn fit(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    } else {
        buffer.truncate(length);
    }
}

/// What one block leaves behind for the way back. Rows are tokens.
#[derive(Default)]
pub struct BlockTape {
    pub input: Vec<f32>,
    pub attention_normed: Vec<f32>,
    pub attention_inverse: Vec<f32>,
    pub qkv: Vec<f32>,
    pub attended: Vec<f32>,
    pub log_sums: Vec<f32>,
    /// Query and key heads before their norm, where they have one.
    pub heads: Vec<f32>,
    pub heads_inverse: Vec<f32>,
    pub middle: Vec<f32>,
    pub feed_forward_normed: Vec<f32>,
    pub feed_forward_inverse: Vec<f32>,
    pub gate_up: Vec<f32>,
    pub activated: Vec<f32>,
}

/// Buffers of the head: rows are the positions with loss.
#[derive(Default)]
pub struct HeadTape {
    pub input: Vec<f32>,
    pub normed: Vec<f32>,
    pub inverse: Vec<f32>,
    pub d_normed: Vec<f32>,
    pub d_input: Vec<f32>,
    pub logits: Vec<f32>,
}

/// Derivatives on their way back.
#[derive(Default)]
pub struct Derivatives {
    pub stream: Vec<f32>,
    pub normed: Vec<f32>,
    pub qkv: Vec<f32>,
    pub attended: Vec<f32>,
    pub activated: Vec<f32>,
    pub row: Vec<f32>,
    pub heads: HeadBuffers,
    /// Gradients of frozen vectors, which nobody reads.
    pub unused: Vec<f32>,
}

/// Buffers of the norms of heads.
#[derive(Default)]
pub struct HeadBuffers {
    pub d_heads: Vec<f32>,
    pub row: Vec<f32>,
    pub unused: Vec<f32>,
}

/// Buffers that nothing is left in.
#[derive(Default)]
pub struct Scratch {
    pub attention: attention::Scratch,
    pub lora: lora::Scratch,
}

/// All buffers of a forward and backward pass over one shard of a batch.
#[derive(Default)]
pub struct Workspace {
    pub(super) blocks: Vec<BlockTape>,
    pub(super) output: Vec<f32>,
    pub(super) head: HeadTape,
    pub(super) derivatives: Derivatives,
    pub(super) scratch: Scratch,
    /// Gradient of every parameter, in the order of the parameters.
    pub gradient: Vec<f32>,
    /// What adapters leave out depends on it: other parts of a batch have others.
    pub seed: u64,
    /// Most probable token at each position with loss, in order.
    pub predicted: Vec<u32>,
}
