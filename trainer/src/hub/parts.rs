//! Which tensor of a checkpoint becomes which of a GGUF file.

use crate::model::{Architecture, Layout, Role, Shape, Tensor};

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

/// Names of tensors in a GGUF file and in a checkpoint.
const WHOLE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];
/// The same behind `blk.N.` and `model.layers.N.`.
const BLOCK: [(&str, &str); 14] = [
    ("attn_norm.weight", "input_layernorm.weight"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_q.bias", "self_attn.q_proj.bias"),
    ("attn_k.bias", "self_attn.k_proj.bias"),
    ("attn_v.bias", "self_attn.v_proj.bias"),
    ("attn_q_norm.weight", "self_attn.q_norm.weight"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("ffn_norm.weight", "post_attention_layernorm.weight"),
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
];
/// Of these Llama's rows move.
const TURNED: [&str; 2] = ["attn_q.weight", "attn_k.weight"];

/// All tensors of such a model, in the order of the file.
#[must_use]
pub fn parts(shape: &Shape) -> Vec<Part> {
    let tensors = Layout::new(shape).tensors.into_iter();
    let mut parts: Vec<Part> =
        tensors.map(|tensor| Part { source: stored(&tensor.name, shape), tensor }).collect();
    if let Some(rope) = shape.llama3_rope {
        let values = rope.factors(shape.rope_base, shape.head_width);
        let (name, columns) = ("rope_freqs.weight".to_owned(), values.len());
        let tensor = Tensor { name, rows: 1, columns, offset: 0, role: Role::Gain };
        // Behind the embedding.
        parts.insert(1, Part { tensor, source: Source::Values(values) });
    }
    parts
}

/// Where the checkpoint has the tensor `name` of the GGUF file.
fn stored(name: &str, shape: &Shape) -> Source {
    let theirs = |names: &[(&'static str, &'static str)], own: &str| {
        names.iter().find(|(ours, _)| *ours == own).map_or("", |(_, theirs)| theirs)
    };
    let in_block = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let Some((layer, part)) = in_block else {
        return Source::Stored { name: theirs(&WHOLE, name).to_owned(), paired: None };
    };
    let turns = shape.architecture == Architecture::Llama && TURNED.contains(&part);
    let name = format!("model.layers.{layer}.{}", theirs(&BLOCK, part));
    Source::Stored { name, paired: turns.then_some(shape.head_width) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_tensor_has_a_name_of_its_own_in_a_checkpoint() {
        for architecture in [Architecture::Qwen2, Architecture::Qwen3, Architecture::Llama] {
            let shape = Shape { architecture, tied: false, ..Shape::small(300) };
            let parts = parts(&shape);
            let names: BTreeSet<&str> = parts.iter().filter_map(Part::stored_name).collect();
            assert_eq!(names.len(), Layout::new(&shape).tensors.len(), "{architecture:?}");
            assert!(names.iter().all(|name| !name.is_empty() && !name.ends_with('.')), "{names:?}");
        }
    }
}
