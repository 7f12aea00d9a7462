//! `retort-train run recipe.toml`: data -> train -> export -> measure, resumable by stage. What a
//! stage wrote is not made again while what the recipe says of it stays the same.

mod data;
mod measure;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retort_transcript::{Dialect, Segment, Source, TRANSCRIPT_ROW_VERSION, Transcript};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use data::DataConfig;
pub use measure::MeasureConfig;

use crate::collect::{self, CollectConfig, Collected};
use crate::dataset::{Sequence, encode_segments};
use crate::durable::replace_file;
use crate::gguf::{self, Labels, Weights};
use crate::model::{Model, Shape};
use crate::teach::{Drill, DrillSource};
use crate::tokenizer::{Encoder, MESSAGE_END, Vocabulary, train_tokenizer};
use crate::train::{Console, MixtureSource, TrainConfig, TrainData, train};
use crate::world;

/// Run a recipe: collect trajectories, train, export, measure.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe.
    recipe: PathBuf,
    /// Folder of everything it makes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A recipe as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the student.
    pub name: String,
    /// SPDX expression of the student's licence.
    pub license: String,
    /// Dialect it is taught in.
    pub dialect: String,
    /// Tokens of the vocabulary at most.
    pub vocabulary_max: usize,
    /// Width of the model; heads are 32 wide.
    pub width: usize,
    /// Layers of the model.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub feed_forward: usize,
    /// Tokens to train on.
    pub tokens_budget: u64,
    /// Seed of initial values and order.
    pub seed: u64,
    /// Exercises of each skill.
    pub drills: usize,
    /// Where the trajectories come from.
    pub collect: CollectConfig,
    /// What the student is measured on.
    pub measure: Option<MeasureConfig>,
    /// Trajectories from a file, beside those of the worlds.
    pub data: Option<DataConfig>,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When the file cannot be read, lacks a key or has an unknown one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no recipe", path.display()))
    }

    /// SHA-256, lower-case hexadecimal, of everything that makes the student: not of comments, nor
    /// of how the student is measured.
    ///
    /// # Errors
    /// When the file of `data` cannot be read.
    pub fn key(&self) -> Result<String> {
        let made_by = Self { measure: None, ..self.clone() };
        let mut text = toml::to_string(&made_by)?;
        if let Some(data) = &self.data {
            text += &data.sha256()?;
        }
        Ok(hex(&Sha256::digest(text)))
    }
}

/// Shares of trajectories and of each drill in the first and the second half of the budget.
const TRACE_SHARES: [f32; 2] = [0.35, 0.65];
const DRILLS: [(Drill, &str, [f32; 2]); 4] = [
    (Drill::Copy, "copy", [0.05, 0.015]),
    (Drill::Recall, "recall", [0.05, 0.015]),
    (Drill::Lookup, "lookup", [0.30, 0.17]),
    (Drill::Brief, "brief", [0.25, 0.15]),
];
/// Held-out trajectories that are judged during training, and how often in a whole run: more would
/// cost as much as the training.
const HELD_OUT_MAX: usize = 250;
const EVALUATIONS: u64 = 40;

/// Runs the command.
///
/// # Errors
/// A recipe that is refused, or a stage that failed.
pub fn run(args: &RecipeArgs) -> Result<()> {
    let recipe = Recipe::read(&args.recipe)?;
    let dir = args.out.join(recipe.key()?.get(..16).unwrap_or("stages"));
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let dialect = Dialect::named(&recipe.dialect)?;
    let mut collected = collected(&recipe, &dialect, &dir)?;
    if let Some(data) = &recipe.data {
        data.add_to(&mut collected, &dialect)?;
    }
    let rendered: Vec<Vec<Segment>> =
        collected.train.iter().map(|transcript| dialect.render_training(transcript)).collect();
    let drills = drills(&recipe, &dialect)?;
    let vocabulary = vocabulary(&recipe, &rendered, &drills)?;
    let encoder = vocabulary.encoder()?;
    let mut data = TrainData { turn_end: vocabulary.id(MESSAGE_END), ..TrainData::default() };
    data.sources.push(MixtureSource {
        name: "trajectories".to_owned(),
        sequences: encode(&encoder, &rendered)?,
        shares: TRACE_SHARES,
    });
    for (segments, (_, name, shares)) in drills.iter().zip(DRILLS) {
        let sequences = encode(&encoder, segments)?;
        data.sources.push(MixtureSource { name: name.to_owned(), sequences, shares });
    }
    let every = collected.held_out.len().div_ceil(HELD_OUT_MAX).max(1);
    let judged = collected.held_out.iter().step_by(every);
    let held_out: Vec<Vec<Segment>> =
        judged.map(|transcript| dialect.render_training(transcript)).collect();
    data.held_out = encode(&encoder, &held_out)?;

    let config = train_config(&recipe, &vocabulary, &dir);
    let mut console = Console::new(Some(&dir.join("metrics.jsonl")))?;
    let model = train(&config, &data, &mut console)?;
    let path = export(&recipe, &dialect, &model, &vocabulary, &args.out)?;
    measure::measure(&recipe, &dialect, &path)?;
    println!("{}", path.display());
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trajectories of an earlier run of the same recipe, or new ones.
fn collected(recipe: &Recipe, dialect: &Dialect, dir: &Path) -> Result<Collected> {
    let (train, held_out) = (dir.join("train.json"), dir.join("held_out.json"));
    if let (Ok(train), Ok(held_out)) = (fs::read(&train), fs::read(&held_out)) {
        let train = serde_json::from_slice(&train)?;
        let held_out = serde_json::from_slice(&held_out)?;
        return Ok(Collected { train, held_out, ..Collected::default() });
    }
    let style = ProgressStyle::with_template("collecting {bar:30} {pos}/{len} worlds {eta}")?;
    let bar = ProgressBar::new(recipe.collect.worlds as u64).with_style(style);
    let collected = collect::collect(&recipe.collect, dialect, &|| bar.inc(1))?;
    bar.finish_and_clear();
    eprintln!(
        "{} trajectories for training, {} held out, {} dropped",
        collected.train.len(),
        collected.held_out.len(),
        collected.dropped
    );
    eprint!("{}", collected.tallies);
    write_json(&train, &collected.train)?;
    write_json(&held_out, &collected.held_out)?;
    Ok(collected)
}

fn write_json(path: &Path, transcripts: &[Transcript]) -> Result<()> {
    replace_file(path, |file| {
        serde_json::to_writer(file, transcripts).map_err(std::io::Error::from)
    })
    .with_context(|| format!("{} cannot be written", path.display()))
}

fn drills(recipe: &Recipe, dialect: &Dialect) -> Result<Vec<Vec<Vec<Segment>>>> {
    let mut random = ChaCha8Rng::seed_from_u64(recipe.seed);
    let mut all = vec![Vec::new(); DRILLS.len()];
    let per_world = recipe.drills.div_ceil(recipe.collect.worlds.max(1));
    // Other questions than those of the trajectories, and no name of the test split.
    let worlds = CollectConfig { tasks: per_world, held_out_tasks: 0, ..recipe.collect.clone() };
    for index in 0..worlds.worlds {
        let world = collect::world(&worlds, index)?;
        let source = DrillSource::new(&world, dialect);
        for (drills, (drill, _, _)) in all.iter_mut().zip(DRILLS) {
            drills.extend((0..per_world).map(|_| source.draw(drill, &mut random)));
        }
    }
    Ok(all)
}

fn vocabulary(
    recipe: &Recipe,
    rendered: &[Vec<Segment>],
    drills: &[Vec<Vec<Segment>>],
) -> Result<Vocabulary> {
    const TEXTS_MAX: usize = 4000;
    let sample = rendered.iter().take(TEXTS_MAX);
    let sample = sample.chain(drills.iter().flat_map(|drills| drills.iter().take(TEXTS_MAX / 4)));
    let content = sample.flatten().filter(|segment| segment.source == Source::Content);
    let texts: Vec<&str> = content.map(|segment| segment.text.as_str()).collect();
    Ok(train_tokenizer(texts, &world::syllables(), recipe.vocabulary_max)?)
}

/// The sequences that a student's context holds; how many it does not is said.
fn encode(encoder: &Encoder, rendered: &[Vec<Segment>]) -> Result<Vec<Sequence>> {
    let context = Shape::small(0).context_tokens;
    let encoded = rendered.iter().map(|segments| encode_segments(encoder, segments));
    let mut sequences = encoded.collect::<Result<Vec<_>, _>>()?;
    let all = sequences.len();
    sequences.retain(|sequence| sequence.ids.len() <= context);
    if sequences.len() < all {
        let longer = all - sequences.len();
        eprintln!("{longer} of {all} left out: longer than the context of {context} tokens");
    }
    Ok(sequences)
}

fn train_config(recipe: &Recipe, vocabulary: &Vocabulary, dir: &Path) -> TrainConfig {
    let small = TrainConfig::small(vocabulary.len(), recipe.tokens_budget, recipe.seed);
    let heads = recipe.width / small.shape.head_width;
    let shape = Shape {
        width: recipe.width,
        layers: recipe.layers,
        heads,
        kv_heads: heads,
        feed_forward: recipe.feed_forward,
        ..small.shape
    };
    TrainConfig {
        shape,
        checkpoint: Some(dir.join("checkpoint")),
        evaluate_every_tokens: (recipe.tokens_budget / EVALUATIONS)
            .max(small.evaluate_every_tokens),
        ..small
    }
}

fn export(
    recipe: &Recipe,
    dialect: &Dialect,
    model: &Model,
    vocabulary: &Vocabulary,
    out: &Path,
) -> Result<PathBuf> {
    let labels = Labels {
        name: recipe.name.clone(),
        license: Some(recipe.license.clone()),
        dialect: Some(dialect.name().to_owned()),
        dialect_hash: Some(dialect.hash()),
        transcript_version: Some(TRANSCRIPT_ROW_VERSION),
        chat_template: None,
    };
    let path = out.join(format!("{}.gguf", recipe.name));
    gguf::export(&path, model, vocabulary, &labels, Weights::Q8_0)?;
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::world::{Domain, Style};

    fn recipe(name: &str) -> Recipe {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        Recipe::read(&recipes.join(name)).unwrap()
    }

    #[test]
    fn what_a_recipe_leaves_out_is_no_part_of_its_key() {
        let student = Recipe { measure: None, ..recipe("student.toml") };
        let written = toml::to_string(&student).unwrap();
        for key in ["style", "domains", "slips"] {
            assert!(!written.contains(key), "{written}");
        }
        let slipping = CollectConfig { slips: 0.1, ..student.collect.clone() };
        let slipping = Recipe { collect: slipping, ..student.clone() };
        assert_ne!(slipping.key().unwrap(), student.key().unwrap());
    }

    #[test]
    fn a_recipe_names_style_and_domains() {
        let CollectConfig { style, domains, .. } = recipe("worlds.toml").collect;
        assert_eq!(style, Style::Full);
        assert_eq!(domains, [Domain::Gazetteer, Domain::Plant]);
    }
}
