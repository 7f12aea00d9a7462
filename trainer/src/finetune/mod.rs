//! Recipes of kind `finetune`: a published checkpoint learns trajectories, as a whole or through
//! LoRA adapters, and is written as what it was: a checkpoint, or an adapter as PEFT has it.

mod config;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use config::FinetuneRecipe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use retort_transcript::{Dialect, Transcript};
use serde_json::{Map, json};

use crate::cuda::Device;
use crate::dataset;
use crate::durable::hold;
use crate::hash::file_sha256;
use crate::hub::{Adapter, Checkpoint, LoraConfig, save_adapter, save_checkpoint};
use crate::model::{Lora, Model};
use crate::optimise::{Method, OptimiserConfig};
use crate::tokenizer::conversational;
use crate::train::{Console, LogitsConfig, MixtureSource, TrainConfig, TrainData, train};
use crate::trajectory::{Manifest, refuse_same};

/// Evaluations of a whole run.
const EVALUATIONS: u64 = 20;
/// Fewer steps are said to be few.
const STEPS_MIN: u64 = 10;

/// Trains by a recipe and writes `out/adapter` or `out/model`.
///
/// # Errors
/// A recipe, a checkpoint or data that are refused, or a file that cannot be written.
pub fn run(recipe: &FinetuneRecipe, out: &Path, device: Device) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let _held = hold(out)?;
    let is_adapter = recipe.lora.is_some() || recipe.adapter.is_some();
    let folder = out.join(if is_adapter { "adapter" } else { "model" });
    for input in inputs(recipe) {
        refuse_same(input, &folder)?;
    }
    let mut data = data(recipe)?;
    if let Some(logits) = &recipe.logits {
        soften(recipe, logits, &mut data)?;
    }
    let (model, lora) = model(recipe)?;
    let manifest = manifest(recipe, &data)?;
    let mut console = Console::new(Some(&out.join("metrics.jsonl")))?;
    let config = train_config(recipe, &data, out, device);
    let model = train(&config, model, &data, &mut console)?;
    match (&lora, &model.lora) {
        (Some(config), Some(lora)) => {
            save_adapter(&folder, &recipe.checkpoint, config, &model.shape, lora)?;
        }
        _ => save_checkpoint(&folder, &recipe.checkpoint, &model)?,
    }
    manifest.write(&out.join("manifest.json"))?;
    outln!("{}", folder.display());
    Ok(())
}

/// Folders that are read.
fn inputs(recipe: &FinetuneRecipe) -> impl Iterator<Item = &PathBuf> {
    let teacher = recipe.logits.as_ref().map(|logits| &logits.teacher);
    iter::once(&recipe.checkpoint).chain(&recipe.adapter).chain(teacher)
}

/// From what it was made, and how much there was.
fn manifest(recipe: &FinetuneRecipe, data: &TrainData) -> Result<Manifest> {
    let mut weights = BTreeMap::new();
    for folder in inputs(recipe) {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|name| name == "safetensors") {
                weights.insert(path.display().to_string(), json!(file_sha256(&path)?));
            }
        }
    }
    let made_by = Map::from_iter([
        ("recipe".to_owned(), json!(recipe)),
        ("trajectories".to_owned(), json!(recipe.data.sha256()?)),
        ("weights".to_owned(), json!(weights)),
    ]);
    let learned = data.sources.iter().map(|source| source.sequences.len()).sum::<usize>();
    let counts = Map::from_iter([
        ("learned".to_owned(), json!(learned)),
        ("held_out".to_owned(), json!(data.held_out.len())),
    ]);
    Ok(Manifest { counts, complete: true, ..Manifest::new("run", made_by) })
}

/// Adds what the teacher of `logits` finds probable. It is gone before the student is loaded.
fn soften(recipe: &FinetuneRecipe, logits: &LogitsConfig, data: &mut TrainData) -> Result<()> {
    let vocabulary = Checkpoint::open(&recipe.checkpoint, None)?.shape.vocabulary;
    let path = &logits.teacher;
    let named = || format!("logits.teacher: {}", path.display());
    let as_it_reads = FinetuneRecipe { checkpoint: path.clone(), ..recipe.clone() };
    let theirs = self::data(&as_it_reads).with_context(named)?;
    ensure!(theirs == *data, "{}: its tokenizer makes other tokens of the data", named());
    let mut checkpoint = Checkpoint::open(path, None).with_context(named)?;
    let context = checkpoint.shape.context_tokens;
    let tokens = recipe.context_tokens;
    ensure!(
        tokens <= context,
        "{}: made for {context} tokens; context_tokens is {tokens}",
        named()
    );
    checkpoint.shape.context_tokens = tokens;
    let teacher = checkpoint.model(path).with_context(named)?;
    logits.soften(&teacher, vocabulary, &mut data.sources)
}

/// The checkpoint in memory, with the adapters that the recipe names and what they are.
fn model(recipe: &FinetuneRecipe) -> Result<(Model, Option<LoraConfig>)> {
    let mut checkpoint = Checkpoint::open(&recipe.checkpoint, None)?;
    let context = checkpoint.shape.context_tokens;
    ensure!(
        recipe.context_tokens <= context,
        "context_tokens is {}, the checkpoint was made for {context}",
        recipe.context_tokens
    );
    checkpoint.shape.context_tokens = recipe.context_tokens;
    let mut model = checkpoint.model(&recipe.checkpoint)?;
    let adapter = recipe.adapter.as_deref().map(Adapter::open).transpose()?;
    let shape = &model.shape;
    let (config, adaptations) = match (&recipe.lora, &adapter) {
        (Some(config), _) => {
            let own = config.adaptations(shape).map_err(anyhow::Error::msg);
            (config.clone(), own.context("lora")?)
        }
        (None, Some(adapter)) => (adapter.config().clone(), adapter.adaptations(shape)?),
        (None, None) => return Ok((model, None)),
    };
    let lora = Lora::new(&model.layout, adaptations, config.lora_dropout, recipe.seed);
    let mut lora = lora.map_err(|name| anyhow!("lora: {name} is no matrix of the model"))?;
    if let Some(adapter) = adapter {
        adapter.fill(shape, &mut lora)?;
    }
    model.lora = Some(lora);
    Ok((model, Some(config)))
}

fn data(recipe: &FinetuneRecipe) -> Result<TrainData> {
    let dialect = Dialect::named(&recipe.dialect)?;
    let rows = recipe.data.read(&dialect)?;
    let words = conversational(&recipe.checkpoint.join("tokenizer.json"))?;
    let encode = |rows: &[Transcript]| {
        dataset::encode_transcripts(rows, &dialect, &words, recipe.context_tokens)
    };
    let sequences = encode(&rows.train)?;
    if sequences.is_empty() {
        let path = recipe.data.trajectories.display();
        bail!("{path}: no row is short enough to learn from; raise context_tokens");
    }
    let source = MixtureSource { name: "trajectories".to_owned(), sequences, shares: [1.0, 1.0] };
    // The turns of a published dialect end in various tokens: every learned run is a turn.
    let held_out = encode(&rows.held_out)?;
    Ok(TrainData { sources: vec![source], held_out, turn_end: None })
}

fn train_config(
    recipe: &FinetuneRecipe,
    data: &TrainData,
    out: &Path,
    device: Device,
) -> TrainConfig {
    let all = data.sources.iter().flat_map(|source| &source.sequences);
    let tokens: usize = all.map(|sequence| sequence.ids.len()).sum();
    let tokens_budget = (tokens as f64 * recipe.epochs).ceil() as u64;
    // A step of more would see the data more often than it is asked to.
    let tokens_per_step = recipe.tokens_per_step.min(tokens_budget as usize);
    let steps = tokens_budget.div_ceil(tokens_per_step.max(1) as u64);
    if steps < STEPS_MIN {
        errln!(
            "note: {tokens_budget} tokens are {steps} steps of {tokens_per_step}, of which little is \
             learnt: lower tokens_per_step"
        );
    }
    TrainConfig {
        optimiser: OptimiserConfig {
            method: Method::AdamW,
            learning_rate: recipe.learning_rate,
            weight_decay: recipe.weight_decay,
            gradient_norm_max: recipe.gradient_norm_max,
            warmup_steps: recipe.warmup_steps,
        },
        seed: recipe.seed,
        tokens_budget,
        phases_change_at: 1.0,
        tokens_per_step,
        shards: recipe.shards,
        evaluate_every_tokens: tokens_budget.div_ceil(EVALUATIONS),
        checkpoint_every_steps: recipe.checkpoint_every_steps,
        rounded: None,
        device,
        recompute: recipe.recompute,
        checkpoint: Some(out.join("checkpoint")),
    }
}
