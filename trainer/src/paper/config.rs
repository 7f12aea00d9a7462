//! Recipes of `kind = "paper"`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::hash::sha256;
use crate::model::{Shape, Start};
use crate::world::{COUNT_MAX, TrainingWorld};

/// Every vocabulary has more tokens.
const VOCABULARY_MIN: usize = 300;

/// What the table is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperRecipe {
    /// Always `paper`.
    pub kind: String,
    /// Dialect the students are taught in.
    pub dialect: String,
    /// Tokens of the vocabulary at most; all students share it.
    pub vocabulary_max: usize,
    /// Sizes of the students, smallest first.
    pub sizes: Vec<Size>,
    /// Seeds of initial values and order: each student is trained once for each.
    pub seeds: Vec<u64>,
    /// Tokens that each student trains on.
    pub tokens_budget: u64,
    /// Exercises of each skill.
    pub drills: usize,
    /// Seed of the first training world; the others follow, and the test worlds stand apart.
    pub world_seed: u64,
    /// Training worlds.
    pub worlds: usize,
    /// Documents of a world.
    pub documents: usize,
    /// Factual questions of a training world; half as many of arithmetic are added.
    pub tasks: usize,
    /// Share of the teacher's actions that are wrong, 0..=1.
    pub slips: f64,
    /// Questions of each test family.
    pub test_tasks: usize,
    /// Passages under the question of a student that does not search.
    pub passages: usize,
    /// Replies per step of the student that votes (N of self-consistent action generation).
    pub candidates: u8,
    /// Threads that collect.
    pub threads: usize,
    /// Smaller tables, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scale: BTreeMap<String, Scale>,
}

/// The size of a student.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Width of the model.
    pub width: usize,
    /// Heads; they divide the width.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub feed_forward: usize,
}

impl Size {
    /// The shape of a student with so many tokens.
    pub(super) fn shape(&self, vocabulary: usize) -> Shape {
        Shape {
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.heads,
            head_width: self.width / self.heads.max(1),
            feed_forward: self.feed_forward,
            ..Shape::small(vocabulary)
        }
    }
}

/// What a smaller table has less of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// So many of the sizes, smallest first.
    pub sizes: Option<usize>,
    /// So many of the seeds.
    pub seeds: Option<usize>,
    /// Instead of the recipe's.
    pub tokens_budget: Option<u64>,
    /// Instead of the recipe's.
    pub test_tasks: Option<usize>,
}

impl PaperRecipe {
    /// The recipe in `text`, cut down to the scale of this name.
    ///
    /// # Errors
    /// An unknown key, a value that does not fit, or a scale that the recipe does not have.
    pub fn parse(text: &str, scale: Option<&str>) -> Result<Self> {
        let mut recipe: Self = toml::from_str(text)?;
        let scales = std::mem::take(&mut recipe.scale);
        if let Some(name) = scale {
            let known: Vec<&str> = scales.keys().map(String::as_str).collect();
            let scale = scales.get(name).with_context(|| {
                format!("no scale {name:?}; the recipe has: {}", known.join(", "))
            })?;
            recipe.sizes.truncate(scale.sizes.unwrap_or(usize::MAX));
            recipe.seeds.truncate(scale.seeds.unwrap_or(usize::MAX));
            recipe.tokens_budget = scale.tokens_budget.unwrap_or(recipe.tokens_budget);
            recipe.test_tasks = scale.test_tasks.unwrap_or(recipe.test_tasks);
        }
        ensure!(!recipe.sizes.is_empty(), "sizes is empty: give at least one [[sizes]]");
        ensure!(!recipe.seeds.is_empty(), "seeds is empty: give at least one");
        for (key, count) in [
            ("worlds", recipe.worlds),
            ("tokens_budget", recipe.tokens_budget as usize),
            ("drills", recipe.drills),
            ("tasks", recipe.tasks),
            ("test_tasks", recipe.test_tasks),
            ("candidates", usize::from(recipe.candidates)),
            ("threads", recipe.threads),
        ] {
            ensure!(count > 0, "{key} is 0, expected at least 1");
            let most = if key == "tokens_budget" { usize::MAX } else { COUNT_MAX };
            ensure!(count <= most, "{key} is {count}, expected at most {most}");
        }
        let different: BTreeSet<&u64> = recipe.seeds.iter().collect();
        ensure!(different.len() == recipe.seeds.len(), "seeds: one stands there twice");
        ensure!(
            (0.0..=1.0).contains(&recipe.slips),
            "slips is {}, expected a share of the actions, 0 to 1",
            recipe.slips
        );
        for size in &recipe.sizes {
            ensure!(
                size.heads > 0 && size.width.is_multiple_of(size.heads),
                "sizes: {} heads do not divide a width of {}",
                size.heads,
                size.width
            );
            let shape = size.shape(VOCABULARY_MIN);
            let fits = shape.check().and_then(|()| Start::Structured.check(&shape));
            fits.context("sizes")?;
        }
        Ok(recipe)
    }

    /// The training world with this index.
    pub(super) fn training_world(&self, index: usize) -> TrainingWorld {
        let seed = self.world_seed.wrapping_add(index as u64);
        TrainingWorld { seed, documents: self.documents, tasks: self.tasks }
    }

    /// Hexadecimal hash of what decides every row: rows of other recipes are not mixed in. Which
    /// sizes and seeds there are is no part of it, so a table can grow.
    ///
    /// # Errors
    /// None: a recipe can be written.
    pub fn key(&self) -> Result<String> {
        let made_by = Self { sizes: Vec::new(), seeds: Vec::new(), threads: 0, ..self.clone() };
        let hash = sha256(toml::to_string(&made_by)?.as_bytes());
        Ok(hash.get(..16).unwrap_or_default().to_owned())
    }
}
