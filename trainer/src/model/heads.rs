//! The norms of query and key heads that Qwen3 has, before their angles are turned.

use super::Model;
use super::kernels::{rms_norm, rms_norm_backward};
use super::shape::Block;
use super::workspace::{BlockTape, HeadBuffers, fit};

impl Model {
    /// Norms each head of query and key; keeps what they were.
    pub(super) fn norm_heads(&self, block: &Block, tape: &mut BlockTape) {
        let shape = &self.shape;
        let (query, turned) = (shape.query_width(), shape.query_width() + shape.kv_width());
        let tokens = tape.qkv.len() / shape.qkv_width();
        let heads = shape.heads + shape.kv_heads;
        fit(&mut tape.heads, tokens * turned);
        fit(&mut tape.heads_inverse, tokens * heads);
        let [query_gain, key_gain] = block.head_gains.clone().map(|gain| &self.parameters[gain]);
        let rows = tape.qkv.chunks_exact_mut(shape.qkv_width());
        let kept = tape.heads.chunks_exact_mut(turned);
        let inverses = tape.heads_inverse.chunks_exact_mut(heads);
        for ((row, kept), inverse) in rows.zip(kept).zip(inverses) {
            kept.copy_from_slice(&row[..turned]);
            let (queries, keys) = row[..turned].split_at_mut(query);
            let (of_queries, of_keys) = inverse.split_at_mut(shape.heads);
            rms_norm(&kept[..query], query_gain, shape.epsilon, queries, of_queries);
            rms_norm(&kept[query..], key_gain, shape.epsilon, keys, of_keys);
        }
    }

    /// The way back: turns the derivatives of the normed heads in `d_qkv` into those of the heads.
    pub(super) fn norm_heads_backward(
        &self,
        block: &Block,
        tape: &BlockTape,
        d_qkv: &mut [f32],
        gradient: &mut [f32],
        buffers: &mut HeadBuffers,
    ) {
        let shape = &self.shape;
        let (query, turned) = (shape.query_width(), shape.query_width() + shape.kv_width());
        let HeadBuffers { d_heads, row, unused } = buffers;
        fit(d_heads, turned);
        fit(row, shape.head_width);
        let rows = d_qkv.chunks_exact_mut(shape.qkv_width());
        let kept = tape.heads.chunks_exact(turned);
        let inverses = tape.heads_inverse.chunks_exact(shape.heads + shape.kv_heads);
        for ((d_row, kept), inverse) in rows.zip(kept).zip(inverses) {
            d_heads.fill(0.0);
            let (of_queries, of_keys) = inverse.split_at(shape.heads);
            let parts = [(0..query, of_queries), (query..turned, of_keys)];
            for ((part, inverse), gain) in parts.into_iter().zip(&block.head_gains) {
                rms_norm_backward(
                    &d_row[part.clone()],
                    &kept[part.clone()],
                    &self.parameters[gain.clone()],
                    inverse,
                    &mut d_heads[part],
                    self.sum_of(gain, gradient, unused),
                    row,
                );
            }
            d_row[..turned].copy_from_slice(d_heads);
        }
    }
}
