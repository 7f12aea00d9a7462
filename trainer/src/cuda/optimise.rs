//! The optimiser on a device: the steps of [`crate::optimise`], on f32 masters with bf16 copies.

use super::machine::{
    Address, Argument, DeviceError, HALF, Machine, Operand, Product, Region, SINGLE, Target,
};
use super::memory::Buffer;
use super::network::{Network, THREADS, flat, launch};
use crate::model::Tensor;
use crate::optimise::{
    AdamTerms, MOMENTUM, Method, NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS, OptimiserConfig, muon_size,
};

/// Blocks that sum squares, each into a place of its own.
const PARTS: usize = 256;

/// Moments and buffers.
pub struct Optimiser {
    /// Settings.
    pub config: OptimiserConfig,
    tensors: Vec<Tensor>,
    first: Region,
    second: Region,
    parts: Region,
    update: Buffer,
    next: Buffer,
    gram: Buffer,
    polynomial: Buffer,
}

impl Optimiser {
    /// An optimiser of `tensors`, which follow one another, that has taken no step.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn new(
        machine: &dyn Machine,
        config: OptimiserConfig,
        tensors: Vec<Tensor>,
    ) -> Result<Self, DeviceError> {
        let bytes = tensors.last().map_or(0, |last| last.range().end) * SINGLE;
        Ok(Optimiser {
            config,
            tensors,
            first: machine.allocate(bytes)?,
            second: machine.allocate(bytes)?,
            parts: machine.allocate(PARTS * 2 * SINGLE)?,
            update: Buffer::default(),
            next: Buffer::default(),
            gram: Buffer::default(),
            polynomial: Buffer::default(),
        })
    }

    /// Where the moments are.
    pub fn moments(&self) -> [Address; 2] {
        [self.first.at, self.second.at]
    }

    /// Step number `step`, from 1, at the learning rate `rate`. Gives the norm of the gradient before
    /// clipping; a gradient that is not finite changes nothing.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn step(&mut self, network: &Network, rate: f32, step: u64) -> Result<f64, DeviceError> {
        let (machine, trained) = (network.machine().as_ref(), &network.trained);
        let (parts, gradient) = (self.parts.at, trained.gradient.at);
        launch!(
            machine,
            "sum_of_squares",
            [PARTS, 1],
            THREADS,
            parts,
            gradient,
            trained.len as u64,
        )?;
        let mut sums = vec![0.0_f64; PARTS];
        machine.download(parts, bytemuck::cast_slice_mut(&mut sums))?;
        let norm = sums.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Ok(norm);
        }
        let clip = self.config.clip(norm);
        for index in 0..self.tensors.len() {
            match self.config.method_of(self.tensors[index].role) {
                Method::Muon => self.muon(network, index, rate, clip)?,
                Method::AdamW => self.adam(network, index, rate, step, clip)?,
            }
        }
        Ok(norm)
    }

    fn adam(
        &self,
        network: &Network,
        index: usize,
        rate: f32,
        step: u64,
        clip: f32,
    ) -> Result<(), DeviceError> {
        let (tensor, trained) = (&self.tensors[index], &network.trained);
        let AdamTerms { keep, rates: [a, b], step, epsilon } =
            self.config.adam_terms(tensor.role, rate, step);
        let (at, count) = (tensor.offset, tensor.rows * tensor.columns);
        launch!(
            network.machine(),
            "adamw",
            flat(count),
            THREADS,
            trained.masters.at.singles(at),
            trained.rounded.halves(at),
            trained.gradient.at.singles(at),
            self.first.at.singles(at),
            self.second.at.singles(at),
            count as u64,
            clip,
            keep,
            a,
            b,
            step,
            epsilon,
        )
    }

    fn muon(
        &mut self,
        network: &Network,
        index: usize,
        rate: f32,
        clip: f32,
    ) -> Result<(), DeviceError> {
        let (tensor, trained) = (&self.tensors[index], &network.trained);
        let (rows, columns, at) = (tensor.rows, tensor.columns, tensor.offset);
        let (machine, count, small) =
            (network.machine().as_ref(), rows * columns, rows.min(columns));
        self.update.fit(machine, count * HALF)?;
        self.next.fit(machine, count * HALF)?;
        self.gram.fit(machine, small * small * HALF)?;
        self.polynomial.fit(machine, small * small * HALF)?;
        let (mut update, mut next) = (self.update.at(), self.next.at());
        let (moments, gradient) = (self.first.at.singles(at), trained.gradient.at.singles(at));
        let (long, parts) = (count as u64, self.parts.at);
        launch!(
            machine,
            "momentum",
            flat(count),
            THREADS,
            update,
            moments,
            gradient,
            long,
            clip,
            MOMENTUM,
        )?;
        launch!(machine, "square_sums", [PARTS, 1], THREADS, parts, update, long)?;
        launch!(machine, "normalise", flat(count), THREADS, update, parts, long)?;
        let (gram, polynomial) = (self.gram.at(), self.polynomial.at());
        let [linear, cubic, quintic] = NEWTON_SCHULZ;
        for _ in 0..NEWTON_SCHULZ_STEPS {
            let now = Operand::new(update, rows, columns);
            let (left, right) =
                if rows <= columns { (now, now.transposed()) } else { (now.transposed(), now) };
            let product = |factor, a, b, keep, at, stride| {
                let out = Target { at, stride, is_single: false };
                machine.multiply(&Product { factor, a, b, keep, out })
            };
            product(1.0, left, right, 0.0, gram, small)?;
            machine.copy(polynomial, gram, small * small * HALF)?;
            let square = Operand::new(gram, small, small);
            product(quintic, square, square, cubic, polynomial, small)?;
            machine.copy(next, update, count * HALF)?;
            let factor = Operand::new(polynomial, small, small);
            match rows <= columns {
                true => product(1.0, factor, now, linear, next, columns)?,
                false => product(1.0, now, factor, linear, next, columns)?,
            }
            std::mem::swap(&mut update, &mut next);
        }
        let keep = 1.0 - rate * self.config.weight_decay;
        let factor = -rate * muon_size(rows, columns);
        launch!(
            machine,
            "decay_and_add",
            flat(count),
            THREADS,
            trained.masters.at.singles(at),
            trained.rounded.halves(at),
            update,
            long,
            keep,
            factor,
        )
    }
}
