//! Trajectories from a file, beside those of generated worlds: what `retort-train collect` and
//! `filter` wrote about a user's own documents.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use retort_transcript::{Dialect, Transcript};
use serde::{Deserialize, Serialize};

use super::{Manifest, Mode, manifest_path, read_in};
use crate::hash::{file_sha256, is_drawn};

/// A file of trajectories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The file.
    pub trajectories: PathBuf,
    /// Share of them that is not learnt from, for judging during training.
    #[serde(default = "held_out_share")]
    pub held_out_share: f64,
}

/// Trajectories to learn from, and others.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// For training.
    pub train: Vec<Transcript>,
    /// For judging.
    pub held_out: Vec<Transcript>,
    /// What all of them are.
    pub mode: Mode,
}

fn held_out_share() -> f64 {
    0.05
}

impl DataConfig {
    /// The usual share of this file is held out.
    #[must_use]
    pub fn of(trajectories: PathBuf) -> Self {
        Self { trajectories, held_out_share: held_out_share() }
    }

    /// Refuses a share that is none.
    ///
    /// # Errors
    /// Names it.
    pub fn check(&self) -> Result<()> {
        let share = self.held_out_share;
        ensure!(
            (0.0..1.0).contains(&share),
            "data.held_out_share is {share}; expected a share from 0 to below 1"
        );
        Ok(())
    }

    /// The file's trajectories.
    ///
    /// # Errors
    /// A file that cannot be read, a share that is none, or a row in another dialect or mode.
    pub fn read(&self, dialect: &Dialect) -> Result<Split> {
        self.check()?;
        if self.is_unfiltered() {
            errln!(
                "{}: as `retort-train collect` wrote it, wrong answers and all; `retort-train filter` \
                 drops them",
                self.trajectories.display()
            );
        }
        let share = self.held_out_share;
        let rows = read_in(&self.trajectories, dialect)?;
        let mode = rows.first().map_or_else(Mode::default, |row| row.mode);
        let mut split = Split { mode, ..Split::default() };
        for row in rows {
            let path = self.trajectories.display();
            ensure!(
                row.mode == mode,
                "{path}: row {:?} is of mode {}, the first of mode {mode}; a student learns one",
                row.id,
                row.mode
            );
            // By its id, so that a row stays on its side when others come.
            let is_held_out = is_drawn(&row.id, share);
            let side = if is_held_out { &mut split.held_out } else { &mut split.train };
            side.push(row.transcript);
        }
        ensure!(
            !split.train.is_empty(),
            "data.held_out_share: all {} rows of {} are held out at {share}, none is left to learn \
             from; lower it",
            split.held_out.len(),
            self.trajectories.display()
        );
        Ok(split)
    }

    /// Whether a teacher's rows stand there as they were collected.
    fn is_unfiltered(&self) -> bool {
        let manifest = Manifest::read(&manifest_path(&self.trajectories));
        manifest.is_ok_and(|manifest| manifest.stage == "collect")
    }

    /// SHA-256 of the file: another file makes another student.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sha256(&self) -> Result<String> {
        file_sha256(&self.trajectories)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data(folder: &std::path::Path, rows: &[serde_json::Value]) -> DataConfig {
        let path = folder.join("rows.jsonl");
        let text: String = rows.iter().map(|row| row.to_string() + "\n").collect();
        std::fs::write(&path, text).unwrap();
        DataConfig { trajectories: path, held_out_share: 0.3 }
    }

    fn row(id: usize, dialect: &str) -> serde_json::Value {
        let transcript = json!({"question": format!("Q{id}"), "steps": []});
        json!({"version": 1, "id": id.to_string(), "question": "Q", "answer": "A",
               "generated": "A", "status": "answered", "dialect": dialect, "dialect_hash": "",
               "transcript": transcript, "teacher": "t"})
    }

    #[test]
    fn rows_that_no_filter_has_seen_are_known_by_their_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path(), &[row(1, "retort")]);
        assert!(!data.is_unfiltered());
        for (stage, expected) in [("collect", true), ("filter", false)] {
            let manifest = Manifest::new(stage, serde_json::Map::new());
            manifest.write(&manifest_path(&data.trajectories)).unwrap();
            assert_eq!(data.is_unfiltered(), expected);
        }
    }

    #[test]
    fn some_of_a_files_trajectories_are_held_out() {
        let folder = tempfile::tempdir().unwrap();
        let dialect = Dialect::named("retort").unwrap();
        let rows: Vec<_> = (0..60).map(|id| row(id, "retort")).collect();
        let split = data(folder.path(), &rows).read(&dialect).unwrap();
        assert_eq!(split.train.len() + split.held_out.len(), 60);
        assert!((5..35).contains(&split.held_out.len()));
    }

    #[test]
    fn something_is_left_to_learn_from() {
        let folder = tempfile::tempdir().unwrap();
        let dialect = Dialect::named("retort").unwrap();
        let mut all = data(folder.path(), &[row(1, "retort")]);
        all.held_out_share = 0.999_999;
        let told = all.read(&dialect).unwrap_err().to_string();
        assert!(told.starts_with("data.held_out_share: all 1 rows"), "{told}");
    }

    #[test]
    fn another_dialect_and_a_newer_row_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let dialect = Dialect::named("retort").unwrap();
        let told = |rows: &[serde_json::Value]| {
            data(folder.path(), rows).read(&dialect).unwrap_err().to_string()
        };
        assert!(told(&[row(1, "retort"), row(2, "chat")]).contains("row \"2\" is in dialect chat"));
        let mut newer = row(1, "retort");
        newer["version"] = json!(2);
        let told = told(&[row(2, "retort"), newer]);
        assert!(told.contains("rows.jsonl:2: ") && told.contains("format 2"), "{told}");
    }
}
