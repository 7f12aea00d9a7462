//! `retort-train import`: a checkpoint, with an adapter or without, becomes a GGUF file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use retort::engine::{ModelFile, WorkerSettings, quantise};
use retort_transcript::Dialect;
use tempfile::{NamedTempFile, TempPath};

use super::calibrate::Calibration;
use super::card::{Card, file_name, size_label};
use super::gate::{Gate, GateArgs};
use super::write::write;
use super::{Checkpoint, write_adapter};
use crate::durable::{beside, keep_file, replace_text};
use crate::gguf::{Labels, Weights};

/// The first four are written here, the others by llama.cpp.
const TYPES: [&str; 8] = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K"];
/// What llama.cpp quantises, and what a quantised model is compared with.
const WHOLE: Weights = Weights::BF16;
/// llama.cpp says nothing while it quantises; on a small board a large model takes long.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Turn a Hugging Face checkpoint (Qwen2, Qwen3, Llama 3) into a GGUF file.
#[derive(Debug, Args)]
pub struct ImportModelArgs {
    /// Folder with config.json, tokenizer.json and model.safetensors.
    checkpoint: PathBuf,
    /// Folder of a PEFT LoRA adapter to merge.
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Write the adapter by itself, for `retort ask --adapter`; --type is then F32 or F16.
    #[arg(long, requires = "adapter", conflicts_with_all = ["calibrate", "gate"])]
    adapter_only: bool,
    /// The file to write. In a folder it is named as GGUF files are, with a model card beside it.
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// How matrices are stored.
    #[arg(long = "type", value_name = "TYPE", default_value = "Q8_0", ignore_case = true)]
    #[arg(default_value_if("adapter_only", "true", "F32"))]
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
    /// Trajectories that the model reads first: types of llama.cpp then round with more care what
    /// weighs more in them.
    #[arg(long, value_name = "FILE", requires = "dialect")]
    calibrate: Option<PathBuf>,
    /// How much of them, in tokens.
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    calibrate_tokens: usize,
    #[command(flatten)]
    gate: GateArgs,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be used, by its name; or a model that lost too much.
pub fn run(args: &ImportModelArgs) -> Result<()> {
    let kind = args.kind.to_uppercase();
    let dialect = args.dialect.as_deref().map(Dialect::named).transpose()?;
    let base = last_part(&args.checkpoint);
    let name = args.name.clone().unwrap_or_else(|| base.clone());
    let labels = Labels::of(name, args.license.clone(), dialect.as_ref());
    let merged = args.adapter.as_deref().filter(|_| !args.adapter_only);
    let checkpoint = Checkpoint::open(&args.checkpoint, merged)?;
    let size = size_label(&checkpoint.shape);
    let out = Out::new(&args.out, &file_name(&labels.name, &size, &kind, args.adapter_only));
    if let (true, Some(adapter)) = (args.adapter_only, &args.adapter) {
        let weights = direct(&kind).filter(|own| matches!(own, Weights::F32 | Weights::F16));
        let Some(weights) = weights else { bail!("--type {kind}: an adapter is F32 or F16") };
        write_adapter(&checkpoint, adapter, &out.path, &labels, weights)?;
        println!("{}", out.path.display());
        return Ok(());
    }
    let gate = Gate::open(&args.gate)?;
    let calibration = calibrate(args, &kind, &checkpoint, dialect.as_ref())?;
    let made = Made::new(&checkpoint, &labels, &calibration, &kind, &out.path, gate.is_some())?;
    let figures = match (&gate, &made.whole, &dialect) {
        (Some(gate), Some(whole), Some(dialect)) => {
            let before = ("BF16", whole.as_ref());
            Some(gate.pass(dialect, before, (&kind, made.rounded.as_ref()))?)
        }
        _ => None,
    };
    if let Some(table) = &figures {
        eprint!("{table}");
    }
    let refused = || format!("{} cannot be written", out.path.display());
    keep_file(made.rounded, &out.path).with_context(refused)?;
    if let Some(path) = &out.card {
        let file = ModelFile::open(&out.path)?;
        let adapter = args.adapter.as_deref().map(last_part);
        let card = Card {
            labels: &labels,
            checkpoint: &checkpoint,
            from: (&base, adapter.as_deref()),
            kind: &kind,
            calibrated: &calibration.said,
            file: &last_part(&out.path),
            sha256: &file.sha256,
            bytes: file.bytes,
            figures: figures.as_deref(),
        };
        replace_text(path, &card.text())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    println!("{}", out.path.display());
    Ok(())
}

fn last_part(path: &Path) -> String {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole
        .file_name()
        .map_or_else(|| "imported".to_owned(), |own| own.to_string_lossy().into_owned())
}

/// Where the file goes, and its card if it is to have one.
struct Out {
    path: PathBuf,
    card: Option<PathBuf>,
}

impl Out {
    fn new(out: &Path, name: &str) -> Self {
        let card = out.is_dir().then(|| out.join("README.md"));
        let path = if out.is_dir() { out.join(name) } else { out.to_owned() };
        Self { path, card }
    }
}

/// The types that are written here.
fn direct(kind: &str) -> Option<Weights> {
    match kind {
        "F32" => Some(Weights::F32),
        "F16" => Some(Weights::F16),
        "BF16" => Some(Weights::BF16),
        "Q8_0" => Some(Weights::Q8_0),
        _ => None,
    }
}

fn calibrate(
    args: &ImportModelArgs,
    kind: &str,
    checkpoint: &Checkpoint,
    dialect: Option<&Dialect>,
) -> Result<Calibration> {
    let (Some(trajectories), Some(dialect)) = (&args.calibrate, dialect) else {
        return Ok(Calibration::none());
    };
    if direct(kind).is_some() {
        bail!("--calibrate changes nothing in type {kind}: leave it out, or take a smaller --type");
    }
    let tokens = args.calibrate_tokens;
    Calibration::measure(&args.checkpoint, checkpoint, trajectories, dialect, tokens)
}

/// Files beside the one that is wanted.
struct Made {
    rounded: TempPath,
    /// The model before its weights are rounded, where somebody needs it.
    whole: Option<TempPath>,
}

impl Made {
    fn new(
        checkpoint: &Checkpoint,
        labels: &Labels,
        calibration: &Calibration,
        kind: &str,
        out: &Path,
        is_compared: bool,
    ) -> Result<Self> {
        let beside = || {
            let made = beside(out).map(NamedTempFile::into_temp_path);
            made.with_context(|| format!("{} cannot be written", out.display()))
        };
        let write = |file: &TempPath, weights| {
            write(checkpoint, file, labels, &calibration.metadata, weights)
        };
        let (rounded, direct) = (beside()?, direct(kind));
        let whole = (is_compared || direct.is_none()).then(beside).transpose()?;
        if let Some(whole) = &whole {
            write(whole, WHOLE)?;
        }
        match (direct, &whole) {
            (Some(weights), _) => write(&rounded, weights)?,
            (None, Some(whole)) => {
                let settings =
                    WorkerSettings { silence_max: SILENCE_MAX, ..WorkerSettings::default() };
                let importance = calibration.importance.clone();
                quantise(whole, &rounded, kind, importance, &settings)
                    .with_context(|| format!("--type {kind}"))?;
            }
            (None, None) => {}
        }
        Ok(Self { rounded, whole })
    }
}
