//! Checkpoints as Hugging Face's libraries write them, turned into GGUF: `retort-train import`.
//!
//! [`HubConfig`] reads `config.json`, [`Shards`] the safetensors files, [`Adapter`] a LoRA adapter
//! of PEFT, `peft` what it may be; [`Checkpoint`] is all three, checked against one another.
//! [`Part`] says which tensor of the checkpoint becomes which of the GGUF file, `words` does the
//! same for `tokenizer.json`, and `write` puts them together: rows are read where they lie,
//! adapted, encoded and written, so a checkpoint never stands in memory as a whole. `calibrate`
//! lets it read trajectories before it is quantised, `gate` asks questions before and after, `card`
//! says what came of it; `import` is the command, `quantise` another for models that are GGUF files
//! already. An adapter by itself is written by `gguf_adapter`. `export` goes the other way: a
//! student trained here becomes a checkpoint.

mod adapter;
mod calibrate;
mod card;
mod checkpoint;
mod config;
mod export;
mod gate;
mod gguf_adapter;
mod import;
mod lora;
mod parts;
mod peft;
mod quantise;
mod save;
mod shards;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod words;
mod write;

pub use adapter::{Adapter, Update};
pub use checkpoint::Checkpoint;
pub use config::HubConfig;
pub use export::{ExportCheckpointArgs, export_checkpoint};
pub use gate::GateArgs;
pub use gguf_adapter::write_adapter;
pub use import::{ImportModelArgs, run};
pub use lora::{LoraConfig, RankAndScale, Targets};
pub use parts::{Part, Source, parts};
pub use quantise::{QuantiseArgs, quantise_model};
pub use save::{save_adapter, save_checkpoint};
pub use shards::{Shards, Stored};
pub use words::words;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A file of a checkpoint or an adapter that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct HubError {
    /// The file or folder at fault.
    pub path: PathBuf,
    /// What is wrong with it, what was expected, and what to do.
    pub reason: String,
}

impl HubError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, HubError> {
    let text = std::fs::read(path).map_err(|error| HubError::new(path, error))?;
    let mut text = serde_json::Deserializer::from_slice(&text);
    let read = serde_path_to_error::deserialize(&mut text);
    read.map_err(|error| match error.path().iter().len() {
        0 => HubError::new(path, error.inner()),
        _ => HubError::new(path, format!("{}: {}", error.path(), error.inner())),
    })
}

/// As [`read_json`], and `None` where there is no such file.
fn read_json_if_any<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, HubError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}
