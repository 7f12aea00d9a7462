//! `retort-train import`: a checkpoint, with an adapter or without, becomes a GGUF file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use retort::engine::{WorkerSettings, quantise};
use retort_transcript::Dialect;

use super::{Checkpoint, Part, Source, parts};
use crate::durable::folder_of;
use crate::gguf::{self, Labels, Value, Weights};
use crate::model::{Architecture, Tensor};

/// The first four are written here, the others by llama.cpp.
const TYPES: [&str; 8] = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K"];

/// Turn a Hugging Face checkpoint (Qwen2, Qwen3, Llama 3) into a GGUF file.
#[derive(Debug, Args)]
pub struct ImportModelArgs {
    /// Folder with config.json, tokenizer.json and model.safetensors.
    checkpoint: PathBuf,
    /// Folder of a PEFT LoRA adapter to merge.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// How matrices are stored.
    #[arg(long = "type", value_name = "TYPE", default_value = "Q8_0", ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(TYPES))]
    kind: String,
    /// Dialect that the model was trained in.
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,
    /// Name of the model [default: the folder's].
    #[arg(long)]
    name: Option<String>,
    /// SPDX expression of the model's licence.
    #[arg(long)]
    license: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be used, by its name.
pub fn run(args: &ImportModelArgs) -> Result<()> {
    let dialect = args.dialect.as_deref().map(Dialect::named).transpose()?;
    let folder = args.checkpoint.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = args.name.clone().or(folder).unwrap_or_else(|| "imported".to_owned());
    let labels = Labels::of(name, args.license.clone(), dialect.as_ref());
    let checkpoint = Checkpoint::open(&args.checkpoint, args.adapter.as_deref())?;
    let weights = match args.kind.to_uppercase().as_str() {
        "F32" => Weights::F32,
        "F16" => Weights::F16,
        "BF16" => Weights::BF16,
        "Q8_0" => Weights::Q8_0,
        kind => return write_by_llama(&checkpoint, &labels, kind, &args.out),
    };
    write(&checkpoint, &args.out, &labels, weights)
}

/// Writes a BF16 file beside `out`, which llama.cpp quantises.
fn write_by_llama(checkpoint: &Checkpoint, labels: &Labels, kind: &str, out: &Path) -> Result<()> {
    let refused = || format!("{} cannot be written", out.display());
    let beside = || tempfile::Builder::new().suffix(".gguf").tempfile_in(folder_of(out));
    let (whole, quantised) = (beside().with_context(refused)?, beside().with_context(refused)?);
    write(checkpoint, whole.path(), labels, Weights::BF16)?;
    quantise(whole.path(), quantised.path(), kind, &WorkerSettings::default())
        .with_context(|| format!("--type {kind}"))?;
    quantised.persist(out).with_context(refused)?;
    Ok(())
}

/// Writes a checkpoint as a GGUF file, row by row.
///
/// # Errors
/// When a tensor cannot be read, or the file cannot be written; `path` is then as it was before.
pub(super) fn write(
    checkpoint: &Checkpoint,
    path: &Path,
    labels: &Labels,
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
    metadata.extend(words.iter().cloned());
    let parts = parts(shape);
    let tensors: Vec<Tensor> = parts.iter().map(|part| part.tensor.clone()).collect();
    let rows: usize = tensors.iter().map(|tensor| tensor.rows).sum();
    let style = ProgressStyle::with_template("importing {bar:30} {percent} % {eta}")?;
    let bar = ProgressBar::new(rows as u64).with_style(style);
    gguf::write(path, &metadata, &tensors, weights, |index, rows, values| {
        bar.inc(rows.len() as u64);
        parts.get(index).map_or(Ok(()), |part| fill(checkpoint, part, rows, values))
    })
    .with_context(|| format!("{} cannot be written", path.display()))?;
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
