//! `config.json`: which family a checkpoint is of, and its sizes.

use std::path::Path;

use serde::Deserialize;

use super::{HubError, read_json};
use crate::model::Shape;

/// Architectures that the runtime knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 3: neither biases nor gains on heads.
    Llama,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: gains on query and key of each head.
    Qwen3,
}

impl Family {
    /// Value of `general.architecture`.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
        }
    }
}

/// How Llama 3.1 and later stretch the rotary angles of slow pairs.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Llama3Rope {
    /// By how much.
    pub factor: f32,
    /// Turns within the original context below which a pair is stretched wholly.
    pub low_freq_factor: f32,
    /// Turns above which it is left alone.
    pub high_freq_factor: f32,
    /// Tokens of the original context.
    pub original_max_position_embeddings: f32,
}

impl Llama3Rope {
    /// What the angle of each pair is divided by: `head_width / 2` values, as transformers computes
    /// them (`rope_type` llama3).
    #[must_use]
    pub fn factors(&self, base: f32, head_width: usize) -> Vec<f32> {
        let pair = |pair: usize| {
            let angle = f64::from(base).powf(-2.0 * pair as f64 / head_width as f64);
            let context = f64::from(self.original_max_position_embeddings);
            let turns = context * angle / std::f64::consts::TAU;
            let (low, high) = (f64::from(self.low_freq_factor), f64::from(self.high_freq_factor));
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - kept) / f64::from(self.factor) + kept)) as f32
        };
        (0..head_width / 2).map(pair).collect()
    }
}

/// What `config.json` says that the GGUF file needs.
#[derive(Clone, Debug, PartialEq)]
pub struct HubConfig {
    /// Its architecture.
    pub family: Family,
    /// Its sizes; the query may be wider than the model.
    pub shape: Shape,
    /// Whether the embedding is the output head too; where it does not say, what is there tells.
    pub tied: Option<bool>,
    /// Stretched rotary angles.
    pub llama3_rope: Option<Llama3Rope>,
}

/// As it is written; transformers before version 5 had `rope_theta` and `rope_scaling` where
/// `rope_parameters` is today.
#[derive(Deserialize)]
struct Written {
    architectures: Vec<String>,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    hidden_act: Option<String>,
    quantization_config: Option<serde_json::Value>,
}

#[derive(Clone, Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    #[serde(flatten)]
    rest: serde_json::Value,
}

impl HubConfig {
    /// Reads `config.json` in `folder`.
    ///
    /// # Errors
    /// What is missing, or what this trainer does not do, by the key at fault.
    pub fn read(folder: &Path) -> Result<Self, HubError> {
        let path = folder.join("config.json");
        let written: Written = read_json(&path)?;
        written.checked().map_err(|reason| HubError::new(&path, reason))
    }
}

impl Written {
    fn checked(&self) -> Result<HubConfig, String> {
        let family = match self.architectures.first().map(String::as_str) {
            Some("LlamaForCausalLM") => Family::Llama,
            Some("Qwen2ForCausalLM") => Family::Qwen2,
            Some("Qwen3ForCausalLM") => Family::Qwen3,
            other => {
                return Err(format!(
                    "architectures is {}, expected LlamaForCausalLM, Qwen2ForCausalLM or \
                     Qwen3ForCausalLM",
                    other.unwrap_or("empty")
                ));
            }
        };
        self.refuse_what_differs()?;
        let shape = self.shape()?;
        let llama3_rope = self.llama3_rope(family)?;
        Ok(HubConfig { family, shape, tied: self.tie_word_embeddings, llama3_rope })
    }

    fn refuse_what_differs(&self) -> Result<(), String> {
        let expected = |key: &str, expected: &str| Err(format!("{key}: expected {expected}"));
        if self.quantization_config.is_some() {
            return expected(
                "quantization_config",
                "a checkpoint that is not quantised: save it in bfloat16",
            );
        }
        if self.attention_bias {
            return expected("attention_bias", "false");
        }
        if self.mlp_bias {
            return expected("mlp_bias", "false");
        }
        if self.use_sliding_window {
            return expected("use_sliding_window", "false");
        }
        match self.hidden_act.as_deref() {
            None | Some("silu") => Ok(()),
            Some(other) => Err(format!("hidden_act is {other}, expected silu")),
        }
    }

    fn rope(&self) -> Option<&Rope> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())
    }

    fn shape(&self) -> Result<Shape, String> {
        let theta = self.rope().and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let heads = self.num_attention_heads;
        let shape = Shape {
            vocabulary: self.vocab_size,
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_width: self.head_dim.unwrap_or(self.hidden_size / heads.max(1)),
            feed_forward: self.intermediate_size,
            rope_base: theta.unwrap_or(10_000.0),
            epsilon: self.rms_norm_eps,
            context_tokens: self.max_position_embeddings,
        };
        shape.check_sizes().map_err(|error| error.to_string())?;
        Ok(shape)
    }

    fn llama3_rope(&self, family: Family) -> Result<Option<Llama3Rope>, String> {
        let Some(rope) = self.rope() else { return Ok(None) };
        match (rope.rope_type.as_deref(), family) {
            (None | Some("default"), _) => Ok(None),
            (Some("llama3"), Family::Llama) => {
                let stretched = Llama3Rope::deserialize(&rope.rest);
                stretched.map(Some).map_err(|error| format!("rope of type llama3: {error}"))
            }
            (Some(other), _) => Err(format!(
                "rope_type is {other}, expected default, or llama3 in a Llama; YaRN and others \
                 are for contexts longer than a device holds: remove it from config.json"
            )),
        }
    }
}
