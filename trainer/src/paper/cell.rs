//! One training of the table.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use retort_transcript::Dialect;

use super::config::PaperRecipe;
use super::lessons::{Learner, Lessons};
use crate::cuda::Device;
use crate::gguf::{self, Labels, Weights};
use crate::model::{Model, Shape, Start};
use crate::recipe::curriculum::{self, Runs};
use crate::tokenizer::MESSAGE_END;
use crate::train::{Exactness, Progress, StepReport, TrainConfig, TrainData, train};

/// A size, a seed, and what is learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Index into the recipe's sizes.
    pub size: usize,
    pub seed: u64,
    pub learner: Learner,
}

impl Cell {
    /// The cells of a recipe: small sizes first, and all learners of a size and a seed together.
    pub fn all(recipe: &PaperRecipe) -> Vec<Self> {
        let cells = (0..recipe.sizes.len()).flat_map(|size| {
            recipe.seeds.iter().flat_map(move |seed| {
                Learner::ALL.map(|learner| Self { size, seed: *seed, learner })
            })
        });
        cells.collect()
    }

    /// `agent-size1-seed2`.
    pub fn name(&self) -> String {
        format!("{}-size{}-seed{}", self.learner.name(), self.size + 1, self.seed)
    }

    /// The shape of its student.
    pub fn shape(&self, recipe: &PaperRecipe, vocabulary: usize) -> Result<Shape> {
        let size = recipe.sizes.get(self.size).context("a cell of a size that is not there")?;
        Ok(Shape {
            width: size.width,
            layers: size.layers,
            heads: size.heads,
            kv_heads: size.heads,
            head_width: size.width / size.heads,
            feed_forward: size.feed_forward,
            ..Shape::small(vocabulary)
        })
    }

    /// Trains the student, going on where an earlier call was interrupted, and writes it.
    pub fn train(
        &self,
        recipe: &PaperRecipe,
        lessons: &Lessons,
        out: &Path,
        device: Device,
        bar: &ProgressBar,
    ) -> Result<Trained> {
        let dir = out.join("cells");
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
        let rendered = lessons.of(self.learner);
        let runs = Runs { name: "trajectories", rendered, share: 1.0 };
        let data = TrainData {
            sources: curriculum::sources(&vocabulary.encoder()?, &[runs], &lessons.drills)?,
            held_out: Vec::new(),
            turn_end: vocabulary.id(MESSAGE_END),
        };
        let shape = self.shape(recipe, vocabulary.len())?;
        let model = Model::initialised(shape, Start::Structured, self.seed)?;
        let model = train(&config, model, &data, &mut Bar(bar))?;
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

/// Shows tokens on a bar.
struct Bar<'a>(&'a ProgressBar);

impl Progress for Bar<'_> {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.set_length(report.tokens_budget);
        self.0.set_position(report.tokens);
        ControlFlow::Continue(())
    }

    fn evaluated(&mut self, _report: &StepReport, _exactness: &Exactness) {}
}
