//! A learner on one device or several.

use std::rc::Rc;
use std::sync::Arc;

use super::driver::{Cuda, team_id};
use super::machine::{DeviceError, Machine};
use super::team::Team;
use crate::checkpoint::{Checkpoint, Vectors};
use crate::model::Model;
use crate::parallel::{Loss, Parts, Sequence};
use crate::train::{Learner, TrainConfig, TrainError};

/// A model that learns on devices. The parts of a step are dealt to them; those of one device
/// follow one another, and all gradients add up.
pub struct OnDevice {
    model: Model,
    team: Team,
    devices: usize,
    parts: Parts,
    /// Moments, and copies of them for a checkpoint.
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
        let open = move |rank| {
            let cuda = Cuda::open(first + rank)?;
            eprintln!("training on {}", cuda.name());
            Ok(Rc::new(cuda) as Rc<dyn Machine>)
        };
        let id = (count > 1).then(team_id).transpose()?;
        let learner = Self::with(count, open, config, model)?;
        if let Some(id) = id {
            learner.team.each(move |own| own.network.machine().join(own.rank, count, &id))?;
        }
        Ok(learner)
    }

    /// On `count` devices that `open` opens.
    pub(super) fn with(
        count: usize,
        open: impl Fn(usize) -> Result<Rc<dyn Machine>, DeviceError> + Send + Sync + 'static,
        config: &TrainConfig,
        model: Model,
    ) -> Result<Self, DeviceError> {
        let model = Arc::new(model);
        let team = Team::open(count, open, config, &model)?;
        // The threads have given their shares back.
        let model = Arc::try_unwrap(model)
            .map_err(|_| DeviceError::Unavailable("the model is still being read".to_owned()))?;
        let (parts, kept) = (Parts::new(config.shards), Default::default());
        Ok(OnDevice { model, team, devices: count, parts, kept, steps: 0 })
    }

    /// Bytes of the devices' memory that are in use, by whomever.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn held_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.team.each(|own| own.network.machine().held_bytes())?.iter().sum())
    }

    /// The gradient that was kept.
    #[cfg(test)]
    pub(super) fn gradient(&self) -> Result<Vec<f32>, DeviceError> {
        self.team.first(|own| own.network.fetch(own.network.trained.gradient.at))
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

    fn store(&mut self, values: Vec<f32>) {
        *self.model.trained().1 = values;
    }
}

impl Learner for OnDevice {
    fn differentiate(&mut self, sequences: &[&Sequence], seed: u64) -> Result<Loss, TrainError> {
        self.team.each(move |own| {
            own.network.set_step_seed(seed);
            own.network.forget_gradient()
        })?;
        let (loss, _) = self.run(sequences, true)?;
        if self.devices > 1 {
            // Only now: a device that failed would let the others wait here.
            self.team.each(|own| {
                let trained = &own.network.trained;
                own.network.machine().add_up(trained.gradient.at, trained.len)
            })?;
        }
        Ok(loss)
    }

    fn step(&mut self, rate: f32) -> Result<f64, TrainError> {
        let norms = self.team.each(move |own| own.optimiser.step(&own.network, rate))?;
        let norm = norms.first().copied().unwrap_or(f64::NAN);
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
        let [values, first, second] = self.team.first(|own| {
            let [first, second] = own.optimiser.moments();
            let all = [own.network.trained.masters.at, first, second];
            let [values, first, second] = all.map(|at| own.network.fetch(at));
            Ok([values?, first?, second?])
        })?;
        self.store(values);
        self.kept = [first, second];
        let [first, second] = &self.kept;
        Ok(Vectors { parameters: self.model.trained().1, first, second })
    }

    fn resume(&mut self, read: Checkpoint) -> Result<(), TrainError> {
        self.steps = read.header.optimiser_steps;
        self.team.each(move |own| {
            own.network.load(&read.parameters)?;
            for (values, at) in [&read.first, &read.second].into_iter().zip(own.optimiser.moments())
            {
                own.network.machine().upload(at, bytemuck::cast_slice(values))?;
            }
            own.optimiser.steps = read.header.optimiser_steps;
            Ok(())
        })?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Model, TrainError> {
        let values = self.team.first(|own| own.network.fetch(own.network.trained.masters.at))?;
        self.store(values);
        Ok(self.model)
    }
}
