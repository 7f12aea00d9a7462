//! What was measured: one JSON line for each student and family.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::config::Size;
use super::lessons::Learner;
use crate::world::Family;

/// A row of the paper's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Student {
    /// Distilled from chains of thought.
    Cot,
    /// The same, with retrieved passages under the question.
    CotPassages,
    /// Distilled from trajectories.
    Agent,
    /// From trajectories with a first-thought prefix.
    AgentPrefix,
    /// The same student, voting at each step.
    AgentPrefixVote,
}

impl Student {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Cot, Self::CotPassages, Self::Agent, Self::AgentPrefix, Self::AgentPrefixVote];

    /// Name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cot => "CoT",
            Self::CotPassages => "CoT + passages",
            Self::Agent => "agent",
            Self::AgentPrefix => "agent + prefix",
            Self::AgentPrefixVote => "agent + prefix + SAG",
        }
    }

    /// What it is trained on.
    #[must_use]
    pub fn learner(self) -> Learner {
        match self {
            Self::Cot => Learner::Cot,
            Self::CotPassages => Learner::CotPassages,
            Self::Agent => Learner::Agent,
            Self::AgentPrefix | Self::AgentPrefixVote => Learner::AgentPrefix,
        }
    }
}

/// How one student did in one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Hash of the recipe.
    pub recipe: String,
    /// Which.
    pub student: Student,
    /// Its size.
    pub size: Size,
    /// Its parameters.
    pub parameters: usize,
    /// Its seed.
    pub seed: u64,
    /// What was asked.
    pub family: Family,
    /// Questions.
    pub tasks: usize,
    /// Answered rightly: exact match.
    pub right: usize,
    /// Steps of all runs; 0 for students that do not act.
    pub steps: usize,
    /// Of these, chosen replies without code.
    pub unparsed: usize,
    /// Of these, chosen actions that raised an error.
    pub failed: usize,
}

/// Reads a file of rows.
///
/// # Errors
/// A file that cannot be read, or a line that is no row: both are named.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let row = |(index, line): (usize, &str)| {
        serde_json::from_str(line)
            .with_context(|| format!("{}, line {}: no row of a table", path.display(), index + 1))
    };
    text.lines().enumerate().map(row).collect()
}

/// The rows of one recipe in a file that grows.
pub(super) struct Rows {
    path: PathBuf,
    rows: Vec<Row>,
}

impl Rows {
    pub fn open(path: &Path, recipe: &str) -> Result<Self> {
        let mut rows = if path.exists() { read(path)? } else { Vec::new() };
        rows.retain(|row| row.recipe == recipe);
        Ok(Self { path: path.to_path_buf(), rows })
    }

    pub fn all(&self) -> &[Row] {
        &self.rows
    }

    pub fn has(&self, cell: &Cell, sizes: &[Size]) -> bool {
        let size = sizes.get(cell.size);
        self.rows.iter().any(|row| {
            Some(&row.size) == size
                && row.seed == cell.seed
                && row.student.learner() == cell.learner
        })
    }

    /// All rows of a cell at once: a cell that was interrupted has none.
    pub fn append(&mut self, made: Vec<Row>) -> Result<()> {
        let mut lines = String::new();
        for row in &made {
            lines += &(serde_json::to_string(row)? + "\n");
        }
        let append = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.write_all(lines.as_bytes())?;
            file.sync_all()
        };
        append().with_context(|| format!("{} cannot be written", self.path.display()))?;
        self.rows.extend(made);
        Ok(())
    }
}
