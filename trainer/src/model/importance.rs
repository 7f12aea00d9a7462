//! How much each input of a matrix weighs: the mean of its squares over texts. A quantiser rounds
//! with more care where it is large; llama.cpp calls the whole an importance matrix.

use std::ops::Range;

use super::batch::Batch;
use super::network::Model;
use super::shape::{Block, Layout, Role};
use super::workspace::BlockTape;

/// Sums of squared inputs of a model's matrices. Matrices that read the same share their sums.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Importance {
    /// Range of the stacked matrices, and the sum for each of their columns.
    groups: Vec<(Range<usize>, Vec<f64>)>,
    tokens: usize,
}

impl Importance {
    /// Over a batch that has passed [`Batch::check`].
    #[must_use]
    pub fn measure(model: &Model, batch: &Batch) -> Self {
        let tokens = batch.ids.len();
        let mut groups = Vec::new();
        model.walk(batch, |block, tape| {
            for (group, input) in read(block, tape) {
                let columns = input.len().checked_div(tokens).unwrap_or(0);
                let mut sums = vec![0.0; columns];
                for row in input.chunks_exact(columns.max(1)) {
                    let squares = row.iter().map(|value| f64::from(*value).powi(2));
                    sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
                }
                groups.push((group.clone(), sums));
            }
        });
        Self { groups, tokens }
    }

    /// Adds what was measured over other texts of the same model.
    pub fn add(&mut self, other: Self) {
        if self.tokens == 0 {
            *self = other;
            return;
        }
        self.tokens += other.tokens;
        for ((_, sums), (_, others)) in self.groups.iter_mut().zip(other.groups) {
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
        }
    }

    /// Tokens that were read.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The mean of each column's squares, for every matrix of the blocks by its name.
    #[must_use]
    pub fn means(&self, layout: &Layout) -> Vec<(String, Vec<f32>)> {
        let matrices = layout.tensors.iter().filter(|tensor| tensor.role == Role::Matrix);
        let tokens = self.tokens.max(1) as f64;
        let named = matrices.filter_map(|tensor| {
            let (_, sums) = self.groups.iter().find(|(group, _)| group.contains(&tensor.offset))?;
            Some((tensor.name.clone(), sums.iter().map(|sum| (sum / tokens) as f32).collect()))
        });
        named.collect()
    }
}

/// The stacked matrices of a block, and what each of them read.
fn read<'a>(block: &'a Block, tape: &'a BlockTape) -> [(&'a Range<usize>, &'a [f32]); 4] {
    [
        (&block.qkv, &tape.attention_normed),
        (&block.output, &tape.attended),
        (&block.gate_up, &tape.feed_forward_normed),
        (&block.down, &tape.activated),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Shape, Start};
    use super::*;

    fn batch(sequences: &[&[u32]]) -> Batch {
        let lengths = sequences.iter().map(|ids| ids.len()).collect();
        Batch { ids: sequences.concat(), lengths, ..Batch::default() }
    }

    #[test]
    fn every_matrix_has_the_mean_squares_of_what_it_reads() {
        let shape = Shape { layers: 2, ..Shape::small(50) };
        let (width, inner) = (shape.width, shape.feed_forward);
        let model = Model::initialised(shape, Start::Plain, 1).unwrap();
        let importance = Importance::measure(&model, &batch(&[&[1, 2, 3], &[4, 5]]));
        let means = importance.means(&model.layout);
        assert_eq!((importance.tokens(), means.len()), (5, 14));
        // A norm without gain leaves rows whose squares have mean 1.
        let of = |name: &str| &means.iter().find(|(own, _)| own == name).unwrap().1;
        let queries = of("blk.1.attn_q.weight");
        assert_eq!((queries.len(), of("blk.1.ffn_down.weight").len()), (width, inner));
        assert!((queries.iter().sum::<f32>() / width as f32 - 1.0).abs() < 1e-3);
        assert_eq!(queries, of("blk.1.attn_v.weight"));
        assert_ne!(queries, of("blk.1.ffn_up.weight"));
    }

    #[test]
    fn texts_may_be_measured_apart() {
        let model = Model::initialised(Shape::small(50), Start::Plain, 1).unwrap();
        let whole = Importance::measure(&model, &batch(&[&[1, 2, 3], &[4, 5]]));
        let mut parts = Importance::default();
        parts.add(Importance::measure(&model, &batch(&[&[1, 2, 3]])));
        parts.add(Importance::measure(&model, &batch(&[&[4, 5]])));
        assert_eq!(parts.tokens(), whole.tokens());
        let (parts, whole) = (parts.means(&model.layout), whole.means(&model.layout));
        for ((name, part), (_, whole)) in parts.iter().zip(&whole) {
            let close = part.iter().zip(whole).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs());
            assert!(close, "{name}");
        }
    }
}
