//! The metrics that runs left, one JSON object a line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use walkdir::WalkDir;

use crate::train::Exactness;

/// Name of the file in a run's folder.
const FILE: &str = "metrics.jsonl";

/// What is read of a line; there are more fields.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Point {
    pub tokens: u64,
    pub tokens_budget: u64,
    pub loss: f64,
    pub tokens_per_second: f64,
    pub evaluation: Option<Exactness>,
}

/// One run, in the order of its tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// Its folder below what was named.
    pub name: String,
    pub file: PathBuf,
    pub points: Vec<Point>,
}

/// Reads the runs that are named, or lie below the folders that are.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in paths {
        let before = runs.len();
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            // Below what was named, links may lead nowhere.
            let entry = match entry {
                Err(error) if error.depth() > 0 => continue,
                entry => entry?,
            };
            let is_named = entry.depth() == 0 || entry.file_name() == FILE;
            if !entry.file_type().is_dir() && is_named {
                runs.push(run(path, entry.path())?);
            }
        }
        ensure!(runs.len() > before, "{}: there is no {FILE} in it", path.display());
    }
    Ok(runs)
}

fn run(root: &Path, file: &Path) -> Result<Run> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
    let points = points(&text).with_context(|| shown.to_string())?;
    Ok(Run { name: name(root, file), file: file.to_owned(), points })
}

/// The folder of the file below the root; of a file that was named itself, its path.
fn name(root: &Path, file: &Path) -> String {
    let folder = file.parent().and_then(|folder| folder.strip_prefix(root).ok());
    let below = folder.filter(|folder| !folder.as_os_str().is_empty());
    let root_name = || if root.is_dir() { root } else { file };
    below.unwrap_or_else(root_name).display().to_string()
}

/// A run that was interrupted goes on from its checkpoint and writes some steps again: the later
/// lines hold.
fn points(text: &str) -> Result<Vec<Point>> {
    let mut points: Vec<Point> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let point = serde_json::from_str::<Point>(line);
        let point = match point {
            Ok(point) => point,
            // The last line of a run that was killed may be cut.
            Err(_) if index + 1 == text.lines().count() && !text.ends_with('\n') => break,
            Err(error) => {
                return Err(error).with_context(|| format!("line {} is no metrics", index + 1));
            }
        };
        let is_repeated = |last: &Point| last.tokens >= point.tokens;
        while points.last().is_some_and(is_repeated) {
            points.pop();
        }
        points.push(point);
    }
    Ok(points)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(tokens: u64, loss: f64) -> String {
        format!(
            "{{\"step\":1,\"tokens\":{tokens},\"tokens_budget\":90,\"loss\":{loss},\
             \"tokens_per_second\":5.0}}\n"
        )
    }

    #[test]
    fn steps_that_were_repeated_count_once_and_a_cut_line_is_left_out() {
        let text = [
            line(10, 3.0),
            line(20, 2.0),
            line(30, 1.5),
            line(20, 2.5),
            line(30, 1.0),
            line(30, 1.0),
        ];
        let text = text.concat() + "{\"step\":";
        let losses: Vec<f64> = points(&text).unwrap().iter().map(|point| point.loss).collect();
        assert_eq!(losses, [3.0, 2.5, 1.0]);
        assert!(points("{\"step\":").unwrap().is_empty());
        let error = points("{}\n").unwrap_err();
        assert!(format!("{error:#}").contains("line 1 is no metrics"), "{error:#}");
    }

    #[test]
    fn runs_are_found_below_a_folder_and_named_by_it() {
        let root = tempfile::tempdir().unwrap();
        for run in ["b/deep", "a"] {
            let dir = root.path().join(run);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(FILE), line(10, 1.0)).unwrap();
        }
        let runs = read(&[root.path().to_path_buf()]).unwrap();
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["a", "b/deep"]);
        let empty = tempfile::tempdir().unwrap();
        assert!(read(&[empty.path().to_path_buf()]).unwrap_err().to_string().contains(FILE));
    }
}
