//! A recipe as it is written, what in it decides the student, and what cannot be meant.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::MeasureConfig;
use crate::classroom::ClassroomConfig;
use crate::gguf::Weights;
use crate::hash::{file_sha256, sha256};
use crate::model::{Shape, Start};
use crate::optimise::OptimiserConfig;
use crate::train::LogitsConfig;
use crate::trajectory::DataConfig;
use crate::world::{COUNT_MAX, TaskKind};

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
    /// Tokens of the longest conversation that it reads; longer ones are not learnt from.
    #[serde(default = "context_tokens", skip_serializing_if = "is_usual_context")]
    pub context_tokens: usize,
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
    /// Parts a step is cut into, each on a thread of its own; part of the result.
    #[serde(default = "shards", skip_serializing_if = "is_usual_shards")]
    pub shards: usize,
    /// Seed of initial values and order.
    pub seed: u64,
    /// Exercises of each skill.
    pub drills: usize,
    /// Where the trajectories come from.
    pub collect: ClassroomConfig,
    /// What the student is measured on.
    pub measure: Option<MeasureConfig>,
    /// Trajectories from a file, beside those of the worlds.
    pub data: Option<DataConfig>,
    /// Share of the tokens of all runs, 0..=1, that are the file's, which are read as often as that
    /// takes.
    #[serde(default = "half", skip_serializing_if = "is_half")]
    pub data_share: f64,
    /// A student of the same vocabulary, a GGUF file, whose logits are learned beside the tokens. In
    /// the file relative to the recipe's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logits: Option<LogitsConfig>,
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

fn context_tokens() -> usize {
    Shape::small(0).context_tokens
}

fn is_usual_context(tokens: &usize) -> bool {
    *tokens == context_tokens()
}

fn shards() -> usize {
    2
}

fn is_usual_shards(count: &usize) -> bool {
    *count == shards()
}

fn eight_bits() -> Weights {
    Weights::Q8_0
}

fn is_eight_bits(weights: &Weights) -> bool {
    *weights == eight_bits()
}

/// Tokens of a context at most: attention takes their square.
const CONTEXT_MAX: usize = 1 << 15;
/// More parts of a step than any machine has threads.
const SHARDS_MAX: usize = 1 << 10;
/// Share of a kind of question at most.
const SHARE_MAX: usize = 1000;
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
        recipe.check().with_context(|| path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        recipe.start = recipe.start.map(|start| folder.join(start));
        if let Some(logits) = &mut recipe.logits {
            logits.teacher = folder.join(&logits.teacher);
        }
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

    /// Refuses values that cannot be meant, before hours are spent on them.
    fn check(&self) -> Result<()> {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        ensure!(
            !self.name.is_empty() && !self.name.starts_with('.') && self.name.chars().all(is_plain),
            "name is {:?}; expected letters, digits, and . _ - within: it names a file",
            self.name
        );
        let collect = &self.collect;
        for (key, count) in [
            ("tokens_budget", self.tokens_budget as usize),
            ("drills", self.drills),
            ("collect.worlds", collect.worlds),
            ("collect.tasks", collect.tasks),
            ("collect.threads", collect.threads),
            ("the number of collect.domains", collect.domains.len()),
        ] {
            ensure!(count > 0, "{key} is 0; expected at least 1");
        }
        for (key, count) in [
            ("drills", self.drills),
            ("collect.worlds", collect.worlds),
            ("collect.documents", collect.documents),
            ("collect.tasks", collect.tasks),
            ("collect.held_out_tasks", collect.held_out_tasks),
            ("collect.threads", collect.threads),
        ] {
            ensure!(count <= COUNT_MAX, "{key} is {count}; expected at most {COUNT_MAX}");
        }
        for (key, count, range) in [
            ("context_tokens", self.context_tokens, 256..=CONTEXT_MAX),
            ("shards", self.shards, 1..=SHARDS_MAX),
        ] {
            let (least, most) = (range.start(), range.end());
            ensure!(range.contains(&count), "{key} is {count}; expected {least} to {most}");
        }
        for (key, share) in [
            ("drills_until", self.drills_until),
            ("data_share", self.data_share),
            ("collect.slips", collect.slips),
        ] {
            let is_share = (0.0..=1.0).contains(&share);
            ensure!(is_share, "{key} is {share}; expected a share from 0 to 1");
        }
        self.check_shares()?;
        let rate = self.learning_rate;
        ensure!(rate.is_finite() && rate > 0.0, "learning_rate is {rate}; expected more than 0");
        // Weights of 8 and 4 bits are stored in blocks of 32, and heads are 32 wide.
        for (key, width) in [("width", self.width), ("feed_forward", self.feed_forward)] {
            let fits = width > 0 && width.is_multiple_of(32);
            ensure!(fits, "{key} is {width}; expected a multiple of 32");
        }
        self.data.as_ref().map_or(Ok(()), DataConfig::check)?;
        self.logits.as_ref().map_or(Ok(()), LogitsConfig::check)?;
        let shape = self.shape(self.vocabulary_max);
        shape.check()?;
        if self.start.is_none() {
            Start::Structured.check(&shape)?;
        }
        Ok(())
    }

    fn check_shares(&self) -> Result<()> {
        let ClassroomConfig { style, shares, .. } = &self.collect;
        for (kind, share) in shares {
            let asked = TaskKind::shares(*style).iter().any(|(asked, _)| asked == kind);
            ensure!(
                asked,
                "collect.shares: worlds of style {style:?} ask nothing of kind {kind:?}"
            );
            ensure!(
                *share <= SHARE_MAX,
                "collect.shares: {kind:?} is {share}; expected at most {SHARE_MAX}"
            );
        }
        let all: usize = self.collect.train_shares().iter().map(|(_, share)| share).sum();
        ensure!(all > 0, "collect.shares leaves nothing to ask; expected a share above 0");
        Ok(())
    }

    /// The shape of its model, with so many tokens.
    pub(super) fn shape(&self, tokens: usize) -> Shape {
        let small = Shape::small(tokens);
        let heads = self.width / small.head_width;
        Shape {
            width: self.width,
            layers: self.layers,
            heads,
            kv_heads: heads,
            feed_forward: self.feed_forward,
            context_tokens: self.context_tokens,
            ..small
        }
    }

    /// The recipe it starts from, where `start` is not a student itself.
    pub(super) fn start_recipe(&self) -> Option<&Path> {
        self.start.as_deref().filter(|start| start.extension().is_some_and(|name| name == "toml"))
    }

    /// SHA-256, lower-case hexadecimal, of everything that makes the student: not of comments, nor
    /// of how the student is measured, nor of where its data lies or how many threads collect.
    ///
    /// # Errors
    /// When the file of `data`, `logits` or `start` cannot be read.
    pub fn key(&self) -> Result<String> {
        let unplaced =
            |data: &DataConfig| DataConfig { trajectories: PathBuf::new(), ..data.clone() };
        let unnamed =
            |logits: &LogitsConfig| LogitsConfig { teacher: PathBuf::new(), ..logits.clone() };
        let made_by = Self {
            measure: None,
            logits: self.logits.as_ref().map(unnamed),
            start: None,
            collect: self.collect.made_by(),
            data: self.data.as_ref().map(unplaced),
            ..self.clone()
        };
        let mut text = toml::to_string(&made_by)?;
        if let Some(data) = &self.data {
            text += &format!("{}{}", data.sha256()?, self.data_share);
        }
        if let Some(logits) = &self.logits {
            text += &file_sha256(&logits.teacher)?;
        }
        if let Some(start) = &self.start {
            text += &match self.start_recipe() {
                Some(recipe) => Self::read(recipe)?.key()?,
                None => file_sha256(start)?,
            };
        }
        Ok(sha256(text.as_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod testing {
    use super::*;

    /// A recipe of this repository.
    pub fn recipe(name: &str) -> Recipe {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        Recipe::read(&recipes.join(name)).unwrap()
    }

    /// A recipe in `folder` that starts from `start`.
    pub fn starting(folder: &Path, name: &str, start: &str) -> PathBuf {
        let path = folder.join(format!("{name}.toml"));
        let text =
            include_str!("../../recipes/smoke.toml").replace("\"smoke\"", &format!("{name:?}"));
        fs::write(&path, format!("start = {start:?}\n{text}")).unwrap();
        path
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::testing::{recipe, starting};
    use super::*;
    use crate::world::{Domain, Style};

    #[test]
    fn what_a_recipe_leaves_out_is_no_part_of_its_key() {
        let student = Recipe { measure: None, ..recipe("small.toml") };
        let written = toml::to_string(&student).unwrap();
        for key in ["style", "domains", "slips", "shares"] {
            assert!(!written.contains(key), "{written}");
        }
        let threads = ClassroomConfig { threads: 7, ..student.collect.clone() };
        let threads = Recipe { collect: threads, ..student.clone() };
        assert_eq!(threads.key().unwrap(), student.key().unwrap());
        let slipping = ClassroomConfig { slips: 0.1, ..student.collect.clone() };
        let slipping = Recipe { collect: slipping, ..student.clone() };
        assert_ne!(slipping.key().unwrap(), student.key().unwrap());
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
    fn the_teacher_of_logits_is_part_of_the_key_and_where_it_lies_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = starting(folder.path(), "pupil", "zeroth.gguf");
        let logits = "[logits]\nteacher = \"teacher.gguf\"\n";
        fs::write(&path, fs::read_to_string(&path).unwrap() + logits).unwrap();
        let teacher = folder.path().join("teacher.gguf");
        fs::write(folder.path().join("zeroth.gguf"), "weights").unwrap();
        fs::write(&teacher, "weights").unwrap();
        let recipe = Recipe::read(&path).unwrap();
        assert_eq!(recipe.logits.as_ref().unwrap().teacher, teacher);
        let key = recipe.key().unwrap();
        let moved = folder.path().join("moved.gguf");
        fs::copy(&teacher, &moved).unwrap();
        let logits = recipe.logits.clone().map(|own| LogitsConfig { teacher: moved, ..own });
        assert_eq!(Recipe { logits, ..recipe.clone() }.key().unwrap(), key);
        fs::write(&teacher, "others").unwrap();
        assert_ne!(recipe.key().unwrap(), key);
    }

    #[test]
    fn a_recipe_names_style_and_domains() {
        let ClassroomConfig { style, domains, .. } = recipe("student.toml").collect;
        assert_eq!(style, Style::Full);
        assert_eq!(domains, [Domain::Gazetteer, Domain::Plant]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_the_work() {
        let good = recipe("smoke.toml");
        let told = |change: &dyn Fn(&mut Recipe)| {
            let mut bad = good.clone();
            change(&mut bad);
            format!("{:#}", bad.check().unwrap_err())
        };
        assert!(told(&|r| r.name = "../up".to_owned()).contains("it names a file"));
        assert!(told(&|r| r.context_tokens = 8).contains("context_tokens is 8; expected 256 to"));
        assert!(told(&|r| r.shards = 0).contains("shards is 0; expected 1 to 1024"));
        assert!(told(&|r| r.tokens_budget = 0).contains("tokens_budget is 0"));
        assert!(told(&|r| r.learning_rate = -1.0).contains("learning_rate is -1"));
        assert!(told(&|r| r.drills_until = f64::NAN).contains("drills_until is NaN"));
        assert!(told(&|r| r.collect.slips = 2.0).contains("collect.slips is 2"));
        let share = |kind, share| move |r: &mut Recipe| r.collect.shares = [(kind, share)].into();
        assert!(told(&share(TaskKind::Chain, 1)).contains("ask nothing of kind Chain"));
        assert!(told(&share(TaskKind::Hop, 1001)).contains("Hop is 1001; expected at most 1000"));
        let nothing = TaskKind::shares(good.collect.style).iter().map(|(kind, _)| (*kind, 0));
        assert!(told(&|r| r.collect.shares = nothing.clone().collect()).contains("nothing to ask"));
        assert!(told(&|r| r.collect.tasks = usize::MAX).contains("expected at most"));
        assert!(told(&|r| r.feed_forward = 1).contains("feed_forward is 1"));
        assert!(told(&|r| r.layers = 1).contains("layers"));
        assert!(told(&|r| r.vocabulary_max = usize::MAX).contains("vocabulary"));
        good.check().unwrap();
    }
}
