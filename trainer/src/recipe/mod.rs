//! `retort-train run recipe.toml`: data -> train -> export -> measure, resumable by stage. What a
//! stage wrote is not made again while what the recipe says of it stays the same.

pub mod curriculum;
mod data;
mod measure;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use retort_transcript::{Dialect, TRANSCRIPT_ROW_VERSION, Transcript};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use curriculum::{Drills, Rendered};
pub use data::DataConfig;
pub use measure::MeasureConfig;

use crate::collect::{self, CollectConfig, Collected};
use crate::durable::replace_file;
use crate::gguf::{self, Labels, Weights};
use crate::model::{Model, Shape};
use crate::paper::{self, PaperRecipe};
use crate::teach::Drill;
use crate::tokenizer::{MESSAGE_END, Vocabulary};
use crate::train::{Console, TrainConfig, TrainData, train};

/// Run a recipe: collect trajectories, train, export, measure.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe.
    recipe: PathBuf,
    /// Folder of everything it makes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Make the smaller table of this name, of a recipe of kind paper.
    #[arg(long, value_name = "NAME")]
    scale: Option<String>,
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

/// Held-out trajectories that are judged during training, and how often in a whole run: more would
/// cost as much as the training.
const HELD_OUT_MAX: usize = 250;
const EVALUATIONS: u64 = 40;

/// Runs the command.
///
/// # Errors
/// A recipe that is refused, or a stage that failed.
pub fn run(args: &RecipeArgs) -> Result<()> {
    if let Some(recipe) = paper(args)? {
        return paper::run(&recipe, &args.out);
    }
    let recipe = Recipe::read(&args.recipe)?;
    let dir = args.out.join(recipe.key()?.get(..16).unwrap_or("stages"));
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let dialect = Dialect::named(&recipe.dialect)?;
    let mut collected = collected(&recipe, &dialect, &dir)?;
    if let Some(data) = &recipe.data {
        data.add_to(&mut collected, &dialect)?;
    }
    let rendered: Vec<Rendered> =
        collected.train.iter().map(|transcript| dialect.render_training(transcript)).collect();
    let drills = drills(&recipe, &dialect)?;
    let vocabulary = curriculum::vocabulary(rendered.iter(), &drills, recipe.vocabulary_max)?;
    let encoder = vocabulary.encoder()?;
    let every = collected.held_out.len().div_ceil(HELD_OUT_MAX).max(1);
    let judged = collected.held_out.iter().step_by(every);
    let held_out: Vec<Rendered> =
        judged.map(|transcript| dialect.render_training(transcript)).collect();
    let data = TrainData {
        sources: curriculum::sources(&encoder, &rendered, &drills)?,
        held_out: curriculum::encode(&encoder, &held_out)?,
        turn_end: vocabulary.id(MESSAGE_END),
    };

    let config = train_config(&recipe, &vocabulary, &dir);
    let mut console = Console::new(Some(&dir.join("metrics.jsonl")))?;
    let model = train(&config, &data, &mut console)?;
    let path = export(&recipe, &dialect, &model, &vocabulary, &args.out)?;
    measure::measure(&recipe, &dialect, &path)?;
    println!("{}", path.display());
    Ok(())
}

/// The recipe if it says `kind = "paper"`; those of students say nothing.
fn paper(args: &RecipeArgs) -> Result<Option<PaperRecipe>> {
    let refused = || format!("{} is no recipe", args.recipe.display());
    let text = fs::read_to_string(&args.recipe)
        .with_context(|| format!("{} cannot be read", args.recipe.display()))?;
    let table: toml::Table = toml::from_str(&text).with_context(refused)?;
    match table.get("kind").map(|kind| kind.as_str()) {
        Some(Some("paper")) => {
            Ok(Some(PaperRecipe::parse(&text, args.scale.as_deref()).with_context(refused)?))
        }
        Some(_) => bail!("{}: kind, expected \"paper\" or nothing", args.recipe.display()),
        None if args.scale.is_some() => {
            bail!("{} is the recipe of a student: --scale is for tables", args.recipe.display())
        }
        None => Ok(None),
    }
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

fn drills(recipe: &Recipe, dialect: &Dialect) -> Result<Drills> {
    let per_world = recipe.drills.div_ceil(recipe.collect.worlds.max(1));
    // Other questions than those of the trajectories, and no name of the test split.
    let config = CollectConfig { tasks: per_world, held_out_tasks: 0, ..recipe.collect.clone() };
    let worlds = (0..config.worlds).map(|index| collect::world(&config, index));
    let skills = [Drill::Copy, Drill::Recall, Drill::Lookup, Drill::Brief];
    Drills::draw(worlds, &skills, per_world, recipe.seed, dialect)
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
