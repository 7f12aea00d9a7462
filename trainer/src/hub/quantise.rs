//! `retort-train quantise`: a model of any origin in a smaller type, written only if it still answers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use retort::engine::{ModelFile, WorkerSettings, quantise};
use retort_transcript::Dialect;

use super::gate::{GateArgs, RoundingGate};
use super::import::Out;
use crate::durable::{beside, keep_file};
use crate::gguf::Weights;
use crate::trajectory::refuse_same;

/// llama.cpp says nothing while it quantises; on a small board a large model takes long.
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Write a model (GGUF) with its matrices in a smaller type.
#[derive(Debug, Args)]
pub struct QuantiseArgs {
    /// The model, in F32, F16 or BF16.
    model: PathBuf,
    /// The file to write. In a folder (`DIR/`) it is named after the model and the type.
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// How matrices are stored.
    #[arg(long = "type", value_name = "TYPE", default_value = "Q4_K_M", ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(["Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K"]))]
    kind: String,
    /// Dialect that the model was trained in, for --gate.
    #[arg(long, value_name = "NAME", requires = "gate")]
    dialect: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
}

/// Runs the command.
///
/// # Errors
/// A model that cannot be used or is quantised already, or one that lost too much.
pub fn quantise_model(args: &QuantiseArgs) -> Result<()> {
    let kind = args.kind.to_uppercase();
    let dialect = args.dialect.as_deref().map(Dialect::named).transpose()?;
    let gate = RoundingGate::open(&args.gate)?;
    let whole = ModelFile::open(&args.model)?;
    let is_whole = |kind: u32| Weights::of_tensor_type(kind).is_some_and(Weights::is_whole);
    if let Some(tensor) = whole.header.tensors.iter().find(|own| !is_whole(own.kind)) {
        bail!(
            "{}: tensor {} is quantised already, expected F32, F16 or BF16: quantise the file it was \
             made from",
            args.model.display(),
            tensor.name
        );
    }
    let stem = args.model.file_stem().unwrap_or_default().display();
    let out = Out::new(&args.out, &format!("{stem}-{kind}.gguf"))?.path;
    refuse_same(&args.model, &out)?;
    let unwritable = || format!("{} cannot be written", out.display());
    let rounded = beside(&out).with_context(unwritable)?.into_temp_path();
    by_llama(&args.model, &rounded, &kind, Vec::new())?;
    if let (Some(gate), Some(dialect)) = (&gate, &dialect) {
        err!("{}", gate.pass(dialect, ("before", &args.model), (&kind, &rounded))?);
    }
    // What the runtime would refuse is not written either.
    ModelFile::open(&rounded).with_context(|| format!("--type {kind}"))?;
    keep_file(rounded, &out).with_context(unwritable)?;
    outln!("{}", out.display());
    Ok(())
}

/// Has llama.cpp write `from` as `to` in the type `kind`; `importance` is that of
/// [`retort::engine::quantise`].
///
/// # Errors
/// llama.cpp's words.
pub(super) fn by_llama(
    from: &Path,
    to: &Path,
    kind: &str,
    importance: Vec<(String, Vec<f32>)>,
) -> Result<()> {
    let settings = WorkerSettings { silence_max: SILENCE_MAX, ..WorkerSettings::default() };
    quantise(from, to, kind, importance, &settings).with_context(|| format!("--type {kind}"))
}
