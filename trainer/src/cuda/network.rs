//! The network on a device: the steps of [`crate::model`], with bf16 values and f32 sums.
//!
//! What a block leaves behind is kept for the way back, or, to save memory, only what went into it:
//! then each block is computed once more on the way back. The blocks are in [`super::pass`].

use std::ops::Range;
use std::rc::Rc;

use super::machine::{Address, Argument, DeviceError, HALF, Machine, Region, SINGLE};
use super::memory::{Buffer, Derivatives, Head, Pass, Rows, Tape};
use crate::model::{Batch, Layout, Lora, Model, Rotary, Shape};

/// Threads of a block of most kernels.
pub(super) const THREADS: usize = 256;
/// Columns that one block sums.
pub(super) const SUM_COLUMNS: usize = 32;
/// Widths of heads that attention is compiled for; others are filled up.
pub(super) const HEAD_WIDTHS: [usize; 3] = [32, 64, 128];

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
pub(super) struct Adapters {
    pub lora: Lora,
    rounded: Region,
}

/// A model on a device.
pub struct Network {
    pub(super) machine: Rc<dyn Machine>,
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    /// All parameters but those of adapters, in bf16.
    base: Region,
    pub(super) adapters: Option<Adapters>,
    /// What training changes.
    pub trained: Trained,
    pub(super) cosine: Region,
    pub(super) sine: Region,
    pub(super) recompute: bool,
    /// What goes into each block, and what comes out of the last.
    pub(super) streams: Vec<Buffer>,
    pub(super) tapes: Vec<Tape>,
    pub(super) head: Head,
    pub(super) derivatives: Derivatives,
    pub(super) rows: Rows,
    /// Its kernels: forward, back to the queries, back to keys and values.
    pub(super) attention: [&'static str; 3],
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
        let attention = attention_kernels(&shape)?;
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
        let pass = Pass {
            tokens,
            targets,
            soft_per_target: batch.soft.per_position,
            seed: scale.map(|_| seed),
        };
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
        self.rows.wanted(pass, &mut wanted);
        let held: usize = wanted.iter().map(|(buffer, _)| buffer.bytes()).sum();
        wanted.retain(|(buffer, bytes)| buffer.bytes() < *bytes);
        let missing: usize = wanted.iter().map(|(buffer, bytes)| bytes - buffer.bytes()).sum();
        let free = self.machine.free_bytes()?;
        if missing as u64 > free {
            // Logits are held in chunks of one size; everything else grows with the tokens.
            let chunk = if targets > self.chunk_rows() { logits * (SINGLE + HALF) } else { 0 };
            let growing = (held + missing - chunk) as u64;
            let usable = (held as u64 + free).saturating_sub(chunk as u64);
            let fitting = (tokens as u64).saturating_mul(usable) / growing;
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

    pub(super) fn weight(&self, range: &Range<usize>) -> Address {
        self.base.at.halves(range.start)
    }

    pub(super) fn gradient(&self, range: &Range<usize>) -> Address {
        self.trained.gradient.at.singles(range.start)
    }

    /// Whether all parameters are trained, not only adapters.
    pub(super) fn is_whole(&self) -> bool {
        self.adapters.is_none()
    }
}

/// The kernels of attention for a shape: forward, back to the queries, back to keys and values; or
/// why there are none.
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

/// The grid of a kernel that walks a flat vector.
pub(super) fn flat(count: usize) -> [usize; 2] {
    [count.div_ceil(4 * THREADS).clamp(1, 2048), 1]
}
