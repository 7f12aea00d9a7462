//! `retort-train filter`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::DistilConfig;
use crate::filter::{FilterConfig, Right, filter_file};

/// Keep the trajectories that are worth learning from, and say how many fell and why.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// File of trajectories.
    trajectories: PathBuf,
    /// File of those that are kept.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Configuration of teaching, whose part `filter` holds where no flag is given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// When an answer is right.
    #[arg(long)]
    right: Option<Right>,
    /// Token F1 from which an answer is right, with --right f1.
    #[arg(long, value_name = "SHARE")]
    f1_min: Option<f64>,
    /// Keep answers that came only when the steps were spent.
    #[arg(long)]
    keep_forced: bool,
    /// Characters of the rendered transcript at most.
    #[arg(long, value_name = "N")]
    characters_max: Option<usize>,
    /// Tokens of the rendered transcript at most, by --tokenizer.
    #[arg(long, value_name = "N")]
    tokens_max: Option<usize>,
    /// A tokenizer.json, or a GGUF with its tokenizer.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or written, or settings that cannot be meant.
pub fn run(args: &FilterArgs) -> Result<()> {
    let table = filter_file(&args.trajectories, &args.out, &config(args)?, None)?;
    if args.json {
        outln!("{}", serde_json::Value::Object(table.json()));
    } else {
        out!("{table}");
    }
    Ok(())
}

fn config(args: &FilterArgs) -> Result<FilterConfig> {
    let mut config = match &args.config {
        Some(path) => DistilConfig::read(path)?.filter,
        None => FilterConfig::default(),
    };
    config.right = args.right.unwrap_or(config.right);
    config.f1_min = args.f1_min.unwrap_or(config.f1_min);
    config.keeps_forced |= args.keep_forced;
    config.characters_max = args.characters_max.or(config.characters_max);
    config.tokens_max = args.tokens_max.or(config.tokens_max);
    config.tokenizer = args.tokenizer.clone().or(config.tokenizer);
    config.check()?;
    Ok(config)
}
