//! The row-wise parts of a block with their derivatives: RMSNorm, rotary positions, SwiGLU.

use super::Shape;
use super::lanes::{dot, each_pair_with, sigmoid, sum2, wide};

wide! {
    /// `out = input / rms(input) * gain` per row; `inverse` keeps `1 / rms` for the way back.
    pub fn rms_norm(
        input: &[f32],
        gain: &[f32],
        epsilon: f32,
        out: &mut [f32],
        inverse: &mut [f32],
    ) {
        let width = gain.len();
        let rows = input.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(inverse);
        for ((row, out), inverse) in rows {
            *inverse = 1.0 / (dot(row, row) / width as f32 + epsilon).sqrt();
            for ((y, x), gain) in out.iter_mut().zip(row).zip(gain) {
                *y = x * *inverse * gain;
            }
        }
    }
}

wide! {
    /// Adds to `d_input` and `d_gain` what `d_out` means for them. `scratch` is one row.
    pub fn rms_norm_backward(
        d_out: &[f32],
        input: &[f32],
        gain: &[f32],
        inverse: &[f32],
        d_input: &mut [f32],
        d_gain: &mut [f32],
        scratch: &mut [f32],
    ) {
        let width = gain.len();
        let rows = d_out
            .chunks_exact(width)
            .zip(input.chunks_exact(width))
            .zip(d_input.chunks_exact_mut(width))
            .zip(inverse);
        for (((d_out, input), d_input), inverse) in rows {
            for ((scaled, dy), gain) in scratch.iter_mut().zip(d_out).zip(gain) {
                *scaled = dy * gain;
            }
            let along = sum2(scratch, input, |a, b| a * b) * inverse * inverse / width as f32;
            for (((dx, scaled), x), (d_gain, dy)) in
                d_input.iter_mut().zip(&*scratch).zip(input).zip(d_gain.iter_mut().zip(d_out))
            {
                *dx += inverse * (scaled - x * along);
                *d_gain += dy * x * inverse;
            }
        }
    }
}

wide! {
    /// `out = silu(gate) * up`; a row of `gate_up` is the gate followed by the up part.
    pub fn swiglu(gate_up: &[f32], inner: usize, out: &mut [f32]) {
        for (row, out) in gate_up.chunks_exact(2 * inner).zip(out.chunks_exact_mut(inner)) {
            let (gate, up) = row.split_at(inner);
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate * sigmoid(*gate) * up;
            }
        }
    }
}

wide! {
    /// Overwrites `gate_up` by its derivative, given that of the output.
    pub fn swiglu_backward(d_out: &[f32], inner: usize, gate_up: &mut [f32]) {
        for (row, d_out) in gate_up.chunks_exact_mut(2 * inner).zip(d_out.chunks_exact(inner)) {
            let (gate, up) = row.split_at_mut(inner);
            each_pair_with(gate, up, d_out, |gate, up, d| {
                let half = sigmoid(gate);
                let silu = gate * half;
                (d * up * (half + silu * (1.0 - half)), d * silu)
            });
        }
    }
}

/// Which way a rotary position turns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// As in the forward pass.
    Forward,
    /// Back, for derivatives.
    Backward,
}

/// Cosines and sines of rotary positions. Pair `i` of a head is `(i, i + head_width / 2)`.
pub struct Rotary {
    /// A row a position.
    pub cosine: Vec<f32>,
    /// As `cosine`.
    pub sine: Vec<f32>,
    half: usize,
}

impl Rotary {
    /// Tables for the positions of a model's context.
    pub fn new(shape: &Shape) -> Self {
        let (base, width, half) = (shape.rope_base, shape.head_width, shape.head_width / 2);
        let stretch = match shape.llama3_rope {
            Some(rope) => rope.factors(base, width),
            None => vec![1.0; half],
        };
        let turn = |(pair, stretch): (usize, &f32)| {
            f64::from(base).powf(-2.0 * pair as f64 / width as f64) / f64::from(*stretch)
        };
        let turns: Vec<f64> = stretch.iter().enumerate().map(turn).collect();
        let angles: Vec<f64> = (0..shape.context_tokens)
            .flat_map(|position| turns.iter().map(move |turn| position as f64 * turn))
            .collect();
        Rotary {
            cosine: angles.iter().map(|angle| angle.cos() as f32).collect(),
            sine: angles.iter().map(|angle| angle.sin() as f32).collect(),
            half,
        }
    }

    /// Turns the first `heads` heads of each row; rows are `row_width` apart and are the
    /// positions 0, 1, ... of one sequence.
    pub fn apply(&self, rows: &mut [f32], row_width: usize, heads: usize, turn: Turn) {
        let sign = if turn == Turn::Forward { 1.0 } else { -1.0 };
        rotate(rows, row_width, heads, &self.cosine, &self.sine, self.half, sign);
    }
}

wide! {
    pub fn rotate(
        rows: &mut [f32],
        row_width: usize,
        heads: usize,
        cosine: &[f32],
        sine: &[f32],
        half: usize,
        sign: f32,
    ) {
        let angles = cosine.chunks_exact(half).zip(sine.chunks_exact(half));
        for (row, (cosine, sine)) in rows.chunks_exact_mut(row_width).zip(angles) {
            for head in row.chunks_exact_mut(2 * half).take(heads) {
                let (low, high) = head.split_at_mut(half);
                for ((a, b), (c, s)) in low.iter_mut().zip(high).zip(cosine.iter().zip(sine)) {
                    let (x, y) = (*a, *b);
                    let s = s * sign;
                    *a = x * c - y * s;
                    *b = x * s + y * c;
                }
            }
        }
    }
}
