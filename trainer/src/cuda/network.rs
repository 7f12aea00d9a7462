//! The network on a device: the steps of [`crate::model`], with bf16 values and f32 sums.
//!
//! What a block leaves behind is kept for the way back, or, to save memory, only what went into it:
//! then each block is computed once more on the way back.

use std::ops::Range;
use std::rc::Rc;

use super::machine::{
    Address, Argument, DeviceError, HALF, Machine, Operand, Product, Region, SINGLE, Target,
};
use super::memory::{Buffer, Derivatives, Head, Rows, Tape};
use crate::model::{Batch, Layout, Lora, Model, Rotary, Shape, Site};

/// Threads of a block of most kernels, and of those of attention.
const THREADS: usize = 256;
const ATTENTION_THREADS: usize = 128;
/// Rows of one block of attention.
const ATTENTION_ROWS: usize = 64;
/// Columns that one block sums.
const SUM_COLUMNS: usize = 32;
/// Widths of heads that attention is compiled for; others are filled up.
pub(super) const HEAD_WIDTHS: [usize; 3] = [32, 64, 128];
/// Logits held at once: 256 MiB in f32, and half of that for their derivatives.
const LOGITS: usize = 1 << 26;

/// Runs a kernel; sizes, addresses and factors in the kernel's order.
macro_rules! launch {
    ($machine:expr, $kernel:expr, $grid:expr, $threads:expr, $($argument:expr),+ $(,)?) => {
        $machine.launch($kernel, $grid, $threads, &[$(Argument::from($argument)),+])
    };
}
pub(super) use launch;

/// What training changes, in the device's memory. All vectors have the same length.
pub struct Trained {
    /// The values as f32.
    pub masters: Region,
    /// Where their bf16 copies are.
    pub rounded: Address,
    /// Summed gradient.
    pub gradient: Region,
    /// How many values.
    pub len: usize,
}

/// Adapters beside the frozen weights.
struct Adapters {
    lora: Lora,
    rounded: Region,
}

/// A model on a device.
pub struct Network {
    machine: Rc<dyn Machine>,
    shape: Shape,
    layout: Layout,
    /// All parameters but those of adapters, in bf16.
    base: Region,
    adapters: Option<Adapters>,
    /// What training changes.
    pub trained: Trained,
    cosine: Region,
    sine: Region,
    recompute: bool,
    /// What goes into each block, and what comes out of the last.
    streams: Vec<Buffer>,
    tapes: Vec<Tape>,
    head: Head,
    derivatives: Derivatives,
    rows: Rows,
    attention: &'static str,
    attention_queries: &'static str,
    attention_keys: &'static str,
}

/// A pass over one batch.
#[derive(Clone, Copy)]
struct Pass {
    tokens: usize,
    targets: usize,
    /// Seed of what adapters leave out.
    seed: Option<u64>,
}

impl Network {
    /// Brings a model to a device.
    ///
    /// # Errors
    /// [`DeviceError`]: no memory, or heads that are too wide.
    pub fn new(
        machine: Rc<dyn Machine>,
        model: &Model,
        recompute: bool,
    ) -> Result<Self, DeviceError> {
        let shape = model.shape.clone();
        let [attention, attention_queries, attention_keys] = attention_kernels(&shape)?;
        let base = machine.allocate(model.parameters.len() * HALF)?;
        let rotary = Rotary::new(&shape);
        let [cosine, sine] = [&rotary.cosine, &rotary.sine].map(|table| {
            let region = machine.allocate(table.len() * SINGLE)?;
            machine.upload(region.at, bytemuck::cast_slice(table))?;
            Ok::<_, DeviceError>(region)
        });
        let len = model.trained_len();
        let adapters = model.lora.as_ref().map(|lora| {
            let rounded = machine.allocate(len * HALF)?;
            Ok::<_, DeviceError>(Adapters { lora: lora.clone(), rounded })
        });
        let adapters = adapters.transpose()?;
        let trained = Trained {
            masters: machine.allocate(len * SINGLE)?,
            rounded: adapters.as_ref().map_or(base.at, |adapters| adapters.rounded.at),
            gradient: machine.allocate(len * SINGLE)?,
            len,
        };
        let network = Network {
            streams: (0..=shape.layers).map(|_| Buffer::default()).collect(),
            tapes: (0..if recompute { 1 } else { shape.layers }).map(|_| Tape::default()).collect(),
            layout: model.layout.clone(),
            cosine: cosine?,
            sine: sine?,
            machine,
            shape,
            base,
            adapters,
            trained,
            recompute,
            head: Head::default(),
            derivatives: Derivatives::default(),
            rows: Rows::default(),
            attention,
            attention_queries,
            attention_keys,
        };
        network.load_base(&model.parameters)?;
        if let Some(lora) = &model.lora {
            network.load(&lora.parameters)?;
        }
        Ok(network)
    }

    /// The device.
    #[must_use]
    pub fn machine(&self) -> &Rc<dyn Machine> {
        &self.machine
    }

    /// Brings all parameters but those of adapters.
    fn load_base(&self, parameters: &[f32]) -> Result<(), DeviceError> {
        if self.adapters.is_none() {
            return self.load(parameters);
        }
        const PIECE: usize = 1 << 22;
        let piece = self.machine.allocate(PIECE.min(parameters.len()) * SINGLE)?;
        for (index, values) in parameters.chunks(PIECE).enumerate() {
            self.machine.upload(piece.at, bytemuck::cast_slice(values))?;
            self.cast(self.base.at.halves(index * PIECE), piece.at, values.len())?;
        }
        Ok(())
    }

    /// Brings the values that training changes.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn load(&self, values: &[f32]) -> Result<(), DeviceError> {
        self.machine.upload(self.trained.masters.at, bytemuck::cast_slice(values))?;
        self.cast(self.trained.rounded, self.trained.masters.at, values.len())
    }

    fn cast(&self, out: Address, from: Address, count: usize) -> Result<(), DeviceError> {
        launch!(self.machine, "cast", flat(count), THREADS, out, from, count as u64)
    }

    /// What adapters leave out in the next step depends on it.
    pub fn set_step_seed(&mut self, seed: u64) {
        if let Some(adapters) = &mut self.adapters {
            adapters.lora.step_seed = seed;
        }
    }

    /// A vector of what training changes, from the device.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn fetch(&self, at: Address) -> Result<Vec<f32>, DeviceError> {
        let mut values = vec![0.0; self.trained.len];
        self.machine.download(at, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Starts a new gradient.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn forget_gradient(&self) -> Result<(), DeviceError> {
        self.machine.zero(self.trained.gradient.at, self.trained.gradient.bytes)
    }

    /// The summed cross-entropy of a batch, and the most probable token at each position with
    /// loss. With `scale`, adds the gradient of that sum times `scale`; `seed` is that of
    /// [`crate::model::Workspace`]. The batch must have passed [`Batch::check`].
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn run(
        &mut self,
        batch: &Batch,
        scale: Option<f32>,
        seed: u64,
    ) -> Result<(f64, Vec<u32>), DeviceError> {
        let (tokens, targets) = (batch.ids.len(), batch.targets.len());
        if targets == 0 {
            return Ok((0.0, Vec::new()));
        }
        let pass = Pass { tokens, targets, seed: scale.map(|_| seed) };
        self.fit(pass)?;
        self.rows.upload(&*self.machine, batch)?;
        self.forward(pass)?;
        self.loss(pass, scale)?;
        if scale.is_some() {
            self.backward(pass)?;
        }
        let (mut losses, mut predicted) = (vec![0.0_f32; targets], vec![0_u32; targets]);
        self.machine.download(self.head.losses.at(), bytemuck::cast_slice_mut(&mut losses))?;
        self.machine
            .download(self.head.predicted.at(), bytemuck::cast_slice_mut(&mut predicted))?;
        Ok((losses.iter().map(|loss| f64::from(*loss)).sum(), predicted))
    }

    /// Rows of logits that are computed at once.
    fn chunk_rows(&self) -> usize {
        (LOGITS / self.shape.vocabulary).clamp(16, 8192)
    }

    /// Makes every buffer large enough, or says what would be.
    fn fit(&mut self, pass: Pass) -> Result<(), DeviceError> {
        let (shape, Pass { tokens, targets, .. }) = (&self.shape, pass);
        let rank = self.adapters.as_ref().map_or(0, |adapters| adapters.lora.rank_max());
        let logits = self.chunk_rows().min(targets) * shape.vocabulary;
        let mut wanted: Vec<(&mut Buffer, usize)> = Vec::new();
        wanted.extend(self.streams.iter_mut().map(|stream| (stream, tokens * shape.width * HALF)));
        for tape in &mut self.tapes {
            tape.wanted(shape, tokens, &mut wanted);
        }
        self.head.wanted(shape, targets, logits, &mut wanted);
        self.derivatives.wanted(shape, tokens, rank, &mut wanted);
        self.rows.wanted(tokens, targets, &mut wanted);
        let held: usize = wanted.iter().map(|(buffer, _)| buffer.bytes()).sum();
        wanted.retain(|(buffer, bytes)| buffer.bytes() < *bytes);
        let missing: usize = wanted.iter().map(|(buffer, bytes)| bytes - buffer.bytes()).sum();
        let free = self.machine.free_bytes()?;
        if missing as u64 > free {
            let (all, usable) = ((held + missing) as u64, held as u64 + free);
            let fitting = (tokens as u64).saturating_mul(usable) / all;
            let further = match self.recompute {
                true => "",
                false => ", or set `recompute = true`",
            };
            let advice = format!(
                "the {tokens} tokens of one part of a step are too many, about {fitting} fit. In a \
                 recipe of kind finetune raise `shards`, or lower `tokens_per_step` and \
                 `context_tokens`{further}; otherwise train with --device cpu"
            );
            let [wanted_mib, free_mib] = [missing as u64, free].map(|bytes| bytes >> 20);
            return Err(DeviceError::OutOfMemory { wanted_mib, free_mib, advice });
        }
        wanted.into_iter().try_for_each(|(buffer, bytes)| buffer.fit(&*self.machine, bytes))
    }

    fn weight(&self, range: &Range<usize>) -> Address {
        self.base.at.halves(range.start)
    }

    fn gradient(&self, range: &Range<usize>) -> Address {
        self.trained.gradient.at.singles(range.start)
    }

    /// Whether all parameters are trained, not only adapters.
    fn is_whole(&self) -> bool {
        self.adapters.is_none()
    }

    fn forward(&mut self, pass: Pass) -> Result<(), DeviceError> {
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
        let input = self.streams[layer].at();
        let [normed, inverse] = [tape.attention_normed.at(), tape.attention_inverse.at()];
        self.norm(normed, inverse, input, &block.attention_gain, tokens)?;
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
                let HeadPart { heads, column, inverse } = part;
                let (out, from) = (qkv.halves(column), raw.halves(column));
                let (gain, head_width) = (self.weight(gain), shape.head_width);
                launch!(
                    machine,
                    "rms_norm",
                    [tokens * heads, 1],
                    THREADS,
                    out,
                    inverse,
                    from,
                    gain,
                    head_width,
                    heads,
                    qkv_width,
                    shape.epsilon,
                )?;
            }
        }
        self.rotate(qkv, tokens, 1.0)?;
        let (attended, log_sums) = (tape.attended.at(), tape.log_sums.at());
        launch!(
            machine,
            self.attention,
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
        self.norm(normed, inverse, middle, &block.feed_forward_gain, tokens)?;
        let (gate_up, activated) = (tape.gate_up.at(), tape.activated.at());
        self.project(&block.gate_up, normed, 0.0, gate_up, pass)?;
        let inner = shape.feed_forward;
        launch!(machine, "swiglu", [tokens, 1], THREADS, activated, gate_up, inner)
    }

    /// Scores are products of a query and a key times this.
    fn scale(&self) -> f32 {
        1.0 / (self.shape.head_width as f32).sqrt()
    }

    fn norm(
        &self,
        out: Address,
        inverse: Address,
        input: Address,
        gain: &Range<usize>,
        rows: usize,
    ) -> Result<(), DeviceError> {
        let (gain, width, epsilon) = (self.weight(gain), self.shape.width, self.shape.epsilon);
        launch!(
            self.machine,
            "rms_norm",
            [rows, 1],
            THREADS,
            out,
            inverse,
            input,
            gain,
            width,
            1_usize,
            width,
            epsilon,
        )
    }

    /// Adds to `d_input` what `d_out` means for it, and to the gain's gradient.
    fn norm_backward(
        &self,
        d_input: Address,
        d_out: Address,
        [input, inverse]: [Address; 2],
        gain: &Range<usize>,
        rows: usize,
        accumulate: usize,
    ) -> Result<(), DeviceError> {
        let (values, width) = (self.weight(gain), self.shape.width);
        if self.is_whole() {
            let d_gain = self.gradient(gain);
            launch!(
                self.machine,
                "gain_gradient",
                [width.div_ceil(SUM_COLUMNS), 1],
                THREADS,
                d_gain,
                d_out,
                input,
                inverse,
                rows,
                width,
                1_usize,
                width,
            )?;
        }
        launch!(
            self.machine,
            "rms_norm_backward",
            [rows, 1],
            THREADS,
            d_input,
            d_out,
            input,
            values,
            inverse,
            width,
            1_usize,
            width,
            accumulate,
        )
    }

    /// Query heads and key heads, where they have gains.
    fn head_parts(&self, tape: &Tape, pass: Pass) -> [HeadPart; 2] {
        let (heads, inverse) = (self.shape.heads, tape.heads_inverse.at());
        let (kv_heads, column) = (self.shape.kv_heads, self.shape.query_width());
        let of_keys = inverse.singles(pass.tokens * heads);
        [
            HeadPart { heads, column: 0, inverse },
            HeadPart { heads: kv_heads, column, inverse: of_keys },
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

    /// Rows and columns of the stacked matrices `range`, a projection of this block.
    fn matrix(&self, range: &Range<usize>) -> Operand {
        let tensor = self.layout.tensors.iter().find(|tensor| tensor.offset == range.start);
        let columns = tensor.map_or(1, |tensor| tensor.columns);
        Operand::new(self.weight(range), range.len() / columns, columns)
    }

    /// `out = input weights^T + keep out`, with what adapters add.
    fn project(
        &self,
        weights: &Range<usize>,
        input: Address,
        keep: f32,
        out: Address,
        pass: Pass,
    ) -> Result<(), DeviceError> {
        let b = self.matrix(weights);
        let a = Operand::new(input, pass.tokens, b.columns);
        self.multiply(1.0, a, b.transposed(), keep, halves(out, b.rows))?;
        let Some(Adapters { lora, .. }) = &self.adapters else { return Ok(()) };
        for (index, first_row, site) in lora.of(weights) {
            let inner = self.inner(index, site, input, pass)?;
            let [_, b] = self.factors(site);
            let out = halves(out.halves(first_row), self.matrix(weights).rows);
            self.multiply(site.scale, inner, b.transposed(), 1.0, out)?;
        }
        Ok(())
    }

    /// A and B of an adapter.
    fn factors(&self, site: &Site) -> [Operand; 2] {
        let at = |range: &Range<usize>| self.trained.rounded.halves(range.start);
        [
            Operand::new(at(&site.a), site.rank, site.columns),
            Operand::new(at(&site.b), site.rows(), site.rank),
        ]
    }

    /// `A kept`, of a row a token; leaves what was kept of the input in the derivatives' buffer.
    fn inner(
        &self,
        index: usize,
        site: &Site,
        input: Address,
        pass: Pass,
    ) -> Result<Operand, DeviceError> {
        let kept = self.kept(index, input, pass.tokens * site.columns, pass)?;
        let inner = Operand::new(self.derivatives.inner.at(), pass.tokens, site.rank);
        let kept = Operand::new(kept, pass.tokens, site.columns);
        let [a, _] = self.factors(site);
        self.multiply(1.0, kept, a.transposed(), 0.0, halves(inner.at, site.rank))?;
        Ok(inner)
    }

    /// The inputs that the adapter at `index` sees.
    fn kept(
        &self,
        index: usize,
        input: Address,
        count: usize,
        pass: Pass,
    ) -> Result<Address, DeviceError> {
        let Some(drop) = self.drop(index, pass) else { return Ok(input) };
        let (out, Drop { seed, limit, grown }) = (self.derivatives.kept.at(), drop);
        let grid = flat(count);
        launch!(
            self.machine,
            "dropout",
            grid,
            THREADS,
            out,
            input,
            count as u64,
            seed,
            limit,
            grown,
        )?;
        Ok(out)
    }

    fn drop(&self, index: usize, pass: Pass) -> Option<Drop> {
        let lora = self.adapters.as_ref().map(|adapters| &adapters.lora);
        let (lora, seed) = lora.filter(|lora| lora.dropout > 0.0).zip(pass.seed)?;
        Some(Drop {
            seed: adapter_seed(seed ^ lora.step_seed, index),
            limit: (f64::from(lora.dropout) * f64::from(u32::MAX)) as usize,
            grown: 1.0 / (1.0 - lora.dropout),
        })
    }

    /// The way back: overwrites `d_input`, adds to the gradient.
    fn project_backward(
        &self,
        weights: &Range<usize>,
        d_out: Address,
        input: Address,
        d_input: Address,
        pass: Pass,
    ) -> Result<(), DeviceError> {
        let (tokens, matrix) = (pass.tokens, self.matrix(weights));
        let (rows, columns) = (matrix.rows, matrix.columns);
        let all = Operand::new(d_out, tokens, rows);
        self.multiply(1.0, all, matrix, 0.0, halves(d_input, columns))?;
        let Some(Adapters { lora, .. }) = &self.adapters else {
            let input = Operand::new(input, tokens, columns);
            let out = singles(self.gradient(weights), columns);
            return self.multiply(1.0, all.transposed(), input, 1.0, out);
        };
        for (index, first_row, site) in lora.of(weights) {
            let inner = self.inner(index, site, input, pass)?;
            let kept = match self.drop(index, pass) {
                Some(_) => self.derivatives.kept.at(),
                None => input,
            };
            let [a, b] = self.factors(site);
            let d_out = Operand::new(d_out.halves(first_row), tokens, b.rows).strided(rows);
            let d_b = singles(self.gradient(&site.b), site.rank);
            self.multiply(site.scale, d_out.transposed(), inner, 1.0, d_b)?;
            let d_inner = Operand::new(self.derivatives.d_inner.at(), tokens, site.rank);
            self.multiply(site.scale, d_out, b, 0.0, halves(d_inner.at, site.rank))?;
            let d_a = singles(self.gradient(&site.a), columns);
            let kept = Operand::new(kept, tokens, columns);
            self.multiply(1.0, d_inner.transposed(), kept, 1.0, d_a)?;
            let d_kept = self.derivatives.kept.at();
            self.multiply(1.0, d_inner, a, 0.0, halves(d_kept, columns))?;
            let none = Drop { seed: 0, limit: 0, grown: 1.0 };
            let Drop { seed, limit, grown } = self.drop(index, pass).unwrap_or(none);
            let count = tokens * columns;
            launch!(
                self.machine,
                "dropout_add",
                flat(count),
                THREADS,
                d_input,
                d_kept,
                count as u64,
                seed,
                limit,
                grown,
            )?;
        }
        Ok(())
    }

    fn multiply(
        &self,
        factor: f32,
        a: Operand,
        b: Operand,
        keep: f32,
        out: Target,
    ) -> Result<(), DeviceError> {
        self.machine.multiply(&Product { factor, a, b, keep, out })
    }

    /// Losses and predictions; with `scale`, leaves the derivative of the last block's output.
    fn loss(&self, pass: Pass, scale: Option<f32>) -> Result<(), DeviceError> {
        let (machine, head, width) = (&self.machine, &self.head, self.shape.width);
        let (vocabulary, targets) = (self.shape.vocabulary, pass.targets);
        let (positions, output) = (self.rows.positions.at(), self.streams[self.shape.layers].at());
        let input = head.input.at();
        launch!(machine, "gather", [targets, 1], THREADS, input, output, positions, width)?;
        let (normed, inverse, gain) =
            (head.normed.at(), head.inverse.at(), &self.layout.final_gain);
        self.norm(normed, inverse, input, gain, targets)?;
        let weights = Operand::new(self.weight(&self.layout.head), vocabulary, width);
        let chunk = self.chunk_rows();
        for first in (0..targets).step_by(chunk) {
            let rows = chunk.min(targets - first);
            let normed = Operand::new(normed.halves(first * width), rows, width);
            let (logits, d_logits) = (head.logits.at(), head.d_logits.at());
            self.multiply(1.0, normed, weights.transposed(), 0.0, singles(logits, vocabulary))?;
            launch!(
                machine,
                "cross_entropy",
                [rows, 1],
                THREADS,
                d_logits,
                head.losses.at().singles(first),
                head.predicted.at().singles(first),
                logits,
                self.rows.targets.at().singles(first),
                vocabulary,
                scale.unwrap_or(0.0),
            )?;
            if scale.is_some() {
                let d_logits = Operand::new(d_logits, rows, vocabulary);
                let d_normed = head.d_normed.at().halves(first * width);
                self.multiply(1.0, d_logits, weights, 0.0, halves(d_normed, width))?;
                if self.is_whole() {
                    let out = singles(self.gradient(&self.layout.head), width);
                    self.multiply(1.0, d_logits.transposed(), normed, 1.0, out)?;
                }
            }
        }
        if scale.is_none() {
            return Ok(());
        }
        let (d_normed, d_input) = (head.d_normed.at(), head.d_input.at());
        self.norm_backward(d_input, d_normed, [input, inverse], gain, targets, 0)?;
        let d_stream = self.derivatives.stream.at();
        machine.zero(d_stream, pass.tokens * width * HALF)?;
        launch!(machine, "scatter", [targets, 1], THREADS, d_stream, d_input, positions, width)
    }

    fn backward(&self, pass: Pass) -> Result<(), DeviceError> {
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
        self.norm_backward(d_stream, d_normed, seen, &block.feed_forward_gain, pass.tokens, 1)
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
        for (kernel, heads_here) in
            [(self.attention_queries, heads), (self.attention_keys, kv_heads)]
        {
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
                let HeadPart { heads, column, inverse } = part;
                let (d_part, from) = (d_qkv.halves(column), tape.heads.at().halves(column));
                if self.is_whole() {
                    let d_gain = self.gradient(gain);
                    launch!(
                        machine,
                        "gain_gradient",
                        [head_width.div_ceil(SUM_COLUMNS), 1],
                        THREADS,
                        d_gain,
                        d_part,
                        from,
                        inverse,
                        tokens * heads,
                        head_width,
                        heads,
                        qkv_width,
                    )?;
                }
                launch!(
                    machine,
                    "rms_norm_backward",
                    [tokens * heads, 1],
                    THREADS,
                    d_part,
                    d_part,
                    from,
                    self.weight(gain),
                    inverse,
                    head_width,
                    heads,
                    qkv_width,
                    0_usize,
                )?;
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
        self.norm_backward(d_stream, d_normed, seen, &block.attention_gain, tokens, 1)
    }
}

/// What the adapter at `index` leaves out depends on it.
pub(super) fn adapter_seed(seed: u64, index: usize) -> u64 {
    // Not the factor that the kernel gives places: one adapter would leave out what another does,
    // shifted.
    seed.wrapping_add((index as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95))
}

/// The kernels of attention for a shape, forward and back; or why there are none.
pub(super) fn attention_kernels(shape: &Shape) -> Result<[&'static str; 3], DeviceError> {
    let refused =
        |what: String| DeviceError::Unavailable(format!("{what}: train with --device cpu"));
    if !shape.width.is_multiple_of(2) {
        let width = shape.width;
        return Err(refused(format!("the model's width is {width}, on a device it must be even")));
    }
    match HEAD_WIDTHS.iter().position(|width| shape.head_width <= *width) {
        Some(0) => Ok(["attention_32", "attention_queries_32", "attention_keys_32"]),
        Some(1) => Ok(["attention_64", "attention_queries_64", "attention_keys_64"]),
        Some(_) => Ok(["attention_128", "attention_queries_128", "attention_keys_128"]),
        None => {
            let width = shape.head_width;
            Err(refused(format!("heads are {width} wide, on a device at most 128")))
        }
    }
}

/// Heads of one kind within the rows of queries, keys and values.
struct HeadPart {
    heads: usize,
    column: usize,
    inverse: Address,
}

/// What an adapter leaves out: values whose hash is below `limit`; the others grow.
struct Drop {
    seed: u64,
    limit: usize,
    grown: f32,
}

fn halves(at: Address, stride: usize) -> Target {
    Target { at, stride, is_single: false }
}

fn singles(at: Address, stride: usize) -> Target {
    Target { at, stride, is_single: true }
}

/// The grid of a kernel that walks a flat vector.
pub(super) fn flat(count: usize) -> [usize; 2] {
    [count.div_ceil(4 * THREADS).clamp(1, 2048), 1]
}
