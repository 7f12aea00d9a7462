//! `retort-train merge`: what several machines collected, in one file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::journal::hold_file;
use super::manifest::{Manifest, manifest_path};
use super::read::{read_collected, write_rows};
use super::row::Trajectory;
use crate::remote::{Book, Spent};

/// Put files of trajectories into one, each task once.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Files of trajectories, each with its manifest beside it.
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    /// File to write; what it holds already stays. `collect` goes on from it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, or were made otherwise than the first: each difference is named.
pub fn merge(args: &MergeArgs) -> Result<()> {
    merge_files(&args.parts, &args.out)
}

/// Merges `parts` into `out`.
///
/// # Errors
/// As [`merge`].
pub fn merge_files(parts: &[PathBuf], out: &Path) -> Result<()> {
    let earlier = out.exists().then(|| out.to_owned());
    let held = earlier.as_deref().map(hold_file).transpose()?;
    let mut rows: BTreeMap<String, Trajectory> = BTreeMap::new();
    let mut merged: Option<Manifest> = None;
    let mut twice = 0;
    let place = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let others = parts.iter().filter(|part| place(part) != place(out));
    for part in earlier.iter().chain(others) {
        let path = manifest_path(part);
        let own = Manifest::read(&path)?;
        ensure!(own.stage == "collect", "{}: of {}, expected collect", path.display(), own.stage);
        let collected = read_collected(part)?;
        // Rows may have been mended by hand since, but none is to be lost.
        let had = own.counts.get("rows").and_then(Value::as_u64).unwrap_or_default();
        ensure!(
            !own.complete || collected.len() as u64 >= had,
            "{}: {} rows are there, {had} were when it was complete; take back the file that was",
            part.display(),
            collected.len()
        );
        let spent = own.spent_with(collected.iter().map(|row| &row.spent).sum());
        let spent = Book::spent(&Book::of(part), spent)?;
        let whole = merged.get_or_insert_with(|| Manifest {
            spent: Spent::default(),
            parts: BTreeMap::new(),
            ..own.clone()
        });
        let differences = whole.differences(&own);
        if !differences.is_empty() {
            bail!(
                "{}: made otherwise than the parts before it ({differences}); merge it into a file \
                 of its own",
                part.display()
            );
        }
        if earlier.as_ref() == Some(part) {
            (whole.spent, whole.parts) = (spent, own.parts);
        } else {
            // A part that was merged before, and may have grown, is paid for once.
            let before = whole.parts.insert(place(part), spent).unwrap_or_default();
            whole.spent.add(&spent.since(&before));
        }
        for row in collected {
            match rows.entry(row.id.clone()) {
                Entry::Vacant(free) => drop(free.insert(row)),
                // The first of two rows is as good as the second.
                Entry::Occupied(known) if known.get().is_of_same_task(&row) => twice += 1,
                Entry::Occupied(_) => bail!(
                    "{}: task {:?} asks or expects something else than in the parts before it; \
                     merge it into a file of its own",
                    part.display(),
                    row.id
                ),
            }
        }
    }
    let Some(mut merged) = merged else { bail!("name at least one file") };
    // Only `collect` knows whether a task is missing.
    (merged.complete, merged.sha256) = (false, None);
    merged.counts = [("rows".to_owned(), json!(rows.len()))].into_iter().collect();
    merged.rows_spent = Some(rows.values().map(|row| &row.spent).sum());
    // The manifest first: after a crash in between, merging again pays for no part twice, and brings
    // the rows that are missing.
    merged.write(&manifest_path(out))?;
    write_rows(out, rows.values())
        .with_context(|| format!("{} cannot be written", out.display()))?;
    drop(held);
    outln!("{} rows of {} files, {twice} twice: {}", rows.len(), parts.len(), out.display());
    Ok(())
}
