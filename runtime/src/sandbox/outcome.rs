//! What an action did, as the rest of the runtime sees it.

use serde::{Deserialize, Serialize};

use super::limits::Limit;

/// What one action did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What it printed.
    pub logs: String,
    /// `str()` of its last expression, unless that is `None`.
    pub value: Option<String>,
    /// `str()` of what its last statement assigned.
    pub assigned: Option<String>,
    /// Whether it called `final_answer`.
    pub is_final: bool,
    /// `str()` of the final answer.
    pub answer: Option<String>,
    /// The final answer as JSON, where it has such a form.
    pub answer_json: Option<serde_json::Value>,
    /// The exception that ended it.
    pub error: Option<PythonError>,
    /// The limit it reached. The state is then the one before it.
    pub limit: Option<Limit>,
    /// Fuel it used.
    pub fuel: u64,
    /// Time it took, tool calls included.
    pub seconds: f64,
    /// Size of the interpreter's memory at its end.
    pub memory_bytes: u64,
    /// Its tool calls, in order.
    pub calls: Vec<ToolCall>,
}

/// An exception that ended an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonError {
    /// Name of its class.
    pub kind: String,
    /// Its text.
    pub message: String,
    /// Line of the action, from 1.
    pub line: Option<u32>,
    /// Character of that line, from 1, where it is not Python.
    #[serde(default)]
    pub column: Option<u32>,
    /// That line.
    pub source_line: Option<String>,
}

impl PythonError {
    /// A reply that holds no code.
    #[must_use]
    pub fn parse_error(message: &str) -> Self {
        Self::new("ParseError", message)
    }

    /// An exception of no particular line.
    pub(super) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
            line: None,
            column: None,
            source_line: None,
        }
    }
}

/// A tool call of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Name of the tool.
    pub name: String,
    /// Its arguments.
    pub arguments: serde_json::Value,
    /// What it returned, or the exception's text.
    pub result: Result<serde_json::Value, String>,
    /// Fuel that the tool used.
    pub fuel: u64,
}

/// The guest's report on an action.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    value: Option<String>,
    assigned: Option<String>,
    is_final: bool,
    answer: Option<String>,
    answer_json: Option<serde_json::Value>,
    error: Option<PythonError>,
}

impl Report {
    /// Bytes that count as output.
    pub(super) fn output_bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let message = self.error.as_ref().map_or(0, |error| error.message.len());
        length(&self.value) + length(&self.answer) + message
    }

    /// Whether Python ran out of memory and nothing caught that.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.kind == "MemoryError")
    }

    /// Fills in an outcome. A large assigned value is dropped: nobody asked for it.
    pub(super) fn fill(self, outcome: &mut Outcome, assigned_bytes_max: usize) {
        outcome.value = self.value;
        outcome.assigned = self.assigned.filter(|text| text.len() <= assigned_bytes_max);
        outcome.is_final = self.is_final;
        outcome.answer = self.answer;
        outcome.answer_json = self.answer_json;
        outcome.error = self.error;
    }
}
