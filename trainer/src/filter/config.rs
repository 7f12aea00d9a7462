//! What a user writes about the filter.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Which trajectories are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// When an answer is right.
    pub right: Right,
    /// Token F1 from which an answer is right, where `right` is `f1`.
    pub f1_min: f64,
    /// Answers that came only when the steps were spent are kept too.
    pub keeps_forced: bool,
    /// Characters of the rendered transcript at most.
    pub characters_max: Option<usize>,
    /// Tokens of the rendered transcript at most; needs `tokenizer`.
    pub tokens_max: Option<usize>,
    /// A `tokenizer.json`, or a GGUF with its tokenizer.
    pub tokenizer: Option<PathBuf>,
}

/// When an answer is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// `exact` or `math`.
    #[default]
    Auto,
    /// Equal after HotpotQA's normalisation.
    Exact,
    /// Token F1 of at least `f1_min`.
    F1,
    /// Equal as mathematics: as numbers within 1e-4, by part, else as sympy simplifies them.
    Math,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            right: Right::Auto,
            f1_min: 0.8,
            keeps_forced: false,
            characters_max: None,
            tokens_max: None,
            tokenizer: None,
        }
    }
}

impl FilterConfig {
    /// Refuses values that cannot be meant.
    ///
    /// # Errors
    /// Names the field and what was expected.
    pub fn check(&self) -> Result<()> {
        let f1_min = self.f1_min;
        ensure!(
            f1_min > 0.0 && f1_min <= 1.0,
            "filter.f1_min is {f1_min}; expected above 0, up to 1"
        );
        ensure!(
            self.tokens_max.is_none() || self.tokenizer.is_some(),
            "filter.tokens_max needs filter.tokenizer: a tokenizer.json or the student's GGUF"
        );
        Ok(())
    }
}
