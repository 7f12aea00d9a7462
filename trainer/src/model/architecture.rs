//! Which of the architectures the runtime knows a model has, and how Llama 3 stretches its rotary
//! angles.

use serde::{Deserialize, Serialize};

/// RMSNorm, rotary angles, grouped-query attention and SwiGLU in all of them; what differs is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama 3: neither biases nor gains on heads.
    Llama,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    #[default]
    Qwen2,
    /// Qwen3: gains on query and key of each head.
    Qwen3,
}

impl Architecture {
    /// Value of `general.architecture` in a GGUF file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        }
    }

    /// Whether query, key and value have biases.
    #[must_use]
    pub fn has_biases(self) -> bool {
        self == Architecture::Qwen2
    }

    /// Whether each head of query and key is normed, before its angle is turned.
    #[must_use]
    pub fn has_head_gains(self) -> bool {
        self == Architecture::Qwen3
    }
}

/// How Llama 3.1 and later stretch the rotary angles of slow pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Whether every pair has an angle.
    ///
    /// # Errors
    /// Names the field that is none, and what is expected.
    pub fn check(&self) -> Result<(), String> {
        let Self { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } =
            *self;
        for (field, value, over) in [
            ("factor", factor, 0.0),
            ("low_freq_factor", low_freq_factor, 0.0),
            ("high_freq_factor", high_freq_factor, low_freq_factor),
            ("original_max_position_embeddings", original_max_position_embeddings, 0.0),
        ] {
            if !(value.is_finite() && value > over) {
                return Err(format!("{field} is {value}, expected more than {over}"));
            }
        }
        Ok(())
    }

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
