//! Tasks from files: our own layout, and those of HotpotQA, MATH and GSM8K, told apart by their
//! fields.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::filter::boxed;
use crate::teach::Manner;
use crate::world::Plan;

/// A question with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TeacherTask {
    /// Unique in its file.
    pub id: String,
    /// The question.
    pub question: String,
    /// The right answer.
    pub answer: String,
    /// Other right answers.
    pub aliases: Vec<String>,
    /// Kind of question.
    pub kind: Option<String>,
    /// How the programmatic teacher answers it; only tasks of generated worlds have one.
    pub solution: Option<Solution>,
}

/// How the programmatic teacher answers a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// By acting.
    pub plan: Plan,
    /// What it says while acting.
    pub manner: Manner,
    /// In prose.
    pub chain: String,
}

/// The tasks of a file: JSON Lines or a JSON array of objects.
///
/// | layout | fields |
/// |---|---|
/// | ours | `id, question, answer`, optional `aliases`, `kind` |
/// | HotpotQA (arXiv 1809.09600) | `_id, question, answer`, optional `type` |
/// | MATH (arXiv 2103.03874) | `problem`, `solution` with the answer in `\boxed{}`, optional `answer`, `type`, `level`, `unique_id` |
/// | GSM8K (arXiv 2110.14168) | `question`, `answer` that ends in `#### 42`, optional `id` |
///
/// # Errors
/// Names file, line and field, or an id that occurs twice.
pub fn read_teacher_tasks(path: &Path) -> Result<Vec<TeacherTask>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let rows =
        rows(text.trim_start_matches('\u{feff}')).with_context(|| format!("{}", path.display()))?;
    let mut ids = BTreeSet::new();
    let mut tasks = Vec::with_capacity(rows.len());
    for (number, row) in rows {
        let at = || format!("{}:{number}", path.display());
        let task = task(&row, number).with_context(at)?;
        if !ids.insert(task.id.clone()) {
            bail!("{}: the id {:?} occurs twice; expected one task each", at(), task.id);
        }
        tasks.push(task);
    }
    if tasks.is_empty() {
        bail!("{}: holds no task; expected {LAYOUTS}", path.display());
    }
    Ok(tasks)
}

/// Above it, not every whole number is one of binary64.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
const LAYOUTS: &str =
    "{id, question, answer}, or the fields of HotpotQA, MATH (problem, solution) or GSM8K";

/// Rows with their numbers: of the line, or of the element of an array.
fn rows(text: &str) -> Result<Vec<(usize, Value)>> {
    if text.trim_start().starts_with('[') {
        let rows: Vec<Value> = serde_json::from_str(text)?;
        return Ok((1..).zip(rows).collect());
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let rows = lines.map(|(number, line)| {
        let row = serde_json::from_str(line);
        Ok((number, row.with_context(|| format!("line {number} is no JSON; expected {LAYOUTS}"))?))
    });
    rows.collect()
}

/// Refuses numbers of which only the first digits were kept.
fn check_numbers(row: &Value) -> Result<()> {
    let rounded = |value: &Value| {
        value.is_f64() && value.as_f64().is_some_and(|number| number.abs() >= WHOLE_MAX)
    };
    let read = ["id", "_id", "unique_id", "question", "problem", "answer"];
    let mut fields = read.into_iter().filter_map(|name| Some((name, row.get(name)?)));
    match fields.find(|(_, value)| rounded(value)) {
        Some((name, value)) => bail!(
            "field {name}: {value} is a number of more digits than are kept; write it as a text"
        ),
        None => Ok(()),
    }
}

fn task(row: &Value, number: usize) -> Result<TeacherTask> {
    check_numbers(row)?;
    if row.get("problem").is_some() && row.get("question").is_none() {
        return math(row, number);
    }
    let question = required(row, "question")?;
    if let Some(Value::Array(_) | Value::Object(_)) = row.get("answer") {
        bail!("field answer: expected one text or number; other right answers stand in aliases");
    }
    let answer = required(row, "answer")?;
    let last = answer.trim_end().lines().next_back().unwrap_or_default();
    let (answer, is_gsm) = match last.trim_start().strip_prefix("####") {
        Some(number) => (number.trim().replace(',', ""), true),
        None => (answer, false),
    };
    ensure!(!answer.is_empty(), "field answer: nothing stands after ####; expected the answer");
    let aliases = match row.get("aliases") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(aliases)) => aliases.iter().filter_map(text).collect(),
        Some(_) => bail!("field aliases: expected a list of texts"),
    };
    Ok(TeacherTask {
        id: id(row, &["id", "_id"], number),
        question,
        answer,
        aliases,
        kind: row
            .get("kind")
            .or_else(|| row.get("type"))
            .and_then(text)
            .or_else(|| is_gsm.then(|| "gsm8k".to_owned())),
        solution: None,
    })
}

fn math(row: &Value, number: usize) -> Result<TeacherTask> {
    let given = row.get("answer").and_then(text);
    let answer = match given {
        Some(answer) if !answer.trim().is_empty() => answer,
        _ => {
            let solution = required(row, "solution")?;
            let boxed = boxed(&solution).map(str::to_owned);
            let boxed = boxed.filter(|answer| !answer.trim().is_empty());
            boxed.context("solution: no \\boxed{} with the answer, and there is no field answer")?
        }
    };
    let subject = row.get("type").or_else(|| row.get("subject")).and_then(text);
    let level = row.get("level").and_then(text).map(|level| level.replace("Level ", ""));
    let kind = match (subject, level) {
        (Some(subject), Some(level)) => format!("{subject} {level}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "math".to_owned(),
    };
    Ok(TeacherTask {
        id: id(row, &["id", "unique_id"], number),
        question: required(row, "problem")?,
        answer,
        aliases: Vec::new(),
        kind: Some(kind),
        solution: None,
    })
}

fn required(row: &Value, name: &str) -> Result<String> {
    let found = row.get(name).and_then(text).filter(|found| !found.trim().is_empty());
    found.with_context(|| format!("field {name}: expected a text; a row is {LAYOUTS}"))
}

/// A text as it is, anything else as JSON.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn id(row: &Value, names: &[&str], number: usize) -> String {
    let named = names.iter().find_map(|name| row.get(*name).and_then(text));
    let named = named.filter(|id| !id.is_empty());
    named.unwrap_or_else(|| format!("line-{number}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Result<Vec<TeacherTask>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.jsonl");
        std::fs::write(&path, text).unwrap();
        read_teacher_tasks(&path).map_err(|error| format!("{error:#}"))
    }

    fn only(row: Value) -> TeacherTask {
        read(&row.to_string()).unwrap().remove(0)
    }

    #[test]
    fn each_layout_is_known_by_its_fields() {
        let hotpot = only(json!({
            "_id": "5a8b", "question": "Who?", "answer": "Ada", "type": "bridge",
            "supporting_facts": [["A", 0]], "context": [],
        }));
        assert_eq!((hotpot.id.as_str(), hotpot.kind.as_deref()), ("5a8b", Some("bridge")));
        let math = only(json!({
            "problem": "Half?", "level": "Level 4", "type": "Algebra",
            "solution": "So it is $\\boxed{\\frac{1}{2}}$.",
        }));
        assert_eq!((math.question.as_str(), math.answer.as_str()), ("Half?", "\\frac{1}{2}"));
        assert_eq!(math.kind.as_deref(), Some("Algebra 4"));
        let gsm = only(json!({"question": "Sum?", "answer": "1+1=2\n#### 1,002"}));
        assert_eq!((gsm.id.as_str(), gsm.answer.as_str()), ("line-1", "1002"));
        let named = only(json!({"id": "g", "question": "Sum?", "answer": "1+1=2\n####2"}));
        assert_eq!((named.id.as_str(), named.answer.as_str()), ("g", "2"));
        let ours = only(json!({"id": 7, "question": "Q", "answer": 1836, "aliases": ["x"]}));
        assert_eq!((ours.id.as_str(), ours.answer.as_str()), ("7", "1836"));
        assert_eq!(ours.aliases, ["x"]);
    }

    #[test]
    fn an_array_is_read_too() {
        let rows = json!([{"_id": "a", "question": "Q", "answer": "A"},
                          {"_id": "b", "question": "Q", "answer": "A"}]);
        assert_eq!(read(&rows.to_string()).unwrap().len(), 2);
        assert_eq!(read(&format!("\u{feff}{rows}")).unwrap().len(), 2);
    }

    #[test]
    fn a_bad_row_is_named_with_line_and_field() {
        let good = "{\"id\": 1, \"question\": \"Q\", \"answer\": \"A\"}\n";
        let told = |more: &str| read(&format!("{good}{more}\n")).unwrap_err();
        let list = told("{\"question\": \"Q\", \"answer\": [\"1\"]}");
        assert!(list.contains("tasks.jsonl:2: field answer: expected one text"), "{list}");
        assert!(told("{\"question\": \"Q\"}").contains("tasks.jsonl:2: field answer"));
        assert!(told("{\"problem\": \"Q\", \"solution\": \"x\"}").contains(":2: solution"));
        assert!(
            told("{\"question\": \"Q\", \"answer\": \"#### \"}").contains("nothing stands after")
        );
        assert!(
            told("{\"problem\": \"Q\", \"solution\": \"\\\\boxed{}\"}").contains(":2: solution")
        );
        let long =
            "{\"id\": 123456789012345678901234567890, \"question\": \"Q\", \"answer\": \"A\"}";
        assert!(told(long).contains("field id: 1.23") && told(long).contains("write it as a text"));
        assert!(told("nonsense").contains("line 2 is no JSON"));
        assert!(
            told("{\"question\": \"Q\", \"answer\": 4, \"aliases\": \"4\"}")
                .contains("tasks.jsonl:2: field aliases: expected a list")
        );
        assert!(told(good.trim()).contains("\"1\" occurs twice"));
        assert!(read("\n").unwrap_err().contains("holds no task"));
    }
}
