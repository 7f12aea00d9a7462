//! The training loop: a mixture of sequences, one optimiser, a budget in tokens.
//!
//! The same settings, data and build give the same model, on any number of threads, interrupted
//! or not. Progress goes to a [`Progress`] sink; [`Console`] shows a bar and writes metrics.

pub mod checkpoint;
mod console;
mod evaluate;
mod learner;
mod mixture;
mod on_device;
mod soften;

pub use console::Console;
pub use evaluate::{Exactness, evaluate};
pub use learner::Learner;
pub use mixture::{MixtureSource, MixtureState};
pub use on_device::OnDevice;
pub use soften::LogitsConfig;

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cuda::{Device, DeviceError};
use crate::dataset::Sequence;
use crate::gguf::Weights;
use crate::model::{BatchError, Lora, Model, ShapeError};
use crate::optimise::OptimiserConfig;
use checkpoint::{CheckpointError, Header};
use mixture::Mixture;

/// Settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The optimiser.
    pub optimiser: OptimiserConfig,
    /// Seed of the order of the data.
    pub seed: u64,
    /// Tokens to train on.
    pub tokens_budget: u64,
    /// Share of the budget, 0..=1, after which the sources' second shares hold.
    pub phases_change_at: f64,
    /// Tokens of a step at least: sequences are added until it is reached.
    pub tokens_per_step: usize,
    /// Parts a step is cut into; part of the result, unlike the number of threads.
    pub shards: usize,
    /// Tokens between two evaluations.
    pub evaluate_every_tokens: u64,
    /// Steps between two checkpoints.
    pub checkpoint_every_steps: u64,
    /// Where checkpoints go; a run goes on from the one that is there.
    pub checkpoint: Option<PathBuf>,
    /// Every step computes with the weights as such a file will hold them, and changes them as they
    /// are (quantisation-aware, with straight-through gradients, arXiv 1308.3432).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounded: Option<Weights>,
    /// Where it computes. A checkpoint may go on elsewhere; then other bits come out.
    #[serde(skip)]
    pub device: Device,
    /// On a device, every block is computed again on the way back: a third more work for a part of
    /// the memory.
    #[serde(skip)]
    pub recompute: bool,
}

impl TrainConfig {
    /// The settings that were measured to work for a student of 0.8 M parameters.
    #[must_use]
    pub fn small(tokens_budget: u64, seed: u64) -> Self {
        TrainConfig {
            optimiser: OptimiserConfig::default(),
            seed,
            tokens_budget,
            phases_change_at: 0.5,
            tokens_per_step: 2500,
            shards: 2,
            evaluate_every_tokens: 250_000,
            checkpoint_every_steps: 200,
            checkpoint: None,
            rounded: None,
            device: Device::Cpu,
            recompute: false,
        }
    }
}

/// What a run trains on and is judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainData {
    /// Sources of training sequences.
    pub sources: Vec<MixtureSource>,
    /// Held-out sequences.
    pub held_out: Vec<Sequence>,
    /// The token that ends a turn; learned runs without it are not judged.
    pub turn_end: Option<u32>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Tokens of the budget.
    pub tokens_budget: u64,
    /// Cross-entropy per learned token of this step.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f32,
}

/// Hears of a run as it goes.
pub trait Progress {
    /// After each step; `Break` writes a checkpoint and ends the run.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()>;
    /// After each evaluation, and at the end.
    fn evaluated(&mut self, report: &StepReport, exactness: &Exactness);
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A sequence does not fit the model.
    #[error("training data: {0}")]
    Batch(#[from] BatchError),
    /// A source is unusable.
    #[error("training data, {name}: {reason}")]
    Data {
        /// Name of the source.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint could not be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is of other settings or data.
    #[error("checkpoint {0} is of a run with other settings or data; delete it or name another")]
    OtherRun(String),
    /// The gradient stopped being finite.
    #[error("step {0}: the gradient is not finite; begin anew at a lower learning rate")]
    Diverged(u64),
    /// The model's shape is impossible.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A device that is missing, full or failing.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The same, in the middle of a run that has a checkpoint.
    #[error(
        "{error}; {checkpoint} holds the run until shortly before: the same command goes on from it"
    )]
    Broken {
        /// What failed.
        error: DeviceError,
        /// The checkpoint.
        checkpoint: String,
    },
    /// Only the processor computes with rounded weights.
    #[error("weights {0:?} are learned on the processor alone: use --device cpu")]
    RoundedOnDevice(Weights),
    /// Only whole models are trained with rounded weights.
    #[error("weights {0:?} are learned of a whole model only, this one has adapters")]
    RoundedWithAdapters(Weights),
    /// [`Progress`] asked to stop.
    #[error("stopped after step {0}")]
    Stopped(u64),
}

/// Trains `model`, or only its adapters.
///
/// # Errors
/// [`TrainError`]. After [`TrainError::Stopped`] the checkpoint, if one is configured, is up to
/// date, and the same call goes on from it.
pub fn train(
    config: &TrainConfig,
    model: Model,
    data: &TrainData,
    progress: &mut dyn Progress,
) -> Result<Model, TrainError> {
    train_with(config, model, data, progress, learner::learner)
}

/// As [`train`], by the learner that `open` makes.
pub(crate) fn train_with(
    config: &TrainConfig,
    model: Model,
    data: &TrainData,
    progress: &mut dyn Progress,
    open: impl FnOnce(&TrainConfig, Model) -> Result<Box<dyn Learner>, TrainError>,
) -> Result<Model, TrainError> {
    let (fingerprint, trained_len) = (fingerprint(config, &model, data), model.trained_len());
    let mut run = Run {
        config,
        data,
        fingerprint,
        mixture: Mixture::new(&data.sources, config.seed, MixtureState::default())?,
        learner: open(config, model)?,
        tokens: 0,
        steps: 0,
    };
    run.resume(trained_len)?;
    let gone = run.go(progress);
    gone.and_then(|()| run.learner.finish()).map_err(|error| broken(config, error))
}

/// An error of a device, with what it left whole.
fn broken(config: &TrainConfig, error: TrainError) -> TrainError {
    match (error, &config.checkpoint) {
        (TrainError::Device(error), Some(path)) if path.exists() => {
            TrainError::Broken { error, checkpoint: path.display().to_string() }
        }
        (error, _) => error,
    }
}

fn crossed(before: u64, now: u64, every: u64) -> bool {
    every > 0 && before / every != now / every
}

struct Run<'a> {
    config: &'a TrainConfig,
    data: &'a TrainData,
    fingerprint: String,
    learner: Box<dyn Learner>,
    mixture: Mixture<'a>,
    tokens: u64,
    steps: u64,
}

impl Run<'_> {
    /// Goes on from the checkpoint, where there is one.
    fn resume(&mut self, trained_len: usize) -> Result<(), TrainError> {
        let Some(path) = &self.config.checkpoint else { return Ok(()) };
        let Some(read) = checkpoint::load(path, trained_len)? else { return Ok(()) };
        if read.header.fingerprint != self.fingerprint {
            return Err(TrainError::OtherRun(path.display().to_string()));
        }
        self.tokens = read.header.tokens;
        self.steps = read.header.steps;
        let state = read.header.mixture.clone();
        self.mixture = Mixture::new(&self.data.sources, self.config.seed, state)?;
        self.learner.resume(read)
    }

    /// Steps until the budget is spent.
    fn go(&mut self, progress: &mut dyn Progress) -> Result<(), TrainError> {
        while self.tokens < self.config.tokens_budget {
            let before = self.tokens;
            let report = self.step()?;
            let flow = progress.step(&report);
            let ended = self.tokens >= self.config.tokens_budget;
            if ended || crossed(before, self.tokens, self.config.evaluate_every_tokens) {
                progress.evaluated(&report, &self.evaluate()?);
            }
            let due = self.steps.is_multiple_of(self.config.checkpoint_every_steps.max(1));
            if due || ended || flow.is_break() {
                self.save()?;
            }
            if flow.is_break() && !ended {
                return Err(TrainError::Stopped(self.steps));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<StepReport, TrainError> {
        let done = self.tokens as f64 / self.config.tokens_budget as f64;
        let phase = usize::from(done >= self.config.phases_change_at);
        let batch = self.mixture.draw(phase, self.config.tokens_per_step);
        let seed = self.config.seed.wrapping_add(self.steps).rotate_left(32);
        let loss = self.learner.differentiate(&batch, seed)?;
        let learning_rate = self.config.optimiser.rate(self.learner.steps(), done);
        let gradient_norm = self.learner.step(learning_rate)?;
        self.steps += 1;
        self.tokens += batch.iter().map(|sequence| sequence.ids.len().max(1) as u64).sum::<u64>();
        if !gradient_norm.is_finite() {
            return Err(TrainError::Diverged(self.steps));
        }
        Ok(StepReport {
            step: self.steps,
            tokens: self.tokens,
            tokens_budget: self.config.tokens_budget,
            loss: loss.mean(),
            gradient_norm,
            learning_rate,
        })
    }

    fn evaluate(&mut self) -> Result<Exactness, TrainError> {
        let predict = |batch: &[&Sequence]| self.learner.predict(batch);
        evaluate(predict, &self.data.held_out, self.data.turn_end)
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let Some(path) = &self.config.checkpoint else {
            return Ok(());
        };
        let header = Header {
            fingerprint: self.fingerprint.clone(),
            tokens: self.tokens,
            steps: self.steps,
            optimiser_steps: self.learner.steps(),
            mixture: self.mixture.state().clone(),
        };
        Ok(checkpoint::save(path, &header, self.learner.vectors()?)?)
    }
}

/// Hash of what determines the result: settings, the model before training, and training data.
fn fingerprint(config: &TrainConfig, model: &Model, data: &TrainData) -> String {
    let mut hash = Sha256::new();
    let TrainConfig {
        optimiser,
        seed,
        tokens_budget,
        phases_change_at,
        tokens_per_step,
        shards,
        ..
    } = config;
    let budget = (tokens_budget, phases_change_at);
    let settings = (&model.shape, optimiser, seed, budget, tokens_per_step, shards);
    hash.update(format!("{settings:?}"));
    hash.update(config.rounded.map_or_else(String::new, |rounded| format!("{rounded:?}")));
    for source in &data.sources {
        hash.update(format!("{:?} {}", source.shares, source.sequences.len()));
        for sequence in &source.sequences {
            hash.update((sequence.ids.len() as u64).to_le_bytes());
            let pairs = sequence.ids.iter().zip(&sequence.learned);
            let bytes: Vec<u8> = pairs
                .flat_map(|(id, learned)| (id * 2 + u32::from(*learned)).to_le_bytes())
                .collect();
            hash.update(bytes);
            if sequence.soft.per_position > 0 {
                hash.update(bytemuck::cast_slice(&sequence.soft.tokens));
                hash.update(bytemuck::cast_slice(&sequence.soft.shares));
            }
        }
    }
    hash.update(bytemuck::cast_slice(&model.parameters));
    if let Some(Lora { adaptations, dropout, parameters, .. }) = &model.lora {
        hash.update(bytemuck::cast_slice(parameters));
        hash.update(format!("{adaptations:?} {dropout}"));
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests;
