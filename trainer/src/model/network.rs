//! The network itself: forward over a batch, the loss, and the way back.

use std::ops::Range;

use super::attention;
use super::batch::{Batch, SoftTargets};
use super::gemm::{Matrix, MatrixMut, multiply};
use super::kernels::{Rotary, Turn, rms_norm, rms_norm_backward, swiglu, swiglu_backward};
use super::lanes::{add_bias, add_column_sums};
use super::lora::{self, Lora};
use super::loss;
use super::shape::{Block, Layout, Shape, ShapeError, Tensor};
use super::workspace::{BlockTape, Scratch, Workspace, fit};

/// A model: its shape, where its tensors lie, and all parameters in one vector; with adapters or
/// without.
pub struct Model {
    /// Its size.
    pub shape: Shape,
    /// Named views of `parameters`.
    pub layout: Layout,
    /// All parameters but those of the adapters.
    pub parameters: Vec<f32>,
    /// Adapters, which then are all that is trained.
    pub lora: Option<Lora>,
    rotary: Rotary,
}

impl Model {
    /// A model with all parameters 0.
    ///
    /// # Errors
    /// [`ShapeError`] when the shape's parts do not fit one another.
    pub fn zeroed(shape: Shape) -> Result<Self, ShapeError> {
        shape.check()?;
        let layout = Layout::new(&shape);
        let parameters = vec![0.0; layout.parameters];
        let rotary = Rotary::new(&shape);
        Ok(Model { shape, layout, parameters, lora: None, rotary })
    }

    /// The same for sequences of at most `context_tokens` tokens.
    #[must_use]
    pub fn with_context(mut self, context_tokens: usize) -> Self {
        self.shape.context_tokens = context_tokens;
        self.rotary = Rotary::new(&self.shape);
        self
    }

    /// What training changes: its tensors and their values.
    pub fn trained(&mut self) -> (&[Tensor], &mut Vec<f32>) {
        match &mut self.lora {
            Some(lora) => (&lora.tensors, &mut lora.parameters),
            None => (&self.layout.tensors, &mut self.parameters),
        }
    }

    /// How many values training changes.
    #[must_use]
    pub fn trained_len(&self) -> usize {
        self.lora.as_ref().map_or(self.parameters.len(), |lora| lora.parameters.len())
    }

    /// The summed cross-entropy of a batch; fills `workspace.predicted`.
    /// The batch must have passed [`Batch::check`].
    pub fn evaluate(&self, batch: &Batch, workspace: &mut Workspace) -> f64 {
        self.forward(batch, None, workspace);
        loss::forward(self, batch, workspace)
    }

    /// The `count` most probable tokens at each position with loss, the most probable first, each
    /// with its part of the probability of all of these. The batch must have passed
    /// [`Batch::check`].
    pub fn most_probable(
        &self,
        batch: &Batch,
        count: usize,
        workspace: &mut Workspace,
    ) -> SoftTargets {
        self.forward(batch, None, workspace);
        loss::most_probable(self, batch, count, workspace)
    }

    /// The summed cross-entropy of a batch; fills `workspace.gradient` with the gradient of that
    /// sum times `scale`, of all that [`Model::trained`] names. The batch must have passed
    /// [`Batch::check`].
    pub fn differentiate(&self, batch: &Batch, scale: f32, workspace: &mut Workspace) -> f64 {
        workspace.gradient.resize(self.trained_len(), 0.0);
        workspace.gradient.fill(0.0);
        let seed = Some(workspace.seed);
        self.forward(batch, seed, workspace);
        let loss = loss::forward_backward(self, batch, scale, workspace);
        self.backward(batch, seed, workspace);
        loss
    }

    fn forward(&self, batch: &Batch, seed: lora::Seed, workspace: &mut Workspace) {
        workspace.blocks.resize_with(self.shape.layers, BlockTape::default);
        let mut stream = std::mem::take(&mut workspace.output);
        self.embed(batch, &mut stream);
        for (block, tape) in self.layout.blocks.iter().zip(&mut workspace.blocks) {
            std::mem::swap(&mut tape.input, &mut stream);
            fit(&mut stream, tape.input.len());
            self.block_forward(block, batch, tape, seed, &mut workspace.scratch, &mut stream);
        }
        workspace.output = stream;
    }

    /// The way through a batch that has passed [`Batch::check`], without a way back: `see` is shown
    /// what each block read, which the next block then overwrites.
    pub(super) fn walk(&self, batch: &Batch, mut see: impl FnMut(&Block, &BlockTape)) {
        let (mut tape, mut scratch) = (BlockTape::default(), Scratch::default());
        let mut stream = Vec::new();
        self.embed(batch, &mut stream);
        for block in &self.layout.blocks {
            std::mem::swap(&mut tape.input, &mut stream);
            fit(&mut stream, tape.input.len());
            self.block_forward(block, batch, &mut tape, None, &mut scratch, &mut stream);
            see(block, &tape);
        }
    }

    /// The embeddings of a batch, a row a token.
    fn embed(&self, batch: &Batch, stream: &mut Vec<f32>) {
        let width = self.shape.width;
        fit(stream, batch.ids.len() * width);
        let embedding = &self.parameters[self.layout.embedding.clone()];
        for (row, id) in stream.chunks_exact_mut(width).zip(&batch.ids) {
            let start = *id as usize * width;
            row.copy_from_slice(&embedding[start..start + width]);
        }
    }

    fn block_forward(
        &self,
        block: &Block,
        batch: &Batch,
        tape: &mut BlockTape,
        seed: lora::Seed,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let shape = &self.shape;
        let (tokens, width, inner) = (batch.ids.len(), shape.width, shape.feed_forward);
        fit(&mut tape.attention_normed, tokens * width);
        fit(&mut tape.attention_inverse, tokens);
        rms_norm(
            &tape.input,
            &self.parameters[block.attention_gain.clone()],
            shape.epsilon,
            &mut tape.attention_normed,
            &mut tape.attention_inverse,
        );
        fit(&mut tape.qkv, tokens * shape.qkv_width());
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        self.project(&block.qkv, &tape.attention_normed, 0.0, &mut tape.qkv, through);
        add_bias(&mut tape.qkv, &self.parameters[block.qkv_bias.clone()]);
        if shape.architecture.has_head_gains() {
            self.norm_heads(block, tape);
        }
        self.attend(batch, tape, &mut scratch.attention);
        fit(&mut tape.middle, tokens * width);
        tape.middle.copy_from_slice(&tape.input);
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        self.project(&block.output, &tape.attended, 1.0, &mut tape.middle, through);
        fit(&mut tape.feed_forward_normed, tokens * width);
        fit(&mut tape.feed_forward_inverse, tokens);
        rms_norm(
            &tape.middle,
            &self.parameters[block.feed_forward_gain.clone()],
            shape.epsilon,
            &mut tape.feed_forward_normed,
            &mut tape.feed_forward_inverse,
        );
        fit(&mut tape.gate_up, tokens * 2 * inner);
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        self.project(&block.gate_up, &tape.feed_forward_normed, 0.0, &mut tape.gate_up, through);
        fit(&mut tape.activated, tokens * inner);
        swiglu(&tape.gate_up, inner, &mut tape.activated);
        out.copy_from_slice(&tape.middle);
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        self.project(&block.down, &tape.activated, 1.0, out, through);
    }

    /// `out = input weights^T + keep out` of the stacked matrices `weights`, with what adapters add.
    fn project(
        &self,
        weights: &Range<usize>,
        input: &[f32],
        keep: f32,
        out: &mut [f32],
        Through { tokens, seed, scratch }: Through,
    ) {
        linear(input, &self.parameters[weights.clone()], tokens, keep, out);
        if let Some(lora) = &self.lora {
            lora.forward(weights, input, tokens, out, seed, scratch);
        }
    }

    /// The way back: overwrites `d_input`, adds to `gradient`.
    fn project_backward(
        &self,
        weights: &Range<usize>,
        d_out: &[f32],
        input: &[f32],
        d_input: &mut [f32],
        gradient: &mut [f32],
        Through { tokens, seed, scratch }: Through,
    ) {
        linear_backward(d_out, &self.parameters[weights.clone()], tokens, d_input);
        match &self.lora {
            Some(lora) => {
                lora.backward(weights, d_out, input, tokens, d_input, gradient, seed, scratch);
            }
            None => weight_gradient(d_out, input, tokens, &mut gradient[weights.clone()]),
        }
    }

    /// Where the gradient of a vector is summed; that of a frozen one goes into `unused`.
    pub(super) fn sum_of<'a>(
        &self,
        vector: &Range<usize>,
        gradient: &'a mut [f32],
        unused: &'a mut Vec<f32>,
    ) -> &'a mut [f32] {
        if self.lora.is_some() {
            fit(unused, vector.len());
            return unused;
        }
        &mut gradient[vector.clone()]
    }

    fn attend(&self, batch: &Batch, tape: &mut BlockTape, scratch: &mut attention::Scratch) {
        let shape = &self.shape;
        fit(&mut tape.attended, batch.ids.len() * shape.query_width());
        fit(&mut tape.log_sums, batch.ids.len() * shape.heads);
        let mut qkv = tape.qkv.as_mut_slice();
        let mut out = tape.attended.as_mut_slice();
        let mut log_sums = tape.log_sums.as_mut_slice();
        for tokens in &batch.lengths {
            let rows = take(&mut qkv, tokens * shape.qkv_width());
            let turned = shape.heads + shape.kv_heads;
            self.rotary.apply(rows, shape.qkv_width(), turned, Turn::Forward);
            let out = take(&mut out, tokens * shape.query_width());
            let log_sums = take(&mut log_sums, tokens * shape.heads);
            attention::forward(shape, rows, out, log_sums, scratch);
        }
    }

    fn backward(&self, batch: &Batch, seed: lora::Seed, workspace: &mut Workspace) {
        let width = self.shape.width;
        for index in (0..self.layout.blocks.len()).rev() {
            self.feed_forward_backward(index, seed, workspace);
            self.attention_backward(index, batch, seed, workspace);
        }
        if self.lora.is_some() {
            return;
        }
        let embedding = &mut workspace.gradient[self.layout.embedding.clone()];
        for (row, id) in workspace.derivatives.stream.chunks_exact(width).zip(&batch.ids) {
            let start = *id as usize * width;
            for (sum, d) in embedding[start..start + width].iter_mut().zip(row) {
                *sum += d;
            }
        }
    }

    fn feed_forward_backward(&self, index: usize, seed: lora::Seed, workspace: &mut Workspace) {
        let (block, inner) = (&self.layout.blocks[index], self.shape.feed_forward);
        let Workspace { blocks, derivatives: d, gradient, scratch, .. } = workspace;
        let tape = &mut blocks[index];
        let tokens = d.stream.len() / self.shape.width;
        fit(&mut d.activated, tokens * inner);
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        let (down, activated) = (&block.down, &tape.activated);
        self.project_backward(down, &d.stream, activated, &mut d.activated, gradient, through);
        swiglu_backward(&d.activated, inner, &mut tape.gate_up);
        fit(&mut d.normed, d.stream.len());
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        let (gate_up, normed) = (&block.gate_up, &tape.feed_forward_normed);
        self.project_backward(gate_up, &tape.gate_up, normed, &mut d.normed, gradient, through);
        fit(&mut d.row, self.shape.width);
        rms_norm_backward(
            &d.normed,
            &tape.middle,
            &self.parameters[block.feed_forward_gain.clone()],
            &tape.feed_forward_inverse,
            &mut d.stream,
            self.sum_of(&block.feed_forward_gain, gradient, &mut d.unused),
            &mut d.row,
        );
    }

    fn attention_backward(
        &self,
        index: usize,
        batch: &Batch,
        seed: lora::Seed,
        workspace: &mut Workspace,
    ) {
        let (block, shape) = (&self.layout.blocks[index], &self.shape);
        let Workspace { blocks, derivatives: d, gradient, scratch, .. } = workspace;
        let tape = &blocks[index];
        let tokens = batch.ids.len();
        fit(&mut d.attended, tokens * shape.query_width());
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        let (output, attended) = (&block.output, &tape.attended);
        self.project_backward(output, &d.stream, attended, &mut d.attended, gradient, through);
        fit(&mut d.qkv, tokens * shape.qkv_width());
        let mut start = 0;
        for tokens in &batch.lengths {
            let rows = start..start + tokens;
            let qkv = rows.start * shape.qkv_width()..rows.end * shape.qkv_width();
            let out = rows.start * shape.query_width()..rows.end * shape.query_width();
            let d_qkv = &mut d.qkv[qkv.clone()];
            attention::backward(
                shape,
                &tape.qkv[qkv],
                &tape.attended[out.clone()],
                &tape.log_sums[rows.start * shape.heads..rows.end * shape.heads],
                &d.attended[out],
                d_qkv,
                &mut scratch.attention,
            );
            let turned = shape.heads + shape.kv_heads;
            self.rotary.apply(d_qkv, shape.qkv_width(), turned, Turn::Backward);
            start = rows.end;
        }
        if shape.architecture.has_head_gains() {
            self.norm_heads_backward(block, tape, &mut d.qkv, gradient, &mut d.heads);
        }
        add_column_sums(self.sum_of(&block.qkv_bias, gradient, &mut d.unused), &d.qkv);
        let through = Through { tokens, seed, scratch: &mut scratch.lora };
        let (qkv, normed) = (&block.qkv, &tape.attention_normed);
        self.project_backward(qkv, &d.qkv, normed, &mut d.normed, gradient, through);
        rms_norm_backward(
            &d.normed,
            &tape.input,
            &self.parameters[block.attention_gain.clone()],
            &tape.attention_inverse,
            &mut d.stream,
            self.sum_of(&block.attention_gain, gradient, &mut d.unused),
            &mut d.row,
        );
    }
}

/// Over how many tokens a projection goes, and what its adapters need.
struct Through<'a> {
    tokens: usize,
    seed: lora::Seed,
    scratch: &'a mut lora::Scratch,
}

/// Splits the first `length` elements off.
fn take<'a>(rest: &mut &'a mut [f32], length: usize) -> &'a mut [f32] {
    let (taken, left) = std::mem::take(rest).split_at_mut(length);
    *rest = left;
    taken
}

/// `out = input * weight^T + keep * out`; the weight has one row per output.
pub(super) fn linear(input: &[f32], weight: &[f32], rows: usize, keep: f32, out: &mut [f32]) {
    if rows == 0 {
        return;
    }
    let (columns, outputs) = (input.len() / rows, out.len() / rows);
    let weight = Matrix::new(weight, outputs, columns).transposed();
    multiply(
        1.0,
        Matrix::new(input, rows, columns),
        weight,
        keep,
        MatrixMut::new(out, rows, outputs),
    );
}

/// `d_input = d_out * weight`.
pub(super) fn linear_backward(d_out: &[f32], weight: &[f32], rows: usize, d_input: &mut [f32]) {
    if rows == 0 {
        return;
    }
    let (columns, outputs) = (d_input.len() / rows, d_out.len() / rows);
    let weight = Matrix::new(weight, outputs, columns);
    let d_input = MatrixMut::new(d_input, rows, columns);
    multiply(1.0, Matrix::new(d_out, rows, outputs), weight, 0.0, d_input);
}

/// `gradient += d_out^T * input`.
pub(super) fn weight_gradient(d_out: &[f32], input: &[f32], rows: usize, gradient: &mut [f32]) {
    if rows == 0 {
        return;
    }
    let (columns, outputs) = (input.len() / rows, d_out.len() / rows);
    let d_out = Matrix::new(d_out, rows, outputs).transposed();
    let gradient = MatrixMut::new(gradient, outputs, columns);
    multiply(1.0, d_out, Matrix::new(input, rows, columns), 1.0, gradient);
}
