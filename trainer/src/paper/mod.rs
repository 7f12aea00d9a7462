//! The paper's table in miniature (arXiv 2505.17612, table 2): students of several sizes, distilled
//! from one teacher by chain of thought or by acting, asked about eight families of questions.
//!
//! One *cell* is one training: a size, a seed and what the student learns from. Its rows are
//! appended to `rows.jsonl` when it is done, and a cell with rows is not made again, so that a table
//! of many hours can be filled piece by piece.

mod cell;
mod config;
mod exam;
mod lessons;
mod plot;
mod rows;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;

pub use config::{PaperRecipe, Size};
pub use lessons::Regime;
pub use rows::{Row, Student, read, read_table};
pub use table::report;

use crate::cuda::Device;
use crate::teach::check_dialect;
use crate::trajectory::refuse_same;
use cell::Cell;
use exam::{Exam, Hall};
use lessons::Lessons;
use rows::Rows;

/// Print the table of rows that a paper recipe has made.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// Files of rows.
    #[arg(required = true)]
    rows: Vec<PathBuf>,
    /// Draw the scores over the sizes.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Prints the table.
///
/// # Errors
/// Rows that cannot be read, or a picture that cannot be written.
pub fn table(args: &TableArgs) -> Result<()> {
    if let Some(svg) = &args.svg {
        args.rows.iter().try_for_each(|rows| refuse_same(rows, svg))?;
    }
    let rows = read_table(&args.rows)?;
    out!("{}", report(&rows));
    args.svg.as_ref().map_or(Ok(()), |file| plot::draw(&rows, file))
}

/// Makes the cells that `out/rows.jsonl` lacks, then prints the table of all of the recipe's rows.
///
/// # Errors
/// A recipe that is refused, or a cell that failed; what was finished before is kept.
pub fn run(recipe: &PaperRecipe, out: &Path, device: Device) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let key = recipe.key()?;
    let mut rows = Rows::open(&out.join("rows.jsonl"), &key)?;
    let todo: Vec<Cell> =
        Cell::all(recipe).into_iter().filter(|cell| !rows.has(cell, &recipe.sizes)).collect();
    if !todo.is_empty() {
        let dialect = Dialect::named(&recipe.dialect)?;
        check_dialect(&dialect)?;
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: None })?;
        let bars = MultiProgress::new();
        let style = ProgressStyle::with_template("{msg:34} {bar:30} {pos}/{len} {eta}")?;
        let bar = |length: usize, message: &str| {
            let bar = bars.add(ProgressBar::new(length as u64).with_style(style.clone()));
            bar.set_message(message.to_owned());
            bar
        };
        // Refused at once, not after the lessons.
        let exams = Exam::draw_all(recipe)?;
        let lessons =
            Lessons::collect(recipe, &dialect, &sandbox, &bar(recipe.worlds, "collecting"))?;
        bars.suspend(|| errln!("{}", lessons.summary()));
        lessons.record(&key, &out.join("cells").join(&key))?;
        let cells = bar(todo.len(), "cells");
        for cell in todo {
            bars.suspend(|| errln!("{}", cell.name()));
            let trained = cell.train(recipe, &lessons, out, device, &bars)?;
            let steps = bar(0, &format!("{}, asking", cell.name()));
            let hall = Hall { exams: &exams, dialect: &dialect, sandbox: &sandbox };
            let made = hall.ask(recipe, &cell, &trained, &steps)?;
            bars.remove(&steps);
            rows.append(made)?;
            cells.inc(1);
        }
        bars.clear()?;
    }
    out!("{}", report(rows.all()));
    plot::draw(rows.all(), &out.join("scores.svg"))
}

#[cfg(test)]
mod tests;
