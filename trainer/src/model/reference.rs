//! Tests of the network: a brute-force forward pass in double precision, one token at a time from
//! the named tensors, and gradients by finite differences of the loss.
#![allow(clippy::unwrap_used)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Architecture, Batch, Llama3Rope, Model, Shape, Start, Workspace};

struct Named<'a>(&'a Model);

impl Named<'_> {
    fn values(&self, name: &str) -> Vec<f64> {
        let range = self.0.layout.tensor(name).unwrap().range();
        self.0.parameters[range].iter().map(|x| f64::from(*x)).collect()
    }

    fn product(&self, name: &str, input: &[f64]) -> Vec<f64> {
        let weight = self.values(name);
        weight
            .chunks(input.len())
            .map(|row| row.iter().zip(input).map(|(a, b)| a * b).sum())
            .collect()
    }

    /// Query, key or value of a token, with what the architecture does to it before it is turned.
    fn heads(&self, layer: usize, part: &str, input: &[f64]) -> Vec<f64> {
        let architecture = self.0.shape.architecture;
        let mut product = self.product(&format!("blk.{layer}.attn_{part}.weight"), input);
        if architecture.has_biases() {
            let bias = self.values(&format!("blk.{layer}.attn_{part}.bias"));
            product.iter_mut().zip(bias).for_each(|(a, b)| *a += b);
        }
        if architecture.has_head_gains() && part != "v" {
            let name = format!("blk.{layer}.attn_{part}_norm.weight");
            let heads = product.chunks(self.0.shape.head_width);
            product = heads.flat_map(|head| self.norm(&name, head)).collect();
        }
        product
    }

    fn norm(&self, name: &str, input: &[f64]) -> Vec<f64> {
        let mean = input.iter().map(|x| x * x).sum::<f64>() / input.len() as f64;
        let inverse = 1.0 / (mean + f64::from(self.0.shape.epsilon)).sqrt();
        input.iter().zip(self.values(name)).map(|(x, gain)| x * inverse * gain).collect()
    }

    fn turn(&self, heads: &mut [f64], position: usize) {
        let width = self.0.shape.head_width;
        for head in heads.chunks_mut(width) {
            for pair in 0..width / 2 {
                let base = f64::from(self.0.shape.rope_base);
                let stretch = self.0.shape.llama3_rope.map(|rope| rope.factors(base as f32, width));
                let stretch = stretch.map_or(1.0, |factors| f64::from(factors[pair]));
                let angle =
                    position as f64 * base.powf(-2.0 * pair as f64 / width as f64) / stretch;
                let (a, b) = (head[pair], head[pair + width / 2]);
                head[pair] = a * angle.cos() - b * angle.sin();
                head[pair + width / 2] = a * angle.sin() + b * angle.cos();
            }
        }
    }

    fn attend(&self, layer: usize, normed: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let shape = &self.0.shape;
        let width = shape.head_width;
        let project = |part: &str, turned: bool| -> Vec<Vec<f64>> {
            let rows = normed.iter().enumerate().map(|(position, row)| {
                let mut heads = self.heads(layer, part, row);
                if turned {
                    self.turn(&mut heads, position);
                }
                heads
            });
            rows.collect()
        };
        let (queries, keys, values) = (project("q", true), project("k", true), project("v", false));
        let mut out = Vec::new();
        for (position, query) in queries.iter().enumerate() {
            let mut row = Vec::new();
            for (head, query) in query.chunks(width).enumerate() {
                let kv = head / (shape.heads / shape.kv_heads) * width;
                let weights: Vec<f64> = keys[..=position]
                    .iter()
                    .map(|key| {
                        let dot: f64 =
                            query.iter().zip(&key[kv..kv + width]).map(|(a, b)| a * b).sum();
                        (dot / (width as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                row.extend((kv..kv + width).map(|column| {
                    let seen = weights.iter().zip(&values);
                    seen.map(|(weight, value)| weight * value[column]).sum::<f64>() / sum
                }));
            }
            out.push(row);
        }
        out
    }

    /// Logits at every position of one sequence.
    fn logits(&self, ids: &[u32]) -> Vec<Vec<f64>> {
        let width = self.0.shape.width;
        let embedding = self.values("token_embd.weight");
        let mut stream: Vec<Vec<f64>> =
            ids.iter().map(|id| embedding[*id as usize * width..][..width].to_vec()).collect();
        for layer in 0..self.0.shape.layers {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let normed: Vec<_> =
                stream.iter().map(|row| self.norm(&name("attn_norm"), row)).collect();
            for (row, attended) in stream.iter_mut().zip(self.attend(layer, &normed)) {
                let added = self.product(&name("attn_output"), &attended);
                row.iter_mut().zip(added).for_each(|(x, y)| *x += y);
                let normed = self.norm(&name("ffn_norm"), row);
                let (gate, up) = (
                    self.product(&name("ffn_gate"), &normed),
                    self.product(&name("ffn_up"), &normed),
                );
                let inner: Vec<f64> =
                    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                let added = self.product(&name("ffn_down"), &inner);
                row.iter_mut().zip(added).for_each(|(x, y)| *x += y);
            }
        }
        let normed = stream.iter().map(|row| self.norm("output_norm.weight", row));
        let head = if self.0.shape.tied { "token_embd.weight" } else { "output.weight" };
        normed.map(|row| self.product(head, &row)).collect()
    }
}

/// Shapes that differ in all that architectures differ in.
pub(crate) fn shapes() -> [Shape; 5] {
    let qwen2 = |kv_heads| Shape {
        width: 24,
        layers: 2,
        heads: 4,
        kv_heads,
        head_width: 6,
        feed_forward: 20,
        context_tokens: 200,
        ..Shape::small(40)
    };
    let rope = Llama3Rope {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64.0,
    };
    let qwen3 = Shape { architecture: Architecture::Qwen3, head_width: 10, ..qwen2(2) };
    let llama = Shape { architecture: Architecture::Llama, tied: false, ..qwen2(2) };
    let llama = Shape { llama3_rope: Some(rope), ..llama };
    [qwen2(1), qwen2(2), qwen2(4), qwen3, llama]
}

pub(crate) fn tiny(shape: Shape) -> Model {
    let mut model = Model::initialised(shape, Start::Plain, 3).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(4);
    // Biases, gains and large weights, so that every term of the gradient counts.
    for value in &mut model.parameters {
        *value = *value * 2.0 + (random.random::<f32>() - 0.5) * 0.4;
    }
    model
}

fn sequences(count: usize, longest: usize) -> Vec<(Vec<u32>, Vec<bool>)> {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let one = |random: &mut ChaCha8Rng| {
        let length = random.random_range(2..=longest);
        let ids = (0..length).map(|_| random.random_range(0..40)).collect();
        let learned = (0..length).map(|index| index + 1 == length || random.random::<f32>() < 0.4);
        (ids, learned.collect())
    };
    (0..count).map(|_| one(&mut random)).collect()
}

fn batch_of(sequences: &[(Vec<u32>, Vec<bool>)]) -> Batch {
    let mut batch = Batch::default();
    for (ids, learned) in sequences {
        batch.push(ids, learned);
    }
    batch
}

#[test]
fn loss_and_predictions_equal_the_reference() {
    for shape in shapes() {
        let model = tiny(shape);
        // Long enough for three blocks of query rows.
        let sequences = sequences(6, 150);
        let batch = batch_of(&sequences);
        batch.check(&model.shape).unwrap();
        let mut workspace = Workspace::default();
        let loss = model.evaluate(&batch, &mut workspace);
        let mut expected = 0.0;
        let mut best = Vec::new();
        for (ids, learned) in &sequences {
            let logits = Named(&model).logits(ids);
            for index in (1..ids.len()).filter(|index| learned[*index]) {
                let row = &logits[index - 1];
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                expected += sum.ln() - row[ids[index] as usize];
                best.push(
                    (0..row.len())
                        .max_by(|a, b| row[*a].total_cmp(&row[*b]))
                        .unwrap() as u32,
                );
            }
        }
        assert!((loss / expected - 1.0).abs() < 1e-5, "{loss} {expected}");
        assert_eq!(workspace.predicted, best);
        let soft = model.most_probable(&batch, 3, &mut workspace);
        let first: Vec<u32> = soft.tokens.chunks(3).map(|tokens| tokens[0]).collect();
        assert_eq!(first, best);
    }
}

#[test]
fn gradients_equal_finite_differences_for_every_tensor() {
    for shape in shapes().into_iter().skip(1) {
        let model = tiny(shape.clone());
        let sequences = sequences(4, 90);
        let mut batch = batch_of(&sequences);
        let mut workspace = Workspace::default();
        // One of the tokens that share the loss may be the one that follows.
        batch.soft = model.most_probable(&batch, 3, &mut workspace);
        batch.soft.shares.iter_mut().for_each(|share| *share *= 0.6);
        model.differentiate(&batch, 1.0, &mut workspace);
        let gradient = workspace.gradient.clone();
        let mut random = ChaCha8Rng::seed_from_u64(6);
        for tensor in &model.layout.tensors {
            // The derivative along a random direction covers every element of the tensor.
            let direction: Vec<f32> =
                tensor.range().map(|_| if random.random::<bool>() { 1.0 } else { -1.0 }).collect();
            // A vector's few values need a longer step to be heard above rounding.
            let step = if tensor.rows == 1 { 8e-4 } else { 2e-4 };
            let mut shifted = |steps: f32| {
                let mut model = tiny(shape.clone());
                let values = &mut model.parameters[tensor.range()];
                values.iter_mut().zip(&direction).for_each(|(x, d)| *x += steps * step * d);
                model.evaluate(&batch, &mut workspace)
            };
            // Four points: the error falls with the fourth power of the step.
            let near = shifted(1.0) - shifted(-1.0);
            let far = shifted(2.0) - shifted(-2.0);
            let measured = (8.0 * near - far) / (12.0 * f64::from(step));
            let parts = gradient[tensor.range()].iter().zip(&direction);
            let derived: f64 = parts.clone().map(|(g, d)| f64::from(g * d)).sum();
            let size: f64 = parts.map(|(g, _)| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let error = (measured - derived).abs() / size.max(1.0);
            assert!(error < 5e-3, "{}: {measured} against {derived} ({size})", tensor.name);
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let [.., model] = shapes().map(tiny);
    let unknown = Batch { ids: vec![40], lengths: vec![1], ..Batch::default() };
    let error = unknown.check(&model.shape).unwrap_err().to_string();
    assert_eq!(error, "token 40 is outside the vocabulary of 40");
    let long = Batch { ids: vec![0; 201], lengths: vec![201], ..Batch::default() };
    assert!(long.check(&model.shape).is_err());
    let torn = Batch { ids: vec![0; 3], lengths: vec![2], ..Batch::default() };
    assert!(torn.check(&model.shape).is_err());
}
