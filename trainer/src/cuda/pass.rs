//! The way through the blocks and back, kernel by kernel.

use std::ops::Range;

use super::machine::{Address, Argument, DeviceError, HALF};
use super::memory::{Pass, Tape};
use super::network::{Network, SUM_COLUMNS, THREADS, launch};

/// Threads of a block of attention's kernels.
const ATTENTION_THREADS: usize = 128;
/// Rows of one block of attention.
const ATTENTION_ROWS: usize = 64;

impl Network {
    pub(super) fn forward(&mut self, pass: Pass) -> Result<(), DeviceError> {
        let (embedding, width) = (self.weight(&self.layout.embedding), self.shape.width);
        let stream = self.streams[0].at();
        let ids = self.rows.ids.at();
        launch!(self.machine, "gather", [pass.tokens, 1], THREADS, stream, embedding, ids, width)?;
        (0..self.shape.layers).try_for_each(|layer| self.block_forward(layer, pass))
    }

    fn tape(&self, layer: usize) -> &Tape {
        &self.tapes[if self.recompute { 0 } else { layer }]
    }

    fn block_forward(&self, layer: usize, pass: Pass) -> Result<(), DeviceError> {
        self.fill_tape(layer, pass)?;
        let (tape, out) = (self.tape(layer), self.streams[layer + 1].at());
        self.machine.copy(out, tape.middle.at(), pass.tokens * self.shape.width * HALF)?;
        self.project(&self.layout.blocks[layer].down, tape.activated.at(), 1.0, out, pass)
    }

    /// All of a block that its way back needs.
    fn fill_tape(&self, layer: usize, pass: Pass) -> Result<(), DeviceError> {
        let (machine, shape, tape) = (&self.machine, &self.shape, self.tape(layer));
        let (block, tokens) = (&self.layout.blocks[layer], pass.tokens);
        let (width, qkv_width) = (shape.width, shape.qkv_width());
        let (input, rows) = (self.streams[layer].at(), self.whole_rows(tokens));
        let [normed, inverse] = [tape.attention_normed.at(), tape.attention_inverse.at()];
        self.norm(normed, inverse, input, &block.attention_gain, rows)?;
        let has_gains = shape.architecture.has_head_gains();
        let raw = if has_gains { tape.heads.at() } else { tape.qkv.at() };
        self.project(&block.qkv, normed, 0.0, raw, pass)?;
        if !block.qkv_bias.is_empty() {
            let bias = self.weight(&block.qkv_bias);
            launch!(machine, "add_bias", [tokens, 1], THREADS, raw, bias, qkv_width)?;
        }
        let qkv = tape.qkv.at();
        if has_gains {
            machine.copy(qkv, raw, tokens * qkv_width * HALF)?;
            for (part, gain) in self.head_parts(tape, pass).into_iter().zip(&block.head_gains) {
                let HeadPart { rows, column, inverse } = part;
                self.norm(qkv.halves(column), inverse, raw.halves(column), gain, rows)?;
            }
        }
        self.rotate(qkv, tokens, 1.0)?;
        let (attended, log_sums) = (tape.attended.at(), tape.log_sums.at());
        launch!(
            machine,
            self.attention[0],
            [tokens.div_ceil(ATTENTION_ROWS), shape.heads],
            ATTENTION_THREADS,
            attended,
            log_sums,
            qkv,
            self.rows.starts.at(),
            tokens,
            shape.heads,
            shape.kv_heads,
            shape.head_width,
            self.scale(),
        )?;
        let middle = tape.middle.at();
        machine.copy(middle, input, tokens * width * HALF)?;
        self.project(&block.output, attended, 1.0, middle, pass)?;
        let [normed, inverse] = [tape.feed_forward_normed.at(), tape.feed_forward_inverse.at()];
        self.norm(normed, inverse, middle, &block.feed_forward_gain, rows)?;
        let (gate_up, activated) = (tape.gate_up.at(), tape.activated.at());
        self.project(&block.gate_up, normed, 0.0, gate_up, pass)?;
        let inner = shape.feed_forward;
        launch!(machine, "swiglu", [tokens, 1], THREADS, activated, gate_up, inner)
    }

    /// Scores are products of a query and a key times this.
    fn scale(&self) -> f32 {
        1.0 / (self.shape.head_width as f32).sqrt()
    }

    /// Norms rows; keeps the inverse of each row's root mean square.
    pub(super) fn norm(
        &self,
        out: Address,
        inverse: Address,
        input: Address,
        gain: &Range<usize>,
        rows: NormRows,
    ) -> Result<(), DeviceError> {
        let NormRows { count, width, heads, stride } = rows;
        launch!(
            self.machine,
            "rms_norm",
            [count, 1],
            THREADS,
            out,
            inverse,
            input,
            self.weight(gain),
            width,
            heads,
            stride,
            self.shape.epsilon,
        )
    }

    /// Gives `d_input` what `d_out` means for it, or adds that to it; adds to the gain's gradient.
    pub(super) fn norm_backward(
        &self,
        d_input: Address,
        d_out: Address,
        [input, inverse]: [Address; 2],
        gain: &Range<usize>,
        rows: NormRows,
        adds: bool,
    ) -> Result<(), DeviceError> {
        let NormRows { count, width, heads, stride } = rows;
        if self.is_whole() {
            launch!(
                self.machine,
                "gain_gradient",
                [width.div_ceil(SUM_COLUMNS), 1],
                THREADS,
                self.gradient(gain),
                d_out,
                input,
                inverse,
                count,
                width,
                heads,
                stride,
            )?;
        }
        launch!(
            self.machine,
            "rms_norm_backward",
            [count, 1],
            THREADS,
            d_input,
            d_out,
            input,
            self.weight(gain),
            inverse,
            width,
            heads,
            stride,
            usize::from(adds),
        )
    }

    /// Rows of the model's width.
    pub(super) fn whole_rows(&self, count: usize) -> NormRows {
        let width = self.shape.width;
        NormRows { count, width, heads: 1, stride: width }
    }

    /// Query heads and key heads, where they have gains.
    fn head_parts(&self, tape: &Tape, pass: Pass) -> [HeadPart; 2] {
        let (shape, inverse) = (&self.shape, tape.heads_inverse.at());
        let rows = |heads| NormRows {
            count: pass.tokens * heads,
            width: shape.head_width,
            heads,
            stride: shape.qkv_width(),
        };
        let of_keys = inverse.singles(pass.tokens * shape.heads);
        [
            HeadPart { rows: rows(shape.heads), column: 0, inverse },
            HeadPart { rows: rows(shape.kv_heads), column: shape.query_width(), inverse: of_keys },
        ]
    }

    fn rotate(&self, rows: Address, tokens: usize, sign: f32) -> Result<(), DeviceError> {
        let shape = &self.shape;
        let turned = shape.heads + shape.kv_heads;
        launch!(
            self.machine,
            "rotate",
            [tokens, 1],
            THREADS,
            rows,
            self.rows.starts.at(),
            self.cosine.at,
            self.sine.at,
            shape.qkv_width(),
            turned,
            shape.head_width / 2,
            sign,
        )
    }

    pub(super) fn backward(&self, pass: Pass) -> Result<(), DeviceError> {
        for layer in (0..self.shape.layers).rev() {
            // The last block's is the tape that was filled last.
            if self.recompute && layer + 1 < self.shape.layers {
                self.fill_tape(layer, pass)?;
            }
            self.feed_forward_backward(layer, pass)?;
            self.attention_backward(layer, pass)?;
        }
        if !self.is_whole() {
            return Ok(());
        }
        let (gradient, width) = (self.gradient(&self.layout.embedding), self.shape.width);
        let (d_stream, rows) = (self.derivatives.stream.at(), &self.rows);
        launch!(
            self.machine,
            "embedding_gradient",
            [rows.runs_count, 1],
            THREADS,
            gradient,
            d_stream,
            rows.order.at(),
            rows.runs.at(),
            width,
        )
    }

    fn feed_forward_backward(&self, layer: usize, pass: Pass) -> Result<(), DeviceError> {
        let (block, tape, d) = (&self.layout.blocks[layer], self.tape(layer), &self.derivatives);
        let (d_stream, d_activated, d_normed) = (d.stream.at(), d.activated.at(), d.normed.at());
        self.project_backward(&block.down, d_stream, tape.activated.at(), d_activated, pass)?;
        let (gate_up, inner) = (tape.gate_up.at(), self.shape.feed_forward);
        let grid = [pass.tokens, 1];
        launch!(self.machine, "swiglu_backward", grid, THREADS, gate_up, d_activated, inner)?;
        let (normed, inverse) = (tape.feed_forward_normed.at(), tape.feed_forward_inverse.at());
        self.project_backward(&block.gate_up, gate_up, normed, d_normed, pass)?;
        let seen = [tape.middle.at(), inverse];
        let rows = self.whole_rows(pass.tokens);
        self.norm_backward(d_stream, d_normed, seen, &block.feed_forward_gain, rows, true)
    }

    fn attention_backward(&self, layer: usize, pass: Pass) -> Result<(), DeviceError> {
        let (machine, shape, tape) = (&self.machine, &self.shape, self.tape(layer));
        let (block, d, tokens) = (&self.layout.blocks[layer], &self.derivatives, pass.tokens);
        let (d_stream, d_attended, attended) = (d.stream.at(), d.attended.at(), tape.attended.at());
        self.project_backward(&block.output, d_stream, attended, d_attended, pass)?;
        let (along, d_qkv, qkv, log_sums) =
            (d.along.at(), d.qkv.at(), tape.qkv.at(), tape.log_sums.at());
        let (heads, kv_heads, head_width) = (shape.heads, shape.kv_heads, shape.head_width);
        launch!(
            machine,
            "row_dots",
            [tokens, 1],
            THREADS,
            along,
            attended,
            d_attended,
            tokens,
            heads,
            head_width,
        )?;
        let tiles = tokens.div_ceil(ATTENTION_ROWS);
        for (kernel, heads_here) in [(self.attention[1], heads), (self.attention[2], kv_heads)] {
            launch!(
                machine,
                kernel,
                [tiles, heads_here],
                ATTENTION_THREADS,
                d_qkv,
                qkv,
                log_sums,
                along,
                d_attended,
                self.rows.starts.at(),
                tokens,
                heads,
                kv_heads,
                head_width,
                self.scale(),
            )?;
        }
        self.rotate(d_qkv, tokens, -1.0)?;
        let qkv_width = shape.qkv_width();
        if shape.architecture.has_head_gains() {
            for (part, gain) in self.head_parts(tape, pass).into_iter().zip(&block.head_gains) {
                let HeadPart { rows, column, inverse } = part;
                let (d_part, from) = (d_qkv.halves(column), tape.heads.at().halves(column));
                self.norm_backward(d_part, d_part, [from, inverse], gain, rows, false)?;
            }
        }
        if self.is_whole() && !block.qkv_bias.is_empty() {
            let sums = self.gradient(&block.qkv_bias);
            let grid = [qkv_width.div_ceil(SUM_COLUMNS), 1];
            launch!(machine, "column_sums", grid, THREADS, sums, d_qkv, tokens, qkv_width)?;
        }
        let (normed, d_normed) = (tape.attention_normed.at(), d.normed.at());
        self.project_backward(&block.qkv, d_qkv, normed, d_normed, pass)?;
        let seen = [self.streams[layer].at(), tape.attention_inverse.at()];
        let rows = self.whole_rows(tokens);
        self.norm_backward(d_stream, d_normed, seen, &block.attention_gain, rows, true)
    }
}

/// Heads of one kind within the rows of queries, keys and values.
struct HeadPart {
    rows: NormRows,
    column: usize,
    inverse: Address,
}

/// Rows that are normed: `heads` of them side by side in every `stride` values.
#[derive(Clone, Copy)]
pub(super) struct NormRows {
    count: usize,
    width: usize,
    heads: usize,
    stride: usize,
}
