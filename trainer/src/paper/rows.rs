//! What was measured: one JSON line for each student and family.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::config::Size;
use super::lessons::Regime;
use crate::trajectory::Journal;
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
    pub fn regime(self) -> Regime {
        match self {
            Self::Cot => Regime::Cot,
            Self::CotPassages => Regime::CotPassages,
            Self::Agent => Regime::Agent,
            Self::AgentPrefix | Self::AgentPrefixVote => Regime::AgentPrefix,
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

/// The rows of several files as one table.
///
/// # Errors
/// Rows of different recipes, or a student that was asked twice: both are named.
pub fn read_table(files: &[PathBuf]) -> Result<Vec<Row>> {
    let mut table: Vec<Row> = Vec::new();
    let mut places: BTreeMap<Place, &Path> = BTreeMap::new();
    for file in files {
        for row in read(file)? {
            let of = table.first().map_or(&row.recipe, |first| &first.recipe);
            ensure!(
                row.recipe == *of,
                "{}: rows of recipe {}, others are of {of}: a table is of one recipe",
                file.display(),
                row.recipe
            );
            if let Some(other) = places.insert(row.place(), file) {
                let (student, _, seed, family) = row.place();
                let parameters = row.parameters;
                anyhow::bail!(
                    "{} and {}: {} of {parameters} parameters and seed {seed} was asked \
                     {family:?} twice",
                    other.display(),
                    file.display(),
                    student.name()
                );
            }
            table.push(row);
        }
    }
    ensure!(!table.is_empty(), "there is no row in these files");
    Ok(table)
}

/// What a table holds once.
type Place = (Student, Size, u64, Family);

impl Row {
    fn place(&self) -> Place {
        (self.student, self.size, self.seed, self.family)
    }
}

/// The rows of one recipe in a file that grows.
pub(super) struct Rows {
    journal: Journal,
    rows: Vec<Row>,
}

impl Rows {
    pub fn open(path: &Path, recipe: &str) -> Result<Self> {
        let no_row = |error| format!("no row of a table: {error}");
        let (journal, mut rows) =
            Journal::open(path, |line| serde_json::from_str::<Row>(line).map_err(no_row))?;
        rows.retain(|row| row.recipe == recipe);
        let mut places = BTreeSet::new();
        if let Some(row) = rows.iter().find(|row| !places.insert(row.place())) {
            anyhow::bail!("{}: there twice: {}", path.display(), serde_json::to_string(row)?);
        }
        Ok(Self { journal, rows })
    }

    pub fn all(&self) -> &[Row] {
        &self.rows
    }

    /// Whether all students of a cell were asked everything.
    pub fn has(&self, cell: &Cell, sizes: &[Size]) -> bool {
        let size = sizes.get(cell.size);
        let students = Student::ALL.into_iter().filter(|student| student.regime() == cell.regime);
        let mut wanted = students.flat_map(|student| Family::ALL.map(|family| (student, family)));
        wanted.all(|(student, family)| {
            self.rows.iter().any(|row| {
                Some(&row.size) == size
                    && (row.student, row.seed, row.family) == (student, cell.seed, family)
            })
        })
    }

    /// The rows of a cell. One that was interrupted here is made again, and only what is missing is
    /// added.
    pub fn append(&mut self, made: Vec<Row>) -> Result<()> {
        for row in made {
            if self.rows.iter().all(|known| known.place() != row.place()) {
                self.journal.append(&row)?;
                self.rows.push(row);
            }
        }
        Ok(())
    }
}
