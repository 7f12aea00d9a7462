//! Which tensor of a checkpoint becomes which of a GGUF file.

use crate::model::{Architecture, Role, Shape, Tensor};

/// Where the values of a tensor come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A tensor of the checkpoint.
    Stored {
        /// Its name there.
        name: String,
        /// Rows of a head, where the pairs that a rotary angle turns must move: transformers has
        /// the second of each pair half a head further on, llama.cpp's Llama right beside the first.
        paired: Option<usize>,
    },
    /// These.
    Values(Vec<f32>),
}

/// A tensor of the GGUF file, and its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Name, sizes and role.
    pub tensor: Tensor,
    /// Where its values come from.
    pub source: Source,
}

impl Part {
    /// Name of the tensor in the checkpoint, where it is stored.
    #[must_use]
    pub fn stored_name(&self) -> Option<&str> {
        match &self.source {
            Source::Stored { name, .. } => Some(name),
            Source::Values(_) => None,
        }
    }

    /// Name of the layer that a stored weight belongs to.
    #[must_use]
    pub fn module(&self) -> Option<&str> {
        self.stored_name()?.strip_suffix(".weight")
    }

    /// The row of the checkpoint that becomes `row`.
    #[must_use]
    pub fn stored_row(&self, row: usize) -> usize {
        match self.source {
            Source::Stored { paired: Some(head), .. } => {
                let (start, within) = (row / head * head, row % head);
                start + within / 2 + (within % 2) * (head / 2)
            }
            _ => row,
        }
    }
}

/// All tensors of such a model, in the order of the file.
#[must_use]
pub fn parts(shape: &Shape) -> Vec<Part> {
    let (tokens, width, half) = (shape.vocabulary, shape.width, shape.head_width / 2);
    let embedding = Size { rows: tokens, columns: width, role: Role::Embedding };
    let gain = Size { rows: 1, columns: width, role: Role::Gain };
    let mut parts = vec![part("token_embd.weight", "model.embed_tokens.weight", embedding)];
    if let Some(rope) = shape.llama3_rope {
        let source = Source::Values(rope.factors(shape.rope_base, shape.head_width));
        let size = Size { rows: 1, columns: half, role: Role::Gain };
        parts.push(Part { source, ..part("rope_freqs.weight", "", size) });
    }
    parts.extend((0..shape.layers).flat_map(|layer| block(shape, layer)));
    parts.push(part("output_norm.weight", "model.norm.weight", gain));
    if !shape.tied {
        parts.push(part("output.weight", "lm_head.weight", embedding));
    }
    parts
}

fn block(shape: &Shape, layer: usize) -> Vec<Part> {
    let (width, inner, head) = (shape.width, shape.feed_forward, shape.head_width);
    let (query, kv) = (shape.query_width(), shape.kv_width());
    let own = |to: &str, from: &str, size| {
        part(&format!("blk.{layer}.{to}"), &format!("model.layers.{layer}.{from}"), size)
    };
    let matrix = |to: &str, from: &str, rows, columns| {
        let size = Size { rows, columns, role: Role::Matrix };
        own(&format!("{to}.weight"), &format!("{from}.weight"), size)
    };
    let vector = |to, from, columns, role| own(to, from, Size { rows: 1, columns, role });
    let turned = |to, from, rows| {
        let mut part = matrix(to, from, rows, width);
        if let (Source::Stored { paired, .. }, Architecture::Llama) =
            (&mut part.source, shape.architecture)
        {
            *paired = Some(head);
        }
        part
    };
    let mut parts = vec![
        vector("attn_norm.weight", "input_layernorm.weight", width, Role::Gain),
        turned("attn_q", "self_attn.q_proj", query),
        turned("attn_k", "self_attn.k_proj", kv),
        matrix("attn_v", "self_attn.v_proj", kv, width),
        matrix("attn_output", "self_attn.o_proj", width, query),
        vector("ffn_norm.weight", "post_attention_layernorm.weight", width, Role::Gain),
        matrix("ffn_gate", "mlp.gate_proj", inner, width),
        matrix("ffn_up", "mlp.up_proj", inner, width),
        matrix("ffn_down", "mlp.down_proj", width, inner),
    ];
    match shape.architecture {
        Architecture::Llama => {}
        Architecture::Qwen2 => parts.extend([
            vector("attn_q.bias", "self_attn.q_proj.bias", query, Role::Bias),
            vector("attn_k.bias", "self_attn.k_proj.bias", kv, Role::Bias),
            vector("attn_v.bias", "self_attn.v_proj.bias", kv, Role::Bias),
        ]),
        Architecture::Qwen3 => parts.extend([
            vector("attn_q_norm.weight", "self_attn.q_norm.weight", head, Role::Gain),
            vector("attn_k_norm.weight", "self_attn.k_norm.weight", head, Role::Gain),
        ]),
    }
    parts
}

#[derive(Clone, Copy)]
struct Size {
    rows: usize,
    columns: usize,
    role: Role,
}

fn part(to: &str, from: &str, size: Size) -> Part {
    let Size { rows, columns, role } = size;
    let tensor = Tensor { name: to.to_owned(), rows, columns, offset: 0, role };
    Part { tensor, source: Source::Stored { name: from.to_owned(), paired: None } }
}
