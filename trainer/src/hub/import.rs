//! `retort-train import`: a checkpoint, with an adapter or without, becomes a GGUF file.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};
use retort::engine::{WorkerSettings, quantise};
use retort_transcript::{Dialect, TRANSCRIPT_ROW_VERSION};

use super::{
    Adapter, Family, HubConfig, HubError, Part, Shards, Source, Stored, Update, parts, words,
};
use crate::durable::folder_of;
use crate::gguf::{self, Labels, Metadata, Value, Weights};
use crate::model::Tensor;

/// The output head of checkpoints that have one of their own.
const HEAD: &str = "lm_head.weight";

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
    let labels = Labels {
        name: args.name.clone().or(folder).unwrap_or_else(|| "imported".to_owned()),
        license: args.license.clone(),
        dialect: dialect.as_ref().map(|dialect| dialect.name().to_owned()),
        dialect_hash: dialect.as_ref().map(Dialect::hash),
        transcript_version: dialect.is_some().then_some(TRANSCRIPT_ROW_VERSION),
        chat_template: None,
    };
    let checkpoint = Checkpoint::open(&args.checkpoint, args.adapter.as_deref())?;
    let weights = match args.kind.to_uppercase().as_str() {
        "F32" => Weights::F32,
        "F16" => Weights::F16,
        "BF16" => Weights::BF16,
        "Q8_0" => Weights::Q8_0,
        kind => return write_by_llama(&checkpoint, &labels, kind, &args.out),
    };
    checkpoint.write(&args.out, &labels, weights)
}

/// Writes a BF16 file beside `out`, which llama.cpp quantises.
fn write_by_llama(checkpoint: &Checkpoint, labels: &Labels, kind: &str, out: &Path) -> Result<()> {
    let refused = || format!("{} cannot be written", out.display());
    let beside = || tempfile::Builder::new().suffix(".gguf").tempfile_in(folder_of(out));
    let (whole, quantised) = (beside().with_context(refused)?, beside().with_context(refused)?);
    checkpoint.write(whole.path(), labels, Weights::BF16)?;
    quantise(whole.path(), quantised.path(), kind, &WorkerSettings::default())
        .with_context(|| format!("--type {kind}"))?;
    quantised.persist(out).with_context(refused)?;
    Ok(())
}

/// A checkpoint whose tensors were found to be those its configuration asks for.
pub(super) struct Checkpoint {
    config: HubConfig,
    shards: Shards,
    adapter: Option<Adapter>,
    words: Metadata,
    parts: Vec<Part>,
    origins: Vec<Origin>,
}

/// Where the rows of a part are read.
enum Origin {
    /// They are given.
    Values(Vec<f32>),
    /// In the base; an adapter may add to them.
    Base(Stored, Option<Update>),
    /// In the adapter.
    Adapter(Stored),
}

impl Checkpoint {
    pub(super) fn open(folder: &Path, adapter: Option<&Path>) -> Result<Self, HubError> {
        let config = HubConfig::read(folder)?;
        let shards = Shards::open(folder, "model")?;
        let words = words(folder, config.shape.vocabulary)?;
        let tied = config.tied.unwrap_or_else(|| shards.find(HEAD).is_none());
        let parts = parts(&config, tied);
        let names = parts.iter().filter_map(|part| match &part.source {
            Source::Stored { name, .. } => Some(name.as_str()),
            Source::Values(_) => None,
        });
        let names: BTreeSet<&str> = names.collect();
        check_names(folder, &shards, &names)?;
        let adapter = adapter.map(Adapter::open).transpose()?;
        if let Some(adapter) = &adapter {
            adapter.check_names(&names)?;
        }
        let origin = |part: &Part| origin(part, folder, &shards, adapter.as_ref());
        let origins = parts.iter().map(origin).collect::<Result<_, _>>()?;
        Ok(Self { config, shards, adapter, words, parts, origins })
    }

    pub(super) fn write(&self, path: &Path, labels: &Labels, weights: Weights) -> Result<()> {
        let HubConfig { family, shape, .. } = &self.config;
        let mut metadata = gguf::general(family.architecture(), shape, labels, weights);
        let head = Value::U32(u32::try_from(shape.head_width).unwrap_or(u32::MAX));
        for key in ["attention.key_length", "attention.value_length"] {
            metadata.push((format!("{}.{key}", family.architecture()), head.clone()));
        }
        if *family == Family::Llama {
            metadata.push(("llama.rope.dimension_count".to_owned(), head));
        }
        metadata.extend(self.words.iter().cloned());
        let tensors: Vec<Tensor> = self.parts.iter().map(|part| part.tensor.clone()).collect();
        let rows: usize = tensors.iter().map(|tensor| tensor.rows).sum();
        let style = ProgressStyle::with_template("importing {bar:30} {percent} % {eta}")?;
        let bar = ProgressBar::new(rows as u64).with_style(style);
        gguf::write(path, &metadata, &tensors, weights, |index, rows, values| {
            bar.inc(rows.len() as u64);
            match self.parts.get(index).zip(self.origins.get(index)) {
                Some((part, origin)) => self.fill(part, origin, rows, values),
                None => Ok(()),
            }
        })
        .with_context(|| format!("{} cannot be written", path.display()))?;
        bar.finish_and_clear();
        Ok(())
    }

    /// Reads and adapts runs of rows that lie together in the checkpoint.
    fn fill(
        &self,
        part: &Part,
        origin: &Origin,
        rows: Range<usize>,
        values: &mut [f32],
    ) -> Result<()> {
        let columns = part.tensor.columns;
        let is_moved = matches!(part.source, Source::Stored { paired: Some(_), .. });
        let together = if is_moved { 1 } else { rows.len() };
        for (first, values) in rows.step_by(together).zip(values.chunks_mut(together * columns)) {
            let stored_row = part.stored_row(first);
            let run = stored_row..stored_row + values.len() / columns;
            match (origin, &self.adapter) {
                (Origin::Values(own), _) => values.copy_from_slice(own),
                (Origin::Adapter(stored), Some(adapter)) => adapter.read(stored, run, values)?,
                (Origin::Base(stored, Some(update)), Some(adapter)) => {
                    self.shards.read(stored, run.clone(), values)?;
                    adapter.add(update, run, values)?;
                }
                (Origin::Base(stored, _) | Origin::Adapter(stored), _) => {
                    self.shards.read(stored, run, values)?;
                }
            }
        }
        Ok(())
    }
}

/// Refuses tensors that the family does not have: what they do would be lost.
fn check_names(folder: &Path, shards: &Shards, names: &BTreeSet<&str>) -> Result<(), HubError> {
    // A tied head is there twice in some files, and old ones keep the rotary angles.
    let is_known = |name: &str| names.contains(name) || name == HEAD || name.ends_with(".inv_freq");
    match shards.names().find(|name| !is_known(name)) {
        Some(name) => {
            let reason = format!("{name} is no tensor of the family that config.json names");
            Err(HubError::new(folder, reason))
        }
        None => Ok(()),
    }
}

fn origin(
    part: &Part,
    folder: &Path,
    shards: &Shards,
    adapter: Option<&Adapter>,
) -> Result<Origin, HubError> {
    let name = match &part.source {
        Source::Values(values) => return Ok(Origin::Values(values.clone())),
        Source::Stored { name, .. } => name,
    };
    let Tensor { rows, columns, .. } = part.tensor;
    let checked = |stored: &Stored| {
        let fits = stored.shape == [rows, columns] || rows == 1 && stored.shape == [columns];
        let reason = format!(
            "{name} has shape {:?}, expected {rows} rows of {columns} by config.json",
            stored.shape
        );
        if fits { Ok(stored.clone()) } else { Err(HubError::new(folder, reason)) }
    };
    if let Some(own) = adapter.and_then(|adapter| adapter.replacement(name)) {
        return checked(own).map(Origin::Adapter);
    }
    let stored =
        shards.find(name).ok_or_else(|| HubError::new(folder, format!("no file holds {name}")))?;
    let update = adapter.map(|adapter| adapter.update(name, rows, columns)).transpose()?;
    Ok(Origin::Base(checked(stored)?, update.flatten()))
}
