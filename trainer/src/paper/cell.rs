//! One training of the table.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use indicatif::{MultiProgress, ProgressBar};
use retort_transcript::Dialect;

use super::config::{PaperRecipe, Size};
use super::lessons::{Lessons, Regime};
use crate::cuda::Device;
use crate::gguf::{self, Labels, Weights};
use crate::model::{Model, Start};
use crate::student::curriculum::{self, Runs};
use crate::tokenizer::MESSAGE_END;
use crate::train::{Console, TrainConfig, TrainData, train};

/// A size, a seed, and what is learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Index into the recipe's sizes.
    pub size: usize,
    pub seed: u64,
    pub regime: Regime,
}

impl Cell {
    /// The cells of a recipe: small sizes first, and all regimes of a size and a seed together.
    pub fn all(recipe: &PaperRecipe) -> Vec<Self> {
        let cells = (0..recipe.sizes.len()).flat_map(|size| {
            recipe
                .seeds
                .iter()
                .flat_map(move |seed| Regime::ALL.map(|regime| Self { size, seed: *seed, regime }))
        });
        cells.collect()
    }

    /// `agent-size1-seed2`.
    pub fn name(&self) -> String {
        format!("{}-size{}-seed{}", self.regime.name(), self.size + 1, self.seed)
    }

    /// Its size.
    pub fn size(&self, recipe: &PaperRecipe) -> Result<Size> {
        recipe.sizes.get(self.size).copied().context("a cell of a size that is not there")
    }

    /// Trains the student, going on where an earlier call was interrupted, and writes it.
    pub fn train(
        &self,
        recipe: &PaperRecipe,
        lessons: &Lessons,
        out: &Path,
        device: Device,
        bars: &MultiProgress,
    ) -> Result<Trained> {
        let size = self.size(recipe)?;
        // Rows of several recipes and sizes grow in one folder.
        let Size { width, heads, layers, feed_forward } = size;
        let shaped = format!("{width}x{layers}-{heads}-{feed_forward}");
        let dir = out.join("cells").join(recipe.key()?).join(shaped);
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("{} cannot be made", dir.display()))?;
        let vocabulary = &lessons.vocabulary;
        let checkpoint = dir.join(format!("{}.checkpoint", self.name()));
        let config = TrainConfig {
            evaluate_every_tokens: 0,
            checkpoint: Some(checkpoint),
            device,
            ..TrainConfig::small(recipe.tokens_budget, self.seed)
        };
        let rendered = lessons.of(self.regime);
        let shape = size.shape(vocabulary.len());
        let context_tokens = shape.context_tokens;
        let runs = Runs { name: "trajectories", rendered, share: 1.0 };
        let data = TrainData {
            sources: curriculum::sources(
                &vocabulary.words()?,
                context_tokens,
                &[runs],
                &lessons.drills,
            )?,
            held_out: Vec::new(),
            turn_end: vocabulary.id(MESSAGE_END),
        };
        let model = Model::initialised(shape, Start::Structured, self.seed)?;
        let metrics = dir.join(self.name());
        std::fs::create_dir_all(&metrics)
            .with_context(|| format!("{} cannot be made", metrics.display()))?;
        let bar = bars.add(ProgressBar::new(0));
        let mut console = Console::on(bar.clone(), Some(&metrics.join("metrics.jsonl")))?;
        let model = train(&config, model, &data, &mut console)?;
        bars.remove(&bar);
        let dialect = Dialect::named(&recipe.dialect)?;
        let labels = Labels::of(self.name(), Some("Apache-2.0".to_owned()), Some(&dialect));
        let gguf = dir.join(format!("{}.gguf", self.name()));
        gguf::export(&gguf, &model, vocabulary, &labels, Weights::Q8_0)?;
        Ok(Trained { gguf, parameters: model.parameters.len() })
    }
}

/// A student that was trained.
pub(super) struct Trained {
    pub gguf: PathBuf,
    pub parameters: usize,
}
