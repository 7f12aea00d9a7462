//! LoRA adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::checkpoint::EMBEDDING;
use super::peft::check_method;
use super::{HubError, LoraConfig, Part, RankAndScale, Shards, Stored, Targets, parts, read_json};
use crate::model::{Adaptation, Lora, Matrix, MatrixMut, Shape, Tensor, multiply};

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
    base_model_name_or_path: Option<String>,
    layers_to_transform: Option<Layers>,
    exclude_modules: Option<Targets>,
    #[serde(flatten)]
    lora: LoraConfig,
}

/// Blocks by their numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Layers {
    One(usize),
    Many(Vec<usize>),
}

impl Layers {
    /// Whether the block of `module` is among them; an empty list is none.
    fn hold(&self, module: &str) -> bool {
        let number = module.split('.').find_map(|part| part.parse::<usize>().ok());
        match self {
            Layers::Many(own) if own.is_empty() => true,
            Layers::One(own) => number == Some(*own),
            Layers::Many(own) => number.is_some_and(|number| own.contains(&number)),
        }
    }
}

/// What PEFT calls `part`, `lora_A` or `lora_B`, of a layer.
fn name_of(module: &str, part: &str) -> String {
    format!("{PREFIX}{module}.{part}.weight")
}

fn below_update(weight: &str) -> String {
    format!("{PREFIX}{}.base_layer.weight", weight.trim_end_matches(".weight"))
}

/// The layer, by its name in the checkpoint, that an adaptation is of.
pub(super) fn module<'a>(parts: &'a [Part], adaptation: &Adaptation) -> Option<&'a str> {
    parts.iter().find(|part| part.tensor.name == adaptation.name)?.module()
}

/// The tensors of trained adapters, by PEFT's names.
pub(super) fn stored<'a>(
    parts: &'a [Part],
    lora: &'a Lora,
) -> impl Iterator<Item = (String, &'a Tensor)> {
    let pairs = lora.adaptations.iter().zip(lora.tensors.as_chunks::<2>().0);
    let named = pairs.filter_map(|(own, pair)| Some((module(parts, own)?, pair)));
    named.flat_map(|(module, [a, b])| {
        [(name_of(module, "lora_A"), a), (name_of(module, "lora_B"), b)]
    })
}

/// What an adapter does to one matrix: `scale B A` is added, A of `rank x columns`, B of
/// `rows x rank`.
#[derive(Debug)]
pub struct Update {
    /// Rank.
    pub rank: usize,
    columns: usize,
    /// A whole, row-major.
    pub a: Vec<f32>,
    b: Stored,
    /// Factor of the product.
    pub scale: f32,
}

impl Update {
    /// Adds it to `rows` of its matrix.
    ///
    /// # Errors
    /// Those of [`Stored::read`].
    pub fn add(&self, rows: Range<usize>, values: &mut [f32]) -> Result<(), HubError> {
        let (count, rank) = (rows.len(), self.rank);
        let b = self.b(rows)?;
        let (a, b) = (Matrix::new(&self.a, rank, self.columns), Matrix::new(&b, count, rank));
        multiply(self.scale, b, a, 1.0, MatrixMut::new(values, count, self.columns));
        Ok(())
    }

    /// Some rows of B, row-major.
    ///
    /// # Errors
    /// Those of [`Stored::read`].
    pub fn b(&self, rows: Range<usize>) -> Result<Vec<f32>, HubError> {
        let mut b = vec![0.0; rows.len() * self.rank];
        self.b.read(rows, &mut b)?;
        Ok(b)
    }
}

impl Adapter {
    /// Opens an adapter.
    ///
    /// # Errors
    /// A file that is missing or malformed, or a kind of adapter that cannot be merged here.
    pub fn open(folder: &Path) -> Result<Self, HubError> {
        let path = folder.join("adapter_config.json");
        let config: Written = read_json(&path)?;
        let refused = |reason: String| HubError::new(&path, reason);
        if config.peft_type != "LORA" {
            return Err(refused(format!("peft_type is {}, expected LORA", config.peft_type)));
        }
        check_method(&read_json(&path)?).map_err(refused)?;
        let shards = Shards::open(folder, "adapter_model")?;
        Ok(Self { folder: folder.to_owned(), config, shards })
    }

    /// Ranks and scales.
    #[must_use]
    pub fn config(&self) -> &LoraConfig {
        &self.config.lora
    }

    /// What it adapts in a model of `shape`. Its file decides: `adapter_config.json` has several
    /// ways to name layers.
    ///
    /// # Errors
    /// Ranks that are none, no layer of the model among its tensors, or not all that it promises.
    pub fn adaptations(&self, shape: &Shape) -> Result<Vec<Adaptation>, HubError> {
        let parts = parts(shape);
        self.check_targets(&parts.iter().filter_map(Part::stored_name).collect())?;
        let is_adapted = |module: &str| self.shards.find(&name_of(module, "lora_A")).is_some();
        let own = self.config.lora.adapting(shape, is_adapted);
        let own = own.map_err(|reason| self.refused(reason))?;
        if own.is_empty() {
            let reason = "no adapter of a linear layer: is it for another base?";
            return Err(self.refused(reason.to_owned()));
        }
        Ok(own)
    }

    /// Fills the adapters of a model of `shape`, made by [`Self::adaptations`], with its values.
    ///
    /// # Errors
    /// Half an adapter, tensors beside those of layers, or another base's sizes.
    pub fn fill(&self, shape: &Shape, lora: &mut Lora) -> Result<(), HubError> {
        let parts = parts(shape);
        let mut names = BTreeSet::new();
        let tensors: Vec<(String, Tensor)> =
            stored(&parts, lora).map(|(name, tensor)| (name, tensor.clone())).collect();
        for (name, tensor) in tensors {
            let (rows, columns) = (tensor.rows, tensor.columns);
            let found = self.shards.find(&name).filter(|own| own.shape == [rows, columns]);
            let Some(found) = found else {
                return Err(self.refused(format!(
                    "{name}: expected {rows} rows of {columns}: is it for another base?"
                )));
            };
            found.read(0..rows, &mut lora.parameters[tensor.range()])?;
            names.insert(name);
        }
        match self.shards.names().find(|name| !names.contains(*name)) {
            Some(name) => Err(self.refused(format!(
                "{name} is no adapter of a linear layer; merge it first, or train without it"
            ))),
            None => Ok(()),
        }
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
            let name = name_of(module, part);
            self.shards.find(&name).map(|stored| (name, stored))
        };
        let ((a_name, a), (b_name, b)) = match (find("lora_A"), find("lora_B")) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => return Ok(None),
            _ => return Err(self.refused(format!("{module}: lora_A or lora_B is missing"))),
        };
        let ranked = self.config.lora.of(module).map_err(|reason| self.refused(reason))?;
        let RankAndScale { rank, scale } = ranked;
        for (name, stored, expected) in [(a_name, a, [rank, columns]), (b_name, b, [rows, rank])] {
            if stored.shape != expected {
                return Err(self.refused(format!(
                    "{name} has shape {:?}, expected {expected:?}: is it for another base, or of \
                     another rank?",
                    stored.shape
                )));
            }
        }
        let mut values = vec![0.0; rank * columns];
        a.read(0..rank, &mut values)?;
        Ok(Some(Update { rank, columns, a: values, b: b.clone(), scale }))
    }

    /// Which base it says it is for, by a name or a folder.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.config.base_model_name_or_path.as_deref().filter(|name| !name.is_empty())
    }

    /// A tensor that the adapter has whole instead of the base's (`modules_to_save`).
    #[must_use]
    pub fn replacement(&self, name: &str) -> Option<&Stored> {
        self.shards.find(&format!("{PREFIX}{name}"))
    }

    /// The weight that its update is added to, where PEFT saved that too: beside the adapter of an
    /// output head.
    #[must_use]
    pub fn below_update(&self, weight: &str) -> Option<&Stored> {
        self.shards.find(&below_update(weight))
    }

    /// Whether embedding and output head are no longer one matrix with it.
    #[must_use]
    pub fn unties(&self) -> bool {
        let of_head = format!("{PREFIX}lm_head.");
        self.replacement(EMBEDDING).is_some()
            || self.shards.names().any(|name| name.starts_with(&of_head))
    }

    /// Refuses a tensor that the adapter has whole: it cannot be laid over a base's.
    ///
    /// # Errors
    /// Its name.
    pub fn refuse_replacement(&self, name: &str) -> Result<(), HubError> {
        match self.replacement(name) {
            Some(_) => Err(self.refused(format!(
                "{name} is there whole (modules_to_save): merge the adapter, without --adapter-only"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses tensors that belong to none of the base's `names`: they would be lost.
    ///
    /// # Errors
    /// The first of them.
    pub fn check_names(&self, names: &BTreeSet<&str>) -> Result<(), HubError> {
        let is_known = |name: &str| {
            let Some(own) = name.strip_prefix(PREFIX) else { return false };
            let parts = [".lora_A.weight", ".lora_B.weight", ".base_layer.weight"];
            match parts.iter().find_map(|part| own.strip_suffix(part)) {
                Some(module) => names.contains(format!("{module}.weight").as_str()),
                None => names.contains(own),
            }
        };
        match self.shards.names().find(|name| !is_known(name)) {
            Some(name) if name.contains(".lora_embedding_") => Err(self.refused(format!(
                "{name} adapts the embedding, which is not done here; merge it with PEFT's \
                 merge_and_unload and import the result"
            ))),
            Some(name) if !name.starts_with(PREFIX) || name.ends_with(".default.weight") => {
                Err(self.refused(format!(
                    "{name} is no name that PEFT's save_pretrained writes, such as \
                     {PREFIX}model.layers.0.self_attn.q_proj.lora_A.weight; save it with that"
                )))
            }
            Some(name) => Err(self.refused(format!(
                "{name} belongs to no tensor of the base: is the adapter for another?"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses tensors that are not those which `adapter_config.json` promises, of the base's
    /// `names`: PEFT leaves out what is not named, and what is missing would do nothing.
    ///
    /// # Errors
    /// The first layer of which one is there without the other.
    pub fn check_targets(&self, names: &BTreeSet<&str>) -> Result<(), HubError> {
        if self.shards.names().next().is_none() {
            return Err(self.refused("it holds no tensor: it adapts nothing".to_owned()));
        }
        let Some(targets) = &self.config.lora.target_modules else { return Ok(()) };
        let layers = self.config.layers_to_transform.as_ref();
        let excluded = self.config.exclude_modules.as_ref();
        // Expressions that are none here tell nothing.
        let matchers = (targets.matcher(), excluded.map(Targets::matcher).transpose());
        let (Ok(targets), Ok(excluded)) = matchers else { return Ok(()) };
        for module in names.iter().filter_map(|name| name.strip_suffix(".weight")) {
            let is_left_out = excluded.as_ref().is_some_and(|own| own.names(module));
            let in_layers = layers.is_none_or(|layers| layers.hold(module));
            let is_promised =
                !is_left_out && (targets.names_whole(module) || in_layers && targets.names(module));
            let is_there = self.shards.find(&name_of(module, "lora_A")).is_some();
            if is_there != is_promised {
                let (has, says) = match is_there {
                    true => ("holds an adapter", "does not name it"),
                    false => ("holds no adapter", "names it"),
                };
                return Err(self.refused(format!(
                    "adapter_model.safetensors {has} of {module}, but adapter_config.json {says} \
                     (target_modules, exclude_modules, layers_to_transform): are the two of one \
                     adapter, and whole?"
                )));
            }
        }
        Ok(())
    }

    fn refused(&self, reason: String) -> HubError {
        HubError::new(&self.folder, reason)
    }
}
