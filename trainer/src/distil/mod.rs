//! The commands of teaching, which read one file, [`DistilConfig`]: `retort-train questions`, `collect`,
//! `filter`; and `distil`, all three in one folder, from a corpus to trajectories that are worth
//! learning from, and on to a student of them and its score. Each stage does only what is missing,
//! so the same command goes on after an interruption.

mod collect;
mod config;
mod filter;
mod questions;
mod student;

pub use collect::{CollectArgs, run as collect};
pub use config::DistilConfig;
pub use filter::{FilterArgs, run as filter};
pub use questions::{QuestionsArgs, run as questions};
pub use student::StudentConfig;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::collect::{self as stage, CollectConfig, TasksConfig};
use crate::cuda::Device;
use crate::filter::filter_file;
use crate::questions::{test_set, write_questions};
use crate::remote::{Pace, SystemPace};
use crate::teachers::read_teacher_tasks;
use student::Pupil;

/// Have a teacher write questions, answer them, keep what is worth learning from, and make a student.
#[derive(Debug, Args)]
pub struct DistilArgs {
    /// Configuration of teaching; with tasks in its part `collect` no questions are written.
    config: PathBuf,
    /// Folder of questions.jsonl, questions.test.jsonl, trajectories.jsonl, kept.jsonl and what the
    /// recipe of a student makes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the corpus, in place of the configuration's.
    #[arg(long, value_name = "NAME")]
    corpus: Option<String>,
    /// Where the student trains: cpu, an NVIDIA device as cuda:0, several as cuda:0-3, or auto.
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
}

/// Runs the stages.
///
/// # Errors
/// The first stage that could not be finished; what was done is kept.
pub fn run(args: &DistilArgs) -> Result<()> {
    let mut config = DistilConfig::read_about(&args.config, args.corpus.as_deref())?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("{} cannot be made", args.out.display()))?;
    let kept = args.out.join("kept.jsonl");
    // Refused before the teacher has cost anything.
    let pupil = config
        .student
        .as_ref()
        .map(|own| Pupil::read(own, &config.collect, (&args.out, &kept), args.device));
    let pupil = pupil.transpose()?;
    let questions = args.out.join("questions.jsonl");
    let writes_questions = config.collect.tasks.is_none();
    let pace: Arc<dyn Pace> = Arc::new(SystemPace::default());
    if writes_questions {
        write_questions(config.teaching(), &config.questions, &questions, Arc::clone(&pace))?;
        config.collect.tasks = Some(TasksConfig::File(questions.clone()));
    }
    let trajectories = args.out.join("trajectories.jsonl");
    stage::collect(config.teaching(), &config.collect, &trajectories, pace)?;
    // Rows of questions that are no longer asked stay, and some may be set aside for the test by now.
    let asked = asked(&config.collect)?;
    let table = filter_file(&trajectories, &kept, &config.filter, asked.as_ref())?;
    out!("{table}");
    ensure!(table.kept() > 0, "[filter] keeps none of the trajectories: the counts say why");
    outln!("{}", kept.display());
    let Some(pupil) = pupil else { return Ok(()) };
    let gguf = pupil.make(&args.out, args.device)?;
    let test = test_set(&questions);
    match &config.corpus {
        Some(corpus)
            if writes_questions && fs::metadata(&test).is_ok_and(|file| file.len() > 0) =>
        {
            let scratch = questions.with_extension("corpus");
            out!("{}", pupil.score(&gguf, &test, (corpus, &scratch))?);
        }
        _ => errln!("no questions were set aside: score it on your own by `retort eval`"),
    }
    outln!("{}", gguf.display());
    Ok(())
}

/// The ids of today's tasks, where they stand in a file.
fn asked(config: &CollectConfig) -> Result<Option<BTreeSet<String>>> {
    let Some(TasksConfig::File(path)) = &config.tasks else { return Ok(None) };
    let tasks = read_teacher_tasks(path)?.into_iter().take(config.limit.unwrap_or(usize::MAX));
    Ok(Some(tasks.map(|task| task.id).collect()))
}
