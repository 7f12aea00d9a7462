//! A student of generated worlds, by its recipe: data -> train -> export -> measure, resumable by
//! stage. What a stage wrote is not made again while what the recipe says of it stays the same.

mod config;
pub mod curriculum;
mod measure;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use retort_transcript::{Dialect, Transcript};
use serde_json::{Map, json};

pub use config::Recipe;
pub use curriculum::{Drills, Rendered, Runs};
pub use measure::MeasureConfig;
use measure::Stage;

use crate::classroom::{self, COLLECTED_VERSION, ClassroomConfig, Collected, Tallies};
use crate::cuda::Device;
use crate::dataset;
use crate::durable::hold;
use crate::gguf::{self, Labels, Tensors, Weights};
use crate::hash::file_sha256;
use crate::model::{Model, Start};
use crate::optimise::OptimiserConfig;
use crate::teach::{Drill, check_dialect};
use crate::tokenizer::{MESSAGE_END, Vocabulary};
use crate::train::{Console, TrainConfig, TrainData, train};
use crate::trajectory::{Journal, Manifest, Mode, manifest_path, refuse_same, versioned};
use crate::world::Style;

/// Held-out trajectories that are judged during training, and how often in a whole run: more would
/// cost as much as the training.
const HELD_OUT_MAX: usize = 250;
const EVALUATIONS: u64 = 40;

/// Makes the student of a recipe below `out`, and first the one it starts from; gives its file.
///
/// # Errors
/// A recipe that is refused, or a stage that failed.
pub fn make(recipe: &Recipe, out: &Path, device: Device) -> Result<PathBuf> {
    let path = out.join(format!("{}.gguf", recipe.name));
    let dialect = dialect(recipe)?;
    refuse_overwriting(recipe, &path)?;
    match measure::stage(recipe, &path)? {
        Stage::Measured => return Ok(path),
        Stage::Exported => return measure::measure(recipe, &dialect, &path).map(|()| path),
        Stage::Missing => {}
    }
    device.check()?;
    measure::check(recipe)?;
    let start = recipe.start.as_deref().map(|path| start(recipe, path, out, device)).transpose()?;
    let key = recipe.key()?;
    let dir = out.join(format!("{}-{}", recipe.name, key.get(..16).unwrap_or_default()));
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let _held = hold(&dir)?;
    let own = Own::read(recipe, &dialect)?;
    let taught = start.as_ref().map(|(_, vocabulary)| vocabulary);
    let teacher = teacher(recipe, taught)?;
    let known = taught.or(teacher.as_ref().map(|(_, vocabulary)| vocabulary));
    if let (Some(own), Some(vocabulary)) = (&own, known) {
        own.check(recipe, vocabulary)?;
    }
    let lessons = Lessons::new(recipe, own, &dialect, &dir)?;
    let (model, vocabulary) = match (start, &teacher) {
        (Some(start), _) => start,
        (None, Some((_, vocabulary))) => (initial(recipe, vocabulary.len())?, vocabulary.clone()),
        (None, None) => {
            let texts = lessons.own.iter().chain(&lessons.worlds);
            let vocabulary = curriculum::vocabulary(texts, &lessons.drills, recipe.vocabulary_max)?;
            (initial(recipe, vocabulary.len())?, vocabulary)
        }
    };
    let config = TrainConfig { device, ..train_config(recipe, &dir) };
    let mut console = Console::new(Some(&dir.join("metrics.jsonl")))?;
    let mut data = lessons.data(recipe, &vocabulary)?;
    if let (Some(logits), Some((teacher, _))) = (&recipe.logits, teacher) {
        logits.soften(&teacher, vocabulary.len(), &mut data.sources)?;
    }
    let model = train(&config, model, &data, &mut console)?;
    let labels = Labels::of(recipe.name.clone(), Some(recipe.license.clone()), Some(&dialect));
    measure::export(recipe, &dialect, &path, &|file, weights| {
        Ok(gguf::export(file, &model, &vocabulary, &labels, weights)?)
    })?;
    Ok(path)
}

/// Refuses what cannot become a student, before anything is spent on its data.
///
/// # Errors
/// A device, a start, a teacher of logits or a world to measure on that cannot be used.
pub fn check(recipe: &Recipe, out: &Path, device: Device) -> Result<()> {
    let path = out.join(format!("{}.gguf", recipe.name));
    dialect(recipe)?;
    refuse_overwriting(recipe, &path)?;
    measure::stage(recipe, &path)?;
    device.check()?;
    measure::check(recipe)?;
    match (recipe.start_recipe(), recipe.start.as_deref()) {
        (Some(first), _) => check(&Recipe::read(first)?, out, device),
        (None, Some(path)) => {
            let (_, vocabulary) = start(recipe, path, out, device)?;
            teacher(recipe, Some(&vocabulary)).map(drop)
        }
        (None, None) => teacher(recipe, None).map(drop),
    }
}

/// The words of a recipe's student. Of generated worlds it learns what the programmatic teacher does,
/// which must be able to read them.
fn dialect(recipe: &Recipe) -> Result<Dialect> {
    let dialect = Dialect::named(&recipe.dialect)?;
    if recipe.data_share < 1.0 {
        check_dialect(&dialect)?;
    }
    Ok(dialect)
}

/// Refuses a student that would take the place of what it is made from.
fn refuse_overwriting(recipe: &Recipe, path: &Path) -> Result<()> {
    let data = recipe.data.as_ref().map(|data| &data.trajectories);
    let logits = recipe.logits.as_ref().map(|logits| &logits.teacher);
    for input in recipe.start.iter().chain(data).chain(logits) {
        for kind in ["gguf", "toml", "eval.jsonl", "questions.jsonl"] {
            refuse_same(input, &path.with_extension(kind))?;
        }
    }
    let Ok(file) = Tensors::open(path) else { return Ok(()) };
    ensure!(
        path.with_extension("toml").exists() || file.name() == Some(&recipe.name),
        "{}: a model that this recipe did not make; name another --out, or give the recipe another name",
        path.display()
    );
    Ok(())
}

fn rendered(dialect: &Dialect, transcripts: &[Transcript]) -> Vec<Rendered> {
    transcripts.iter().map(|transcript| dialect.render_training(transcript)).collect()
}

/// Runs of the recipe's `data`, as its dialect writes them.
#[derive(Default)]
struct Own {
    train: Vec<Rendered>,
    held_out: Vec<Rendered>,
}

impl Own {
    fn read(recipe: &Recipe, dialect: &Dialect) -> Result<Option<Self>> {
        let Some(data) = &recipe.data else { return Ok(None) };
        let split = data.read(dialect)?;
        let path = data.trajectories.display();
        ensure!(
            split.mode == Mode::Agent,
            "data.trajectories: {path} holds chains of thought; a student that acts learns from \
             rows that `retort-train collect` made without --mode cot"
        );
        let [train, held_out] = [split.train, split.held_out].map(|own| rendered(dialect, &own));
        Ok(Some(Self { train, held_out }))
    }

    /// Refuses runs that are all too long, before hours are spent beside them.
    fn check(&self, recipe: &Recipe, vocabulary: &Vocabulary) -> Result<()> {
        let fitting = dataset::encode(&self.train, &vocabulary.words()?, recipe.context_tokens)?;
        ensure!(
            !fitting.is_empty(),
            "data.trajectories: no row is short enough to learn from; raise context_tokens"
        );
        Ok(())
    }
}

/// What a student reads, as its dialect writes it.
struct Lessons {
    /// Runs of generated worlds.
    worlds: Vec<Rendered>,
    /// Runs of the recipe's `data`.
    own: Vec<Rendered>,
    /// Runs of both that are not learnt from.
    held_out: Vec<Rendered>,
    drills: Drills,
}

impl Lessons {
    fn new(recipe: &Recipe, own: Option<Own>, dialect: &Dialect, dir: &Path) -> Result<Self> {
        let worlds = collected(recipe, dialect, dir)?;
        let own = own.unwrap_or_default();
        let of_all = |part: fn(&Collected) -> &[Transcript]| -> Vec<Rendered> {
            worlds.iter().flat_map(|collected| rendered(dialect, part(collected))).collect()
        };
        Ok(Self {
            held_out: [own.held_out, of_all(|one| &one.held_out)].concat(),
            worlds: of_all(|one| &one.train),
            own: own.train,
            drills: drills(recipe, dialect)?,
        })
    }

    /// The same in tokens, with its shares.
    fn data(&self, recipe: &Recipe, vocabulary: &Vocabulary) -> Result<TrainData> {
        let (words, context_tokens) = (vocabulary.words()?, recipe.context_tokens);
        let every = self.held_out.len().div_ceil(HELD_OUT_MAX).max(1);
        let judged: Vec<Rendered> = self.held_out.iter().step_by(every).cloned().collect();
        let share = if recipe.data.is_some() { recipe.data_share as f32 } else { 0.0 };
        let mut runs = vec![Runs { name: "worlds", rendered: &self.worlds, share: 1.0 - share }];
        if share > 0.0 {
            runs.push(Runs { name: "data.trajectories", rendered: &self.own, share });
        }
        Ok(TrainData {
            sources: curriculum::sources(&words, context_tokens, &runs, &self.drills)?,
            held_out: dataset::encode(&judged, &words, context_tokens)?,
            turn_end: vocabulary.id(MESSAGE_END),
        })
    }
}

/// The model and the vocabulary that `recipe` starts from. The model may be smaller: it grows to
/// the recipe's layers and feed-forward width.
fn start(recipe: &Recipe, path: &Path, out: &Path, device: Device) -> Result<(Model, Vocabulary)> {
    let gguf = match recipe.start_recipe() {
        Some(first) => make(&Recipe::read(first)?, out, device)?,
        None => path.to_owned(),
    };
    let named = || format!("start: {}", gguf.display());
    let (model, vocabulary) = gguf::read(&gguf).with_context(named)?;
    let (said, found) = (recipe.width, model.shape.width);
    ensure!(said == found, "{}: width is {found}, the recipe says {said}", named());
    let model = model.grown(recipe.layers, recipe.feed_forward, recipe.seed).with_context(named)?;
    let model = model.with_context(recipe.context_tokens);
    let (found, max) = (vocabulary.len(), recipe.vocabulary_max);
    ensure!(found <= max, "{}: {found} tokens, the recipe's vocabulary_max is {max}", named());
    Ok((model, vocabulary))
}

/// The student whose logits are learned, and its vocabulary, which is that of the `start`.
fn teacher(recipe: &Recipe, start: Option<&Vocabulary>) -> Result<Option<(Model, Vocabulary)>> {
    let Some(logits) = &recipe.logits else { return Ok(None) };
    let named = || format!("logits.teacher: {}", logits.teacher.display());
    let (model, vocabulary) = gguf::read(&logits.teacher).with_context(named)?;
    let is_starts = start.is_none_or(|start| *start == vocabulary);
    ensure!(is_starts, "{}: it has another vocabulary than start", named());
    let (found, max) = (vocabulary.len(), recipe.vocabulary_max);
    ensure!(found <= max, "{}: {found} tokens, the recipe's vocabulary_max is {max}", named());
    Ok(Some((model.with_context(recipe.context_tokens), vocabulary)))
}

/// The trajectories of every world: those of an earlier run of the same recipe, and new ones.
fn collected(recipe: &Recipe, dialect: &Dialect, dir: &Path) -> Result<Vec<Collected>> {
    let rows = dir.join("worlds.jsonl");
    let made_by = Map::from_iter([("collect".to_owned(), json!(recipe.collect.made_by()))]);
    let mut manifest = Manifest::new("run", made_by);
    if let Some(earlier) = manifest.earlier(&manifest_path(&rows))? {
        earlier.check_rows(&rows)?;
    }
    let (journal, known) = Journal::open(&rows, |text| {
        versioned(text, "version", COLLECTED_VERSION, "the trajectories of a world")
    })?;
    manifest.write(&manifest_path(&rows))?;
    let style = ProgressStyle::with_template("collecting {bar:30} {pos}/{len} worlds {eta}")?;
    let bar = ProgressBar::new(recipe.collect.worlds as u64).with_style(style);
    bar.set_position(known.len() as u64);
    let journal = Mutex::new(journal);
    let worlds = classroom::collect(&recipe.collect, dialect, known, &|collected| {
        bar.inc(1);
        journal.lock().unwrap_or_else(PoisonError::into_inner).append(collected)
    })?;
    bar.finish_and_clear();
    let mut tallies = Tallies::default();
    worlds.iter().for_each(|collected| tallies.merge(&collected.tallies));
    let count = |part: fn(&Collected) -> usize| worlds.iter().map(part).sum::<usize>();
    let (train, held_out) = (count(|one| one.train.len()), count(|one| one.held_out.len()));
    let dropped = tallies.all().tasks.saturating_sub(train + held_out);
    errln!("{train} trajectories for training, {held_out} held out, {dropped} dropped");
    err!("{tallies}");
    manifest.counts = Map::from_iter([
        ("train".to_owned(), json!(train)),
        ("held_out".to_owned(), json!(held_out)),
        ("dropped".to_owned(), json!(dropped)),
    ]);
    (manifest.complete, manifest.sha256) = (true, Some(file_sha256(&rows)?));
    manifest.write(&manifest_path(&rows))?;
    Ok(worlds)
}

fn drills(recipe: &Recipe, dialect: &Dialect) -> Result<Drills> {
    let per_world = recipe.drills.div_ceil(recipe.collect.worlds.max(1));
    // Other questions than those of the trajectories, and no name of the test split.
    let config = ClassroomConfig { tasks: per_world, held_out_tasks: 0, ..recipe.collect.clone() };
    let worlds = (0..config.worlds).map(|index| classroom::world(&config, index));
    let skills = [Drill::Copy, Drill::Recall, Drill::Lookup, Drill::Brief];
    // Plain worlds have one short passage a page, and nothing there names another page.
    let searched = config.style != Style::Plain;
    Drills::draw(worlds, &skills, per_world, recipe.seed, dialect, searched)
}

/// The model before training, for `tokens` tokens.
fn initial(recipe: &Recipe, tokens: usize) -> Result<Model> {
    Ok(Model::initialised(recipe.shape(tokens), Start::Structured, recipe.seed)?)
}

fn train_config(recipe: &Recipe, dir: &Path) -> TrainConfig {
    let small = TrainConfig::small(recipe.tokens_budget, recipe.seed);
    TrainConfig {
        phases_change_at: recipe.drills_until,
        shards: recipe.shards,
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
    use super::config::testing::{recipe, starting};
    use super::*;
    use crate::model::Shape;

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
        let fewer = Recipe { layers: 1, ..recipe.clone() };
        assert!(told(&fewer).contains("start.gguf: model shape: layers is 1, expected at least 2"));
        let wider = Recipe { width: 160, ..recipe.clone() };
        assert!(told(&wider).contains("start.gguf: width is 128, the recipe says 160"));
        let (grown, _) = start(&recipe, &gguf, folder.path(), Device::Cpu).unwrap();
        assert_eq!(grown.shape.layers, 4);
        let tight = Recipe { vocabulary_max: 100, ..recipe };
        let expected = format!("{} tokens, the recipe's vocabulary_max is 100", vocabulary.len());
        assert!(told(&tight).contains(&expected), "{}", told(&tight));
    }

    #[test]
    fn a_student_takes_no_place_of_what_it_is_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let recipe = Recipe::read(&starting(folder, "own", "own.gguf")).unwrap();
        fs::write(folder.join("own.gguf"), "weights").unwrap();
        let told =
            |recipe: &Recipe| format!("{:#}", make(recipe, folder, Device::Cpu).unwrap_err());
        assert!(told(&recipe).contains("own.gguf: it is read, and would be replaced"));
        // The recipe itself stands where the manifest would.
        let recipe = Recipe { start: None, ..recipe };
        let text = fs::read_to_string(folder.join("own.toml")).unwrap();
        assert!(told(&recipe).contains("own.toml is no manifest of a student; name another --out"));
        assert_eq!(fs::read_to_string(folder.join("own.toml")).unwrap(), text);
        // A model of the same name that somebody else made.
        fs::copy("../models/small.gguf", folder.join("other.gguf")).unwrap();
        let other = Recipe { name: "other".to_owned(), ..recipe.clone() };
        assert!(told(&other).contains("other.gguf: a model that this recipe did not make"));
        let unread = Recipe { dialect: "smolagents".to_owned(), ..other };
        assert!(told(&unread).contains("dialect smolagents: the programmatic teacher"));
    }

    #[test]
    fn the_recipe_for_ones_own_documents_goes_on_from_the_bundled_student() {
        let recipe = recipe("own-documents.toml");
        let gguf = recipe.start.clone().unwrap();
        let (bundled, _) = gguf::read(&gguf).unwrap();
        let (begun, _) = start(&recipe, &gguf, Path::new("."), Device::Cpu).unwrap();
        let context_tokens = recipe.context_tokens;
        assert_eq!(begun.shape, Shape { context_tokens, ..bundled.shape });
    }

    #[test]
    fn a_student_that_its_manifest_says_is_made_is_not_made_again() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let (small, gguf) = (recipe("small.toml"), models.join("small.gguf"));
        let stage = |recipe: &Recipe, gguf: &Path| measure::stage(recipe, gguf).unwrap();
        let elsewhere =
            small.measure.clone().map(|own| MeasureConfig { seed: own.seed + 1, ..own });
        let asked_elsewhere = Recipe { measure: elsewhere, ..small.clone() };
        assert_eq!(stage(&asked_elsewhere, &gguf), Stage::Exported);
        assert_eq!(stage(&small, &gguf), Stage::Measured);
        assert_eq!(stage(&small, &models.join("student.gguf")), Stage::Missing);
        let other = Recipe { seed: 2, ..small.clone() };
        assert_eq!(stage(&other, &gguf), Stage::Missing);
        assert_eq!(stage(&other, Path::new("nothing.gguf")), Stage::Missing);
        // Trained before the recipe said on what it is measured.
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("small.gguf");
        fs::copy(&gguf, &copy).unwrap();
        let told = fs::read_to_string(models.join("small.toml")).unwrap();
        let before: String = told
            .lines()
            .filter(|line| !line.starts_with("measure_"))
            .fold(String::new(), |text, line| text + line + "\n");
        fs::write(copy.with_extension("toml"), before).unwrap();
        assert_eq!(stage(&small, &copy), Stage::Exported);
        assert_eq!(stage(&Recipe { measure: None, ..small }, &copy), Stage::Measured);
    }
}
