//! `retort models`.

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::{Value, json};

use super::context::{Context, is_plain_word};
use super::exit::{Exit, UsageError};
use super::model::Model;
use super::output::{out, outln};
use crate::cancel::{Cancel, Cancelled};
use crate::engine::AdapterFile;
use crate::profile::{FirstSearchMissed, Manifest, SystemPromptFile};

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
    /// Copy a model and the manifest beside it into the models folder, once it is checked.
    Import {
        /// The GGUF file.
        file: PathBuf,
        /// Name in the folder [default: the file's].
        #[arg(long)]
        name: Option<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: &ModelsCommand, context: &Context) -> Result<Exit> {
    match command {
        ModelsCommand::List { json } => {
            for model in &all(context) {
                print_model(model, *json);
            }
            Ok(Exit::Success)
        }
        ModelsCommand::Verify { models, json } => {
            let checked = if models.is_empty() {
                all(context)
            } else {
                models.iter().map(|model| context.model(Some(model))).collect()
            };
            let refused = checked.iter().any(Result::is_err);
            for model in &checked {
                print_model(model, *json);
            }
            Ok(if refused { Exit::Refused } else { Exit::Success })
        }
        ModelsCommand::Import { file, name, json } => {
            print_model(&Ok(import(file, name.as_deref(), context)?), *json);
            Ok(Exit::Success)
        }
    }
}

/// Copies a sound model; what is there already stays.
fn import(file: &Path, name: Option<&str>, context: &Context) -> Result<Model> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = name.map(str::to_owned).or(stem).unwrap_or_default();
    if !is_plain_word(&name) {
        return Err(UsageError(format!("--name {name:?}: expected a plain word")).into());
    }
    let model = Model::open(file)?;
    let dir = context.data_dir()?.join("models");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let [path, manifest, prompt] =
        ["gguf", "toml", "prompt.jinja"].map(|kind| dir.join(&name).with_added_extension(kind));
    for there in [&path, &manifest, &prompt] {
        if there.exists() {
            let there = there.display();
            return Err(
                UsageError(format!("{there} is there already; name another with --name")).into()
            );
        }
    }
    if file.with_file_name("tokenizer.json").exists() {
        return Err(UsageError(format!(
            "{} is read with the tokenizer.json beside it, for which the models folder has no \
             place: name the file itself with --model",
            file.display()
        ))
        .into());
    }
    let copied = copy_all(&model, file, [&path, &manifest, &prompt], &context.cancel)
        .and_then(|()| Model::open(&path));
    if copied.is_err() {
        // None of them was there before; a manifest left alone would be taken for the next model's.
        for begun in [&path, &manifest, &prompt] {
            let _ = std::fs::remove_file(begun);
        }
    }
    if context.cancel.is_cancelled() { copied.context(Cancelled) } else { copied }
}

/// The manifest first, with the prompt that it names: a model is never there without what is said
/// of it.
fn copy_all(
    model: &Model,
    file: &Path,
    [path, manifest, prompt]: [&Path; 3],
    cancel: &Cancel,
) -> Result<()> {
    let written = |to: &Path, from: &mut dyn Read| {
        write(to, from).with_context(|| format!("{} cannot be written", to.display()))
    };
    if let Some(template) = model.system_prompt()? {
        written(prompt, &mut template.as_bytes())?;
        let file = prompt.file_name().map(PathBuf::from).unwrap_or_default();
        let system_prompt = Some(SystemPromptFile { file, key: None });
        let text = toml::to_string(&Manifest { system_prompt, ..model.manifest.clone() })?;
        written(manifest, &mut text.as_bytes())?;
    } else if model.manifest_path.exists() {
        written(manifest, &mut File::open(&model.manifest_path)?)?;
    }
    written(path, &mut cancel.watch(File::open(file)?))
}

fn write(to: &Path, from: &mut dyn Read) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let anyone = Permissions::from_mode(0o666);
    let mut copy = tempfile::Builder::new().permissions(anyone).tempfile_in(folder)?;
    std::io::copy(from, &mut copy)?;
    copy.as_file().sync_all()?;
    copy.persist(to).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn all(context: &Context) -> Vec<Result<Model>> {
    let bundled = cfg!(feature = "bundled-student").then(Model::bundled);
    let dir = context.data_dir().ok().map(|dir| dir.join("models"));
    let entries = dir.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        // An adapter is no model; it is checked with the model that it is for.
        .filter(|path| !AdapterFile::is_one(path))
        .collect();
    paths.sort();
    bundled.into_iter().chain(paths.iter().map(|path| Model::open(path))).collect()
}

fn print_model(model: &Result<Model>, as_json: bool) {
    match (model, as_json) {
        (Ok(model), true) => outln!("{}", model_json(model)),
        (Ok(model), false) => out!("{}", model_text(model)),
        (Err(error), true) => {
            outln!("{}", json!({"sound": false, "reason": format!("{error:#}")}))
        }
        (Err(error), false) => outln!("{error:#}"),
    }
}

fn model_text(model: &Model) -> String {
    let Model { file, manifest, .. } = model;
    let license = manifest.license.as_deref().unwrap_or("licence not stated");
    let mut text = format!(
        "{}: sound ({}, {:.1} MB, {} tokens of context, {license})\n  sha256 {}\n",
        file.display,
        file.family.architecture,
        file.bytes as f64 / 1e6,
        file.family.context_tokens,
        file.sha256
    );
    let figures =
        manifest.exact_match.iter().map(|(kind, share)| format!("{kind} {:.1} %", 100.0 * share));
    let figures: Vec<String> = figures.collect();
    if !figures.is_empty() {
        text += &format!("  exact match: {}\n", figures.join(", "));
    }
    if let Some(missed) = manifest.first_search_missed {
        let FirstSearchMissed { questions, exact_match } = missed;
        text += &format!("  of {questions} whose first search missed: {exact_match} exact\n");
    }
    text
}

fn model_json(model: &Model) -> Value {
    let Model { file, manifest, .. } = model;
    json!({
        "sound": true,
        "name": file.name,
        "path": file.display,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "architecture": file.family.architecture,
        "context_tokens": file.family.context_tokens,
        "vocabulary": file.family.vocabulary,
        "manifest": manifest,
    })
}
