//! `retort index`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, UsageError};
use super::output::{errln, outln, printable};
use super::watch::Watch;
use crate::corpus::{self, CorpusError, IngestOptions, IngestProgress, IngestReport, Skip};

/// While another process indexes, a watching one tries again so often.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// Index documents into a corpus: new and changed files are read, deleted ones leave.
#[derive(Debug, Args)]
pub struct IndexArgs {
    /// Files and folders: .txt, .md, .html, .xhtml, .csv, .tsv and .jsonl (also compressed as
    /// .zst), .pdf, .epub, .docx and .zim.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Fail when anything was passed over.
    #[arg(long)]
    strict: bool,
    /// Go on watching the files and folders, and index again when they change, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Read every file to see whether it changed, also one whose size and times are as they were.
    #[arg(long)]
    rehash: bool,
    /// Remove the files below a path that is gone or an empty folder; without this they stay, as
    /// its disk may only not be mounted.
    #[arg(long)]
    forget: bool,
    /// Print one JSON object; with --watch one for every time files were indexed.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &IndexArgs, context: &Context) -> Result<Exit> {
    let named = context.resolved.settings.corpus.as_deref();
    let corpus =
        named.ok_or_else(|| UsageError("name the corpus with --corpus NAME".to_owned()))?;
    let dir = context.corpus_dir(corpus)?;
    let options =
        IngestOptions { rehash: args.rehash, forget: args.forget, ..context.ingest_options() };
    // Made before the first look, so that no change falls between the two.
    let watch = if args.watch { Some(Watch::new(&args.paths, &dir)?) } else { None };
    let report = index(args, &dir, &options)?;
    let mut printer = Printer { corpus, json: args.json, told: BTreeSet::new() };
    printer.print(&report);
    match watch {
        Some(mut watch) if !report.cancelled => {
            follow(args, &mut watch, &dir, &options, &mut printer)
        }
        _ => Ok(exit(args, &report)),
    }
}

fn index(
    args: &IndexArgs,
    dir: &Path,
    options: &IngestOptions,
) -> Result<IngestReport, CorpusError> {
    let mut bar = Bar::new();
    let mut report = corpus::ingest(dir, &args.paths, options, &mut bar);
    if report.as_ref().is_err_and(CorpusError::is_repairable) {
        bar.0.suspend(|| {
            errln!("the corpus is damaged or of an older version: it is rebuilt first")
        });
        corpus::repair(dir, options, &mut bar)?;
        report = corpus::ingest(dir, &args.paths, options, &mut bar);
    }
    bar.0.finish_and_clear();
    report
}

/// Indexes again after every change. To be ended while it waits is its ordinary end.
fn follow(
    args: &IndexArgs,
    watch: &mut Watch,
    dir: &Path,
    options: &IngestOptions,
    printer: &mut Printer<'_>,
) -> Result<Exit> {
    errln!("watching; Ctrl-C ends it");
    let mut again = None;
    while watch.wait(again.take(), &options.cancel) {
        match index(args, dir, options) {
            Ok(report) if report.cancelled => return Ok(Exit::Interrupted),
            Ok(report) => printer.print(&report),
            Err(error @ CorpusError::Busy { .. }) => {
                tracing::warn!("{error}: trying again in {BUSY_PAUSE:?}");
                again = Some(BUSY_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Success)
}

fn exit(args: &IndexArgs, report: &IngestReport) -> Exit {
    let forgotten = if args.forget { report.removed } else { 0 };
    let kept = report.indexed + report.unchanged + forgotten;
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
        .map(|skip| json!({"path": skip.path.to_string_lossy(), "line": skip.line, "reason": skip.reason}));
    json!({
        "format": 1,
        "corpus": corpus,
        "indexed": report.indexed,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "passages": report.passages,
        "skipped": skipped.collect::<Vec<_>>(),
        "skipped_total": report.skipped_total,
        "cancelled": report.cancelled,
    })
}

/// Says what was done, and of each thing that was passed over once why.
struct Printer<'a> {
    corpus: &'a str,
    json: bool,
    told: BTreeSet<(PathBuf, Option<u64>, String)>,
}

impl Printer<'_> {
    fn print(&mut self, report: &IngestReport) {
        if self.json {
            outln!("{}", report_json(self.corpus, report));
            return;
        }
        let interrupted = if report.cancelled { "interrupted: " } else { "" };
        outln!(
            "{}: {interrupted}{} files indexed ({} passages), {} unchanged, {} removed, {} skipped",
            self.corpus,
            report.indexed,
            report.passages,
            report.unchanged,
            report.removed,
            report.skipped_total
        );
        for Skip { path, line, reason } in &report.skipped {
            if self.told.insert((path.clone(), *line, reason.clone())) {
                let line = line.map(|line| format!(":{line}")).unwrap_or_default();
                let path = path.display().to_string();
                errln!("skipped {}{line}: {}", printable(&path), printable(reason));
            }
        }
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
