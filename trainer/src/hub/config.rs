//! `config.json`: which architecture a checkpoint has, and its sizes.

use std::path::Path;

use serde::Deserialize;

use super::{HubError, read_json};
use crate::model::{Architecture, Llama3Rope, Shape};

/// What `config.json` says of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct HubConfig {
    /// What it is built of; `tied` where `config.json` does not say otherwise.
    pub shape: Shape,
    /// Whether it says that the embedding is the output head too, or not; if neither, what is there
    /// tells.
    pub tied: Option<bool>,
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
    layer_types: Option<Vec<String>>,
    partial_rotary_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

#[derive(Clone, Deserialize)]
struct Rope {
    rope_type: Option<String>,
    /// What older versions call it; some files have both.
    #[serde(rename = "type")]
    older_type: Option<String>,
    rope_theta: Option<f32>,
    partial_rotary_factor: Option<f64>,
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
        let architecture = match self.architectures.first().map(String::as_str) {
            Some("LlamaForCausalLM") => Architecture::Llama,
            Some("Qwen2ForCausalLM") => Architecture::Qwen2,
            Some("Qwen3ForCausalLM") => Architecture::Qwen3,
            other => {
                return Err(format!(
                    "architectures is {}, expected LlamaForCausalLM, Qwen2ForCausalLM or \
                     Qwen3ForCausalLM",
                    other.unwrap_or("empty")
                ));
            }
        };
        self.refuse_what_differs()?;
        let shape = self.shape(architecture)?;
        Ok(HubConfig { shape, tied: self.tie_word_embeddings })
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
        if let Some(other) =
            self.layer_types.iter().flatten().find(|kind| *kind != "full_attention")
        {
            return Err(format!("layer_types holds {other}, expected full_attention alone"));
        }
        let of_rope = self.rope().and_then(|rope| rope.partial_rotary_factor);
        if let Some(share) = of_rope.or(self.partial_rotary_factor).filter(|share| *share != 1.0) {
            return Err(format!("partial_rotary_factor is {share}, expected 1"));
        }
        match self.hidden_act.as_deref() {
            None | Some("silu") => Ok(()),
            Some(other) => Err(format!("hidden_act is {other}, expected silu")),
        }
    }

    fn rope(&self) -> Option<&Rope> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())
    }

    fn shape(&self, architecture: Architecture) -> Result<Shape, String> {
        let theta = self.rope().and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let heads = self.num_attention_heads;
        let shape = Shape {
            architecture,
            tied: self.tie_word_embeddings.unwrap_or(true),
            llama3_rope: self.llama3_rope(architecture)?,
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
        shape.check().map_err(|error| error.to_string())?;
        Ok(shape)
    }

    fn llama3_rope(&self, architecture: Architecture) -> Result<Option<Llama3Rope>, String> {
        let Some(rope) = self.rope() else { return Ok(None) };
        let kinds = [rope.rope_type.as_deref(), rope.older_type.as_deref()];
        if let [Some(one), Some(other)] = kinds
            && one != other
        {
            return Err(format!("rope_type is {one} and type {other}, expected one of them"));
        }
        let [new, older] = kinds;
        let is_nested = |rest: &serde_json::Value| {
            rest.as_object().is_some_and(|rest| rest.values().any(serde_json::Value::is_object))
        };
        match (new.or(older), architecture) {
            (None, _) if is_nested(&rope.rest) => {
                Err("rope_parameters differ by kind of layer, expected one rope_type for all"
                    .to_owned())
            }
            (None | Some("default"), _) => Ok(None),
            (Some("llama3"), Architecture::Llama) => {
                let own = rope.rest.get("original_max_position_embeddings");
                let own = own.and_then(serde_json::Value::as_f64);
                if let Some(other) = self.original_max_position_embeddings
                    && own != Some(other)
                {
                    return Err(format!(
                        "original_max_position_embeddings is {other} beside another one of the \
                         rope: remove one of them"
                    ));
                }
                let stretched = Llama3Rope::deserialize(&rope.rest);
                let stretched = stretched.map_err(|error| error.to_string());
                let checked = stretched.and_then(|own: Llama3Rope| own.check().map(|()| own));
                checked.map(Some).map_err(|error| format!("rope of type llama3: {error}"))
            }
            (Some(other), _) => Err(format!(
                "rope_type is {other}, expected default, or llama3 in a Llama; YaRN and others \
                 are for contexts longer than a device holds: remove it from config.json"
            )),
        }
    }
}
