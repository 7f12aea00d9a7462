//! An adapter as a GGUF file, to be laid over its base when that is loaded.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Adapter, Checkpoint, Part, Source, parts};
use crate::gguf::{self, Labels, Metadata, Value, Weights};
use crate::model::{Role, Tensor};

/// Writes the adapter in the folder `adapter` of the model in `checkpoint`.
///
/// # Errors
/// An adapter that does not fit, or that holds more than updates of linear layers.
pub fn write_adapter(
    checkpoint: &Checkpoint,
    adapter: &Path,
    path: &Path,
    labels: &Labels,
    weights: Weights,
) -> Result<()> {
    let opened = Adapter::open(adapter)?;
    let parts = parts(&checkpoint.shape);
    let named: Vec<(&Part, &str)> =
        parts.iter().filter_map(|part| Some((part, part.stored_name()?))).collect();
    opened.check_names(&named.iter().map(|(_, name)| *name).collect())?;
    let mut tensors = Vec::new();
    let mut alpha = None;
    for (part, name) in named {
        opened.refuse_replacement(name)?;
        let Tensor { rows, columns, .. } = part.tensor;
        let Some(update) = opened.update(name, rows, columns)? else { continue };
        if !part.tensor.name.starts_with("blk.") {
            bail!("{}: {name} is no layer of a block: merge it", adapter.display());
        }
        if update.scale == 0.0 {
            bail!("{}: the scale of {name} is 0: it does nothing", adapter.display());
        }
        let (a, mut b) = (update.a.clone(), update.b(0..rows)?);
        // One alpha serves the whole file; what a layer's own scale differs by goes into B.
        let own = update.scale * update.rank as f32;
        let alpha = *alpha.get_or_insert(own);
        b.iter_mut().for_each(|value| *value *= own / alpha);
        let mut add = |end: &str, rows, columns, values| {
            let name = format!("{}.{end}", part.tensor.name);
            let tensor = Tensor { name, rows, columns, offset: 0, role: Role::Matrix };
            tensors.push((tensor, values));
        };
        add("lora_a", update.rank, columns, a);
        add("lora_b", rows, update.rank, turned(part, &b, update.rank));
    }
    let alpha = alpha.with_context(|| format!("{}: it adapts nothing", adapter.display()))?;
    let (tensors, values): (Vec<Tensor>, Vec<Vec<f32>>) = tensors.into_iter().unzip();
    let metadata = metadata(checkpoint, labels, weights, alpha, opened.base());
    gguf::write(path, &metadata, &tensors, weights, |index, rows, out| {
        if let (Some(tensor), Some(values)) = (tensors.get(index), values.get(index)) {
            let range = rows.start * tensor.columns..rows.end * tensor.columns;
            out.copy_from_slice(values.get(range).unwrap_or_default());
        }
        Ok::<(), std::io::Error>(())
    })
    .with_context(|| format!("{} cannot be written", path.display()))
}

/// Rows of B in the order in which the file has those of its matrix.
fn turned(part: &Part, b: &[f32], rank: usize) -> Vec<f32> {
    let Source::Stored { paired: Some(_), .. } = part.source else { return b.to_vec() };
    let row = |row| {
        let start = part.stored_row(row) * rank;
        b.get(start..start + rank).unwrap_or_default()
    };
    (0..part.tensor.rows).flat_map(row).copied().collect()
}

/// llama.cpp multiplies the product of B and A by alpha over the rank.
fn metadata(
    checkpoint: &Checkpoint,
    labels: &Labels,
    weights: Weights,
    alpha: f32,
    base: Option<&str>,
) -> Metadata {
    let mut metadata = gguf::general(&checkpoint.shape, labels, weights);
    // The sizes are the base's.
    metadata.retain(|(key, _)| {
        key != "general.type" && (key.starts_with("general.") || key.starts_with("retort."))
    });
    let text = |text: &str| Value::Text(text.to_owned());
    metadata.extend([
        ("general.type".to_owned(), text("adapter")),
        ("adapter.type".to_owned(), text("lora")),
        ("adapter.lora.alpha".to_owned(), Value::F32(alpha)),
    ]);
    if let Some(base) = base {
        metadata.push(("general.base_model.count".to_owned(), Value::U32(1)));
        metadata.push(("general.base_model.0.name".to_owned(), text(base)));
    }
    metadata
}
