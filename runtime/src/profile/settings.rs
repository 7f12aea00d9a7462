//! Settings by precedence: flag > environment > project file > user file > manifest of the model >
//! board profile > default.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::Value;
use serde::{Deserialize, Serialize};

use super::Profile;
use super::board::Boards;
use super::error::{ConfigError, hint};
use super::folders::Folders;
use super::layers::{self, Layer};
use super::tools::{self, DeclaredTool, RawTool};

/// Settings as a user writes them, in a file or as flags. What is `None` is not set there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// Name or path of the model.
    pub model: Option<String>,
    /// Name or path of the LoRA adapter laid over it.
    pub adapter: Option<String>,
    /// Name of the corpus.
    pub corpus: Option<String>,
    /// Folder of models, corpora and the record of runs.
    pub data_dir: Option<PathBuf>,
    /// Name of the board whose profile is used.
    pub board: Option<String>,
    /// Replies sampled for each step.
    pub samples: Option<u8>,
    /// Divisor of the logits; 0: the most probable token.
    pub temperature: Option<f32>,
    /// Probability mass that sampling keeps.
    pub top_p: Option<f32>,
    /// Seed of sampling.
    pub seed: Option<u64>,
    /// Steps of a run.
    pub steps_max: Option<u16>,
    /// Tokens of one reply.
    pub reply_tokens_max: Option<u32>,
    /// Tokens sampled in a run.
    pub run_tokens_max: Option<u32>,
    /// Searches of a run.
    pub searches_max: Option<u32>,
    /// Fuel of all actions of a run.
    pub run_fuel_max: Option<u64>,
    /// Wall time of a run.
    pub wall_seconds_max: Option<u32>,
    /// Passages a search returns.
    pub passages_per_search: Option<u8>,
    /// Tokens of one passage.
    pub passage_tokens_max: Option<u32>,
    /// Share of the candidates that must agree on an answer.
    pub min_agreement: Option<f64>,
    /// Memory for the model and its context.
    pub memory_bytes_max: Option<u64>,
    /// Threads that decode.
    pub threads: Option<u16>,
    /// Tokens a model's context holds.
    pub context_tokens: Option<u32>,
    /// Program and arguments that start the model's worker.
    pub worker_launcher: Option<String>,
    /// Tools of one's own, by name; only in files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, RawTool>,
}

/// Settings in force. All values are valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Name or path of the model; `None`: the bundled student.
    pub model: Option<String>,
    /// Name or path of the LoRA adapter laid over it; `None`: nothing is.
    pub adapter: Option<String>,
    /// Name of the corpus; `None`: the only corpus there is, else the bundled one.
    pub corpus: Option<String>,
    /// Folder of models, corpora and the record of runs; `None`: the environment names no home.
    pub data_dir: Option<PathBuf>,
    /// Name of the board whose profile is used.
    pub board: String,
    /// Replies sampled for each step.
    pub samples: u8,
    /// Divisor of the logits; 0: the most probable token.
    pub temperature: f32,
    /// Probability mass that sampling keeps.
    pub top_p: f32,
    /// Seed of sampling.
    pub seed: u64,
    /// Steps of a run.
    pub steps_max: u16,
    /// Tokens of one reply.
    pub reply_tokens_max: u32,
    /// Tokens sampled in a run.
    pub run_tokens_max: u32,
    /// Searches of a run.
    pub searches_max: u32,
    /// Fuel of all actions of a run.
    pub run_fuel_max: u64,
    /// Wall time of a run.
    pub wall_seconds_max: u32,
    /// Passages a search returns.
    pub passages_per_search: u8,
    /// Tokens of one passage; of a longer one, the sentences nearest to the query are shown.
    pub passage_tokens_max: u32,
    /// Share of the candidates of the last step that must agree on an answer for it to be given.
    pub min_agreement: f64,
    /// Memory for the model and its context.
    pub memory_bytes_max: u64,
    /// Threads that decode.
    pub threads: u16,
    /// Tokens a model's context holds.
    pub context_tokens: u32,
    /// Program and arguments, between blanks, that start the model's worker; `None`: it is started
    /// itself.
    pub worker_launcher: Option<String>,
}

/// What the machine says about itself.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The device tree's model string, where there is one.
    pub model: Option<String>,
    /// Processors this process may use; a board's threads are capped to it.
    pub processors: Option<u16>,
}

/// Path and text of a settings file.
type File = (PathBuf, String);
/// The settings of a file, and the tools it declares.
type FileLayer = (Layer, BTreeMap<String, DeclaredTool>);

/// Everything settings are made of, read by the caller.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// From the command line.
    pub flags: RawSettings,
    /// Variables of the environment; those that do not start with `RETORT_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Path and text of the project's file, if it exists.
    pub project_file: Option<File>,
    /// Path and text of the user's file, if it exists.
    pub user_file: Option<File>,
    /// Path and text of the machine's file, if it exists.
    pub system_file: Option<File>,
    /// What the model's manifest sets, and its path. The model is a setting itself: it is known
    /// once the others are resolved without this.
    pub manifest: Option<(PathBuf, RawSettings)>,
    /// The user's folders.
    pub folders: Folders,
    /// The machine this runs on.
    pub machine: Machine,
}

/// Settings, with where each value came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The values.
    pub settings: Settings,
    /// The profile of the board in force. Where a setting covers one of its values, the setting
    /// holds.
    pub profile: Profile,
    /// Tools of one's own, by name.
    pub tools: Vec<DeclaredTool>,
    /// Where each setting was set, by name.
    pub origins: BTreeMap<String, String>,
    /// What the user should hear: unknown variables.
    pub warnings: Vec<String>,
}

/// What the names of variables that are read begin with.
pub(crate) const VARIABLE_PREFIX: &str = "RETORT_";
/// Variables with the prefix that other parts read.
const OTHER_VARIABLES: [&str; 1] = ["RETORT_LOG"];
const DEFAULT: &str = "default";
/// Origin of what a flag set.
pub(crate) const FLAGS: &str = "command line";

/// Settings whose values are text, whatever they look like.
const TEXTS: [&str; 6] = ["model", "adapter", "corpus", "data_dir", "board", "worker_launcher"];

/// Settings that a board's profile sets, with the profile's key.
const FROM_PROFILE: [(&str, &str); 10] = [
    ("memory_bytes_max", "memory_bytes_max"),
    ("samples", "candidates"),
    ("threads", "threads"),
    ("context_tokens", "context_tokens"),
    ("steps_max", "run.steps_max"),
    ("reply_tokens_max", "run.reply_tokens_max"),
    ("run_tokens_max", "run.run_tokens_max"),
    ("searches_max", "run.searches_max"),
    ("run_fuel_max", "run.fuel_max"),
    ("wall_seconds_max", "run.wall_seconds_max"),
];

impl Sources {
    /// The settings in force.
    ///
    /// # Errors
    /// [`ConfigError`] names the first value that is refused and where it was set.
    pub fn resolve(&self, boards: &Boards) -> Result<Resolved, ConfigError> {
        let (variables, warnings) = self.environment_layers()?;
        let (mut set_by_user, mut tools) = (Vec::new(), BTreeMap::new());
        let read = [
            self.system_file.as_ref().map(user_layer).transpose()?,
            self.user_file.as_ref().map(user_layer).transpose()?,
            self.project_file.as_ref().map(project_layer).transpose()?,
        ];
        for (layer, declared) in read.into_iter().flatten() {
            set_by_user.push(layer);
            tools::add(&mut tools, declared)?;
        }
        set_by_user.extend(variables);
        set_by_user.push(Layer::of(FLAGS, &self.flags)?);

        let user = layers::stack(set_by_user);
        let board = self.board_layer(&user, boards)?;
        let name = board.values.get("board").and_then(Value::as_str).unwrap_or_default().to_owned();
        let profile = boards.profile(&name)?;

        let mut below = vec![default_layer(&self.folders)?, board];
        below.extend(profile_layers(&profile, &self.machine)?);
        if let Some((path, settings)) = &self.manifest {
            below.push(Layer::of(&path.to_string_lossy(), settings)?);
        }
        // The user's layers keep their own origins inside the merged figment.
        let figment = layers::stack(below).merge(user);
        let settings = extract(&figment)?;
        let origins = layers::origins(&figment)?;
        check(&settings, &origins)?;
        let tools = tools.into_values().collect();
        Ok(Resolved { settings, profile, tools, origins, warnings })
    }

    /// One layer for each variable, so that a value's origin names it; warnings about unknown ones.
    fn environment_layers(&self) -> Result<(Vec<Layer>, Vec<String>), ConfigError> {
        let known = setting_names()?;
        let (mut variables, mut warnings) = (Vec::new(), Vec::new());
        for (name, text) in &self.environment {
            let Some(suffix) = name.strip_prefix(VARIABLE_PREFIX) else {
                continue;
            };
            let key = suffix.to_ascii_lowercase();
            if !known.contains(&key) {
                if !OTHER_VARIABLES.contains(&name.as_str()) {
                    warnings.push(unknown_variable(name, &known));
                }
            } else if !text.is_empty() {
                variables.push(variable_layer(name, &key, text)?);
            }
        }
        Ok((variables, warnings))
    }

    /// The board a user named, or the one detected.
    fn board_layer(&self, user: &Figment, boards: &Boards) -> Result<Layer, ConfigError> {
        if let Ok(board) = user.find_value("board") {
            return Ok(Layer::of_value(DEFAULT, "board", board));
        }
        let detected = boards.detect(self.machine.model.as_deref());
        let board = detected.ok_or_else(|| ConfigError::UnknownBoard {
            name: "generic".to_owned(),
            hint: "no board file has `fallback = true`; name a board with `--board`".to_owned(),
        })?;
        Ok(Layer::of_value("detected", "board", Value::from(board)))
    }
}

fn user_layer(file: &File) -> Result<FileLayer, ConfigError> {
    file_layer(file, read_file(file)?)
}

/// A project's file comes with its folder, perhaps from someone else: it may not name a program.
fn project_layer(file: &File) -> Result<FileLayer, ConfigError> {
    let origin = file.0.to_string_lossy();
    let raw = read_file(file)?;
    tools::check_project(&origin, &raw.tools)?;
    if raw.worker_launcher.is_some() {
        return Err(ConfigError::Malformed {
            origin: origin.into_owned(),
            reason: "`worker_launcher` names a program to run; set it as a flag, as a variable or \
                     in the user's settings file"
                .to_owned(),
        });
    }
    file_layer(file, raw)
}

fn file_layer((path, _): &File, mut raw: RawSettings) -> Result<FileLayer, ConfigError> {
    let declared = tools::declared(path, std::mem::take(&mut raw.tools))?;
    raw.data_dir = raw.data_dir.map(|folder| from_file(path, folder)).transpose()?;
    Ok((Layer::of(&path.to_string_lossy(), &raw)?, declared))
}

/// A folder that a settings file names: a relative one starts in the file's own.
fn from_file(file: &Path, folder: PathBuf) -> Result<PathBuf, ConfigError> {
    if folder.starts_with("~") {
        return Err(ConfigError::Malformed {
            origin: file.to_string_lossy().into_owned(),
            reason: format!(
                "`data_dir` is {:?}: `~` is the shell's; write the folder out",
                folder.display()
            ),
        });
    }
    Ok(file.parent().unwrap_or(Path::new("")).join(folder))
}

fn read_file((path, text): &File) -> Result<RawSettings, ConfigError> {
    layers::read_toml(&path.to_string_lossy(), text)
}

fn variable_layer(name: &str, key: &str, text: &str) -> Result<Layer, ConfigError> {
    let value = if TEXTS.contains(&key) {
        Value::from(text)
    } else {
        match text.parse::<Value>() {
            Ok(value) => value,
            Err(never) => match never {},
        }
    };
    let layer = Layer::of_value(name, key, value);
    // Read alone first, so that a refusal names the variable.
    let raw: RawSettings =
        Figment::from(&layer).extract().map_err(|error| ConfigError::from_figment(name, error))?;
    Layer::of(name, &raw)
}

fn unknown_variable(name: &str, known: &[String]) -> String {
    let variables: Vec<String> =
        known.iter().map(|key| format!("{VARIABLE_PREFIX}{}", key.to_ascii_uppercase())).collect();
    let hint = hint(name, variables.iter().map(String::as_str));
    format!("environment variable {name} is not one that is read; {hint}")
}

/// Names of all settings, taken from [`RawSettings`] itself.
fn setting_names() -> Result<Vec<String>, ConfigError> {
    let value = Value::serialize(RawSettings::default())
        .map_err(|error| ConfigError::from_figment(DEFAULT, error))?;
    Ok(value.into_dict().unwrap_or_default().into_keys().collect())
}

/// What holds if nobody says otherwise and no board does.
fn default_layer(folders: &Folders) -> Result<Layer, ConfigError> {
    let defaults = RawSettings {
        data_dir: folders.data.clone(),
        // Sampling of the published method.
        temperature: Some(0.4),
        top_p: Some(0.8),
        seed: Some(42),
        passages_per_search: Some(3),
        passage_tokens_max: Some(256),
        min_agreement: Some(0.0),
        ..RawSettings::default()
    };
    Layer::of(DEFAULT, &defaults)
}

/// One layer for each value, so that its origin names the board file it stands in.
fn profile_layers(profile: &Profile, machine: &Machine) -> Result<Vec<Layer>, ConfigError> {
    let values = Value::serialize(profile)
        .map_err(|error| ConfigError::from_figment(&profile.name, error))?;
    let layers = FROM_PROFILE.iter().filter_map(|(setting, key)| {
        let value = values.find_ref(key)?.clone();
        let origin = profile.origins.get(*key).map(String::as_str).unwrap_or_default();
        Some(Layer::of_value(origin, setting, value))
    });
    let mut layers: Vec<Layer> = layers.collect();
    // More threads than processors wait for each other at every layer of the model.
    if let Some(processors) =
        machine.processors.filter(|count| (1..profile.threads).contains(count))
    {
        layers.push(Layer::of_value(
            "processors of this machine",
            "threads",
            Value::from(processors),
        ));
    }
    Ok(layers)
}

fn extract(figment: &Figment) -> Result<Settings, ConfigError> {
    figment.extract().map_err(|error| {
        let key = error.path.join(".");
        let metadata = figment.find_metadata(&key);
        let origin =
            metadata.map_or_else(|| DEFAULT.to_owned(), |metadata| metadata.name.to_string());
        ConfigError::from_figment(&origin, error)
    })
}

/// Refuses values outside their ranges.
fn check(settings: &Settings, origins: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let Settings { samples, temperature, top_p, steps_max, threads, .. } = settings;
    let Settings { reply_tokens_max, wall_seconds_max, context_tokens, .. } = settings;
    let Settings { passage_tokens_max, min_agreement, .. } = settings;
    let passages = &settings.passages_per_search;
    let ranges: [(&str, bool, &dyn Display, &'static str); 11] = [
        ("samples", (1..=64).contains(samples), samples, "1 to 64"),
        ("temperature", (0.0..=10.0).contains(temperature), temperature, "0 (greedy) to 10"),
        ("top_p", *top_p > 0.0 && *top_p <= 1.0, top_p, "more than 0, at most 1"),
        ("steps_max", (1..=100).contains(steps_max), steps_max, "1 to 100"),
        ("reply_tokens_max", *reply_tokens_max > 0, reply_tokens_max, "at least 1"),
        ("wall_seconds_max", *wall_seconds_max > 0, wall_seconds_max, "at least 1"),
        ("passages_per_search", (1..=100).contains(passages), passages, "1 to 100"),
        ("passage_tokens_max", *passage_tokens_max > 0, passage_tokens_max, "at least 1"),
        ("min_agreement", (0.0..=1.0).contains(min_agreement), min_agreement, "0 to 1"),
        ("threads", (1..=512).contains(threads), threads, "1 to 512"),
        (
            "context_tokens",
            (64..=1 << 20).contains(context_tokens),
            context_tokens,
            "64 to 1048576",
        ),
    ];
    match ranges.into_iter().find(|(_, valid, _, _)| !valid) {
        None => Ok(()),
        Some((key, _, value, expected)) => Err(ConfigError::OutOfRange {
            origin: origins.get(key).cloned().unwrap_or_default(),
            key: key.to_owned(),
            value: value.to_string(),
            expected,
        }),
    }
}

#[cfg(test)]
mod tests;
