//! What a LoRA adapter is, in the words of PEFT's `adapter_config.json`.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Part, parts};
use crate::model::{Adaptation, Role, Shape};

/// The linear layers of a block, by their names in a checkpoint.
const LINEAR: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// More than any matrix has.
const RANK_MAX: usize = 1 << 20;

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
    /// The layers that are adapted [default: all linear ones]: ends of their names, `all-linear`, or
    /// a regular expression that fits whole names.
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

impl Targets {
    /// What tells which layers they name.
    ///
    /// # Errors
    /// A text that is no regular expression here.
    pub(super) fn matcher(&self) -> Result<Matcher<'_>, regex::Error> {
        Ok(match self {
            Targets::Names(names) => Matcher::Names(names),
            Targets::Text(text) if text == "all-linear" => Matcher::Linear,
            Targets::Text(text) => Matcher::Whole(Regex::new(&format!("^(?:{text})$"))?),
        })
    }
}

/// Layers, as PEFT reads `target_modules`.
pub(super) enum Matcher<'a> {
    Names(&'a [String]),
    Linear,
    Whole(Regex),
}

impl Matcher<'_> {
    pub fn names(&self, module: &str) -> bool {
        match self {
            Matcher::Names(names) => names.iter().any(|name| is_named(module, name)),
            Matcher::Linear => LINEAR.iter().any(|own| is_named(module, own)),
            Matcher::Whole(regex) => regex.is_match(module),
        }
    }

    /// Whether one is the whole name: that holds in whatever block.
    pub fn names_whole(&self, module: &str) -> bool {
        matches!(self, Matcher::Names(names) if names.iter().any(|name| name == module))
    }
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
    /// A pattern that is no regular expression, or whose value is no number that can be meant.
    pub fn of(&self, module: &str) -> Result<RankAndScale, String> {
        let rank = number(&self.rank_pattern, module)?.unwrap_or(self.r as f64);
        if rank.fract() != 0.0 || !(1.0..=RANK_MAX as f64).contains(&rank) {
            return Err(format!("r: the rank of {module} is {rank}, expected 1 to {RANK_MAX}"));
        }
        let rank = rank as usize;
        let alpha = number(&self.alpha_pattern, module)?;
        let alpha = alpha.map_or(self.lora_alpha, |alpha| alpha as f32);
        let divisor = if self.use_rslora { (rank as f32).sqrt() } else { rank as f32 };
        if !(alpha.is_finite() && alpha != 0.0) {
            return Err(format!(
                "lora_alpha: that of {module} is {alpha}, expected a number that is not 0"
            ));
        }
        Ok(RankAndScale { rank, scale: alpha / divisor })
    }

    /// What training such an adapter changes in a model of `shape`.
    ///
    /// # Errors
    /// As [`Self::adapting`], and a target that is no linear layer.
    pub fn adaptations(&self, shape: &Shape) -> Result<Vec<Adaptation>, String> {
        let parts = parts(shape);
        let all: Vec<&str> = linear(&parts).map(|(_, module)| module).collect();
        self.check_patterns(&all)?;
        let lost = |target: &str| {
            let known = LINEAR.join(", ");
            format!("target_modules: {target} is no linear layer; expected {known}")
        };
        let unfit = |text: &str| {
            format!(
                "target_modules: {text:?} fits no whole name such as model.layers.0.self_attn.q_proj; \
                 names of layers stand in a list: [{text:?}]"
            )
        };
        let Some(targets) = &self.target_modules else { return self.adapting(shape, |_| true) };
        let matcher = targets.matcher().map_err(|error| format!("target_modules: {error}"))?;
        match targets {
            Targets::Names(names) if names.is_empty() => {
                return Err(
                    "target_modules is an empty list; expected at least one name".to_owned()
                );
            }
            Targets::Names(names) if names.as_slice() == ["all-linear"] => {
                return Err(
                    "target_modules: write \"all-linear\" as a text, not in a list".to_owned()
                );
            }
            Targets::Names(names) => {
                let is_lost = |name: &&String| !all.iter().any(|module| is_named(module, name));
                if let Some(name) = names.iter().find(is_lost) {
                    return Err(lost(name));
                }
            }
            Targets::Text(text) if !all.iter().any(|module| matcher.names(module)) => {
                return Err(unfit(text));
            }
            Targets::Text(_) => {}
        }
        self.adapting(shape, |module| matcher.names(module))
    }

    /// Refuses patterns that fit none of `modules`: PEFT leaves them out, but nobody means that.
    fn check_patterns(&self, modules: &[&str]) -> Result<(), String> {
        for (key, patterns) in
            [("rank_pattern", &self.rank_pattern), ("alpha_pattern", &self.alpha_pattern)]
        {
            for pattern in patterns.keys() {
                let regex = fitting(pattern).map_err(|error| format!("{key}: {error}"))?;
                if !modules.iter().any(|module| regex.is_match(module)) {
                    return Err(format!("{key}: {pattern:?} fits no linear layer"));
                }
            }
        }
        Ok(())
    }

    /// The same for those linear layers of which `is_adapted` says so.
    ///
    /// # Errors
    /// A rank, a scale or a dropout that is none.
    pub fn adapting(
        &self,
        shape: &Shape,
        is_adapted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Adaptation>, String> {
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return Err(format!("lora_alpha is {}, expected more than 0", self.lora_alpha));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return Err(format!("lora_dropout is {}, expected 0 to below 1", self.lora_dropout));
        }
        let parts = parts(shape);
        let adapted = linear(&parts).filter(|(_, module)| is_adapted(module));
        let adapt = |(part, module): (&Part, &str)| {
            let RankAndScale { rank, scale } = self.of(module)?;
            Ok(Adaptation { name: part.tensor.name.clone(), rank, scale })
        };
        adapted.map(adapt).collect()
    }
}

/// The linear layers, with their names in a checkpoint.
fn linear(parts: &[Part]) -> impl Iterator<Item = (&Part, &str)> {
    let matrices = parts.iter().filter(|part| part.tensor.role == Role::Matrix);
    matrices.filter_map(|part| Some((part, part.module()?)))
}

/// Whether `name` is the name of `module`, or its end.
pub(super) fn is_named(module: &str, name: &str) -> bool {
    let rest = module.strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn fitting(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"^(.*\.)?({pattern})$"))
}

/// The number of the first pattern that fits the end of `module`, as PEFT matches them.
fn number(patterns: &Patterns, module: &str) -> Result<Option<f64>, String> {
    for (pattern, value) in patterns {
        let regex = fitting(pattern).map_err(|error| error.to_string())?;
        if regex.is_match(module) {
            let no_number = || format!("{pattern}: {value}, expected a number");
            return value.as_f64().ok_or_else(no_number).map(Some);
        }
    }
    Ok(None)
}
