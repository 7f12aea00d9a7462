//! What a run changes: a model with its optimiser, on the processor or on a device.

use super::checkpoint::{Checkpoint, Vectors};
use super::{OnDevice, TrainConfig, TrainError};
use crate::cuda::{self, Device};
use crate::dataset::Sequence;
use crate::gguf::Weights;
use crate::model::Model;
use crate::optimise::Optimiser;
use crate::parallel::{Loss, Shards};

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
        Device::Auto => cuda::found(&model),
        named => named,
    };
    match (device, config.rounded) {
        (Device::Cuda { .. }, Some(weights)) => Err(TrainError::RoundedOnDevice(weights)),
        (Device::Cuda { first, last }, None) => {
            Ok(Box::new(OnDevice::open(first, last, config, model)?))
        }
        (Device::Cpu | Device::Auto, _) => Ok(Box::new(OnProcessor::new(config, model)?)),
    }
}

/// A learner on the processor.
struct OnProcessor {
    model: Model,
    rounded: Option<Rounded>,
    optimiser: Optimiser,
    shards: Shards,
}

/// The model with rounded weights, where the settings ask for it.
struct Rounded {
    weights: Weights,
    model: Model,
    /// The weights that it was rounded from have changed.
    is_stale: bool,
}

impl OnProcessor {
    fn new(config: &TrainConfig, mut model: Model) -> Result<Self, TrainError> {
        let rounded = match config.rounded {
            Some(weights) if model.lora.is_some() => {
                return Err(TrainError::RoundedWithAdapters(weights));
            }
            Some(weights) => {
                let model = Model::zeroed(model.shape.clone())?;
                Some(Rounded { weights, model, is_stale: true })
            }
            None => None,
        };
        Ok(OnProcessor {
            optimiser: Optimiser::new(config.optimiser.clone(), model.trained().0),
            shards: Shards::new(config.shards),
            rounded,
            model,
        })
    }

    fn has_changed(&mut self) {
        if let Some(rounded) = &mut self.rounded {
            rounded.is_stale = true;
        }
    }
}

/// What a step computes with: the model, or `rounded`, brought up to it.
fn seen<'a>(model: &'a Model, rounded: &'a mut Option<Rounded>) -> &'a Model {
    let Some(rounded) = rounded else { return model };
    if rounded.is_stale {
        rounded.model.parameters.copy_from_slice(&model.parameters);
        rounded.weights.round(&rounded.model.layout, &mut rounded.model.parameters);
        rounded.is_stale = false;
    }
    &rounded.model
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
        self.has_changed();
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
        self.has_changed();
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
