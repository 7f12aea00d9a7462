//! `retort models`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use crate::engine::{EngineError, ModelFile};

/// Commands about model files.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the bundled student and the models folder.
    List {
        /// Print one JSON object per model.
        #[arg(long)]
        json: bool,
    },
    /// Check header, shapes and hash of models: those named, or all.
    Verify {
        /// Names or GGUF files.
        models: Vec<PathBuf>,
        /// Print one JSON object per model.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: &ModelsCommand, context: &Context) -> Result<Exit> {
    match command {
        ModelsCommand::List { json } => {
            for model in all(context).into_iter().flatten() {
                print_model(&Ok(model), *json);
            }
            Ok(Exit::Success)
        }
        ModelsCommand::Verify { models, json } => {
            let checked = if models.is_empty() {
                all(context)
            } else {
                models.iter().map(|model| named(context, model)).collect()
            };
            let refused = checked.iter().any(Result::is_err);
            for model in &checked {
                print_model(model, *json);
            }
            Ok(if refused { Exit::Refused } else { Exit::Success })
        }
    }
}

fn named(context: &Context, model: &Path) -> Result<ModelFile, EngineError> {
    context.model(Some(model)).map_err(|error| match error.downcast::<EngineError>() {
        Ok(error) => error,
        Err(error) => {
            EngineError::Refused { path: model.display().to_string(), reason: error.to_string() }
        }
    })
}

fn all(context: &Context) -> Vec<Result<ModelFile, EngineError>> {
    let bundled = cfg!(feature = "bundled-student").then(crate::bundled::student);
    let dir = context.data_dir().ok().map(|dir| dir.join("models"));
    let entries = dir.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    paths.sort();
    bundled.into_iter().chain(paths.iter().map(|path| ModelFile::open(path))).collect()
}

fn print_model(model: &Result<ModelFile, EngineError>, as_json: bool) {
    match (model, as_json) {
        (Ok(model), true) => println!("{}", model_json(model)),
        (Ok(model), false) => println!(
            "{}: sound ({}, {} tokens of context, sha256 {})",
            model.display, model.family.architecture, model.family.context_tokens, model.sha256
        ),
        (Err(error), true) => println!("{}", json!({"sound": false, "reason": error.to_string()})),
        (Err(error), false) => println!("{error}"),
    }
}

fn model_json(model: &ModelFile) -> Value {
    json!({
        "sound": true,
        "name": model.name,
        "path": model.display,
        "sha256": model.sha256,
        "architecture": model.family.architecture,
        "context_tokens": model.family.context_tokens,
        "vocabulary": model.family.vocabulary,
    })
}
