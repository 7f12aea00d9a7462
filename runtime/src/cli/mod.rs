//! The commands of `retort`: parse, resolve, one `match`, exit code.
//!
//! Answers go to standard output, progress and logs to standard error. Only this module turns
//! flags, environment and files into the values the rest of the library takes.

mod ask;
mod bench;
mod config;
mod context;
mod corpus;
mod doctor;
mod eval;
mod exit;
mod flags;
mod index;
mod input;
mod journal;
mod model;
mod models;
pub mod output;
mod python;
mod runs;
mod search;
mod setup;
mod tools;
mod watch;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context as _;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::agent::ReplayError;
use crate::cancel::{Cancel, Cancelled};
use crate::corpus::CorpusError;
use crate::engine::EngineError;
use crate::profile::{ConfigError, Folders};
use context::Context;
pub use exit::Exit;

/// Answer questions from local documents with a small model that acts: offline, in one binary.
#[derive(Debug, Parser)]
#[command(name = "retort", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Shared {
    #[command(flatten)]
    settings: flags::SettingsArgs,
    /// What to log to standard error, as in `RUST_LOG`.
    #[arg(long, env = "RETORT_LOG", global = true, default_value = "warn", value_name = "FILTER")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ask(ask::AskArgs),
    Search(search::SearchArgs),
    Index(index::IndexArgs),
    Python(python::PythonArgs),
    Eval(eval::EvalArgs),
    Doctor(doctor::DoctorArgs),
    /// What parts of the program cost on this machine.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// The record of runs.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// The settings in force.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Tools of one's own.
    #[command(subcommand)]
    Tools(tools::ToolsCommand),
    /// Corpora.
    #[command(subcommand)]
    Corpus(corpus::CorpusCommand),
    /// Model files.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder.
    Man {
        /// The folder.
        dir: std::path::PathBuf,
    },
}

impl Command {
    /// Whether it ends by itself when it is asked to, or must not end half-way. Ctrl-C simply ends the
    /// others: they only read.
    fn heeds_cancel(&self) -> bool {
        match self {
            Self::Corpus(command) => matches!(
                command,
                corpus::CorpusCommand::Export { .. }
                    | corpus::CorpusCommand::Import { .. }
                    | corpus::CorpusCommand::Check { repair: true, .. }
                    | corpus::CorpusCommand::Remove { .. }
            ),
            Self::Models(command) => matches!(command, models::ModelsCommand::Import { .. }),
            Self::Bench(_)
            | Self::Config(_)
            | Self::Doctor(_)
            | Self::Completions { .. }
            | Self::Man { .. } => false,
            _ => true,
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let cancel = Cancel::default();
    if cli.command.heeds_cancel() {
        cancel_on_interrupt(&cancel);
    }
    // What reads a corpus tells a caught panic as damage.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crate::corpus::is_guarded() {
            report(panic);
        }
    }));
    let done = log_to_stderr(&cli.shared.log).map_err(anyhow::Error::from);
    match done.and_then(|()| run(&cli, cancel)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::tell(format_args!("retort: {}", told(&error)), "\n");
            exit_of_error(&error).into()
        }
    }
}

/// The folder of the corpus that a program with the environment, the files and the board of here
/// knows by `name`, whether it is there or not.
///
/// # Errors
/// A name that is none, settings that are refused, or no home.
pub fn corpus_dir(name: &str) -> anyhow::Result<PathBuf> {
    context(&flags::SettingsArgs::default(), Cancel::default())?.corpus_dir(name)
}

fn context(settings: &flags::SettingsArgs, cancel: Cancel) -> anyhow::Result<Context> {
    let folders = Folders::from_environment(|name| std::env::var(name).ok());
    let cache_dir = folders.cache.clone();
    let resolved = settings.resolve(folders)?;
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    Ok(Context { resolved, cache_dir, cancel, scratch: Rc::default() })
}

fn run(cli: &Cli, cancel: Cancel) -> anyhow::Result<Exit> {
    let context = context(&cli.shared.settings, cancel)?;
    match &cli.command {
        Command::Ask(args) => ask::run(args, &context),
        Command::Search(args) => search::run(args, &context),
        Command::Index(args) => index::run(args, &context),
        Command::Python(args) => python::run(args, &context),
        Command::Eval(args) => eval::run(args, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Bench(command) => bench::run(command, &context),
        Command::Runs(command) => runs::run(command, &context),
        Command::Config(command) => config::run(command, &context),
        Command::Tools(command) => tools::run(command, &context),
        Command::Corpus(command) => corpus::run(command, &context),
        Command::Models(command) => models::run(command, &context),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "retort", &mut script);
            output::write(format_args!("{}", String::from_utf8_lossy(&script)), "");
            Ok(Exit::Success)
        }
        Command::Man { dir } => {
            let written = std::fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
            written.with_context(|| format!("{}: no man pages", dir.display()))?;
            Ok(Exit::Success)
        }
    }
}

/// An error with its causes, each said once: some texts quote their cause.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        match (told.is_empty(), told.contains(&cause)) {
            (true, _) => cause,
            (false, true) => told,
            (false, false) => format!("{told}: {cause}"),
        }
    })
}

fn exit_of_error(error: &anyhow::Error) -> Exit {
    let engine = error.downcast_ref::<EngineError>();
    if let Some(error) = error.downcast_ref::<CorpusError>() {
        return Exit::of_corpus(error);
    }
    let is_replay = matches!(error.downcast_ref::<ReplayError>(), Some(ReplayError::Cancelled));
    if is_replay || error.is::<Cancelled>() {
        return Exit::Interrupted;
    }
    if matches!(engine, Some(EngineError::Refused { .. })) {
        return Exit::Refused;
    }
    if error.is::<exit::UsageError>() || error.is::<ConfigError>() {
        Exit::Usage
    } else {
        Exit::Failure
    }
}

fn log_to_stderr(filter: &str) -> Result<(), exit::UsageError> {
    let refused = |error| exit::UsageError(format!("--log {filter:?}: {error}"));
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(refused)?;
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false)
        .without_time()
        .try_init();
    Ok(())
}

/// The first Ctrl-C asks the run to end, the second ends the program; where nothing runs, the first.
fn cancel_on_interrupt(cancel: &Cancel) {
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if cancel.is_cancelled() || input::is_waiting() {
                    std::process::exit(130);
                }
                cancel.cancel();
            }
        });
    });
}
