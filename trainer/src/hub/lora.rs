//! What a LoRA adapter is, in the words of PEFT's `adapter_config.json`.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::parts;
use crate::model::{Adaptation, Role, Shape};

/// The linear layers of a block, by their names in a checkpoint.
const LINEAR: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Regular expressions over names of modules, in the order of the file, and numbers.
type Patterns = serde_json::Map<String, serde_json::Value>;

/// Ranks and scales of an adapter. The keys are PEFT's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    /// Scale, times the rank.
    pub lora_alpha: f32,
    /// Share of an adapter's inputs that a training step leaves out.
    #[serde(default)]
    pub lora_dropout: f32,
    /// Divide alpha by the root of the rank, not by the rank.
    #[serde(default)]
    pub use_rslora: bool,
    /// The layers that are adapted [default: all linear ones].
    #[serde(default)]
    pub target_modules: Option<Targets>,
    /// Other ranks, by regular expressions over names of layers.
    #[serde(default)]
    pub rank_pattern: Patterns,
    /// Other alphas.
    #[serde(default)]
    pub alpha_pattern: Patterns,
}

/// Layers by the ends of their names, or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// The ends.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression.
    Text(String),
}

/// Rank and scale of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankAndScale {
    /// Rank.
    pub rank: usize,
    /// Factor of the product.
    pub scale: f32,
}

impl LoraConfig {
    /// Rank and scale of the layer `module`, where it is adapted.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or whose value is no number.
    pub fn of(&self, module: &str) -> Result<RankAndScale, String> {
        let rank = number(&self.rank_pattern, module)?.map_or(self.r, |rank| rank as usize);
        let alpha = number(&self.alpha_pattern, module)?;
        let alpha = alpha.map_or(self.lora_alpha, |alpha| alpha as f32);
        let divisor = if self.use_rslora { (rank as f32).sqrt() } else { rank as f32 };
        Ok(RankAndScale { rank, scale: alpha / divisor })
    }

    /// What training such an adapter changes in a model of `shape`.
    ///
    /// # Errors
    /// A rank of 0, a dropout that is no share, or a target that is no linear layer.
    pub fn adaptations(&self, shape: &Shape) -> Result<Vec<Adaptation>, String> {
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return Err(format!("lora_dropout is {}, expected 0 to below 1", self.lora_dropout));
        }
        let targets = match &self.target_modules {
            Some(Targets::Names(names)) => names.clone(),
            Some(Targets::Text(text)) if text != "all-linear" => {
                return Err(format!(
                    "target_modules is {text:?}, expected a list or \"all-linear\""
                ));
            }
            _ => LINEAR.map(str::to_owned).to_vec(),
        };
        let fits = |module: &str, target: &String| {
            let rest = module.strip_suffix(target.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let parts = parts(shape);
        let modules = parts.iter().filter(|part| part.tensor.role == Role::Matrix);
        let modules: Vec<_> = modules.filter_map(|part| Some((part, part.module()?))).collect();
        let lost = targets.iter().find(|target| !modules.iter().any(|(_, own)| fits(own, target)));
        if let Some(target) = lost {
            let known = LINEAR.join(", ");
            return Err(format!("target_modules: {target} is no linear layer; expected {known}"));
        }
        let adapted = modules.iter().filter(|(_, own)| targets.iter().any(|to| fits(own, to)));
        let adapt = |(part, module): &(_, &str)| {
            let RankAndScale { rank, scale } = self.of(module)?;
            if rank == 0 {
                return Err(format!("r: the rank of {module} is 0, expected 1 or more"));
            }
            let part: &&super::Part = part;
            Ok(Adaptation { name: part.tensor.name.clone(), rank, scale })
        };
        adapted.map(adapt).collect()
    }
}

/// The number of the first pattern that fits the end of `module`, as PEFT matches them.
fn number(patterns: &Patterns, module: &str) -> Result<Option<f64>, String> {
    for (pattern, value) in patterns {
        let regex = Regex::new(&format!(r"^(.*\.)?({pattern})$")).map_err(|e| e.to_string())?;
        if regex.is_match(module) {
            let no_number = || format!("{pattern}: {value}, expected a number");
            return value.as_f64().ok_or_else(no_number).map(Some);
        }
    }
    Ok(None)
}
