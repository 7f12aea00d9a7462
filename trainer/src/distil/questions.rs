//! `retort-train questions`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use super::DistilConfig;
use crate::questions::write_questions;
use crate::remote::SystemPace;

/// Have a teacher write questions about the documents of a corpus, each checked.
#[derive(Debug, Args)]
pub struct QuestionsArgs {
    /// Configuration of teaching.
    config: PathBuf,
    /// File of tasks to write; a test set is written beside it as NAME.test.jsonl.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the corpus, in place of the configuration's.
    #[arg(long, value_name = "NAME")]
    corpus: Option<String>,
    /// Passages that are read, in place of the configuration's.
    #[arg(long, value_name = "N")]
    passages: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// Anything that keeps a passage from being read: what was done is kept, and the next run goes on.
pub fn run(args: &QuestionsArgs) -> Result<()> {
    let mut config = DistilConfig::read_about(&args.config, args.corpus.as_deref())?;
    config.questions.passages = args.passages.or(config.questions.passages);
    let pace = Arc::new(SystemPace::default());
    write_questions(config.teaching(), &config.questions, &args.out, pace)
}
