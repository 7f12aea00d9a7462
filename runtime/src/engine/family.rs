//! The profile check: is this header one that a known architecture demands, to the last tensor?
//! llama.cpp aborts on many files that are not, and nothing in Rust could catch that.

use std::collections::BTreeMap;

use super::gguf::{GgufError, Header, TensorInfo};

/// What the check learnt of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// `qwen2`, `qwen3` or `llama`.
    pub architecture: String,
    /// Tokens the model was trained to hold.
    pub context_tokens: u32,
    /// Tokens in the vocabulary.
    pub vocabulary: u64,
    /// Bytes of keys and values that a token of the context takes, at 16 bits each.
    pub context_token_bytes: u64,
}

/// Hyper-parameters, inside sane ranges and consistent with one another.
struct Shape {
    layers: u64,
    width: u64,
    feed_forward: u64,
    query: u64,
    key_value: u64,
    head: u64,
    vocabulary: u64,
    tied: bool,
    architecture: Architecture,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
}

/// ggml's type numbers that the CPU has kernels for: elements and bytes of a block.
const TYPES: [(u32, u64, u64); 14] = [
    (0, 1, 4),      // F32
    (1, 1, 2),      // F16
    (2, 32, 18),    // Q4_0
    (3, 32, 20),    // Q4_1
    (6, 32, 22),    // Q5_0
    (7, 32, 24),    // Q5_1
    (8, 32, 34),    // Q8_0
    (10, 256, 84),  // Q2_K
    (11, 256, 110), // Q3_K
    (12, 256, 144), // Q4_K
    (13, 256, 176), // Q5_K
    (14, 256, 210), // Q6_K
    (20, 32, 18),   // IQ4_NL
    (30, 1, 2),     // BF16
];

/// Checks `header` against its family; `file_bytes` is the length of the whole file.
///
/// # Errors
/// The first thing that is not as the architecture demands.
pub fn check(header: &Header, file_bytes: u64) -> Result<Family, GgufError> {
    let name = header.text("general.architecture")?;
    let architecture = match name {
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            return Err(wrong(format!("architecture {other}, expected qwen2, qwen3 or llama")));
        }
    };
    let vocabulary = check_vocabulary(header)?;
    let shape = Shape::read(header, name, architecture, vocabulary)?;
    check_tensors(header, &shape, file_bytes)?;
    let context = in_range(header, &format!("{name}.context_length"), 16, 1 << 24)?;
    let context_tokens = u32::try_from(context).unwrap_or(u32::MAX);
    let context_token_bytes = shape.layers * 2 * shape.key_value * 2;
    Ok(Family { architecture: name.to_owned(), context_tokens, vocabulary, context_token_bytes })
}

pub(super) fn wrong(message: String) -> GgufError {
    GgufError::Malformed(message)
}

fn in_range(header: &Header, key: &str, least: u64, most: u64) -> Result<u64, GgufError> {
    let value = header.integer(key)?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(wrong(format!("{key} is {value}, expected {least}..={most}")))
}

impl Shape {
    fn read(
        header: &Header,
        name: &str,
        architecture: Architecture,
        vocabulary: u64,
    ) -> Result<Self, GgufError> {
        let key = |suffix: &str| format!("{name}.{suffix}");
        let layers = in_range(header, &key("block_count"), 1, 512)?;
        let width = in_range(header, &key("embedding_length"), 32, 65_536)?;
        let feed_forward = in_range(header, &key("feed_forward_length"), 32, 524_288)?;
        let heads = in_range(header, &key("attention.head_count"), 1, 1024)?;
        let kv_heads = in_range(header, &key("attention.head_count_kv"), 1, heads)?;
        let has_head = header.metadata.contains_key(&key("attention.key_length"));
        let head = if has_head {
            in_range(header, &key("attention.key_length"), 2, 1024)?
        } else {
            width / heads
        };
        let consistent =
            heads % kv_heads == 0 && head % 2 == 0 && (has_head || head * heads == width);
        if !consistent {
            return Err(wrong(format!(
                "{heads} heads, {kv_heads} key-value heads and width {width} do not fit together"
            )));
        }
        let epsilon_key = key("attention.layer_norm_rms_epsilon");
        let epsilon = header.float(&epsilon_key)?;
        if !(epsilon > 0.0 && epsilon < 0.1) {
            return Err(wrong(format!(
                "{epsilon_key} is {epsilon}, expected above 0 and below 0.1"
            )));
        }
        if header.metadata.contains_key(&key("rope.freq_base")) {
            let base = header.float(&key("rope.freq_base"))?;
            if !(base.is_finite() && base > 1.0) {
                return Err(wrong(format!("{}.rope.freq_base is {base}, expected above 1", name)));
            }
        }
        let tied = !header.tensors.iter().any(|tensor| tensor.name == "output.weight");
        let (query, key_value) = (heads * head, kv_heads * head);
        Ok(Self {
            layers,
            width,
            feed_forward,
            query,
            key_value,
            head,
            vocabulary,
            tied,
            architecture,
        })
    }

    /// Every tensor the architecture has, with its extents (fastest first).
    fn tensors(&self) -> BTreeMap<String, Vec<u64>> {
        let (d, f, q, k) = (self.width, self.feed_forward, self.query, self.key_value);
        let mut tensors = BTreeMap::new();
        tensors.insert("token_embd.weight".to_owned(), vec![d, self.vocabulary]);
        tensors.insert("output_norm.weight".to_owned(), vec![d]);
        if !self.tied {
            tensors.insert("output.weight".to_owned(), vec![d, self.vocabulary]);
        }
        for layer in 0..self.layers {
            let mut add = |name: &str, dimensions: Vec<u64>| {
                tensors.insert(format!("blk.{layer}.{name}"), dimensions);
            };
            add("attn_norm.weight", vec![d]);
            add("ffn_norm.weight", vec![d]);
            add("attn_q.weight", vec![d, q]);
            add("attn_k.weight", vec![d, k]);
            add("attn_v.weight", vec![d, k]);
            add("attn_output.weight", vec![q, d]);
            add("ffn_gate.weight", vec![d, f]);
            add("ffn_up.weight", vec![d, f]);
            add("ffn_down.weight", vec![f, d]);
            match self.architecture {
                Architecture::Llama => {}
                Architecture::Qwen2 => {
                    add("attn_q.bias", vec![q]);
                    add("attn_k.bias", vec![k]);
                    add("attn_v.bias", vec![k]);
                }
                Architecture::Qwen3 => {
                    add("attn_q_norm.weight", vec![self.head]);
                    add("attn_k_norm.weight", vec![self.head]);
                }
            }
        }
        tensors
    }
}

fn check_tensors(header: &Header, shape: &Shape, file_bytes: u64) -> Result<(), GgufError> {
    let mut expected = shape.tensors();
    if shape.architecture == Architecture::Llama {
        // Llama 3.1 and later ship a table of frequency factors.
        expected.insert("rope_freqs.weight".to_owned(), vec![shape.head / 2]);
    }
    for tensor in &header.tensors {
        let name = &tensor.name;
        let dimensions = expected
            .remove(name)
            .ok_or_else(|| wrong(format!("tensor {name} does not belong to the architecture")))?;
        if tensor.dimensions != dimensions {
            let found = &tensor.dimensions;
            return Err(wrong(format!(
                "tensor {name} has shape {found:?}, expected {dimensions:?}"
            )));
        }
    }
    expected.remove("rope_freqs.weight");
    if let Some(name) = expected.keys().next() {
        return Err(wrong(format!("tensor {name} is missing")));
    }
    check_extents(header, file_bytes)
}

/// Types have kernels; offsets are aligned, inside the file, and do not overlap.
pub(super) fn check_extents(header: &Header, file_bytes: u64) -> Result<(), GgufError> {
    let mut extents = Vec::new();
    for tensor in &header.tensors {
        extents.push((tensor.offset, tensor_bytes(tensor)?, &tensor.name));
    }
    let alignment = header.alignment()?;
    let data_bytes = file_bytes.saturating_sub(header.data_offset);
    extents.sort_unstable();
    let mut free_from = 0;
    for (offset, bytes, name) in extents {
        let end = offset.checked_add(bytes).filter(|end| *end <= data_bytes);
        let Some(end) = end else {
            return Err(wrong(format!("tensor {name} lies beyond the end of the file")));
        };
        if offset % alignment != 0 || offset < free_from {
            return Err(wrong(format!("tensor {name} is not aligned or overlaps another")));
        }
        free_from = end;
    }
    Ok(())
}

fn tensor_bytes(tensor: &TensorInfo) -> Result<u64, GgufError> {
    let name = &tensor.name;
    let kind = TYPES.iter().find(|(kind, _, _)| *kind == tensor.kind);
    let Some((_, block, block_bytes)) = kind else {
        return Err(wrong(format!("tensor {name} has type {}, which has no kernel", tensor.kind)));
    };
    let is_vector = tensor.dimensions.len() == 1;
    if is_vector && tensor.kind != 0 {
        return Err(wrong(format!("tensor {name} has type {}, expected F32", tensor.kind)));
    }
    let row = tensor.dimensions.first().copied().unwrap_or(0);
    if row % block != 0 {
        return Err(wrong(format!(
            "tensor {name} has rows of {row}, expected a multiple of {block}"
        )));
    }
    let elements = tensor.dimensions.iter().try_fold(1u64, |all, extent| all.checked_mul(*extent));
    elements
        .and_then(|elements| (elements / block).checked_mul(*block_bytes))
        .ok_or_else(|| wrong(format!("tensor {name} is larger than any file")))
}

fn check_vocabulary(header: &Header) -> Result<u64, GgufError> {
    let model = header.text("tokenizer.ggml.model")?;
    if model != "gpt2" {
        return Err(wrong(format!(
            "tokenizer.ggml.model is {model}, expected gpt2 (byte-level BPE)"
        )));
    }
    let tokens = header.texts("tokenizer.ggml.tokens")?;
    let count = tokens.len() as u64;
    let distinct: std::collections::HashSet<&str> = tokens.iter().map(String::as_str).collect();
    if distinct.len() != tokens.len() || tokens.iter().any(String::is_empty) {
        return Err(wrong("tokenizer.ggml.tokens has duplicate or empty tokens".to_owned()));
    }
    for merge in header.texts("tokenizer.ggml.merges")? {
        let known = merge.split_once(' ').is_some_and(|(left, right)| {
            let joined = format!("{left}{right}");
            [left, right, joined.as_str()].iter().all(|part| distinct.contains(part))
        });
        if !known {
            return Err(wrong(format!("merge {merge:?} names a token that does not exist")));
        }
    }
    let kinds = header.integers("tokenizer.ggml.token_type")?;
    if kinds.len() != tokens.len() || kinds.iter().any(|kind| !(1..=6).contains(kind)) {
        return Err(wrong("tokenizer.ggml.token_type needs one of 1..=6 per token".to_owned()));
    }
    for key in ["eos", "bos", "padding", "unknown"] {
        let key = format!("tokenizer.ggml.{key}_token_id");
        if header.metadata.contains_key(&key) {
            in_range(header, &key, 0, count.saturating_sub(1))?;
        }
    }
    Ok(count)
}
