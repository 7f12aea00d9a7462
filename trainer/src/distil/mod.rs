//! The commands of teaching, which read one file, [`DistilConfig`]: `retort-train questions`, `collect`,
//! `filter`; and `distil`, all three in one folder, from a corpus to trajectories that are worth
//! learning from. Each stage does only what is missing, so the same command goes on after an
//! interruption.

mod collect;
mod config;
mod filter;
mod questions;

pub use collect::{CollectArgs, run as collect};
pub use config::DistilConfig;
pub use filter::{FilterArgs, run as filter};
pub use questions::{QuestionsArgs, run as questions};

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::collect::{self as stage, TasksConfig};
use crate::filter::filter_file;
use crate::questions::write_questions;
use crate::remote::{Pace, SystemPace};

/// Have a teacher write questions, answer them, and keep what is worth learning from.
#[derive(Debug, Args)]
pub struct DistilArgs {
    /// Configuration of teaching; with tasks in its part `collect` no questions are written.
    config: PathBuf,
    /// Folder of questions.jsonl, questions.test.jsonl, trajectories.jsonl and kept.jsonl.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the corpus, in place of the configuration's.
    #[arg(long, value_name = "NAME")]
    corpus: Option<String>,
}

/// Runs the stages.
///
/// # Errors
/// The first stage that could not be finished; what was done is kept.
pub fn run(args: &DistilArgs) -> Result<()> {
    let mut config = DistilConfig::read_about(&args.config, args.corpus.as_deref())?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("{} cannot be made", args.out.display()))?;
    let pace: Arc<dyn Pace> = Arc::new(SystemPace::default());
    if config.collect.tasks.is_none() {
        let questions = args.out.join("questions.jsonl");
        write_questions(config.teaching(), &config.questions, &questions, Arc::clone(&pace))?;
        config.collect.tasks = Some(TasksConfig::File(questions));
    }
    let trajectories = args.out.join("trajectories.jsonl");
    stage::collect(config.teaching(), &config.collect, &trajectories, pace)?;
    let kept = args.out.join("kept.jsonl");
    print!("{}", filter_file(&trajectories, &kept, &config.filter)?);
    println!("{}", kept.display());
    Ok(())
}
