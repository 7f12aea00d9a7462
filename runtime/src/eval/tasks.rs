//! Files of tasks.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::score::{Score, score};
use crate::agent::{Run, Status};

/// A question with its right answer. Further fields of a line are ignored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Task {
    /// Any JSON value, handed back as it is.
    pub id: Value,
    /// What is asked.
    pub question: String,
    /// The right answer: a string, or any JSON value.
    pub answer: Value,
    /// Other right answers.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What kind of question it is, for figures by kind.
    pub kind: Option<String>,
}

/// Why a file of tasks cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is no task.
    #[error("{}:{line}: expected {{\"id\", \"question\", \"answer\"}}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no task in it.
    #[error("{}: holds no task; expected a line {{\"id\", \"question\", \"answer\"}} for each", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The tasks of a JSON Lines file, also compressed as `.zst`. Blank lines are skipped.
///
/// # Errors
/// [`TasksError`] names file and line.
pub fn read_tasks(path: &Path) -> Result<Vec<Task>, TasksError> {
    let io = |source| TasksError::Io { path: path.to_path_buf(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
    let source: Box<dyn Read> = if is_compressed {
        Box::new(zstd::Decoder::new(file).map_err(io)?)
    } else {
        Box::new(file)
    };
    let mut tasks = Vec::new();
    for (text, line) in BufReader::new(source).lines().zip(1..) {
        let text = text.map_err(io)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if !text.trim().is_empty() {
            let task = serde_json::from_str(text);
            let path = path.to_path_buf();
            tasks.push(task.map_err(|source| TasksError::Line { path, line, source })?);
        }
    }
    if tasks.is_empty() {
        return Err(TasksError::Empty { path: path.to_path_buf() });
    }
    Ok(tasks)
}

impl Task {
    /// Judges a run. Only an answered one can score.
    #[must_use]
    pub fn score(&self, run: &Run) -> Score {
        let answer = match (&run.status, &run.answer) {
            (Status::Answered, Some(answer)) => answer.as_str(),
            _ => return Score::default(),
        };
        // A string as it is, anything else as JSON.
        let expected = self.answer.as_str().map_or_else(|| self.answer.to_string(), str::to_owned);
        let aliases = self.aliases.iter().map(String::as_str);
        score(answer, std::iter::once(expected.as_str()).chain(aliases))
    }

    /// The task's line of `retort eval --json`; `id` is the run's in the record of runs.
    #[must_use]
    pub fn report(&self, run: &Run, score: Score, id: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "run": id,
            "kind": self.kind,
            "status": run.status.name(),
            "answer": run.answer,
            "expected": self.answer,
            "exact_match": score.exact_match,
            "f1": score.f1,
            "math": score.math,
            "steps": run.steps.len(),
            "searches": run.usage.searches,
            "citations": run.citations,
            "seconds": run.seconds.total,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Task>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.jsonl");
        std::fs::write(&path, text).unwrap();
        read_tasks(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn tasks_are_read_with_any_id_and_answer() {
        let tasks = read(
            "{\"id\": 7, \"question\": \"Q\", \"answer\": 1836, \"more\": 1}\n\n\
             {\"id\": \"b\", \"question\": \"Q\", \"answer\": \"x\", \"kind\": \"hop\", \"aliases\": [\"y\"]}\n",
        )
        .unwrap();
        assert_eq!(tasks[0].answer, json!(1836));
        assert_eq!((tasks[1].kind.as_deref(), tasks[1].aliases.len()), (Some("hop"), 1));
    }

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        let error =
            read("{\"id\": 1, \"question\": \"Q\", \"answer\": 1}\n{\"id\": 2}\n").unwrap_err();
        assert!(error.contains("tasks.jsonl:2") && error.contains("question"), "{error}");
        assert!(read("\n").unwrap_err().contains("holds no task"));
        let missing = read_tasks(Path::new("/nowhere/tasks.jsonl")).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/tasks.jsonl"));
    }
}
