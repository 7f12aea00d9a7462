//! Limits of a device, and the settings of a run.
//!
//! [`Boards`] holds the board files of `firmware-configs/` and resolves one into a [`Profile`].
//! [`Sources`] layers everything a user can set over that profile and resolves it into
//! [`Settings`], with the origin of each value. [`Manifest`] is what is known about a model beside
//! its file. [`DeclaredTool`] is a tool of one's own. [`Folders`] says where files belong.
//! Outside text becomes a `Raw…` struct that refuses unknown keys first. Nothing here reads the
//! machine, the environment or the user's files by itself, except [`Boards::with_folder`].

mod board;
mod error;
mod folders;
mod layers;
mod manifest;
mod reserved;
mod settings;
mod tools;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use board::Boards;
pub use error::ConfigError;
pub use folders::{Folders, PROJECT_SETTINGS_FILE};
pub use manifest::{FirstSearchMissed, Manifest, SystemPromptFile};
pub(crate) use settings::{FLAGS, VARIABLE_PREFIX};
pub use settings::{Machine, RawSettings, Resolved, Settings, Sources};
pub use tools::{DeclaredTool, Effects, Kind, Parameter, RawTool};

/// What a run may use on one kind of device. All values are valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Name of the board.
    #[serde(skip_deserializing)]
    pub name: String,
    /// Memory the runtime may use in all.
    pub memory_bytes_max: u64,
    /// Threads that decode, at least 1.
    pub threads: u16,
    /// Tokens a model's context holds.
    pub context_tokens: u32,
    /// Replies sampled for each step, at least 1.
    pub candidates: u8,
    /// Memory for the index.
    pub corpus_cache_bytes: u64,
    /// Limits of one action.
    pub sandbox: SandboxLimits,
    /// Budgets of one run.
    pub run: RunBudgets,
    /// The file that set each value, by key (`run.steps_max`).
    #[serde(skip_deserializing)]
    pub origins: BTreeMap<String, String>,
}

/// Limits of one action in the sandbox. Reaching one is an outcome that the model is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxLimits {
    /// Wall time, without start-up.
    pub wall_seconds_max: u32,
    /// Fuel, as the WebAssembly interpreter counts it.
    pub fuel_max: u64,
    /// Linear memory.
    pub memory_bytes_max: u64,
    /// Printed text.
    pub output_bytes_max: u64,
    /// Code of the action.
    pub source_bytes_max: u64,
    /// Calls of host functions.
    pub host_calls_max: u32,
    /// One search's query.
    pub query_bytes_max: u32,
}

/// Budgets of one run. When one is spent the model is asked for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBudgets {
    /// Steps, at least 1.
    pub steps_max: u16,
    /// Tokens of one reply.
    pub reply_tokens_max: u32,
    /// Tokens sampled in the whole run, over all candidates.
    pub run_tokens_max: u32,
    /// Searches, equal ones of a step counted once.
    pub searches_max: u32,
    /// Fuel of all actions together.
    pub fuel_max: u64,
    /// Wall time of the run.
    pub wall_seconds_max: u32,
}
