//! `retort-train run recipe.toml`: data -> train -> export -> measure, resumable by stage. What a
//! stage wrote is not made again while what the recipe says of it stays the same.

pub mod curriculum;
mod data;
mod measure;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use retort_transcript::{Dialect, Transcript};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use curriculum::{Drills, Rendered};
pub use data::DataConfig;
pub use measure::MeasureConfig;

use crate::collect::{self, CollectConfig, Collected};
use crate::cuda::Device;
use crate::durable::replace_file;
use crate::finetune::{self, FinetuneRecipe};
use crate::gguf::{self, Labels, Weights};
use crate::model::{Model, Shape, Start};
use crate::optimise::OptimiserConfig;
use crate::paper::{self, PaperRecipe};
use crate::teach::Drill;
use crate::tokenizer::{MESSAGE_END, Vocabulary};
use crate::train::{Console, TrainConfig, TrainData, train};
use crate::trajectory::file_sha256;
use crate::world::Style;

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
    /// Where it trains: cpu, an NVIDIA device as cuda:0, several as cuda:0-3, or auto: one that is
    /// there, for models of 20 million parameters or more.
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
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
    /// Share of them, 0..=1, after which there are fewer drills.
    #[serde(default = "half", skip_serializing_if = "is_half")]
    pub drills_until: f64,
    /// Peak of the learning rate, which warms up to it and falls to zero with the budget.
    #[serde(default = "learning_rate", skip_serializing_if = "is_usual_rate")]
    pub learning_rate: f32,
    /// How the student's weights are stored. With Q4_0 every step computes with weights rounded so.
    #[serde(default = "eight_bits", skip_serializing_if = "is_eight_bits")]
    pub weights: Weights,
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
    /// Student whose weights and vocabulary it starts from: a GGUF file, or the recipe (TOML) that
    /// makes it. In the file relative to the recipe's folder.
    pub start: Option<PathBuf>,
}

fn half() -> f64 {
    0.5
}

// What a recipe does not say is not written either, so that its key stays as it was.
fn is_half(share: &f64) -> bool {
    *share == half()
}

fn learning_rate() -> f32 {
    OptimiserConfig::default().learning_rate
}

fn is_usual_rate(rate: &f32) -> bool {
    *rate == learning_rate()
}

fn eight_bits() -> Weights {
    Weights::Q8_0
}

fn is_eight_bits(weights: &Weights) -> bool {
    *weights == eight_bits()
}

/// Recipes that start from one another, at most.
const STARTS_MAX: usize = 8;

impl Recipe {
    /// Reads a recipe, and those it starts from.
    ///
    /// # Errors
    /// When a file cannot be read, lacks a key or has an unknown one, or the starts have no end.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_start(path, STARTS_MAX)
    }

    fn read_start(path: &Path, starts_max: usize) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let refused = || format!("{} is no recipe", path.display());
        let mut recipe: Self = toml::from_str(&text).with_context(refused)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        recipe.start = recipe.start.map(|start| folder.join(start));
        if let Some(start) = recipe.start_recipe() {
            ensure!(starts_max > 0, "start: more than {STARTS_MAX} recipes start from one another");
            let first = Self::read_start(start, starts_max - 1)?;
            ensure!(
                first.name != recipe.name,
                "{}: start: {} makes a student of the same name, {:?}; name this one otherwise",
                path.display(),
                start.display(),
                recipe.name
            );
        }
        Ok(recipe)
    }

    /// The recipe it starts from, where `start` is not a student itself.
    fn start_recipe(&self) -> Option<&Path> {
        self.start.as_deref().filter(|start| start.extension().is_some_and(|name| name == "toml"))
    }

    /// SHA-256, lower-case hexadecimal, of everything that makes the student: not of comments, nor
    /// of how the student is measured.
    ///
    /// # Errors
    /// When the file of `data` or of `start` cannot be read.
    pub fn key(&self) -> Result<String> {
        let made_by = Self { measure: None, start: None, ..self.clone() };
        let mut text = toml::to_string(&made_by)?;
        if let Some(data) = &self.data {
            text += &data.sha256()?;
        }
        if let Some(start) = &self.start {
            text += &match self.start_recipe() {
                Some(recipe) => Self::read(recipe)?.key()?,
                None => file_sha256(start)?,
            };
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
    let text = fs::read_to_string(&args.recipe)
        .with_context(|| format!("{} cannot be read", args.recipe.display()))?;
    let refused = || format!("{} is no recipe", args.recipe.display());
    let table: toml::Table = toml::from_str(&text).with_context(refused)?;
    let kind = table.get("kind").map(|kind| kind.as_str().unwrap_or_default());
    if kind != Some("paper") && args.scale.is_some() {
        bail!("{} makes no table: --scale is for recipes of kind paper", args.recipe.display());
    }
    match kind {
        Some("paper") => {
            let recipe = PaperRecipe::parse(&text, args.scale.as_deref()).with_context(refused)?;
            return paper::run(&recipe, &args.out, args.device);
        }
        Some("finetune") => {
            let recipe = FinetuneRecipe::parse(&text).with_context(refused)?;
            return finetune::run(&recipe, &args.out, args.device);
        }
        Some(_) => {
            bail!("{}: kind, expected \"paper\", \"finetune\" or nothing", args.recipe.display())
        }
        None => {}
    }
    let path = make(&Recipe::read(&args.recipe)?, &args.out, args.device)?;
    println!("{}", path.display());
    Ok(())
}

/// Makes the student of a recipe below `out`, and first the one it starts from; gives its file.
fn make(recipe: &Recipe, out: &Path, device: Device) -> Result<PathBuf> {
    let path = out.join(format!("{}.gguf", recipe.name));
    if measure::is_made(recipe, &path)? {
        return Ok(path);
    }
    let start = recipe.start.as_deref().map(|path| start(recipe, path, out, device)).transpose()?;
    let dir = out.join(recipe.key()?.get(..16).unwrap_or("stages"));
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let dialect = Dialect::named(&recipe.dialect)?;
    let mut collected = collected(recipe, &dialect, &dir)?;
    if let Some(data) = &recipe.data {
        data.add_to(&mut collected, &dialect)?;
    }
    let rendered: Vec<Rendered> =
        collected.train.iter().map(|transcript| dialect.render_training(transcript)).collect();
    let drills = drills(recipe, &dialect)?;
    let (model, vocabulary) = match start {
        Some(start) => start,
        None => {
            let texts = rendered.iter();
            let vocabulary = curriculum::vocabulary(texts, &drills, recipe.vocabulary_max)?;
            (initial(recipe, vocabulary.len())?, vocabulary)
        }
    };
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

    let config = TrainConfig { device, ..train_config(recipe, &dir) };
    let mut console = Console::new(Some(&dir.join("metrics.jsonl")))?;
    let model = train(&config, model, &data, &mut console)?;
    let labels = Labels::of(recipe.name.clone(), Some(recipe.license.clone()), Some(&dialect));
    gguf::export(&path, &model, &vocabulary, &labels, recipe.weights)?;
    measure::measure(recipe, &dialect, &path)?;
    Ok(path)
}

/// The model and the vocabulary that `recipe` starts from.
fn start(recipe: &Recipe, path: &Path, out: &Path, device: Device) -> Result<(Model, Vocabulary)> {
    let gguf = match recipe.start_recipe() {
        Some(first) => make(&Recipe::read(first)?, out, device)?,
        None => path.to_owned(),
    };
    let named = || format!("start: {}", gguf.display());
    let (model, vocabulary) = gguf::read(&gguf).with_context(named)?;
    let sizes = [
        ("width", recipe.width, model.shape.width),
        ("layers", recipe.layers, model.shape.layers),
        ("feed_forward", recipe.feed_forward, model.shape.feed_forward),
    ];
    if let Some((key, said, found)) = sizes.into_iter().find(|(_, said, found)| said != found) {
        bail!("{}: {key} is {found}, the recipe says {said}", named());
    }
    let (found, max) = (vocabulary.len(), recipe.vocabulary_max);
    ensure!(found <= max, "{}: {found} tokens, the recipe's vocabulary_max is {max}", named());
    Ok((model, vocabulary))
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
    // Plain worlds have one short passage a page, and nothing there names another page.
    let searched = config.style != Style::Plain;
    Drills::draw(worlds, &skills, per_world, recipe.seed, dialect, searched)
}

/// The model before training, for `tokens` tokens.
fn initial(recipe: &Recipe, tokens: usize) -> Result<Model> {
    let small = Shape::small(tokens);
    let heads = recipe.width / small.head_width;
    let shape = Shape {
        width: recipe.width,
        layers: recipe.layers,
        heads,
        kv_heads: heads,
        feed_forward: recipe.feed_forward,
        ..small
    };
    Ok(Model::initialised(shape, Start::Structured, recipe.seed)?)
}

fn train_config(recipe: &Recipe, dir: &Path) -> TrainConfig {
    let small = TrainConfig::small(recipe.tokens_budget, recipe.seed);
    TrainConfig {
        phases_change_at: recipe.drills_until,
        optimiser: OptimiserConfig { learning_rate: recipe.learning_rate, ..small.optimiser },
        checkpoint: Some(dir.join("checkpoint")),
        rounded: (recipe.weights == Weights::Q4_0).then_some(recipe.weights),
        evaluate_every_tokens: (recipe.tokens_budget / EVALUATIONS)
            .max(small.evaluate_every_tokens),
        ..small
    }
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
        let student = Recipe { measure: None, ..recipe("small.toml") };
        let written = toml::to_string(&student).unwrap();
        for key in ["style", "domains", "slips"] {
            assert!(!written.contains(key), "{written}");
        }
        let slipping = CollectConfig { slips: 0.1, ..student.collect.clone() };
        let slipping = Recipe { collect: slipping, ..student.clone() };
        assert_ne!(slipping.key().unwrap(), student.key().unwrap());
    }

    /// A recipe in `folder` that starts from `start`.
    fn starting(folder: &Path, name: &str, start: &str) -> PathBuf {
        let path = folder.join(format!("{name}.toml"));
        let text =
            include_str!("../../recipes/smoke.toml").replace("\"smoke\"", &format!("{name:?}"));
        fs::write(&path, format!("start = {start:?}\n{text}")).unwrap();
        path
    }

    #[test]
    fn a_recipe_starts_from_a_student_or_from_its_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("zeroth.gguf"), "weights").unwrap();
        let path = starting(folder, "first", "zeroth.gguf");
        let first = Recipe::read(&path).unwrap();
        let key = first.key().unwrap();
        fs::write(folder.join("zeroth.gguf"), "others").unwrap();
        assert_ne!(first.key().unwrap(), key);

        let second = Recipe::read(&starting(folder, "second", "first.toml")).unwrap();
        let key = second.key().unwrap();
        fs::write(folder.join("zeroth.gguf"), "weights").unwrap();
        assert_ne!(second.key().unwrap(), key);

        let refused = |name: &str, start: &str| {
            let told = Recipe::read(&starting(folder, name, start)).unwrap_err();
            format!("{told:#}")
        };
        assert!(refused("third", "nowhere.toml").contains("nowhere.toml cannot be read"));
        starting(folder, "round", "about.toml");
        let told = refused("about", "round.toml");
        assert!(told.contains("more than 8 recipes start from one another"), "{told}");
        fs::copy(folder.join("first.toml"), folder.join("same.toml")).unwrap();
        assert!(refused("first", "same.toml").contains("a student of the same name"));
    }

    #[test]
    fn a_start_of_other_sizes_is_refused_by_the_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = starting(folder.path(), "first", "start.gguf");
        let recipe = Recipe::read(&path).unwrap();
        let gguf = recipe.start.clone().unwrap();
        let vocabulary = crate::tokenizer::train_tokenizer(["text"], &[], 310).unwrap();
        let shape = Shape { layers: 2, ..Shape::small(vocabulary.len()) };
        let model = Model::zeroed(shape).unwrap();
        gguf::export(&gguf, &model, &vocabulary, &Labels::default(), Weights::F32).unwrap();
        let told = |recipe: &Recipe| {
            let error = start(recipe, &gguf, folder.path(), Device::Cpu).err().unwrap();
            format!("{error:#}")
        };
        assert!(told(&recipe).contains("start.gguf: layers is 2, the recipe says 4"));
        let tight = Recipe { layers: 2, vocabulary_max: 100, ..recipe };
        let expected = format!("{} tokens, the recipe's vocabulary_max is 100", vocabulary.len());
        assert!(told(&tight).contains(&expected), "{}", told(&tight));
    }

    #[test]
    fn a_student_that_its_manifest_says_is_made_is_not_made_again() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let (small, gguf) = (recipe("small.toml"), models.join("small.gguf"));
        assert!(measure::is_made(&small, &gguf).unwrap());
        assert!(!measure::is_made(&small, &models.join("student.gguf")).unwrap());
        let other = Recipe { seed: 2, ..small };
        assert!(!measure::is_made(&other, &gguf).unwrap());
        assert!(!measure::is_made(&other, Path::new("nothing.gguf")).unwrap());
    }

    #[test]
    fn a_recipe_names_style_and_domains() {
        let CollectConfig { style, domains, .. } = recipe("student.toml").collect;
        assert_eq!(style, Style::Full);
        assert_eq!(domains, [Domain::Gazetteer, Domain::Plant]);
    }
}
