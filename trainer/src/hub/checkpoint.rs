//! A checkpoint whose tensors were found to be those its configuration asks for, with an adapter
//! or without.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use super::{Adapter, HubConfig, HubError, Part, Shards, Stored, Update, parts, words};
use crate::gguf::Metadata;
use crate::model::{Model, Shape, Tensor};

/// The output head of checkpoints that have one of their own.
const HEAD: &str = "lm_head.weight";
/// The embedding, which is the head of the others.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
/// Values that are compared at once.
const COMPARED_AT_ONCE: usize = 1 << 20;

/// A checked checkpoint; its tensors stay in their files.
pub struct Checkpoint {
    /// What it is built of.
    pub shape: Shape,
    /// Its tokens, as keys of a GGUF file.
    pub words: Metadata,
    /// By the name in the checkpoint.
    origins: BTreeMap<String, Origin>,
}

/// Where the rows of a tensor are read, and what is added to them.
struct Origin {
    stored: Stored,
    update: Option<Update>,
}

impl Checkpoint {
    /// Opens the checkpoint in `folder`, and the adapter for it in another.
    ///
    /// # Errors
    /// What is missing, does not fit, or is not done here, by its file and name.
    pub fn open(folder: &Path, adapter: Option<&Path>) -> Result<Self, HubError> {
        let HubConfig { mut shape, tied } = HubConfig::read(folder)?;
        let shards = Shards::open(folder, "model")?;
        let words = words(folder, shape.vocabulary)?;
        let adapter = adapter.map(Adapter::open).transpose()?;
        let own_head = shards.find(HEAD);
        // transformers ties what is there twice only if it is equal.
        let differs = match (own_head, shards.find(EMBEDDING)) {
            (Some(head), Some(embedding)) if tied == Some(true) => differ(head, embedding)?,
            _ => false,
        };
        let is_tied = tied.unwrap_or(own_head.is_none());
        shape.tied = is_tied && !differs && !adapter.as_ref().is_some_and(Adapter::unties);
        // The head of a tied base is its embedding, whatever an adapter makes of either.
        let find = |name: &str| {
            let embedding = || shards.find(EMBEDDING).filter(|_| is_tied && name == HEAD);
            shards.find(name).or_else(embedding)
        };
        let parts = parts(&shape);
        let stored = |part| Some((Part::stored_name(part)?, &part.tensor));
        let named: Vec<(&str, &Tensor)> = parts.iter().filter_map(stored).collect();
        let names: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
        check_names(folder, &shards, &names)?;
        if let Some(adapter) = &adapter {
            adapter.check_names(&names)?;
            adapter.check_targets(&names)?;
        }
        let origin = |(name, tensor): (&str, &Tensor)| {
            Ok((name.to_owned(), origin(name, tensor, folder, &find, adapter.as_ref())?))
        };
        let origins = named.into_iter().map(origin).collect::<Result<_, HubError>>()?;
        Ok(Self { shape, words, origins })
    }

    /// Reads some rows of the tensor that the checkpoint calls `name`, with what the adapter adds.
    ///
    /// # Errors
    /// When there is no such tensor, or its file cannot be read.
    pub fn read(&self, name: &str, rows: Range<usize>, values: &mut [f32]) -> Result<(), HubError> {
        let missing = || HubError::new(Path::new(name), "no tensor of the checkpoint");
        let Origin { stored, update } = self.origins.get(name).ok_or_else(missing)?;
        stored.read(rows.clone(), values)?;
        update.as_ref().map_or(Ok(()), |update| update.add(rows, values))
    }

    /// The whole model in memory.
    ///
    /// # Errors
    /// When a file cannot be read, or the shape is one that cannot be trained.
    pub fn model(&self, folder: &Path) -> Result<Model, HubError> {
        let mut model = Model::zeroed(self.shape.clone())
            .map_err(|error| HubError::new(&folder.join("config.json"), error))?;
        for part in parts(&self.shape) {
            let own = model.layout.tensor(&part.tensor.name).map(Tensor::range);
            if let (Some(name), Some(own)) = (part.stored_name(), own) {
                self.read(name, 0..part.tensor.rows, &mut model.parameters[own])?;
            }
        }
        Ok(model)
    }
}

/// Refuses tensors that the architecture does not have: what they do would be lost.
fn check_names(folder: &Path, shards: &Shards, names: &BTreeSet<&str>) -> Result<(), HubError> {
    // A tied head is there twice in some files, and old ones keep the rotary angles.
    let is_known = |name: &str| names.contains(name) || name == HEAD || name.ends_with(".inv_freq");
    match shards.names().find(|name| !is_known(name)) {
        Some(name) => {
            let reason = format!("{name} is no tensor of the architecture in config.json");
            Err(HubError::new(folder, reason))
        }
        None => Ok(()),
    }
}

/// Whether two tensors hold other values.
fn differ(one: &Stored, other: &Stored) -> Result<bool, HubError> {
    let (&[rows, columns], true) = (one.shape.as_slice(), one.shape == other.shape) else {
        return Ok(true);
    };
    let at_once = (COMPARED_AT_ONCE / columns.max(1)).max(1);
    let [mut left, mut right] = [vec![0.0; at_once * columns], vec![0.0; at_once * columns]];
    for start in (0..rows).step_by(at_once) {
        let range = start..rows.min(start + at_once);
        let values = range.len() * columns;
        one.read(range.clone(), &mut left[..values])?;
        other.read(range, &mut right[..values])?;
        if left[..values] != right[..values] {
            return Ok(true);
        }
    }
    Ok(false)
}

fn origin<'a>(
    name: &str,
    tensor: &Tensor,
    folder: &Path,
    find: &dyn Fn(&str) -> Option<&'a Stored>,
    adapter: Option<&'a Adapter>,
) -> Result<Origin, HubError> {
    let Tensor { rows, columns, .. } = *tensor;
    let whole = adapter.and_then(|adapter| adapter.replacement(name));
    let saved = whole.or_else(|| adapter?.below_update(name));
    let missing = || HubError::new(folder, format!("no file holds {name}"));
    let stored = saved.or_else(|| find(name)).ok_or_else(missing)?.clone();
    stored.weights()?;
    if stored.shape != [rows, columns] && (rows != 1 || stored.shape != [columns]) {
        let of_adapter =
            if saved.is_some() { "; merge it with PEFT and import the result" } else { "" };
        return Err(stored.refused(format!(
            "has shape {:?}, expected {rows} rows of {columns} by the base's config.json{of_adapter}",
            stored.shape
        )));
    }
    let adapter = adapter.filter(|_| whole.is_none());
    let update = adapter.map(|adapter| adapter.update(name, rows, columns)).transpose()?;
    Ok(Origin { stored, update: update.flatten() })
}
