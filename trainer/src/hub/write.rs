//! A checkpoint as a GGUF file, row by row.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::card::size_label;
use super::{Checkpoint, HubError, Part, Source, parts};
use crate::gguf::{self, Labels, Metadata, Value, Weights};
use crate::model::{Architecture, Tensor};

/// Writes a checkpoint, with `further` metadata.
///
/// # Errors
/// When a tensor cannot be read, or the file cannot be written; `path` is then as it was before.
pub(super) fn write(
    checkpoint: &Checkpoint,
    path: &Path,
    labels: &Labels,
    further: &Metadata,
    weights: Weights,
) -> Result<()> {
    let Checkpoint { shape, words, .. } = checkpoint;
    let architecture = shape.architecture.name();
    let mut metadata = gguf::general(shape, labels, weights);
    let head = Value::U32(u32::try_from(shape.head_width).unwrap_or(u32::MAX));
    for key in ["attention.key_length", "attention.value_length"] {
        metadata.push((format!("{architecture}.{key}"), head.clone()));
    }
    if shape.architecture == Architecture::Llama {
        metadata.push(("llama.rope.dimension_count".to_owned(), head));
    }
    metadata.push(("general.size_label".to_owned(), Value::Text(size_label(shape))));
    metadata.extend(words.iter().chain(further).cloned());
    let parts = parts(shape);
    let tensors: Vec<Tensor> = parts.iter().map(|part| part.tensor.clone()).collect();
    let rows: usize = tensors.iter().map(|tensor| tensor.rows).sum();
    let style = ProgressStyle::with_template("importing {bar:30} {percent} % {eta}")?;
    let bar = ProgressBar::new(rows as u64).with_style(style);
    gguf::write(path, &metadata, &tensors, weights, |index, rows, values| {
        bar.inc(rows.len() as u64);
        parts.get(index).map_or(Ok(()), |part| fill(checkpoint, part, rows, values))
    })
    .map_err(|error| match error.is::<HubError>() {
        // It names the file that was read.
        true => error,
        false => error.context(format!("{} cannot be written", path.display())),
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Reads runs of rows that lie together in the checkpoint.
fn fill(
    checkpoint: &Checkpoint,
    part: &Part,
    rows: Range<usize>,
    values: &mut [f32],
) -> Result<()> {
    let (name, paired) = match &part.source {
        Source::Values(own) => {
            values.copy_from_slice(own);
            return Ok(());
        }
        Source::Stored { name, paired } => (name, paired),
    };
    let columns = part.tensor.columns;
    let together = if paired.is_some() { 1 } else { rows.len() };
    for (first, values) in rows.step_by(together).zip(values.chunks_mut(together * columns)) {
        let stored_row = part.stored_row(first);
        checkpoint.read(name, stored_row..stored_row + values.len() / columns, values)?;
    }
    Ok(())
}
