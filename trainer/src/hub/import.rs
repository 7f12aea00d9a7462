//! `retort-train import`: a checkpoint, with an adapter or without, becomes a GGUF file.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use retort::engine::{EngineError, ModelFile};
use retort_transcript::Dialect;
use tempfile::{NamedTempFile, TempPath};

use super::calibrate::Calibration;
use super::card::{Card, Merged, file_name, size_label};
use super::gate::{GateArgs, RoundingGate};
use super::quantise::by_llama;
use super::write::write;
use super::{Adapter, Checkpoint, write_adapter};
use crate::durable::{beside, folder_of, keep_file, replace_text};
use crate::gguf::{Labels, Weights};
use crate::hash::file_sha256;
use crate::tokenizer::conversational;

/// The first four are written here, the others by llama.cpp.
const TYPES: [&str; 8] = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K"];
/// What llama.cpp quantises, and what a quantised model is compared with.
const WHOLE: Weights = Weights::BF16;
const WHOLE_NAME: &str = "BF16";

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
    /// The file to write. In a folder (`DIR/`) it is named as GGUF files are, with its card
    /// beside it.
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
    /// Name of the model [default: the folder's, and the adapter's].
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
    let import = Import::open(args)?;
    match &args.adapter {
        Some(adapter) if args.adapter_only => import.write_adapter(adapter)?,
        _ => import.write_model()?,
    }
    outln!("{}", import.out.path.display());
    Ok(())
}

/// What the arguments name, opened.
struct Import<'a> {
    args: &'a ImportModelArgs,
    kind: String,
    dialect: Option<Dialect>,
    labels: Labels,
    checkpoint: Checkpoint,
    out: Out,
}

impl<'a> Import<'a> {
    fn open(args: &'a ImportModelArgs) -> Result<Self> {
        let kind = args.kind.to_uppercase();
        let dialect = args.dialect.as_deref().map(Dialect::named).transpose()?;
        let folders = [Some(&args.checkpoint), args.adapter.as_ref()].into_iter().flatten();
        let usual = || folders.map(|own| last_part(own)).collect::<Vec<_>>().join("-");
        let name = args.name.clone().unwrap_or_else(usual);
        let labels = Labels::of(name, args.license.clone(), dialect.as_ref());
        if dialect.is_some() {
            conversational(&args.checkpoint.join("tokenizer.json"))?;
        }
        let merged = args.adapter.as_deref().filter(|_| !args.adapter_only);
        let checkpoint = Checkpoint::open(&args.checkpoint, merged)?;
        if let Some(adapter) = &args.adapter {
            tell_other_base(&Adapter::open(adapter)?, &args.checkpoint);
        }
        let size = size_label(&checkpoint.shape);
        let named = file_name(&labels.name, &size, &kind, args.adapter_only);
        Ok(Self { args, kind, dialect, labels, checkpoint, out: Out::new(&args.out, &named)? })
    }

    fn write_adapter(&self, adapter: &Path) -> Result<()> {
        let weights = direct(&self.kind).filter(|own| matches!(own, Weights::F32 | Weights::F16));
        let Some(weights) = weights else {
            bail!("--type {}: an adapter is F32 or F16", self.kind);
        };
        let path = &self.out.path;
        write_adapter(&self.checkpoint, adapter, path, &self.labels, weights)?;
        match &self.out.card {
            Some(card) => {
                let bytes = fs::metadata(path).with_context(|| self.refused())?.len();
                self.write_card(card, (&file_sha256(path)?, bytes), Merged::No, "", None)
            }
            None => Ok(()),
        }
    }

    fn write_model(&self) -> Result<()> {
        let gate = RoundingGate::open(&self.args.gate)?;
        let mut calibration = self.calibrate()?;
        let Made { rounded, whole } = self.make(&mut calibration, gate.is_some())?;
        let figures = match (&gate, &whole, &self.dialect) {
            (Some(gate), Some(whole), Some(dialect)) => {
                Some(gate.pass(dialect, (WHOLE_NAME, whole), (&self.kind, &rounded))?)
            }
            _ => None,
        };
        if let Some(table) = &figures {
            err!("{table}");
        }
        // What the runtime would refuse is not written either.
        let file = ModelFile::open(&rounded).map_err(|error| match error {
            EngineError::Refused { reason, .. } => {
                anyhow!("{}: the model cannot be run: {reason}", self.args.checkpoint.display())
            }
            other => other.into(),
        })?;
        keep_file(rounded, &self.out.path).with_context(|| self.refused())?;
        match &self.out.card {
            Some(card) => {
                let file = (file.sha256.as_str(), file.bytes);
                self.write_card(card, file, Merged::Yes, &calibration.said, figures.as_deref())
            }
            None => Ok(()),
        }
    }

    fn calibrate(&self) -> Result<Calibration> {
        let (args, kind) = (self.args, &self.kind);
        let (Some(trajectories), Some(dialect)) = (&args.calibrate, &self.dialect) else {
            return Ok(Calibration::none());
        };
        if direct(kind).is_some() {
            bail!(
                "--calibrate changes nothing in type {kind}: leave it out, or take a smaller --type"
            );
        }
        let tokens = args.calibrate_tokens;
        Calibration::measure(&args.checkpoint, &self.checkpoint, trajectories, dialect, tokens)
    }

    /// Writes beside the file that is wanted; hands the importance on to llama.cpp.
    fn make(&self, calibration: &mut Calibration, is_compared: bool) -> Result<Made> {
        let beside = || {
            let made = beside(&self.out.path).map(NamedTempFile::into_temp_path);
            made.with_context(|| self.refused())
        };
        let write = |file: &TempPath, weights| {
            write(&self.checkpoint, file, &self.labels, &calibration.metadata, weights)
        };
        let (rounded, direct) = (beside()?, direct(&self.kind));
        let whole = (is_compared || direct.is_none()).then(beside).transpose()?;
        if let Some(whole) = &whole {
            write(whole, WHOLE)?;
        }
        match (direct, &whole) {
            (Some(weights), _) => write(&rounded, weights)?,
            (None, Some(whole)) => {
                let importance = std::mem::take(&mut calibration.importance);
                by_llama(whole, &rounded, &self.kind, importance)?;
            }
            (None, None) => {}
        }
        Ok(Made { rounded, whole })
    }

    fn write_card(
        &self,
        path: &Path,
        (sha256, bytes): (&str, u64),
        merged: Merged,
        calibrated: &str,
        figures: Option<&str>,
    ) -> Result<()> {
        let adapter = self.args.adapter.as_deref().map(last_part);
        let card = Card {
            labels: &self.labels,
            checkpoint: &self.checkpoint,
            base: &last_part(&self.args.checkpoint),
            adapter: adapter.as_deref().map(|name| (name, merged)),
            kind: &self.kind,
            calibrated,
            file: &last_part(&self.out.path),
            sha256,
            bytes,
            figures,
        };
        let written = replace_text(path, &card.text());
        written.with_context(|| format!("{} cannot be written", path.display()))
    }

    fn refused(&self) -> String {
        format!("{} cannot be written", self.out.path.display())
    }
}

/// Sizes alone do not tell whether an adapter is for this base: says so where the names differ.
fn tell_other_base(adapter: &Adapter, checkpoint: &Path) {
    let base = adapter.base().map(|base| (base, Path::new(base).file_name()));
    if let Some((base, Some(name))) = base
        && name.to_string_lossy() != last_part(checkpoint)
    {
        errln!(
            "note: the adapter says it is for {base} (base_model_name_or_path), and is merged with {}",
            checkpoint.display()
        );
    }
}

fn last_part(path: &Path) -> String {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole
        .file_name()
        .map_or_else(|| "imported".to_owned(), |own| own.to_string_lossy().into_owned())
}

/// Where the file goes, and its card if it is to have one.
pub(super) struct Out {
    pub path: PathBuf,
    card: Option<PathBuf>,
}

impl Out {
    /// What is written as `out`; a file in a folder is called `name`.
    pub fn new(out: &Path, name: &str) -> Result<Self> {
        let refused = || format!("--out {}", out.display());
        if out.as_os_str().as_encoded_bytes().ends_with(b"/") {
            fs::create_dir_all(out).with_context(refused)?;
        }
        if out.is_dir() {
            let path = out.join(name);
            return Ok(Self { card: Some(path.with_extension("md")), path });
        }
        if out.exists() {
            // What a checkpoint holds is not to be replaced by what is made of it.
            let mut magic = [0; 4];
            let read = File::open(out).and_then(|mut file| file.read_exact(&mut magic));
            let is_model = read.is_ok() && &magic == b"GGUF";
            ensure!(is_model, "{}: there is a file that is no GGUF; name another", refused());
        }
        // Hours may pass before it is written.
        ensure!(folder_of(out).is_dir(), "{}: there is no such folder", refused());
        Ok(Self { path: out.to_owned(), card: None })
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

/// Files beside the one that is wanted.
struct Made {
    rounded: TempPath,
    /// The model before its weights are rounded, where somebody needs it.
    whole: Option<TempPath>,
}
