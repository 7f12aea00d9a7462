//! A batch over several threads with the same result on any number of them.
//!
//! Sequences are dealt to a fixed number of parts; each has its own gradient, and the gradients are
//! added in the order of the parts.

use rayon::prelude::*;

use crate::dataset::Sequence;
use crate::model::{Batch, BatchError, Model, Shape, Workspace, add};

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

/// A step's sequences in parts of about equal length. The number of parts is part of the result:
/// sums of floats depend on it.
pub struct Parts {
    parts: Vec<Part>,
    order: Vec<(usize, usize)>,
}

#[derive(Default)]
struct Part {
    batch: Batch,
    /// Indices of its sequences in the whole step.
    members: Vec<usize>,
}

impl Parts {
    /// `count` parts, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(count.max(1), Part::default);
        Parts { parts, order: Vec::new() }
    }

    /// Longest sequence first, each to the part with the fewest tokens so far.
    ///
    /// # Errors
    /// [`BatchError`] when a sequence does not fit the model.
    pub fn deal(&mut self, shape: &Shape, sequences: &[&Sequence]) -> Result<(), BatchError> {
        for Part { batch, members } in &mut self.parts {
            batch.ids.clear();
            batch.lengths.clear();
            batch.targets.clear();
            batch.soft.clear();
            members.clear();
        }
        self.order.clear();
        self.order.extend(sequences.iter().map(|sequence| sequence.ids.len()).enumerate());
        self.order.sort_by_key(|(index, length)| (std::cmp::Reverse(*length), *index));
        for (index, _) in &self.order {
            let lightest = self.parts.iter_mut().min_by_key(|part| part.batch.ids.len());
            if let (Some(part), Some(sequence)) = (lightest, sequences.get(*index)) {
                sequence.add_to(&mut part.batch);
                part.members.push(*index);
            }
        }
        self.parts.iter().try_for_each(|part| part.batch.check(shape))
    }

    /// The parts as they were dealt.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.parts.iter().map(|part| &part.batch)
    }

    /// Positions with loss, in all parts.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.batches().map(|batch| batch.targets.len()).sum()
    }

    /// What was predicted at the positions of each part, given back to the sequences.
    pub fn gather<'a>(
        &self,
        predicted: impl Iterator<Item = &'a [u32]>,
        sequences: &[&Sequence],
    ) -> Vec<Vec<u32>> {
        let mut gathered = vec![Vec::new(); sequences.len()];
        for (part, predicted) in self.parts.iter().zip(predicted) {
            let mut tokens = predicted.iter().copied();
            for index in &part.members {
                let (Some(sequence), Some(own)) = (sequences.get(*index), gathered.get_mut(*index))
                else {
                    continue;
                };
                let positions = sequence.learned.iter().skip(1).filter(|learned| **learned).count();
                own.extend(tokens.by_ref().take(positions));
            }
        }
        gathered
    }
}

/// The parts of a step with what computes them.
pub struct Shards {
    parts: Parts,
    lanes: Vec<Lane>,
}

#[derive(Default)]
struct Lane {
    workspace: Workspace,
    loss: f64,
}

impl Shards {
    /// `count` shards, at least one. The count is part of the result, as [`Parts`] says.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut lanes = Vec::new();
        lanes.resize_with(count.max(1), Lane::default);
        for (seed, lane) in (0..).zip(&mut lanes) {
            lane.workspace.seed = seed;
        }
        Shards { parts: Parts::new(count), lanes }
    }

    fn each(&mut self, run: impl Fn(&Batch, &mut Workspace) -> f64 + Sync) -> Loss {
        let lanes = self.parts.parts.par_iter().zip(&mut self.lanes);
        lanes.for_each(|(part, lane)| lane.loss = run(&part.batch, &mut lane.workspace));
        let sum = self.lanes.iter().map(|lane| lane.loss).sum();
        Loss { sum, positions: self.parts.positions() }
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
        self.parts.deal(&model.shape, sequences)?;
        let scale = 1.0 / self.parts.positions().max(1) as f32;
        let loss = self.each(|batch, workspace| model.differentiate(batch, scale, workspace));
        if let Some((first, others)) = self.lanes.split_first_mut() {
            for other in others {
                add(&mut first.workspace.gradient, &other.workspace.gradient);
            }
        }
        Ok(loss)
    }

    /// The gradient of the last batch.
    pub fn gradient(&mut self) -> &mut [f32] {
        self.lanes.first_mut().map_or(&mut [], |lane| &mut lane.workspace.gradient)
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
        self.parts.deal(&model.shape, sequences)?;
        let loss = self.each(|batch, workspace| model.evaluate(batch, workspace));
        let predicted = self.lanes.iter().map(|lane| lane.workspace.predicted.as_slice());
        Ok((loss, self.parts.gather(predicted, sequences)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Start, sum_of_squares};

    fn sequences() -> Vec<Sequence> {
        (0..9)
            .map(|index| {
                let tokens = 0..5 + index * 3;
                let ids = tokens.clone().map(|token| (token * 7 + index) as u32 % 50).collect();
                Sequence::new(ids, tokens.map(|token| token % 3 == index % 3).collect())
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
