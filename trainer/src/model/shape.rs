//! The size of a model, and where each tensor lies in the flat parameter vector.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Architecture, Llama3Rope};

/// What a model is built of, and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// What its blocks consist of.
    #[serde(default)]
    pub architecture: Architecture,
    /// Whether the embedding is the output head too.
    #[serde(default = "tied")]
    pub tied: bool,
    /// Stretched rotary angles.
    #[serde(default)]
    pub llama3_rope: Option<Llama3Rope>,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head, even; qwen2 has `width / heads`.
    pub head_width: usize,
    /// Inner width of the feed-forward part.
    pub feed_forward: usize,
    /// Base of the rotary angles.
    pub rope_base: f32,
    /// Added to the mean square in RMSNorm.
    pub epsilon: f32,
    /// Tokens of the longest sequence.
    pub context_tokens: usize,
}

fn tied() -> bool {
    true
}

/// Why a [`Shape`] cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("model shape: {field} is {found}, expected {expected}")]
pub struct ShapeError {
    /// The field at fault.
    pub field: &'static str,
    /// Its value.
    pub found: String,
    /// What it must be.
    pub expected: String,
}

impl Shape {
    /// The small student: 0.8 M parameters at about a thousand tokens of vocabulary.
    #[must_use]
    pub fn small(vocabulary: usize) -> Self {
        Shape {
            architecture: Architecture::Qwen2,
            tied: true,
            llama3_rope: None,
            vocabulary,
            width: 128,
            layers: 4,
            heads: 4,
            kv_heads: 4,
            head_width: 32,
            feed_forward: 256,
            rope_base: 10_000.0,
            epsilon: 1e-6,
            context_tokens: 2048,
        }
    }

    /// Qwen2.5-0.5B.
    #[must_use]
    pub fn qwen2_half_billion() -> Self {
        Shape {
            width: 896,
            layers: 24,
            heads: 14,
            kv_heads: 2,
            head_width: 64,
            feed_forward: 4864,
            rope_base: 1_000_000.0,
            context_tokens: 32_768,
            ..Self::small(151_936)
        }
    }

    /// Rows of the query projection.
    #[must_use]
    pub fn query_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Rows of the key projection, and of the value projection.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_width
    }

    /// Query, key and value side by side.
    #[must_use]
    pub fn qkv_width(&self) -> usize {
        self.query_width() + 2 * self.kv_width()
    }

    /// Checks that the parts fit one another. The heads together may be wider than the model, as
    /// Qwen3's are.
    ///
    /// # Errors
    /// [`ShapeError`] names the first field that does not fit.
    pub fn check(&self) -> Result<(), ShapeError> {
        let sizes = [
            ("vocabulary", self.vocabulary, 1 << 20),
            ("width", self.width, 1 << 16),
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, 1 << 10),
            ("kv_heads", self.kv_heads, 1 << 10),
            ("head_width", self.head_width, 1 << 10),
            ("feed_forward", self.feed_forward, 1 << 18),
            ("context_tokens", self.context_tokens, 1 << 20),
        ];
        for (field, found, most) in sizes {
            if found == 0 || found > most {
                return Err(refused(field, found, format!("1 to {most}")));
            }
        }
        let is_small = self.epsilon > 0.0 && self.epsilon < 1.0;
        if !is_small {
            return Err(refused("epsilon", self.epsilon, "above 0 and below 1".into()));
        }
        if !(self.rope_base.is_finite() && self.rope_base >= 1.0) {
            return Err(refused("rope_base", self.rope_base, "1 or more".into()));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(refused("kv_heads", self.kv_heads, format!("a divisor of {}", self.heads)));
        }
        if !self.head_width.is_multiple_of(2) {
            return Err(refused("head_width", self.head_width, "an even number".into()));
        }
        Ok(())
    }
}

fn refused(field: &'static str, found: impl ToString, expected: String) -> ShapeError {
    ShapeError { field, found: found.to_string(), expected }
}

/// What a tensor is to the optimiser, the initialiser and the exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Token embedding, also the output head.
    Embedding,
    /// A matrix inside a block.
    Matrix,
    /// Gain of a norm.
    Gain,
    /// Bias of a projection.
    Bias,
}

/// A tensor of the flat parameter vector. Matrices are row-major, one row per output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in a GGUF file.
    pub name: String,
    /// Outputs; 1 for a vector.
    pub rows: usize,
    /// Inputs; the length of a vector.
    pub columns: usize,
    /// Where it begins in the flat vector.
    pub offset: usize,
    /// What it is.
    pub role: Role,
}

impl Tensor {
    /// Its part of the flat vector.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.rows * self.columns
    }
}

/// The ranges of one block in the flat vector. Query, key and value follow each other, so do gate
/// and up: one product serves each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Gain before attention.
    pub attention_gain: Range<usize>,
    /// Query, key, value weights, stacked.
    pub qkv: Range<usize>,
    /// Query, key, value biases, stacked; empty where there are none.
    pub qkv_bias: Range<usize>,
    /// Gains on each head of query and of key; empty where there are none.
    pub head_gains: [Range<usize>; 2],
    /// Output projection of attention.
    pub output: Range<usize>,
    /// Gain before the feed-forward part.
    pub feed_forward_gain: Range<usize>,
    /// Gate and up weights, stacked.
    pub gate_up: Range<usize>,
    /// Down projection.
    pub down: Range<usize>,
}

/// Named views of the flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// All tensors in order.
    pub tensors: Vec<Tensor>,
    /// Token embedding.
    pub embedding: Range<usize>,
    /// Output head; the embedding where it is tied.
    pub head: Range<usize>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Gain before the head.
    pub final_gain: Range<usize>,
    /// Length of the flat vector.
    pub parameters: usize,
}

impl Layout {
    /// Lays out the tensors of a shape.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let mut builder = Builder::default();
        let width = shape.width;
        let embedding = builder.add("token_embd.weight", shape.vocabulary, width, Role::Embedding);
        let blocks = (0..shape.layers).map(|layer| builder.block(shape, layer)).collect();
        let final_gain = builder.add("output_norm.weight", 1, width, Role::Gain);
        let head = match shape.tied {
            true => embedding.clone(),
            false => builder.add("output.weight", shape.vocabulary, width, Role::Embedding),
        };
        let parameters = builder.offset;
        Layout { tensors: builder.tensors, embedding, head, blocks, final_gain, parameters }
    }

    /// The tensor of a name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

#[derive(Default)]
struct Builder {
    tensors: Vec<Tensor>,
    offset: usize,
}

impl Builder {
    fn add(&mut self, name: &str, rows: usize, columns: usize, role: Role) -> Range<usize> {
        let offset = self.offset;
        self.offset += rows * columns;
        self.tensors.push(Tensor { name: name.to_owned(), rows, columns, offset, role });
        offset..self.offset
    }

    fn group(
        &mut self,
        layer: usize,
        parts: &[(&str, usize)],
        columns: usize,
        role: Role,
    ) -> Range<usize> {
        let start = self.offset;
        for (part, rows) in parts {
            let name = format!("blk.{layer}.{part}");
            match role {
                Role::Bias | Role::Gain => self.add(&name, 1, *rows, role),
                Role::Matrix | Role::Embedding => self.add(&name, *rows, columns, role),
            };
        }
        start..self.offset
    }

    fn block(&mut self, shape: &Shape, layer: usize) -> Block {
        let (width, query, kv) = (shape.width, shape.query_width(), shape.kv_width());
        let inner = shape.feed_forward;
        let biases: &[_] = match shape.architecture.has_biases() {
            true => &[("attn_q.bias", query), ("attn_k.bias", kv), ("attn_v.bias", kv)],
            false => &[],
        };
        Block {
            attention_gain: self.group(layer, &[("attn_norm.weight", width)], 1, Role::Gain),
            qkv: self.group(
                layer,
                &[("attn_q.weight", query), ("attn_k.weight", kv), ("attn_v.weight", kv)],
                width,
                Role::Matrix,
            ),
            qkv_bias: self.group(layer, biases, 1, Role::Bias),
            head_gains: ["attn_q_norm.weight", "attn_k_norm.weight"].map(|name| {
                let gain = [(name, shape.head_width)];
                let count = usize::from(shape.architecture.has_head_gains());
                self.group(layer, &gain[..count], 1, Role::Gain)
            }),
            output: self.group(layer, &[("attn_output.weight", width)], query, Role::Matrix),
            feed_forward_gain: self.group(layer, &[("ffn_norm.weight", width)], 1, Role::Gain),
            gate_up: self.group(
                layer,
                &[("ffn_gate.weight", inner), ("ffn_up.weight", inner)],
                width,
                Role::Matrix,
            ),
            down: self.group(layer, &[("ffn_down.weight", width)], inner, Role::Matrix),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_parameters_of_published_shapes() {
        assert_eq!(Layout::new(&Shape::qwen2_half_billion()).parameters, 494_032_768);
        let small = Layout::new(&Shape::small(929));
        assert_eq!(small.tensors.len(), 2 + 4 * 12);
        assert_eq!(small.tensor("blk.3.ffn_down.weight").unwrap().columns, 256);
        assert_eq!(small.tensors.last().unwrap().range().end, small.parameters);
    }

    #[test]
    fn refuses_a_shape_by_its_field() {
        let shape = Shape { head_width: 31, ..Shape::small(300) };
        assert_eq!(
            shape.check().unwrap_err().to_string(),
            "model shape: head_width is 31, expected an even number"
        );
        Shape::small(300).check().unwrap();
        Shape::qwen2_half_billion().check().unwrap();
    }
}
