//! `retort-train run recipe.toml`: a student, a fine-tuned checkpoint, or the table of the paper.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::cuda::Device;
use crate::finetune::{self, FinetuneRecipe};
use crate::paper::{self, PaperRecipe};
use crate::student::{self, Recipe};

/// Run a recipe: collect trajectories, train, export, measure.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe.
    recipe: PathBuf,
    /// Folder of everything it makes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Make the smaller table of this name, of a recipe of kind paper.
    #[arg(long, value_name = "NAME")]
    scale: Option<String>,
    /// Where it trains: cpu, an NVIDIA device as cuda:0, several as cuda:0-3, or auto: one that is
    /// there, for models of 20 million parameters or more.
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
}

/// Runs the command.
///
/// # Errors
/// A recipe that is refused, or a stage that failed.
pub fn run(args: &RecipeArgs) -> Result<()> {
    let text = fs::read_to_string(&args.recipe)
        .with_context(|| format!("{} cannot be read", args.recipe.display()))?;
    let refused = || format!("{} is no recipe", args.recipe.display());
    let table: toml::Table = toml::from_str(&text).with_context(refused)?;
    let kind = table.get("kind").map(|kind| kind.as_str().unwrap_or_default());
    if kind != Some("paper") && args.scale.is_some() {
        bail!("{} makes no table: --scale is for recipes of kind paper", args.recipe.display());
    }
    match kind {
        Some("paper") => {
            let recipe = PaperRecipe::parse(&text, args.scale.as_deref()).with_context(refused)?;
            return paper::run(&recipe, &args.out, args.device);
        }
        Some("finetune") => {
            let recipe = FinetuneRecipe::parse(&text).with_context(refused)?;
            return finetune::run(&recipe, &args.out, args.device);
        }
        Some(_) => {
            bail!("{}: kind, expected \"paper\", \"finetune\" or nothing", args.recipe.display())
        }
        None => {}
    }
    let path = student::make(&Recipe::read(&args.recipe)?, &args.out, args.device)?;
    outln!("{}", path.display());
    Ok(())
}
