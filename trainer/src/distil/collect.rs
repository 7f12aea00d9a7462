//! `retort-train collect`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use super::DistilConfig;
use crate::collect::{Shard, TasksConfig, collect};
use crate::remote::SystemPace;
use crate::trajectory::Mode;

/// Have a teacher answer questions, and keep what it did: a row a question, resumable.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// Configuration of teaching.
    config: PathBuf,
    /// File of trajectories.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File of tasks, in place of the configuration's.
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// Only the first so many tasks.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only the tasks of one part, such as 1/4: others are collected elsewhere, for `merge`.
    #[arg(long, value_name = "NUMBER/COUNT")]
    shard: Option<Shard>,
    /// What the teacher is asked to do, in place of the configuration's.
    #[arg(long)]
    mode: Option<Mode>,
}

/// Runs the command.
///
/// # Errors
/// Anything that keeps a task from its row: what was done is kept, and the next run goes on.
pub fn run(args: &CollectArgs) -> Result<()> {
    let mut config = DistilConfig::read(&args.config)?;
    if let Some(tasks) = &args.tasks {
        config.collect.tasks = Some(TasksConfig::File(tasks.clone()));
    }
    config.collect.limit = args.limit.or(config.collect.limit);
    config.collect.shard = args.shard.or(config.collect.shard);
    config.collect.mode = args.mode.unwrap_or(config.collect.mode);
    collect(config.teaching(), &config.collect, &args.out, Arc::new(SystemPace::default()))
}
