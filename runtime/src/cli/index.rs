//! `retort index`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, UsageError};
use super::output::outln;
use crate::corpus::{self, IngestOptions, IngestProgress, IngestReport};

/// Index documents into a corpus: new and changed files are read, deleted ones leave.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Files and folders: .jsonl, .txt, .md, also compressed as .zst.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Fail when anything was passed over.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &IndexArgs, context: &Context) -> Result<Exit> {
    let named = context.resolved.settings.corpus.as_deref();
    let corpus =
        named.ok_or_else(|| UsageError("name the corpus with --corpus NAME".to_owned()))?;
    let dir = context.corpus_dir(corpus)?;
    let options = IngestOptions { cancel: context.cancel.clone() };
    let mut bar = Bar::new();
    let report = corpus::ingest(&dir, &args.paths, &options, &mut bar)?;
    bar.0.finish_and_clear();
    if args.json {
        outln!("{}", report_json(corpus, &report));
    } else {
        print_report(corpus, &report);
    }
    Ok(exit(args, &report))
}

fn exit(args: &IndexArgs, report: &IngestReport) -> Exit {
    let kept = report.indexed + report.unchanged;
    if report.cancelled {
        Exit::Interrupted
    } else if kept == 0 || (args.strict && report.skipped_total > 0) {
        Exit::Failure
    } else {
        Exit::Success
    }
}

fn report_json(corpus: &str, report: &IngestReport) -> Value {
    let skipped = report
        .skipped
        .iter()
        .map(|skip| json!({"path": skip.path, "line": skip.line, "reason": skip.reason}));
    json!({
        "format": 1,
        "corpus": corpus,
        "indexed": report.indexed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "passages": report.passages,
        "skipped": skipped.collect::<Vec<_>>(),
        "skipped_total": report.skipped_total,
    })
}

fn print_report(corpus: &str, report: &IngestReport) {
    outln!(
        "{corpus}: {} files indexed ({} passages), {} unchanged, {} removed, {} skipped",
        report.indexed,
        report.passages,
        report.unchanged,
        report.removed,
        report.skipped_total
    );
    for skip in &report.skipped {
        let line = skip.line.map(|line| format!(":{line}")).unwrap_or_default();
        eprintln!("skipped {}{line}: {}", skip.path.display(), skip.reason);
    }
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(0).with_style(style))
    }
}

impl IngestProgress for Bar {
    fn planned(&mut self, _files: u64, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn started(&mut self, path: &Path) {
        self.0.set_message(path.display().to_string());
    }

    fn advanced(&mut self, bytes: u64) {
        self.0.inc(bytes);
    }
}
