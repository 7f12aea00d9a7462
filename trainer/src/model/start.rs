//! Initial values.
//!
//! [`Start::Structured`] gives an ordinary qwen2 model heads that already look back, remember the
//! last words and copy what followed an earlier occurrence. They are starting values only:
//! training changes them as it changes any other. A student of 0.8 M parameters learns to copy
//! names after 0.35 M tokens with them and after more than 2 M without.

use std::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::network::Model;
use super::shape::{Role, Shape, ShapeError};

/// How the parameters begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Normal values, scaled by width and depth.
    Plain,
    /// Plain, with look-back, bag and induction heads written into blocks 0 and 1.
    Structured,
}

/// Heads of block 0 that look 1, 2, 3 tokens back.
const LOOK_BACK_HEADS: usize = 3;
/// Bias of the look-back heads: it makes their attention nearly one-hot.
const LOOK_BACK_BIAS: f32 = 6.0;
/// Head of block 0 that averages the last 15 tokens or so.
const BAG_HEAD: usize = 3;
/// Bias of the bag head.
const BAG_BIAS: f32 = 2.9;
/// Heads of block 1 that copy what followed an earlier occurrence.
const INDUCTION_HEADS: usize = 2;
/// Query and key weights of the heads ruled by their biases shrink to this part.
const QUIET: f32 = 0.15;
/// Rotary pairs turning at least this much per token carry distance.
const FAST_RADIANS: f32 = 0.03;
/// The bag head uses pairs from `FAST_RADIANS` to this.
const BAG_RADIANS: f32 = 0.15;
/// Rotary pairs turning less than this per token carry content.
const SLOW_RADIANS: f32 = 0.02;

impl Model {
    /// A model with initial values drawn from `seed`.
    ///
    /// # Errors
    /// [`ShapeError`] when the shape's parts do not fit one another, or are too small for the
    /// structured start.
    pub fn initialised(shape: Shape, start: Start, seed: u64) -> Result<Self, ShapeError> {
        let mut model = Model::zeroed(shape)?;
        start.check(&model.shape)?;
        plain(&mut model, start, seed);
        if start == Start::Structured {
            let mut heads = Heads::of(&mut model);
            heads.look_back();
            heads.bag();
            heads.induction();
        }
        Ok(model)
    }
}

impl Start {
    /// Whether a model of `shape` can begin so.
    ///
    /// # Errors
    /// [`ShapeError`] names what is too small.
    pub fn check(self, shape: &Shape) -> Result<(), ShapeError> {
        let need = |field, found: &dyn ToString, expected: &str| ShapeError {
            field,
            found: found.to_string(),
            expected: format!("{expected} (structured start)"),
        };
        if self == Self::Plain {
            return Ok(());
        }
        if shape.layers < 2 {
            return Err(need("layers", &shape.layers, "at least 2"));
        }
        if shape.heads <= BAG_HEAD {
            return Err(need("heads", &shape.heads, "at least 4"));
        }
        if !shape.architecture.has_biases() {
            return Err(need("architecture", &shape.architecture.name(), "qwen2"));
        }
        if shape.kv_heads != shape.heads {
            return Err(need("kv_heads", &shape.kv_heads, "as many as heads"));
        }
        Ok(())
    }
}

/// A standard normal value (Box-Muller).
pub(super) fn normal(random: &mut ChaCha8Rng) -> f32 {
    let radius: f64 = 1.0 - random.random::<f64>();
    let angle: f64 = random.random::<f64>() * std::f64::consts::TAU;
    ((-2.0 * radius.ln()).sqrt() * angle.cos()) as f32
}

/// Standard deviation of a matrix that reads from the stream.
pub(super) fn deviation(shape: &Shape) -> f32 {
    0.6 / (shape.width as f32).sqrt()
}

fn plain(model: &mut Model, start: Start, seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let deviation = deviation(&model.shape);
    let into_stream = deviation / (2.0 * model.shape.layers as f32).sqrt();
    // Token identity must survive beside what block 0 adds, hence the large embeddings.
    let (embedding, final_gain) = match start {
        Start::Plain => (0.05, 1.0),
        Start::Structured => (0.5, 0.05),
    };
    for tensor in &model.layout.tensors {
        let values = &mut model.parameters[tensor.range()];
        let deviation = match tensor.role {
            Role::Embedding => embedding,
            Role::Matrix if writes_to_stream(&tensor.name) => into_stream,
            Role::Matrix => deviation,
            Role::Gain if tensor.name == "output_norm.weight" => {
                values.fill(final_gain);
                continue;
            }
            Role::Gain => {
                values.fill(1.0);
                continue;
            }
            Role::Bias => continue,
        };
        values.fill_with(|| normal(&mut random) * deviation);
    }
}

pub(super) fn writes_to_stream(name: &str) -> bool {
    name.ends_with("attn_output.weight") || name.ends_with("ffn_down.weight")
}

/// Writes heads into a model whose shape passed [`Start::check`].
struct Heads<'a> {
    model: &'a mut Model,
    radians: Vec<f32>,
}

impl<'a> Heads<'a> {
    fn of(model: &'a mut Model) -> Self {
        let head_width = model.shape.head_width;
        let radians = (0..head_width / 2)
            .map(|pair| model.shape.rope_base.powf(-2.0 * pair as f32 / head_width as f32))
            .collect();
        Heads { model, radians }
    }

    fn pairs(&self, turning: impl Fn(f32) -> bool) -> Vec<usize> {
        (0..self.radians.len()).filter(|pair| turning(self.radians[*pair])).collect()
    }

    /// Both rows of each slow pair.
    fn slow_rows(&self) -> Vec<usize> {
        let slow = self.pairs(|radians| radians < SLOW_RADIANS);
        let half = self.radians.len();
        slow.iter().copied().chain(slow.iter().map(|pair| pair + half)).collect()
    }

    /// Row `row` of head `head` in part `part` (0 query, 1 key, 2 value) of a block.
    fn projection(&self, block: usize, part: usize, head: usize, row: usize) -> Range<usize> {
        let shape = &self.model.shape;
        let row = part * shape.query_width() + head * shape.head_width + row;
        let start = self.model.layout.blocks[block].qkv.start + row * shape.width;
        start..start + shape.width
    }

    fn bias(&self, block: usize, part: usize, head: usize, row: usize) -> usize {
        let shape = &self.model.shape;
        self.model.layout.blocks[block].qkv_bias.start
            + part * shape.query_width()
            + head * shape.head_width
            + row
    }

    /// Where head `head`'s input `row` enters output `output` of a block's output projection.
    fn output(&self, block: usize, output: usize, head: usize, row: usize) -> usize {
        let shape = &self.model.shape;
        self.model.layout.blocks[block].output.start
            + output * shape.query_width()
            + head * shape.head_width
            + row
    }

    /// Column `row` of head `head` in a block's output projection.
    fn output_column(&self, block: usize, head: usize, row: usize) -> Vec<f32> {
        (0..self.model.shape.width)
            .map(|output| self.model.parameters[self.output(block, output, head, row)])
            .collect()
    }

    /// Leaves a head of block 0 to its biases, and lets it write at full scale.
    fn quiet(&mut self, head: usize) {
        for row in 0..self.model.shape.head_width {
            for part in 0..2 {
                let range = self.projection(0, part, head, row);
                self.model.parameters[range].iter_mut().for_each(|weight| *weight *= QUIET);
            }
            for output in 0..self.model.shape.width {
                let index = self.output(0, output, head, row);
                self.model.parameters[index] *= (2.0 * self.model.shape.layers as f32).sqrt();
            }
        }
    }

    /// Scores peak where the key stands `distance` tokens before the query.
    fn attend_at(&mut self, head: usize, pairs: &[usize], bias: f32, distance: f32) {
        let half = self.radians.len();
        for pair in pairs {
            let angle = self.radians[*pair] * distance;
            let key = self.bias(0, 1, head, *pair);
            let query = self.bias(0, 0, head, *pair);
            self.model.parameters[key] = bias;
            self.model.parameters[query] = bias * angle.cos();
            self.model.parameters[query + half] = -bias * angle.sin();
        }
    }

    fn look_back(&mut self) {
        let fast = self.pairs(|radians| radians >= FAST_RADIANS);
        for head in 0..LOOK_BACK_HEADS {
            self.quiet(head);
            self.attend_at(head, &fast, LOOK_BACK_BIAS, (head + 1) as f32);
        }
    }

    fn bag(&mut self) {
        let middle = self.pairs(|radians| (FAST_RADIANS..=BAG_RADIANS).contains(&radians));
        self.quiet(BAG_HEAD);
        self.attend_at(BAG_HEAD, &middle, BAG_BIAS, 0.0);
    }

    /// A query asks for its own token, a key offers the token look-back head `head` saw; both add
    /// the words nearby, so that of two equal tokens the one in the same surroundings wins.
    fn induction(&mut self) {
        let (width, head_width) = (self.model.shape.width, self.model.shape.head_width);
        let slow = self.slow_rows();
        for head in 0..INDUCTION_HEADS {
            for row in 0..head_width {
                let (query, key) =
                    (self.projection(1, 0, head, row), self.projection(1, 1, head, row));
                self.model.parameters[query.clone()].fill(0.0);
                self.model.parameters[key.clone()].fill(0.0);
                if !slow.contains(&row) {
                    continue;
                }
                let own = self.model.parameters[self.projection(0, 2, head, row)].to_vec();
                let seen = self.output_column(0, head, row);
                let nearby = self.output_column(0, BAG_HEAD, row);
                for column in 0..width {
                    let nearby = 1.2 * nearby[column];
                    self.model.parameters[query.start + column] = 3.0 * own[column] + nearby;
                    self.model.parameters[key.start + column] = 3.0 * seen[column] + nearby;
                }
            }
            for row in 0..head_width {
                let value = self.model.parameters[self.projection(1, 2, head, row)].to_vec();
                for (output, weight) in value.into_iter().enumerate() {
                    let index = self.output(1, output, head, row);
                    self.model.parameters[index] = 5.0 * weight;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Batch, Workspace};

    /// Attention weights of one head at one position, from the tape of the last pass.
    fn weights(model: &Model, tape: &Workspace, block: usize, head: usize, at: usize) -> Vec<f32> {
        let (row, width) = (model.shape.qkv_width(), model.shape.head_width);
        let part = |position: usize, part: usize| {
            let start = position * row + part * model.shape.query_width() + head * width;
            &tape.blocks[block].qkv[start..start + width]
        };
        let scores = (0..=at).map(|key| {
            let products = part(at, 0).iter().zip(part(key, 1)).map(|(a, b)| a * b);
            (products.sum::<f32>() / (width as f32).sqrt()).exp()
        });
        let scores: Vec<f32> = scores.collect();
        let sum: f32 = scores.iter().sum();
        scores.iter().map(|score| score / sum).collect()
    }

    #[test]
    fn structured_heads_look_where_they_should() {
        let model = Model::initialised(Shape::small(600), Start::Structured, 1).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let half: Vec<u32> = (0..40).map(|_| random.random_range(0..600)).collect();
        let ids: Vec<u32> = half.iter().chain(&half).copied().collect();
        let mut batch = Batch::default();
        batch.push(&ids, &[true; 80]);
        let mut tape = Workspace::default();
        model.evaluate(&batch, &mut tape);
        for at in 50..79 {
            for distance in 1..=3 {
                assert!(weights(&model, &tape, 0, distance - 1, at)[at - distance] > 0.9);
            }
        }
        // The token stood 40 places before; the head looks at what followed it, 15 times as much
        // as chance would.
        let found: f32 = (50..79).map(|at| weights(&model, &tape, 1, 0, at)[at - 39]).sum();
        assert!(found / 29.0 > 0.12, "{}", found / 29.0);
    }

    #[test]
    fn the_structured_start_refuses_grouped_heads() {
        let shape = Shape { kv_heads: 2, ..Shape::small(300) };
        assert!(Model::initialised(shape, Start::Structured, 1).is_err());
    }
}
