//! What a run changes: a model with its optimiser, on the processor or on a device.

use super::{TrainConfig, TrainError};
use crate::checkpoint::{Checkpoint, Vectors};
use crate::cuda::{self, Device};
use crate::gguf::Weights;
use crate::model::Model;
use crate::optimise::Optimiser;
use crate::parallel::{Loss, Sequence, Shards};

/// A model that learns.
pub trait Learner {
    /// Loss of a step's sequences; keeps the gradient of its mean. `seed` decides what adapters
    /// leave out.
    ///
    /// # Errors
    /// [`TrainError`] when a sequence does not fit, or a device fails.
    fn differentiate(&mut self, sequences: &[&Sequence], seed: u64) -> Result<Loss, TrainError>;

    /// Changes the model by the gradient that was kept, and gives its norm before clipping. One
    /// that is not finite changes nothing.
    ///
    /// # Errors
    /// [`TrainError`] when a device fails.
    fn step(&mut self, rate: f32) -> Result<f64, TrainError>;

    /// Steps taken.
    fn steps(&self) -> u64;

    /// Loss of sequences, and for each the most probable token at each position with loss.
    ///
    /// # Errors
    /// As [`Learner::differentiate`].
    fn predict(&mut self, sequences: &[&Sequence]) -> Result<(Loss, Vec<Vec<u32>>), TrainError>;

    /// What a checkpoint holds.
    ///
    /// # Errors
    /// [`TrainError`] when a device fails.
    fn vectors(&mut self) -> Result<Vectors<'_>, TrainError>;

    /// Goes on from a checkpoint.
    ///
    /// # Errors
    /// [`TrainError`] when a device fails.
    fn resume(&mut self, read: Checkpoint) -> Result<(), TrainError>;

    /// The model as it now is.
    ///
    /// # Errors
    /// [`TrainError`] when a device fails.
    fn finish(self: Box<Self>) -> Result<Model, TrainError>;
}

/// A learner on the device that `config` names.
pub(super) fn learner(config: &TrainConfig, model: Model) -> Result<Box<dyn Learner>, TrainError> {
    let device = match config.device {
        // Rounding while training is the processor's alone, and small models gain nothing.
        Device::Auto if config.rounded.is_some() => Device::Cpu,
        Device::Auto => cuda::found(model.parameters.len()),
        named => named,
    };
    match (device, config.rounded) {
        (Device::Cuda { .. }, Some(weights)) => Err(TrainError::RoundedOnDevice(weights)),
        (Device::Cuda { first, last }, None) => {
            Ok(Box::new(cuda::OnDevice::open(first, last, config, model)?))
        }
        (Device::Cpu | Device::Auto, _) => Ok(Box::new(OnProcessor::new(config, model)?)),
    }
}

/// A learner on the processor.
struct OnProcessor {
    model: Model,
    /// The model with rounded weights, where the settings ask for it.
    rounded: Option<(Weights, Model)>,
    optimiser: Optimiser,
    shards: Shards,
}

impl OnProcessor {
    fn new(config: &TrainConfig, mut model: Model) -> Result<Self, TrainError> {
        let rounded = config
            .rounded
            .map(|weights| Ok::<_, TrainError>((weights, Model::zeroed(model.shape.clone())?)));
        Ok(OnProcessor {
            optimiser: Optimiser::new(config.optimiser.clone(), model.trained().0),
            shards: Shards::new(config.shards),
            rounded: rounded.transpose()?,
            model,
        })
    }
}

/// What a step computes with: the model, or `rounded`, brought up to it.
fn seen<'a>(model: &'a Model, rounded: &'a mut Option<(Weights, Model)>) -> &'a Model {
    let Some((weights, rounded)) = rounded else { return model };
    rounded.parameters.copy_from_slice(&model.parameters);
    weights.round(&rounded.layout, &mut rounded.parameters);
    rounded
}

impl Learner for OnProcessor {
    fn differentiate(&mut self, sequences: &[&Sequence], seed: u64) -> Result<Loss, TrainError> {
        if let Some(lora) = &mut self.model.lora {
            lora.step_seed = seed;
        }
        let seen = seen(&self.model, &mut self.rounded);
        Ok(self.shards.differentiate(seen, sequences)?)
    }

    fn step(&mut self, rate: f32) -> Result<f64, TrainError> {
        let (tensors, parameters) = self.model.trained();
        Ok(self.optimiser.step(tensors, parameters, self.shards.gradient(), rate))
    }

    fn steps(&self) -> u64 {
        self.optimiser.steps
    }

    fn predict(&mut self, sequences: &[&Sequence]) -> Result<(Loss, Vec<Vec<u32>>), TrainError> {
        let seen = seen(&self.model, &mut self.rounded);
        Ok(self.shards.predict(seen, sequences)?)
    }

    fn vectors(&mut self) -> Result<Vectors<'_>, TrainError> {
        let Optimiser { first, second, .. } = &self.optimiser;
        Ok(Vectors { parameters: self.model.trained().1, first, second })
    }

    fn resume(&mut self, read: Checkpoint) -> Result<(), TrainError> {
        *self.model.trained().1 = read.parameters;
        self.optimiser.first = read.first;
        self.optimiser.second = read.second;
        self.optimiser.steps = read.header.optimiser_steps;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Model, TrainError> {
        Ok(self.model)
    }
}
