//! `retort-train import-trajectories` and `export-trajectories`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use retort::eval::score;
use retort_transcript::Dialect;
use serde_json::{Map, Value, json};

use super::manifest::{Manifest, manifest_path, refuse_manifest, refuse_same};
use super::published::{from_published, to_published};
use super::read::{read_rows, read_trajectories, write_rows};
use crate::hash::file_sha256;

/// Read trajectories in the published format (rows with log_data).
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// JSON Lines of rows with log_data.
    rows: PathBuf,
    /// File of trajectories to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Dialect of rows that name none.
    #[arg(long, value_name = "NAME", default_value = "smolagents")]
    dialect: String,
}

/// Write trajectories in the published format.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// File of trajectories.
    trajectories: PathBuf,
    /// JSON Lines to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// log_data is written as a JSON string, as on the hub.
    #[arg(long)]
    log_data_as_text: bool,
}

/// Runs the import.
///
/// # Errors
/// Names the first line that is no row.
pub fn import(args: &ImportArgs) -> Result<()> {
    refuse_same(&args.rows, &args.out)?;
    refuse_manifest(&args.out, "import-trajectories")?;
    let dialect = Dialect::named(&args.dialect)?;
    let line = Cell::new(0);
    let trajectories = read_rows(&args.rows, |text| {
        line.set(line.get() + 1);
        let row: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let id = format!("row-{}", line.get());
        from_published(&row, &id, &dialect).map_err(|error| error.to_string())
    })?;
    write_rows(&args.out, trajectories.iter())
        .with_context(|| format!("{} cannot be written", args.out.display()))?;
    let made_by =
        made_by(&[("rows", json!(file_sha256(&args.rows)?)), ("dialect", json!(args.dialect))]);
    let mut manifest = Manifest::new("import-trajectories", made_by);
    manifest.counts.insert("rows".to_owned(), json!(trajectories.len()));
    manifest.complete = true;
    manifest.sha256 = Some(file_sha256(&args.out)?);
    manifest.write(&manifest_path(&args.out))?;
    outln!("{} trajectories: {}", trajectories.len(), args.out.display());
    Ok(())
}

/// Runs the export.
///
/// # Errors
/// A file that cannot be read or written, or an unknown dialect.
pub fn export(args: &ExportArgs) -> Result<()> {
    refuse_same(&args.trajectories, &args.out)?;
    refuse_manifest(&args.out, "export-trajectories")?;
    let trajectories = read_trajectories(&args.trajectories)?;
    let mut dialects: BTreeMap<String, Dialect> = BTreeMap::new();
    let mut rows = Vec::with_capacity(trajectories.len());
    for trajectory in &trajectories {
        let dialect = match dialects.get(&trajectory.dialect) {
            Some(dialect) => dialect.clone(),
            None => Dialect::named(&trajectory.dialect)?,
        };
        let judged = trajectory.generated.as_deref().map(|a| score(a, trajectory.expected()));
        let is_right = judged.is_some_and(|score| score.exact_match || score.math);
        let mut row = to_published(trajectory, &dialect, is_right);
        if args.log_data_as_text
            && let Some(log_data) = row.get_mut("log_data")
        {
            *log_data = Value::String(log_data.to_string());
        }
        rows.push(row);
        dialects.insert(trajectory.dialect.clone(), dialect);
    }
    write_rows(&args.out, rows.iter())
        .with_context(|| format!("{} cannot be written", args.out.display()))?;
    outln!("{} rows: {}", rows.len(), args.out.display());
    Ok(())
}

fn made_by(entries: &[(&str, Value)]) -> Map<String, Value> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}
