//! A batch over several threads with the same result on any number of them.
//!
//! Sequences are dealt to a fixed number of shards; each shard has its own gradient, and the
//! gradients are added in the order of the shards.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::{Batch, BatchError, Model, Workspace, add};

/// A tokenised text. Token `i` is trained upon when `learned[i]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Whether each token has loss; as long as `ids`.
    pub learned: Vec<bool>,
}

/// What a pass over a batch gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Summed cross-entropy, natural logarithm.
    pub sum: f64,
    /// Positions with loss.
    pub positions: usize,
}

impl Loss {
    /// Cross-entropy per position.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.positions.max(1) as f64
    }
}

/// The shards with their buffers.
pub struct Shards {
    shards: Vec<Shard>,
    order: Vec<(usize, usize)>,
}

#[derive(Default)]
struct Shard {
    batch: Batch,
    workspace: Workspace,
    loss: f64,
    /// Indices of its sequences in the whole batch.
    members: Vec<usize>,
}

impl Shards {
    /// `count` shards, at least one. The count is part of the result: sums of floats depend on it.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut shards = Vec::new();
        shards.resize_with(count.max(1), Shard::default);
        for (seed, shard) in (0..).zip(&mut shards) {
            shard.workspace.seed = seed;
        }
        Shards { shards, order: Vec::new() }
    }

    /// Longest sequence first, each to the shard with the fewest tokens so far.
    fn deal(&mut self, model: &Model, sequences: &[&Sequence]) -> Result<(), BatchError> {
        for shard in &mut self.shards {
            shard.batch.ids.clear();
            shard.batch.lengths.clear();
            shard.batch.targets.clear();
            shard.members.clear();
        }
        self.order.clear();
        self.order.extend(sequences.iter().map(|sequence| sequence.ids.len()).enumerate());
        self.order.sort_by_key(|(index, length)| (std::cmp::Reverse(*length), *index));
        for (index, _) in &self.order {
            let lightest = self.shards.iter_mut().min_by_key(|shard| shard.batch.ids.len());
            if let (Some(shard), Some(sequence)) = (lightest, sequences.get(*index)) {
                shard.batch.push(&sequence.ids, &sequence.learned);
                shard.members.push(*index);
            }
        }
        self.shards.iter().try_for_each(|shard| model.check(&shard.batch))
    }

    fn loss(&self) -> Loss {
        Loss {
            sum: self.shards.iter().map(|shard| shard.loss).sum(),
            positions: self.shards.iter().map(|shard| shard.batch.targets.len()).sum(),
        }
    }

    /// Loss of a batch; [`Shards::gradient`] then holds the gradient of its mean.
    ///
    /// # Errors
    /// [`BatchError`] when a sequence does not fit the model.
    pub fn differentiate(
        &mut self,
        model: &Model,
        sequences: &[&Sequence],
    ) -> Result<Loss, BatchError> {
        self.deal(model, sequences)?;
        let scale = 1.0 / self.loss().positions.max(1) as f32;
        self.shards.par_iter_mut().for_each(|shard| {
            shard.loss = model.differentiate(&shard.batch, scale, &mut shard.workspace);
        });
        if let Some((first, others)) = self.shards.split_first_mut() {
            for other in others {
                add(&mut first.workspace.gradient, &other.workspace.gradient);
            }
        }
        Ok(self.loss())
    }

    /// The gradient of the last batch.
    pub fn gradient(&mut self) -> &mut [f32] {
        self.shards.first_mut().map_or(&mut [], |shard| &mut shard.workspace.gradient)
    }

    /// Loss of a batch, and for each sequence the most probable token at each of its positions
    /// with loss.
    ///
    /// # Errors
    /// [`BatchError`] when a sequence does not fit the model.
    pub fn predict(
        &mut self,
        model: &Model,
        sequences: &[&Sequence],
    ) -> Result<(Loss, Vec<Vec<u32>>), BatchError> {
        self.deal(model, sequences)?;
        self.shards.par_iter_mut().for_each(|shard| {
            shard.loss = model.evaluate(&shard.batch, &mut shard.workspace);
        });
        let mut predicted = vec![Vec::new(); sequences.len()];
        for shard in &self.shards {
            let mut tokens = shard.workspace.predicted.iter().copied();
            for index in &shard.members {
                let (Some(sequence), Some(own)) =
                    (sequences.get(*index), predicted.get_mut(*index))
                else {
                    continue;
                };
                let positions = sequence.learned.iter().skip(1).filter(|learned| **learned).count();
                own.extend(tokens.by_ref().take(positions));
            }
        }
        Ok((self.loss(), predicted))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Shape, Start, sum_of_squares};

    fn sequences() -> Vec<Sequence> {
        (0..9)
            .map(|index| Sequence {
                ids: (0..5 + index * 3).map(|token| (token * 7 + index) as u32 % 50).collect(),
                learned: (0..5 + index * 3).map(|token| token % 3 == index % 3).collect(),
            })
            .collect()
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let model = Model::initialised(Shape::small(50), Start::Plain, 1).unwrap();
        let sequences = sequences();
        let batch: Vec<&Sequence> = sequences.iter().collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut shards = Shards::new(3);
            let loss = pool.install(|| shards.differentiate(&model, &batch).unwrap());
            (loss, shards.gradient().to_vec())
        };
        let (one, two) = (run(1), run(2));
        assert_eq!(one.0, two.0);
        assert!(one.1.iter().zip(&two.1).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn shards_agree_with_one_another() {
        let model = Model::initialised(Shape::small(50), Start::Plain, 1).unwrap();
        let sequences = sequences();
        let batch: Vec<&Sequence> = sequences.iter().collect();
        let run = |count: usize| {
            let mut shards = Shards::new(count);
            let loss = shards.differentiate(&model, &batch).unwrap();
            let gradient = shards.gradient().to_vec();
            (loss, gradient, shards.predict(&model, &batch).unwrap().1)
        };
        let (one, four) = (run(1), run(4));
        assert!((one.0.sum - four.0.sum).abs() < 1e-3 && one.0.positions == four.0.positions);
        let difference: Vec<f32> = one.1.iter().zip(&four.1).map(|(a, b)| a - b).collect();
        assert!(sum_of_squares(&difference) < 1e-8 * sum_of_squares(&one.1));
        assert_eq!(one.2, four.2);
    }
}
