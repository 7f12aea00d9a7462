//! Logit distillation: beside the token that follows, what a teacher finds probable there (arXiv
//! 1503.02531, at temperature 1).

use std::path::PathBuf;

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::MixtureSource;
use crate::dataset::Sequence;
use crate::model::{Batch, Model, SoftTargets, Workspace};

/// More tokens of a position than are worth their memory.
const TOP_K_MAX: usize = 256;

/// What a recipe says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogitsConfig {
    /// The teacher: it has the student's vocabulary.
    pub teacher: PathBuf,
    /// Share of the loss, above 0 and up to 1, that is the divergence from the teacher.
    #[serde(default = "half")]
    pub share: f32,
    /// Its most probable tokens at each position that are learned from.
    #[serde(default = "top_k")]
    pub top_k: usize,
}

fn half() -> f32 {
    0.5
}

fn top_k() -> usize {
    8
}

impl LogitsConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key that is out of its range.
    pub fn check(&self) -> Result<()> {
        let Self { share, top_k, .. } = self;
        let is_share = *share > 0.0 && *share <= 1.0;
        ensure!(is_share, "logits.share is {share}; expected above 0 and up to 1");
        let fits = (1..=TOP_K_MAX).contains(top_k);
        ensure!(fits, "logits.top_k is {top_k}; expected 1 to {TOP_K_MAX}");
        Ok(())
    }

    /// Gives every sequence what `teacher` finds probable among the first `vocabulary` tokens.
    /// Computed on the processor; the number of threads changes nothing.
    ///
    /// # Errors
    /// When a sequence does not fit the teacher.
    pub fn soften(
        &self,
        teacher: &Model,
        vocabulary: usize,
        sources: &mut [MixtureSource],
    ) -> Result<()> {
        let mut sequences: Vec<&mut Sequence> =
            sources.iter_mut().flat_map(|source| &mut source.sequences).collect();
        let style = ProgressStyle::with_template("teacher {bar:30} {pos}/{len} sequences {eta}")?;
        let bar = ProgressBar::new(sequences.len() as u64).with_style(style);
        sequences.par_iter_mut().try_for_each_init(Workspace::default, |workspace, sequence| {
            let mut batch = Batch::default();
            sequence.add_to(&mut batch);
            batch.check(&teacher.shape)?;
            let top_k = self.top_k.min(vocabulary);
            let mut soft = teacher.most_probable(&batch, top_k, workspace);
            self.weigh(&mut soft, vocabulary);
            sequence.soft = soft;
            bar.inc(1);
            Ok(())
        })
    }

    /// Shares of the loss in the place of probabilities. A teacher may have more tokens than the
    /// student, which fill its tables up; they have no share.
    fn weigh(&self, soft: &mut SoftTargets, vocabulary: usize) {
        for (token, share) in soft.tokens.iter_mut().zip(&mut soft.shares) {
            *share *= self.share;
            if *token as usize >= vocabulary {
                (*token, *share) = (0, 0.0);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Shape, Start};
    use crate::parallel::Shards;

    fn model(seed: u64) -> Model {
        let shape = Shape { layers: 2, ..Shape::small(60) };
        let mut model = Model::initialised(shape, Start::Plain, seed).unwrap();
        model.parameters.iter_mut().for_each(|value| *value *= 3.0);
        model
    }

    fn sources() -> Vec<MixtureSource> {
        let sequence = |index: u32| {
            let ids: Vec<u32> = (0..9 + index).map(|token| (token * 7 + index) % 50).collect();
            let learned = ids.iter().map(|id| id % 2 == index % 2).collect();
            Sequence::new(ids, learned)
        };
        let sequences = (0..5).map(sequence).collect();
        vec![MixtureSource { name: "runs".to_owned(), sequences, shares: [1.0; 2] }]
    }

    fn config(share: f32, top_k: usize) -> LogitsConfig {
        LogitsConfig { teacher: PathBuf::new(), share, top_k }
    }

    #[test]
    fn a_student_that_is_its_teacher_has_nothing_to_learn_from_it() {
        let teacher = model(1);
        let gradient = |student: &Model, top_k: usize| {
            let mut sources = sources();
            config(1.0, top_k).soften(&teacher, 60, &mut sources).unwrap();
            let batch: Vec<&Sequence> = sources[0].sequences.iter().collect();
            let mut shards = Shards::new(2);
            shards.differentiate(student, &batch).unwrap();
            shards.gradient().iter().map(|value| value.abs()).fold(0.0, f32::max)
        };
        // Of the whole vocabulary nothing differs; of the most probable tokens, the others do.
        assert!(gradient(&teacher, 60) < 1e-5, "{}", gradient(&teacher, 60));
        assert!(gradient(&teacher, 4) > 1e-3);
        assert!(gradient(&model(2), 60) > 1e-3);
    }

    #[test]
    fn shares_are_the_teachers_and_tokens_the_students() {
        let (teacher, mut sources) = (model(1), sources());
        config(0.25, 3).soften(&teacher, 60, &mut sources).unwrap();
        for sequence in &sources[0].sequences {
            let positions = sequence.learned.iter().skip(1).filter(|learned| **learned).count();
            assert_eq!(sequence.soft.tokens.len(), positions * 3);
            for shares in sequence.soft.shares.chunks(3) {
                assert!((shares.iter().sum::<f32>() - 0.25).abs() < 1e-6);
                assert!(shares.is_sorted_by(|a, b| a >= b));
            }
        }
        config(1.0, 60).soften(&teacher, 7, &mut sources).unwrap();
        let soft = &sources[0].sequences[0].soft;
        assert_eq!(soft.per_position, 7);
        assert!(soft.tokens.iter().all(|token| *token < 7));
        assert!(soft.shares.chunks(7).all(|shares| shares.iter().sum::<f32>() < 1.0));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let told = |share, top_k| config(share, top_k).check().unwrap_err().to_string();
        assert!(told(0.0, 8).contains("logits.share is 0; expected above 0 and up to 1"));
        assert!(told(f32::NAN, 8).contains("logits.share is NaN"));
        assert!(told(0.5, 0).contains("logits.top_k is 0; expected 1 to 256"));
        config(1.0, 256).check().unwrap();
    }
}
