//! What a recipe of kind `finetune` says.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::hub::LoraConfig;
use crate::method;
use crate::train::LogitsConfig;
use crate::trajectory::DataConfig;

/// A recipe as it is written. Epochs, learning rate and the gradient's norm are those of the
/// published method (arXiv 2505.17612) where it does not say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneRecipe {
    /// `finetune`.
    pub kind: String,
    /// Folder of the checkpoint it starts from.
    pub checkpoint: PathBuf,
    /// Dialect it is taught in.
    pub dialect: String,
    /// How often the data are seen; parts of a time, too.
    #[serde(default = "epochs")]
    pub epochs: f64,
    /// Tokens of a step at least.
    #[serde(default = "tokens_per_step")]
    pub tokens_per_step: usize,
    /// Parts a step is cut into, each on a thread of its own; part of the result.
    #[serde(default = "shards")]
    pub shards: usize,
    /// Steps between two checkpoints: what a run that breaks off may lose.
    #[serde(default = "checkpoint_every_steps")]
    pub checkpoint_every_steps: u64,
    /// Whether a device computes every block again on the way back: a third more work for a part of
    /// the memory.
    #[serde(default)]
    pub recompute: bool,
    /// Tokens of the longest row; longer ones are left out and counted.
    #[serde(default = "context_tokens")]
    pub context_tokens: usize,
    /// Peak of the learning rate, which falls to zero with the budget.
    #[serde(default = "learning_rate")]
    pub learning_rate: f32,
    /// Decoupled weight decay of matrices.
    #[serde(default)]
    pub weight_decay: f32,
    /// Largest norm of the gradient.
    #[serde(default = "gradient_norm_max")]
    pub gradient_norm_max: f32,
    /// Steps of linear warm-up.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Seed of adapters, of what dropout leaves out, and of the order.
    pub seed: u64,
    /// The trajectories.
    pub data: DataConfig,
    /// A checkpoint whose tokenizer makes the same tokens, often a larger one: its logits are learned
    /// beside the tokens.
    pub logits: Option<LogitsConfig>,
    /// Adapters to begin; with neither these nor `adapter` the whole model is trained.
    pub lora: Option<LoraConfig>,
    /// Folder of a PEFT adapter to go on from.
    pub adapter: Option<PathBuf>,
}

/// More parts of a step than any machine has threads.
const SHARDS_MAX: usize = 1 << 10;
/// More tokens of a step than any machine takes.
const TOKENS_MAX: usize = 1 << 30;

fn epochs() -> f64 {
    f64::from(method::EPOCHS)
}

fn tokens_per_step() -> usize {
    16_384
}

fn checkpoint_every_steps() -> u64 {
    20
}

fn shards() -> usize {
    2
}

fn context_tokens() -> usize {
    4096
}

fn learning_rate() -> f32 {
    method::LEARNING_RATE as f32
}

fn gradient_norm_max() -> f32 {
    method::GRADIENT_NORM_MAX
}

impl FinetuneRecipe {
    /// Reads a recipe's text.
    ///
    /// # Errors
    /// A key that is missing, unknown or out of its range, by its name.
    pub fn parse(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text)?;
        let positive = [
            ("epochs", recipe.epochs),
            ("learning_rate", f64::from(recipe.learning_rate)),
            ("gradient_norm_max", f64::from(recipe.gradient_norm_max)),
        ];
        for (key, value) in positive {
            ensure!(value.is_finite() && value > 0.0, "{key} is {value}, expected more than 0");
        }
        let decay = recipe.weight_decay;
        ensure!((0.0..1.0).contains(&decay), "weight_decay is {decay}, expected 0 to below 1");
        for (key, value, range) in [
            ("shards", recipe.shards, 1..=SHARDS_MAX),
            ("tokens_per_step", recipe.tokens_per_step, 1..=TOKENS_MAX),
            ("context_tokens", recipe.context_tokens, 2..=TOKENS_MAX),
        ] {
            let (least, most) = (range.start(), range.end());
            ensure!(range.contains(&value), "{key} is {value}, expected {least} to {most}");
        }
        let every = recipe.checkpoint_every_steps;
        ensure!(every > 0, "checkpoint_every_steps is 0, expected at least 1");
        recipe.logits.as_ref().map_or(Ok(()), LogitsConfig::check)?;
        let both = recipe.lora.is_some() && recipe.adapter.is_some();
        ensure!(!both, "lora and adapter: name one; an adapter brings its own ranks");
        Ok(recipe)
    }
}
