//! Causal attention within each sequence, in blocks of query rows.
//!
//! Only the scores of one block exist at a time. The way back computes them again from the
//! logarithm of each row's sum, which is all that is kept.

use super::gemm::{Matrix, MatrixMut, multiply};
use super::lanes::{dot, each_pair, exp, exp_sum, largest, wide};
use super::shape::Shape;
use super::workspace::fit;

/// Query rows scored at once (64 and 96 were equally fast at 265 tokens, 32 and 128 slower).
const BLOCK: usize = 64;

/// Where the parts of a query-key-value row begin for one query head.
#[derive(Clone, Copy)]
struct Head {
    query: usize,
    key: usize,
    value: usize,
    width: usize,
    row: usize,
    out: usize,
    out_row: usize,
    scale: f32,
}

impl Head {
    fn of(shape: &Shape, head: usize) -> Self {
        let width = shape.head_width;
        let kv = head / (shape.heads / shape.kv_heads);
        Head {
            query: head * width,
            key: shape.query_width() + kv * width,
            value: shape.query_width() + shape.kv_width() + kv * width,
            width,
            row: shape.qkv_width(),
            out: head * width,
            out_row: shape.query_width(),
            scale: 1.0 / (width as f32).sqrt(),
        }
    }

    /// Rows `first..end` of the part that begins at `column`.
    fn part<'a>(&self, rows: &'a [f32], column: usize, first: usize, end: usize) -> Matrix<'a> {
        Matrix::strided(&rows[first * self.row + column..], end - first, self.width, self.row)
    }

    fn part_mut<'a>(
        &self,
        rows: &'a mut [f32],
        column: usize,
        first: usize,
        end: usize,
    ) -> MatrixMut<'a> {
        MatrixMut::strided(
            &mut rows[first * self.row + column..],
            end - first,
            self.width,
            self.row,
        )
    }

    fn out_part<'a>(&self, rows: &'a [f32], first: usize, end: usize) -> Matrix<'a> {
        let start = first * self.out_row + self.out;
        Matrix::strided(&rows[start..], end - first, self.width, self.out_row)
    }

    /// Scores of query rows `first..end` against keys `0..end`.
    fn scores(&self, qkv: &[f32], first: usize, end: usize, scores: &mut Vec<f32>) {
        fit(scores, (end - first) * end);
        multiply(
            self.scale,
            self.part(qkv, self.query, first, end),
            self.part(qkv, self.key, 0, end).transposed(),
            0.0,
            MatrixMut::new(scores, end - first, end),
        );
    }
}

fn blocks(tokens: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..tokens).step_by(BLOCK).map(move |first| (first, (first + BLOCK).min(tokens)))
}

/// Buffers of one block.
#[derive(Default)]
pub struct Scratch {
    scores: Vec<f32>,
    d_scores: Vec<f32>,
    along: Vec<f32>,
}

/// One sequence: `qkv` rows in, `out` rows and `log_sums` (`heads` x tokens) out.
pub fn forward(
    shape: &Shape,
    qkv: &[f32],
    out: &mut [f32],
    log_sums: &mut [f32],
    scratch: &mut Scratch,
) {
    let tokens = qkv.len() / shape.qkv_width();
    for (head, log_sums) in log_sums.chunks_exact_mut(tokens).enumerate() {
        let head = Head::of(shape, head);
        for (first, end) in blocks(tokens) {
            head.scores(qkv, first, end, &mut scratch.scores);
            softmax_rows(&mut scratch.scores, end, first, &mut log_sums[first..end]);
            let start = first * head.out_row + head.out;
            multiply(
                1.0,
                Matrix::new(&scratch.scores, end - first, end),
                head.part(qkv, head.value, 0, end),
                0.0,
                MatrixMut::strided(&mut out[start..], end - first, head.width, head.out_row),
            );
        }
    }
}

/// One sequence back: overwrites `d_qkv`, given the derivative `d_out` of `out`.
pub fn backward(
    shape: &Shape,
    qkv: &[f32],
    out: &[f32],
    log_sums: &[f32],
    d_out: &[f32],
    d_qkv: &mut [f32],
    scratch: &mut Scratch,
) {
    let tokens = qkv.len() / shape.qkv_width();
    d_qkv.fill(0.0);
    for (index, log_sums) in log_sums.chunks_exact(tokens).enumerate() {
        let head = Head::of(shape, index);
        fit(&mut scratch.along, tokens);
        row_dots(out, d_out, head.out_row, head.out, head.width, &mut scratch.along);
        for (first, end) in blocks(tokens) {
            let rows = end - first;
            head.scores(qkv, first, end, &mut scratch.scores);
            fit(&mut scratch.d_scores, rows * end);
            let values = head.part(qkv, head.value, 0, end);
            let d_block = head.out_part(d_out, first, end);
            let d_scores = MatrixMut::new(&mut scratch.d_scores, rows, end);
            multiply(1.0, d_block, values.transposed(), 0.0, d_scores);
            let (log_sums, along) = (&log_sums[first..end], &scratch.along[first..end]);
            softmax_rows_backward(
                &mut scratch.scores,
                &mut scratch.d_scores,
                end,
                first,
                log_sums,
                along,
            );
            let weights = Matrix::new(&scratch.scores, rows, end).transposed();
            let d_scores = Matrix::new(&scratch.d_scores, rows, end);
            let queries = head.part(qkv, head.query, first, end);
            let keys = head.part(qkv, head.key, 0, end);
            let d_values = head.part_mut(d_qkv, head.value, 0, end);
            multiply(1.0, weights, d_block, 1.0, d_values);
            let d_queries = head.part_mut(d_qkv, head.query, first, end);
            multiply(head.scale, d_scores, keys, 1.0, d_queries);
            let d_keys = head.part_mut(d_qkv, head.key, 0, end);
            multiply(head.scale, d_scores.transposed(), queries, 1.0, d_keys);
        }
    }
}

wide! {
    /// Softmax over the first `first + i + 1` columns of row `i`; the rest becomes 0.
    pub fn softmax_rows(scores: &mut [f32], columns: usize, first: usize, log_sums: &mut [f32]) {
        let rows = scores.chunks_exact_mut(columns).zip(log_sums).enumerate();
        for (row, (scores, log_sum)) in rows {
            let (seen, unseen) = scores.split_at_mut(first + row + 1);
            let most = largest(seen);
            let sum = exp_sum(seen, most);
            let factor = 1.0 / sum;
            for weight in seen.iter_mut() {
                *weight *= factor;
            }
            unseen.fill(0.0);
            *log_sum = most + sum.ln();
        }
    }
}

wide! {
    /// Turns scores into weights again, and derivatives of weights into those of scores.
    pub fn softmax_rows_backward(
        scores: &mut [f32],
        d_scores: &mut [f32],
        columns: usize,
        first: usize,
        log_sums: &[f32],
        along: &[f32],
    ) {
        let rows = scores
            .chunks_exact_mut(columns)
            .zip(d_scores.chunks_exact_mut(columns))
            .zip(log_sums.iter().zip(along))
            .enumerate();
        for (row, ((scores, d_scores), (log_sum, along))) in rows {
            let (seen, unseen) = scores.split_at_mut(first + row + 1);
            let (d_seen, d_unseen) = d_scores.split_at_mut(first + row + 1);
            let (log_sum, along) = (*log_sum, *along);
            each_pair(seen, d_seen, |score, d| {
                let weight = exp(score - log_sum);
                (weight, weight * (d - along))
            });
            unseen.fill(0.0);
            d_unseen.fill(0.0);
        }
    }
}

wide! {
    /// Dot product of each row's part of one head.
    pub fn row_dots(
        a: &[f32],
        b: &[f32],
        row: usize,
        start: usize,
        width: usize,
        dots: &mut [f32],
    ) {
        for ((a, b), out) in a.chunks_exact(row).zip(b.chunks_exact(row)).zip(dots) {
            *out = dot(&a[start..start + width], &b[start..start + width]);
        }
    }
}
