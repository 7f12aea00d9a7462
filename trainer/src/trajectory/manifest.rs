//! What stands beside a file of rows: from what it was made, by what, and how much there is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durable::replace_text;
use crate::hash::file_sha256;
use crate::remote::Spent;

/// Version of [`Manifest`].
pub const MANIFEST_FORMAT: u32 = 1;

/// The manifest of a file of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`] of the writer.
    pub format: u32,
    /// The command.
    pub stage: String,
    /// Version of this program.
    pub program: String,
    /// Everything the rows depend on: hashes of the inputs, seed, teacher, settings.
    pub made_by: Map<String, Value>,
    /// Inputs that may change while rows are added: each row says itself what it was made from.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
    /// The part of `spent` that rows say themselves. A run that was killed wrote rows, but no
    /// manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_spent: Option<Spent>,
    /// Files that were merged into this one, and what each had spent by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<PathBuf, Spent>,
    /// How many of what.
    pub counts: Map<String, Value>,
    /// What it took, all runs together.
    #[serde(default)]
    pub spent: Spent,
    /// Nothing is missing.
    pub complete: bool,
    /// SHA-256 of the rows, once complete.
    #[serde(default)]
    pub sha256: Option<String>,
}

impl Manifest {
    /// A manifest without figures.
    #[must_use]
    pub fn new(stage: &str, made_by: Map<String, Value>) -> Self {
        Self {
            format: MANIFEST_FORMAT,
            stage: stage.to_owned(),
            program: format!("retort-train {}", env!("CARGO_PKG_VERSION")),
            made_by,
            ..Self::default()
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When it cannot be read, is none, or is of a newer format.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let mut manifest: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is no manifest", path.display()))?;
        if manifest.format > MANIFEST_FORMAT {
            bail!(
                "{}: a manifest of format {}; this program reads up to {MANIFEST_FORMAT}: use a \
                 newer retort-train",
                path.display(),
                manifest.format
            );
        }
        // Where earlier versions had it.
        if manifest.stage == "collect"
            && let Some(tasks) = manifest.made_by.remove("tasks")
        {
            manifest.inputs.insert("tasks".to_owned(), tasks);
        }
        Ok(manifest)
    }

    /// The manifest of an earlier run of the same stage, if there is one.
    ///
    /// # Errors
    /// When it is none, is of a newer format, or the rows were made otherwise: each difference is
    /// named.
    pub fn earlier(&self, path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let earlier = Self::read(path)?;
        let differences = self.differences(&earlier);
        if !differences.is_empty() {
            bail!(
                "{}: the rows there were made otherwise ({differences}); name another --out, or \
                 remove this manifest, its rows and what they have spent (.spent.json, if it is \
                 there), which are then all made anew",
                path.display()
            );
        }
        Ok(Some(earlier))
    }

    /// Refuses complete rows that were changed since.
    ///
    /// # Errors
    /// When they cannot be read, or their hash is another.
    pub fn check_rows(&self, rows: &Path) -> Result<()> {
        let Some(hash) = self.sha256.as_deref().filter(|_| self.complete) else { return Ok(()) };
        ensure!(
            file_sha256(rows)? == hash,
            "{}: changed since it was complete (its hash is not the one in {}); take back what it \
             was, or remove both: it is then made anew",
            rows.display(),
            manifest_path(rows).display()
        );
        Ok(())
    }

    /// What was spent by now, when rows say `rows`.
    #[must_use]
    pub fn spent_with(&self, rows: Spent) -> Spent {
        let mut spent = self.spent;
        // A manifest that does not say has at least what its rows have.
        let before = self.rows_spent.unwrap_or(spent);
        spent.add(&rows.since(&before));
        spent
    }

    /// What made the rows of `earlier` differently, in words; empty when nothing did.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> String {
        let all = self.made_by.keys().chain(earlier.made_by.keys());
        let mut differ: Vec<String> = all
            .filter(|key| self.made_by.get(*key) != earlier.made_by.get(*key))
            .map(|key| {
                let shown = |m: &Map<String, Value>| m.get(key).map_or("none".to_owned(), short);
                format!("{key} was {}, now {}", shown(&earlier.made_by), shown(&self.made_by))
            })
            .collect();
        differ.sort();
        differ.dedup();
        differ.join("; ")
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the file system reported.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        replace_text(path, &text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Where the manifest of `rows` stands: `x.manifest.json` beside `x.jsonl`.
#[must_use]
pub fn manifest_path(rows: &Path) -> PathBuf {
    rows.with_extension("manifest.json")
}

/// Refuses rows of which no manifest says how they were made.
///
/// # Errors
/// Says so.
pub fn refuse_unknown_rows(rows: &Path, has_manifest: bool, count: usize) -> Result<()> {
    ensure!(
        has_manifest || count == 0,
        "{}: {} is missing, so it is not known how these rows were made; name another file with \
         --out",
        rows.display(),
        manifest_path(rows).display()
    );
    Ok(())
}

/// Refuses an output that would take the place of its input.
///
/// # Errors
/// Says so.
pub fn refuse_same(input: &Path, out: &Path) -> Result<()> {
    let place = |path: &Path| fs::canonicalize(path).ok();
    let is_same = place(out).is_some_and(|at| place(input) == Some(at));
    ensure!(
        !is_same,
        "{}: it is read, and would be replaced; name another file to write, so that nothing is lost",
        out.display()
    );
    Ok(())
}

/// Refuses an output whose manifest would take the place of another file's, as `x.json` beside
/// `x.jsonl`.
///
/// # Errors
/// Names the manifest and its stage.
pub fn refuse_manifest(out: &Path, stage: &str) -> Result<()> {
    let path = manifest_path(out);
    if path.exists() {
        let found = Manifest::read(&path)?.stage;
        ensure!(
            found == stage,
            "{}: {} is there already, of {found}; name --out otherwise",
            out.display(),
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made_by(teacher: &str) -> Map<String, Value> {
        json!({"teacher": teacher, "seed": 1}).as_object().unwrap().clone()
    }

    #[test]
    fn rows_made_otherwise_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        let path = manifest_path(&folder.path().join("rows.jsonl"));
        let first = Manifest::new("collect", made_by("a"));
        assert_eq!(first.earlier(&path).unwrap(), None);
        first.write(&path).unwrap();
        assert_eq!(first.earlier(&path).unwrap(), Some(first));
        let told = Manifest::new("collect", made_by("b")).earlier(&path).unwrap_err().to_string();
        assert!(told.contains("teacher was \"a\", now \"b\"") && !told.contains("seed"), "{told}");
    }

    #[test]
    fn complete_rows_that_were_changed_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.jsonl");
        fs::write(&rows, "{}\n").unwrap();
        let sha256 = Some(file_sha256(&rows).unwrap());
        let whole = Manifest { complete: true, sha256, ..Manifest::new("run", made_by("a")) };
        whole.check_rows(&rows).unwrap();
        fs::write(&rows, "").unwrap();
        assert!(whole.check_rows(&rows).unwrap_err().to_string().contains("changed since"));
        Manifest { complete: false, ..whole }.check_rows(&rows).unwrap();
        assert!(
            refuse_unknown_rows(&rows, false, 1).unwrap_err().to_string().contains("is missing")
        );
        refuse_unknown_rows(&rows, false, 0).unwrap();
    }

    #[test]
    fn a_manifest_of_an_earlier_version_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.manifest.json");
        let spent = json!({"requests": 2, "failures": 0, "prompt_tokens": 90,
                           "completion_tokens": 10, "estimated_tokens": 0, "cost": 1.0});
        let old = json!({"format": 1, "stage": "collect", "program": "retort-train 0.1.0",
                         "made_by": {"tasks": "hash", "seed": 1}, "counts": {}, "spent": spent,
                         "complete": false});
        fs::write(&path, old.to_string()).unwrap();
        let read = Manifest::read(&path).unwrap();
        assert_eq!(
            (read.made_by.get("tasks"), read.inputs["tasks"].as_str()),
            (None, Some("hash"))
        );
        let rows = Spent { prompt_tokens: 120, completion_tokens: 10, ..read.spent };
        assert_eq!(read.spent_with(read.spent), read.spent);
        assert_eq!(read.spent_with(rows).prompt_tokens, 120);
    }

    #[test]
    fn an_output_does_not_take_the_place_of_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.jsonl");
        fs::write(&rows, "").unwrap();
        Manifest::new("collect", Map::new()).write(&manifest_path(&rows)).unwrap();
        let other = folder.path().join("rows.json");
        refuse_same(&rows, &other).unwrap();
        assert!(refuse_same(&rows, &folder.path().join("./rows.jsonl")).is_err());
        let told = refuse_manifest(&other, "filter").unwrap_err().to_string();
        assert!(told.contains("rows.manifest.json is there already, of collect"), "{told}");
        refuse_manifest(&rows, "collect").unwrap();
        refuse_manifest(&folder.path().join("kept.jsonl"), "filter").unwrap();
    }

    #[test]
    fn a_newer_manifest_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.manifest.json");
        let newer = Manifest { format: 2, ..Manifest::new("collect", made_by("a")) };
        newer.write(&path).unwrap();
        let told = newer.earlier(&path).unwrap_err().to_string();
        assert!(told.contains("format 2"), "{told}");
    }
}
