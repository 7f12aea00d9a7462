//! A learner on a device.

use std::rc::Rc;

use super::driver::Cuda;
use super::machine::{DeviceError, Machine};
use super::network::Network;
use super::optimise::Optimiser;
use crate::checkpoint::{Checkpoint, Vectors};
use crate::model::Model;
use crate::parallel::{Loss, Parts, Sequence};
use crate::train::{Learner, TrainConfig, TrainError};

/// A model that learns on a device. The parts of a step follow one another; their gradients add
/// up.
pub struct OnDevice {
    model: Model,
    network: Network,
    optimiser: Optimiser,
    parts: Parts,
    /// Copies for a checkpoint.
    kept: [Vec<f32>; 2],
}

impl OnDevice {
    /// Opens the NVIDIA device `index` and brings `model` there.
    ///
    /// # Errors
    /// [`DeviceError`]: what is missing, or no memory.
    pub fn open(index: usize, config: &TrainConfig, model: Model) -> Result<Self, DeviceError> {
        let cuda = Cuda::open(index)?;
        eprintln!("training on {}", cuda.name());
        Self::new(Rc::new(cuda), config, model)
    }

    pub(super) fn new(
        machine: Rc<dyn Machine>,
        config: &TrainConfig,
        mut model: Model,
    ) -> Result<Self, DeviceError> {
        let network = Network::new(machine.clone(), &model, config.recompute)?;
        let tensors = model.trained().0.to_vec();
        let optimiser = Optimiser::new(&*machine, config.optimiser.clone(), tensors)?;
        let (parts, kept) = (Parts::new(config.shards), Default::default());
        Ok(OnDevice { model, network, optimiser, parts, kept })
    }

    /// Bytes of the device's memory that are in use, by whomever.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn held_bytes(&self) -> Result<u64, DeviceError> {
        self.network.machine().held_bytes()
    }

    /// The gradient that was kept.
    #[cfg(test)]
    pub(super) fn gradient(&self) -> Result<Vec<f32>, DeviceError> {
        let trained = &self.network.trained;
        let mut gradient = vec![0.0; trained.len];
        let machine = self.network.machine();
        machine.download(trained.gradient.at, bytemuck::cast_slice_mut(&mut gradient))?;
        Ok(gradient)
    }

    /// Runs every part; the gradient is that of the mean when `learns`.
    fn run(
        &mut self,
        sequences: &[&Sequence],
        learns: bool,
    ) -> Result<(Loss, Vec<Vec<u32>>), TrainError> {
        self.parts.deal(&self.model.shape, sequences)?;
        let positions = self.parts.positions();
        let scale = learns.then_some(1.0 / positions.max(1) as f32);
        let (mut loss, mut predicted) = (Loss { sum: 0.0, positions }, Vec::new());
        for (seed, batch) in (0..).zip(self.parts.batches()) {
            let (sum, tokens) = self.network.run(batch, scale, seed)?;
            loss.sum += sum;
            predicted.push(tokens);
        }
        let predicted = predicted.iter().map(Vec::as_slice);
        Ok((loss, self.parts.gather(predicted, sequences)))
    }
}

impl Learner for OnDevice {
    fn differentiate(&mut self, sequences: &[&Sequence], seed: u64) -> Result<Loss, TrainError> {
        self.network.set_step_seed(seed);
        self.network.forget_gradient()?;
        Ok(self.run(sequences, true)?.0)
    }

    fn step(&mut self, rate: f32) -> Result<f64, TrainError> {
        Ok(self.optimiser.step(&self.network, rate)?)
    }

    fn steps(&self) -> u64 {
        self.optimiser.steps
    }

    fn predict(&mut self, sequences: &[&Sequence]) -> Result<(Loss, Vec<Vec<u32>>), TrainError> {
        self.run(sequences, false)
    }

    fn vectors(&mut self) -> Result<Vectors<'_>, TrainError> {
        let machine = self.network.machine().clone();
        self.network.store(&mut self.model)?;
        for (values, at) in self.kept.iter_mut().zip(self.optimiser.moments()) {
            values.resize(self.network.trained.len, 0.0);
            machine.download(at, bytemuck::cast_slice_mut(values))?;
        }
        let [first, second] = &self.kept;
        Ok(Vectors { parameters: self.model.trained().1, first, second })
    }

    fn resume(&mut self, read: Checkpoint) -> Result<(), TrainError> {
        self.network.load(&read.parameters)?;
        let machine = self.network.machine();
        for (values, at) in [read.first, read.second].iter().zip(self.optimiser.moments()) {
            machine.upload(at, bytemuck::cast_slice(values))?;
        }
        self.optimiser.steps = read.header.optimiser_steps;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Model, TrainError> {
        self.network.store(&mut self.model)?;
        Ok(self.model)
    }
}
