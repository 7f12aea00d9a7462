//! LoRA adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

use super::{HubError, Shards, Stored, read_json};
use crate::model::{Matrix, MatrixMut, multiply};

/// What PEFT puts before the names of the base model.
const PREFIX: &str = "base_model.model.";

/// An adapter in a folder.
#[derive(Debug)]
pub struct Adapter {
    folder: PathBuf,
    config: Written,
    shards: Shards,
}

/// What `adapter_config.json` says that a merge needs.
#[derive(Debug, Deserialize)]
struct Written {
    peft_type: String,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    lora_bias: bool,
    #[serde(default)]
    rank_pattern: Patterns,
    #[serde(default)]
    alpha_pattern: Patterns,
}

/// Regular expressions over names of modules, in the order of the file, and numbers.
type Patterns = serde_json::Map<String, serde_json::Value>;

/// What an adapter does to one matrix: `scale B A` is added, A of `rank x columns`, B of
/// `rows x rank`.
#[derive(Debug)]
pub struct Update {
    rank: usize,
    columns: usize,
    /// A whole, row-major.
    a: Vec<f32>,
    b: Stored,
    scale: f32,
}

impl Adapter {
    /// Opens an adapter.
    ///
    /// # Errors
    /// A file that is missing or malformed, or a kind of adapter that cannot be merged here.
    pub fn open(folder: &Path) -> Result<Self, HubError> {
        let path = folder.join("adapter_config.json");
        let config: Written = read_json(&path)?;
        let refused = |reason: &str| Err(HubError::new(&path, reason));
        if config.peft_type != "LORA" {
            return refused(&format!("peft_type is {}, expected LORA", config.peft_type));
        }
        let others = [
            ("use_dora", config.use_dora),
            ("fan_in_fan_out", config.fan_in_fan_out),
            ("lora_bias", config.lora_bias),
        ];
        if let Some((key, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
            return refused(&format!(
                "{key}: expected false; merge it with PEFT's merge_and_unload and import the result"
            ));
        }
        let shards = Shards::open(folder, "adapter_model")?;
        Ok(Self { folder: folder.to_owned(), config, shards })
    }

    /// What it does to the matrix that the base has as `weight`, of these sizes.
    ///
    /// # Errors
    /// Parts that do not fit one another or the base.
    pub fn update(
        &self,
        weight: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Option<Update>, HubError> {
        let module = weight.trim_end_matches(".weight");
        let find = |part: &str| {
            let name = format!("{PREFIX}{module}.{part}.weight");
            self.shards.find(&name).map(|stored| (name, stored))
        };
        let ((a_name, a), (b_name, b)) = match (find("lora_A"), find("lora_B")) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => return Ok(None),
            _ => return Err(self.refused(format!("{module}: lora_A or lora_B is missing"))),
        };
        let rank = self.pattern(&self.config.rank_pattern, module)?;
        let rank = rank.map_or(self.config.r, |rank| rank as usize);
        let alpha = self.pattern(&self.config.alpha_pattern, module)?;
        let alpha = alpha.map_or(self.config.lora_alpha, |alpha| alpha as f32);
        for (name, stored, expected) in [(a_name, a, [rank, columns]), (b_name, b, [rows, rank])] {
            if stored.shape != expected {
                return Err(self.refused(format!(
                    "{name} has shape {:?}, expected {expected:?}: is it for another base, or of \
                     another rank?",
                    stored.shape
                )));
            }
        }
        let divisor = if self.config.use_rslora { (rank as f32).sqrt() } else { rank as f32 };
        let scale = alpha / divisor;
        let mut values = vec![0.0; rank * columns];
        self.shards.read(a, 0..rank, &mut values)?;
        Ok(Some(Update { rank, columns, a: values, b: b.clone(), scale }))
    }

    /// A tensor that the adapter has whole instead of the base's (`modules_to_save`).
    #[must_use]
    pub fn replacement(&self, name: &str) -> Option<&Stored> {
        self.shards.find(&format!("{PREFIX}{name}"))
    }

    /// Reads rows of a replacement.
    ///
    /// # Errors
    /// Those of [`Shards::read`].
    pub fn read(
        &self,
        stored: &Stored,
        rows: Range<usize>,
        to: &mut [f32],
    ) -> Result<(), HubError> {
        self.shards.read(stored, rows, to)
    }

    /// Adds the update to `rows` of its matrix.
    ///
    /// # Errors
    /// Those of [`Shards::read`].
    pub fn add(
        &self,
        update: &Update,
        rows: Range<usize>,
        values: &mut [f32],
    ) -> Result<(), HubError> {
        let (count, rank) = (rows.len(), update.rank);
        let mut b = vec![0.0; count * rank];
        self.shards.read(&update.b, rows, &mut b)?;
        let (a, b) = (Matrix::new(&update.a, rank, update.columns), Matrix::new(&b, count, rank));
        multiply(update.scale, b, a, 1.0, MatrixMut::new(values, count, update.columns));
        Ok(())
    }

    /// Refuses tensors that belong to none of the base's `names`: they would be lost.
    ///
    /// # Errors
    /// The first of them.
    pub fn check_names(&self, names: &BTreeSet<&str>) -> Result<(), HubError> {
        let is_known = |name: &str| {
            let Some(own) = name.strip_prefix(PREFIX) else { return false };
            let module = own.strip_suffix(".lora_A.weight").or(own.strip_suffix(".lora_B.weight"));
            match module {
                Some(module) => names.contains(format!("{module}.weight").as_str()),
                None => names.contains(own),
            }
        };
        match self.shards.names().find(|name| !is_known(name)) {
            Some(name) => Err(self.refused(format!(
                "{name} belongs to no tensor of the base: is the adapter for another?"
            ))),
            None => Ok(()),
        }
    }

    /// The number of the first pattern that fits the end of `module`, as PEFT matches them.
    fn pattern(&self, patterns: &Patterns, module: &str) -> Result<Option<f64>, HubError> {
        for (pattern, value) in patterns {
            let regex = Regex::new(&format!(r"^(.*\.)?({pattern})$"))
                .map_err(|error| self.refused(error.to_string()))?;
            if regex.is_match(module) {
                let no_number = || self.refused(format!("{pattern}: {value}, expected a number"));
                return value.as_f64().ok_or_else(no_number).map(Some);
            }
        }
        Ok(None)
    }

    fn refused(&self, reason: String) -> HubError {
        HubError::new(&self.folder, reason)
    }
}
