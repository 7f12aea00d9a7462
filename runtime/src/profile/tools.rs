//! Tools of one's own, as settings files declare them: `[tools.NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::reserved;

/// Tools of one installation. Each takes a line of the prompt.
const TOOLS_MAX: usize = 32;
const PARAMETERS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 64;
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// Bytes of a page of WebAssembly memory: no module has less.
const MEMORY_BYTES_MIN: u64 = 64 << 10;
const MEMORY_BYTES_MAX: u64 = 256 << 20;
const MEMORY_BYTES_DEFAULT: u64 = 16 << 20;
/// Some seconds of a laptop's core; an action has more, but not for one call.
const FUEL_MAX: u64 = 1_000_000_000;
const FUEL_DEFAULT: u64 = 100_000_000;

/// A tool as a settings file declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTool {
    description: String,
    module: PathBuf,
    #[serde(default)]
    parameters: Vec<Parameter>,
    returns: Kind,
    effects: Effects,
    allow_after_reading: Option<bool>,
    fuel_max: Option<u64>,
    memory_bytes_max: Option<u64>,
}

/// A declared tool. All values are valid; whether the module is one is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredTool {
    /// Name of the Python function.
    pub name: String,
    /// What it does, one line.
    pub description: String,
    /// The `.wasm` file.
    pub module: PathBuf,
    /// What it is called with, in order.
    pub parameters: Vec<Parameter>,
    /// What it returns.
    pub returns: Kind,
    /// What a call does to the world.
    pub effects: Effects,
    /// Whether it may act although the run has read text from outside.
    pub allow_after_reading: bool,
    /// Fuel of one call.
    pub fuel_max: u64,
    /// Memory of one call.
    pub memory_bytes_max: u64,
    /// The settings file.
    pub origin: String,
}

/// One parameter of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its key in the JSON that the module is given.
    pub name: String,
    /// What may be passed.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What to pass, for prompts that say so.
    #[serde(default)]
    pub description: String,
}

impl Parameter {
    /// Its name in Python, where a keyword gets an underscore: `from` is called `from_`.
    #[must_use]
    pub fn python_name(&self) -> String {
        let underscore = if reserved::is_keyword(&self.name) { "_" } else { "" };
        format!("{}{underscore}", self.name)
    }
}

/// Type of a value that crosses into a module or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text.
    String,
    /// A whole number, -2^63 to 2^64 - 1.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    Array,
    /// A dict with keys of text.
    Object,
    /// Whatever JSON has.
    Any,
}

impl Kind {
    /// Its name in settings and prompts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::Any => "any",
        }
    }
}

/// What a call does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effects {
    /// Nothing: it computes.
    None,
    /// Nothing, but it returns text from outside.
    Read,
    /// It changes something.
    Act,
}

impl Effects {
    /// Its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Act => "act",
        }
    }
}

/// The tools that the settings file at `path` declares.
///
/// # Errors
/// [`ConfigError`] names the first value that is refused.
pub(super) fn declared(
    path: &Path,
    raw: BTreeMap<String, RawTool>,
) -> Result<BTreeMap<String, DeclaredTool>, ConfigError> {
    let origin = path.to_string_lossy();
    if raw.len() > TOOLS_MAX {
        return Err(refused(&origin, "tools", raw.len(), "at most 32 tools"));
    }
    raw.into_iter().map(|(name, tool)| Ok((name.clone(), resolve(path, name, tool)?))).collect()
}

/// Adds the tools of a nearer file.
///
/// # Errors
/// When both declare one: a project's file comes with its folder, perhaps from someone else, and
/// must not pass its tool off as the user's.
pub(super) fn add(
    tools: &mut BTreeMap<String, DeclaredTool>,
    nearer: BTreeMap<String, DeclaredTool>,
) -> Result<(), ConfigError> {
    for (name, tool) in nearer {
        if let Some(own) = tools.get(&name) {
            let reason = format!("`tools.{name}`: {} has a tool of this name already", own.origin);
            return Err(ConfigError::Malformed { origin: tool.origin, reason });
        }
        tools.insert(name, tool);
    }
    Ok(())
}

/// Refuses what only the user may allow.
///
/// # Errors
/// When a tool of a project's file wants to act although text from outside was read.
pub(super) fn check_project(
    origin: &str,
    raw: &BTreeMap<String, RawTool>,
) -> Result<(), ConfigError> {
    match raw.iter().find(|(_, tool)| tool.allow_after_reading == Some(true)) {
        None => Ok(()),
        Some((name, _)) => Err(ConfigError::Malformed {
            origin: origin.to_owned(),
            reason: format!(
                "`tools.{name}.allow_after_reading` is the user's to allow; declare the tool in the \
                 user's settings file"
            ),
        }),
    }
}

fn resolve(path: &Path, name: String, raw: RawTool) -> Result<DeclaredTool, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let tool = DeclaredTool {
        description: raw.description,
        module: folder.join(raw.module),
        parameters: raw.parameters,
        returns: raw.returns,
        effects: raw.effects,
        allow_after_reading: raw.allow_after_reading.unwrap_or(false),
        fuel_max: raw.fuel_max.unwrap_or(FUEL_DEFAULT),
        memory_bytes_max: raw.memory_bytes_max.unwrap_or(MEMORY_BYTES_DEFAULT),
        origin: path.to_string_lossy().into_owned(),
        name,
    };
    check_name(&tool)?;
    check_values(&tool, raw.allow_after_reading.is_some())?;
    check_parameters(&tool)?;
    Ok(tool)
}

fn check_name(tool: &DeclaredTool) -> Result<(), ConfigError> {
    let key = format!("tools.{}", tool.name);
    if !is_plain(&tool.name) || tool.name.contains(|letter: char| letter.is_uppercase()) {
        let expected =
            "a name of at most 64 lower-case letters, digits and _ that starts with a letter";
        return Err(refused(&tool.origin, &key, &tool.name, expected));
    }
    if reserved::is_taken(&tool.name) {
        return Err(refused(&tool.origin, &key, &tool.name, "a name that Python does not use"));
    }
    Ok(())
}

fn check_values(tool: &DeclaredTool, says_after_reading: bool) -> Result<(), ConfigError> {
    let key = |field: &str| format!("tools.{}.{field}", tool.name);
    let description = &tool.description;
    let is_one_line = !description.is_empty() && !description.contains(char::is_control);
    if !is_one_line || description.len() > DESCRIPTION_BYTES_MAX {
        let expected = "one line of at most 1024 bytes";
        let value = format!("{description:?}");
        return Err(refused(&tool.origin, &key("description"), value, expected));
    }
    if says_after_reading && tool.effects != Effects::Act {
        let (key, value) = (key("allow_after_reading"), tool.allow_after_reading);
        return Err(refused(&tool.origin, &key, value, "it only where `effects` is \"act\""));
    }
    if !(1..=FUEL_MAX).contains(&tool.fuel_max) {
        return Err(refused(&tool.origin, &key("fuel_max"), tool.fuel_max, "1 to 1000000000"));
    }
    if !(MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(&tool.memory_bytes_max) {
        let (key, value) = (key("memory_bytes_max"), tool.memory_bytes_max);
        return Err(refused(&tool.origin, &key, value, "65536 to 268435456"));
    }
    Ok(())
}

fn check_parameters(tool: &DeclaredTool) -> Result<(), ConfigError> {
    let key = format!("tools.{}.parameters", tool.name);
    if tool.parameters.len() > PARAMETERS_MAX {
        let count = tool.parameters.len();
        return Err(refused(&tool.origin, &key, format!("{count} long"), "at most 16 parameters"));
    }
    let mut names = Vec::new();
    for (index, parameter) in tool.parameters.iter().enumerate() {
        let key = format!("{key}.{index}.name");
        if !is_plain(&parameter.name) {
            let expected = "a name of at most 64 letters, digits and _ that starts with a letter";
            return Err(refused(&tool.origin, &key, &parameter.name, expected));
        }
        if names.contains(&parameter.python_name()) {
            let expected = "a name that no other parameter has";
            return Err(refused(&tool.origin, &key, &parameter.name, expected));
        }
        names.push(parameter.python_name());
    }
    Ok(())
}

/// Whether Python reads `name` as a name. A leading underscore is for the runtime's own.
fn is_plain(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.chars().all(is_letter)
}

fn refused(
    origin: &str,
    key: &str,
    value: impl std::fmt::Display,
    expected: &'static str,
) -> ConfigError {
    ConfigError::OutOfRange {
        origin: origin.to_owned(),
        key: key.to_owned(),
        value: value.to_string(),
        expected,
    }
}
