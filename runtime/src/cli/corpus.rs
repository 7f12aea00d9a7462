//! `retort corpus`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, UsageError};
use super::output::{errln, outln};
use crate::corpus::{self, Corpus, CorpusEntry, CorpusError, CorpusState, CorpusStats};

/// Commands about corpora.
#[derive(Debug, Subcommand)]
pub enum CorpusCommand {
    /// List the corpora and how they are.
    List {
        /// Print one JSON object per corpus.
        #[arg(long)]
        json: bool,
    },
    /// Compare everything in a corpus with its checksums: in those named, or in all.
    Check {
        /// Names of corpora.
        names: Vec<String>,
        /// Rebuild what is damaged, and bring what an older version made up to date.
        #[arg(long)]
        repair: bool,
        /// Print one JSON object per corpus.
        #[arg(long)]
        json: bool,
    },
    /// Write a corpus into one file that another machine can import.
    Export {
        /// Name of the corpus.
        name: String,
        /// The file, which must not exist.
        file: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Take a corpus from a file that `export` wrote.
    Import {
        /// The file.
        file: PathBuf,
        /// Name for the corpus.
        name: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Remove a corpus; the documents it was made from stay where they are.
    Remove {
        /// Name of the corpus.
        name: String,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: &CorpusCommand, context: &Context) -> Result<Exit> {
    match command {
        CorpusCommand::List { json } => {
            for entry in all(context)? {
                print_entry(&entry, *json);
            }
            Ok(Exit::Success)
        }
        CorpusCommand::Check { names, repair, json } => check(names, *repair, *json, context),
        CorpusCommand::Export { name, file, json } => {
            if file.exists() {
                let message = format!("{}: there is such a file already", file.display());
                return Err(UsageError(message).into());
            }
            let stats = corpus::export(&context.corpus_dir(name)?, file, &context.cancel)?;
            let bytes = std::fs::metadata(file).map_or(0, |data| data.len());
            if *json {
                let mut line = json!({"format": 1, "name": name, "file": file.to_string_lossy(), "bytes": bytes});
                add(&mut line, Some(&stats), None);
                outln!("{line}");
            } else {
                outln!("{name}: {} passages, {bytes} bytes in {}", stats.passages, file.display());
            }
            Ok(Exit::Success)
        }
        CorpusCommand::Import { file, name, json } => {
            let stats = corpus::import(file, &context.corpus_dir(name)?, &context.cancel)?;
            if *json {
                let mut line = json!({"format": 1, "name": name, "file": file.to_string_lossy()});
                add(&mut line, Some(&stats), None);
                outln!("{line}");
            } else {
                outln!("{name}: {} passages of {} documents", stats.passages, stats.documents);
            }
            Ok(Exit::Success)
        }
        CorpusCommand::Remove { name, json } => {
            corpus::remove(&context.corpus_dir(name)?)?;
            match json {
                true => outln!("{}", json!({"format": 1, "removed": name})),
                false => outln!("removed {name}"),
            }
            Ok(Exit::Success)
        }
    }
}

fn all(context: &Context) -> Result<Vec<CorpusEntry>, anyhow::Error> {
    Ok(corpus::list(&context.data_dir()?.join("corpora"))?)
}

fn print_entry(entry: &CorpusEntry, as_json: bool) {
    let (state, stats, reason) = match &entry.state {
        CorpusState::Ready(stats) => ("ready", Some(stats), None),
        CorpusState::Empty => ("empty", None, None),
        CorpusState::Ingesting(stats) => ("ingesting", Some(stats), None),
        CorpusState::Interrupted(stats) => ("interrupted", Some(stats), None),
        CorpusState::Unusable(reason) => ("unusable", None, Some(reason)),
    };
    if as_json {
        let mut line =
            json!({"name": entry.name, "path": entry.path.to_string_lossy(), "state": state});
        add(&mut line, stats, reason.map(String::as_str));
        outln!("{line}");
        return;
    }
    outln!("{:<20} {state:<12} {}", entry.name, stats.map(size).unwrap_or_default());
    if let Some(reason) = reason {
        outln!("  {reason}");
    }
}

fn add(line: &mut Value, stats: Option<&CorpusStats>, reason: Option<&str>) {
    let Some(fields) = line.as_object_mut() else { return };
    if let Some(stats) = stats {
        for (name, count) in [
            ("documents", stats.documents),
            ("passages", stats.passages),
            ("sources", stats.sources),
            ("source_bytes", stats.source_bytes),
            ("index_bytes", stats.index_bytes),
        ] {
            fields.insert(name.to_owned(), Value::from(count));
        }
    }
    if let Some(reason) = reason {
        fields.insert("reason".to_owned(), Value::from(reason));
    }
}

fn size(stats: &CorpusStats) -> String {
    let mebibytes = stats.index_bytes as f64 / f64::from(1 << 20);
    let CorpusStats { passages, documents, sources, .. } = stats;
    format!("{passages} passages of {documents} documents in {sources} files, {mebibytes:.1} MiB")
}

fn check(names: &[String], repair: bool, as_json: bool, context: &Context) -> Result<Exit> {
    let named = names.iter().map(|name| Ok((name.clone(), context.corpus_dir(name)?)));
    let mut corpora: Vec<(String, PathBuf)> = named.collect::<Result<_>>()?;
    if names.is_empty() {
        corpora = all(context)?.into_iter().map(|entry| (entry.name, entry.path)).collect();
    }
    let mut exit = Exit::Success;
    for (name, dir) in corpora {
        let found = match Corpus::check(&dir) {
            Err(error) if repair && error.is_repairable() => {
                errln!("{name}: rebuilding it");
                let options = context.ingest_options();
                corpus::repair(&dir, &options, &mut ()).map(|stats| ("repaired", stats))
            }
            checked => checked.map(|stats| ("sound", stats)),
        };
        match &found {
            Ok((state, stats)) => print_checked(&name, state, Some(stats), None, as_json),
            Err(error @ CorpusError::Empty { .. }) => {
                print_checked(&name, "empty", None, Some(&error.to_string()), as_json);
            }
            Err(error) => {
                exit = Exit::of_corpus(error);
                print_checked(&name, "refused", None, Some(&error.to_string()), as_json);
            }
        }
    }
    Ok(exit)
}

fn print_checked(
    name: &str,
    state: &str,
    stats: Option<&CorpusStats>,
    reason: Option<&str>,
    as_json: bool,
) {
    if as_json {
        let mut line = json!({"name": name, "state": state});
        add(&mut line, stats, reason);
        outln!("{line}");
    } else {
        let said = reason.map(str::to_owned).or_else(|| stats.map(size)).unwrap_or_default();
        outln!("{name:<20} {state:<9} {said}");
    }
}
