//! The settings as flags of every command, and their resolution.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::model;
use crate::profile::{
    Boards, ConfigError, Folders, Machine, PROJECT_SETTINGS_FILE, RawSettings, Resolved, Sources,
    VARIABLE_PREFIX,
};

/// Settings; each may also stand in a settings file or a `RETORT_*` variable.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// GGUF file, or name in the models folder [default: the bundled student].
    #[arg(long, global = true, value_name = "MODEL")]
    model: Option<String>,
    /// LoRA adapter (GGUF) laid over the model: a file, or a name in the models folder.
    #[arg(long, global = true, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// The corpus [default: the only one there is, else demo].
    #[arg(long, global = true, value_name = "NAME")]
    corpus: Option<String>,
    /// Folder of corpora, models and the record of runs.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Board whose limits hold [default: detected].
    #[arg(long, global = true, value_name = "NAME")]
    board: Option<String>,
    /// Replies drawn per step; one is drawn greedily, more vote on what their code does.
    #[arg(long, global = true, value_name = "N")]
    samples: Option<u8>,
    /// Temperature of sampling; 0 is greedy.
    #[arg(long, global = true, value_name = "T")]
    temperature: Option<f32>,
    /// Probability mass that sampling keeps.
    #[arg(long, global = true, value_name = "P")]
    top_p: Option<f32>,
    /// Seed of sampling and of Python's random numbers.
    #[arg(long, global = true, value_name = "SEED")]
    seed: Option<u64>,
    /// Steps before an answer is asked for.
    #[arg(long, global = true, value_name = "N")]
    steps_max: Option<u16>,
    /// Tokens of one reply.
    #[arg(long, global = true, value_name = "N")]
    reply_tokens_max: Option<u32>,
    /// Tokens sampled in a run.
    #[arg(long, global = true, value_name = "N")]
    run_tokens_max: Option<u32>,
    /// Searches of a run.
    #[arg(long, global = true, value_name = "N")]
    searches_max: Option<u32>,
    /// Fuel of all actions of a run.
    #[arg(long, global = true, value_name = "N")]
    run_fuel_max: Option<u64>,
    /// Wall time of a run in seconds.
    #[arg(long, global = true, value_name = "SECONDS")]
    wall_seconds_max: Option<u32>,
    /// Passages a search returns.
    #[arg(long, global = true, value_name = "N")]
    passages_per_search: Option<u8>,
    /// Tokens of one passage; of a longer one, the nearest sentences are shown.
    #[arg(long, global = true, value_name = "N")]
    passage_tokens_max: Option<u32>,
    /// Share of the samples that must agree on an answer; below it no answer is given.
    #[arg(long, global = true, value_name = "SHARE")]
    min_agreement: Option<f64>,
    /// Memory for the model and its context, in bytes; a model that needs more is refused.
    #[arg(long, global = true, value_name = "BYTES")]
    memory_bytes_max: Option<u64>,
    /// Threads of the model.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<u16>,
    /// Tokens of the model's context.
    #[arg(long, global = true, value_name = "N")]
    context_tokens: Option<u32>,
    /// Program and arguments that start the model's worker, such as an emulator.
    #[arg(long, global = true, value_name = "COMMAND")]
    worker_launcher: Option<String>,
}

impl SettingsArgs {
    /// The settings in force, from flags, environment, files and the board.
    pub fn resolve(&self, folders: Folders) -> Result<Resolved> {
        let mut boards = Boards::embedded()?;
        for folder in folders.boards().into_iter().flatten().filter(|folder| folder.is_dir()) {
            boards = boards.with_folder(&folder)?;
        }
        let [system_file, user_file] = folders.settings_files();
        let processors = std::thread::available_parallelism().ok();
        let mut sources = Sources {
            flags: self.raw(),
            environment: environment(std::env::vars_os())?,
            project_file: read_if_there(Some(Path::new(PROJECT_SETTINGS_FILE)))?,
            user_file: read_if_there(user_file.as_deref())?,
            system_file: read_if_there(system_file.as_deref())?,
            manifest: None,
            folders,
            machine: Machine {
                model: std::fs::read_to_string("/proc/device-tree/model").ok(),
                processors: processors.and_then(|count| u16::try_from(count.get()).ok()),
            },
        };
        let resolved = sources.resolve(&boards)?;
        // Only now is it known which model's manifest has a say; most say nothing of settings.
        let manifest = model::manifest(&resolved.settings)?.map(|(path, m)| (path, m.settings));
        sources.manifest = manifest.filter(|(_, settings)| *settings != RawSettings::default());
        Ok(if sources.manifest.is_some() { sources.resolve(&boards)? } else { resolved })
    }

    fn raw(&self) -> RawSettings {
        let flags = self.clone();
        RawSettings {
            model: flags.model,
            adapter: flags.adapter,
            corpus: flags.corpus,
            data_dir: flags.data_dir,
            board: flags.board,
            samples: flags.samples,
            temperature: flags.temperature,
            top_p: flags.top_p,
            seed: flags.seed,
            steps_max: flags.steps_max,
            reply_tokens_max: flags.reply_tokens_max,
            run_tokens_max: flags.run_tokens_max,
            searches_max: flags.searches_max,
            run_fuel_max: flags.run_fuel_max,
            wall_seconds_max: flags.wall_seconds_max,
            passages_per_search: flags.passages_per_search,
            passage_tokens_max: flags.passage_tokens_max,
            min_agreement: flags.min_agreement,
            memory_bytes_max: flags.memory_bytes_max,
            threads: flags.threads,
            context_tokens: flags.context_tokens,
            worker_launcher: flags.worker_launcher,
            // Tools stand in files only.
            ..RawSettings::default()
        }
    }
}

/// The variables. Those that are read must be text.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>> {
    let named = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
    let text = |(name, value): (String, OsString)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(value) => {
            let reason = format!("it is {value:?}, expected UTF-8");
            Err(malformed(format!("environment variable {name}"), reason))
        }
    };
    ours.map(text).collect()
}

fn malformed(origin: impl ToString, reason: String) -> anyhow::Error {
    ConfigError::Malformed { origin: origin.to_string(), reason }.into()
}

fn read_if_there(path: Option<&Path>) -> Result<Option<(PathBuf, String)>> {
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_path_buf(), text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(malformed(path.display(), format!("it cannot be read: {error}"))),
    }
}
