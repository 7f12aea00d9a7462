//! A learner on one device or several.

use std::sync::Arc;

use super::checkpoint::{Checkpoint, Vectors};
use super::{Learner, TrainConfig, TrainError};
use crate::cuda::{DeviceError, Settings, Team};
use crate::dataset::Sequence;
use crate::model::Model;
use crate::parallel::{Loss, Parts};

/// A model that learns on devices. The parts of a step are dealt to them; those of one device
/// follow one another, and all gradients add up.
pub struct OnDevice {
    model: Model,
    team: Team,
    parts: Parts,
    /// Moments of the last checkpoint.
    kept: [Vec<f32>; 2],
    steps: u64,
}

impl OnDevice {
    /// Opens the NVIDIA devices `first` to `last` and brings `model` there.
    ///
    /// # Errors
    /// [`DeviceError`]: what is missing, or no memory.
    pub fn open(
        first: usize,
        last: usize,
        config: &TrainConfig,
        model: Model,
    ) -> Result<Self, DeviceError> {
        let count = (last + 1).saturating_sub(first);
        if config.shards < count {
            return Err(DeviceError::Unavailable(format!(
                "a step has {} parts, fewer than the {count} devices: in a recipe of kind finetune \
                 raise `shards`, otherwise name fewer devices",
                config.shards
            )));
        }
        Self::with(config, model, |settings, model| Team::nvidia(first, count, settings, model))
    }

    /// On the devices that `open` opens.
    pub(crate) fn with(
        config: &TrainConfig,
        model: Model,
        open: impl FnOnce(&Settings, &Arc<Model>) -> Result<Team, DeviceError>,
    ) -> Result<Self, DeviceError> {
        let TrainConfig { optimiser, recompute, shards, .. } = config;
        let settings = Settings { optimiser: optimiser.clone(), recompute: *recompute };
        let model = Arc::new(model);
        let team = open(&settings, &model)?;
        // The threads have given their shares back.
        let model = Arc::try_unwrap(model)
            .map_err(|_| DeviceError::Unavailable("the model is still being read".to_owned()))?;
        Ok(OnDevice { model, team, parts: Parts::new(*shards), kept: Default::default(), steps: 0 })
    }

    /// Bytes of the devices' memory that are in use since they were opened.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn held_bytes(&self) -> Result<u64, DeviceError> {
        self.team.held_bytes()
    }

    /// What the first device is called.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn device_name(&self) -> Result<String, DeviceError> {
        self.team.name()
    }

    /// The gradient that was kept.
    #[cfg(test)]
    pub fn gradient(&self) -> Result<Vec<f32>, DeviceError> {
        self.team.gradient()
    }

    /// Runs every part; the gradients are those of the mean when `learns`.
    fn run(
        &mut self,
        sequences: &[&Sequence],
        learns: bool,
    ) -> Result<(Loss, Vec<Vec<u32>>), TrainError> {
        self.parts.deal(&self.model.shape, sequences)?;
        let positions = self.parts.positions();
        let scale = learns.then_some(1.0 / positions.max(1) as f32);
        let computed = self.team.compute(self.parts.batches().cloned().collect(), scale)?;
        let sum = computed.iter().map(|(loss, _)| loss).sum();
        let predicted = computed.iter().map(|(_, tokens)| tokens.as_slice());
        Ok((Loss { sum, positions }, self.parts.gather(predicted, sequences)))
    }

    /// The model as the devices have it.
    fn store(&mut self) -> Result<(), DeviceError> {
        *self.model.trained().1 = self.team.parameters()?;
        Ok(())
    }
}

impl Learner for OnDevice {
    fn differentiate(&mut self, sequences: &[&Sequence], seed: u64) -> Result<Loss, TrainError> {
        self.team.forget_gradient(seed)?;
        let (loss, _) = self.run(sequences, true)?;
        self.team.add_up()?;
        Ok(loss)
    }

    fn step(&mut self, rate: f32) -> Result<f64, TrainError> {
        let norm = self.team.step(rate, self.steps + 1)?;
        self.steps += u64::from(norm.is_finite());
        Ok(norm)
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn predict(&mut self, sequences: &[&Sequence]) -> Result<(Loss, Vec<Vec<u32>>), TrainError> {
        self.run(sequences, false)
    }

    fn vectors(&mut self) -> Result<Vectors<'_>, TrainError> {
        self.kept = Default::default();
        self.store()?;
        self.kept = self.team.moments()?;
        let [first, second] = &self.kept;
        Ok(Vectors { parameters: self.model.trained().1, first, second })
    }

    fn resume(&mut self, read: Checkpoint) -> Result<(), TrainError> {
        self.steps = read.header.optimiser_steps;
        Ok(self.team.load(read.parameters, [read.first, read.second])?)
    }

    fn finish(mut self: Box<Self>) -> Result<Model, TrainError> {
        self.store()?;
        Ok(self.model)
    }
}
