//! Plain data of a run, as every other part of the runtime and the trainer passes it around.

use serde::{Deserialize, Serialize};

/// One question and the steps taken towards its answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// The user's question, verbatim. It is content: no part of it can become a control token.
    pub question: String,
    /// Finished steps, oldest first.
    pub steps: Vec<Step>,
    /// After the last step the budget is spent: the renderer appends the dialect's short request
    /// for an answer.
    #[serde(default)]
    pub answer_requested: bool,
}

/// One turn of the model and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What the model wrote, without the stop string or control token that ended it.
    pub reply: String,
    /// What the model is told; `None` when the reply ended the run (the last step of a training
    /// transcript).
    pub observation: Option<Observation>,
}

/// The outcome of an action, in the terms a dialect words for the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Observation {
    /// The code ran to its end.
    Output {
        /// Everything printed, verbatim.
        logs: String,
        /// `str()` of the last top-level expression, if it is one and is not None.
        value: Option<String>,
        /// `str()` of the last top-level assignment's value if the code ends in one (dialect
        /// `smolagents` shows it).
        assigned: Option<String>,
    },
    /// The code raised, or reached a limit.
    Error {
        /// Everything printed before the error.
        logs: String,
        /// `Type: message`, or the limit in words.
        message: String,
        /// The source line the error came from, if known.
        line: Option<String>,
        /// Where in the code, when it is not Python.
        #[serde(default)]
        syntax: Option<SyntaxPlace>,
    },
    /// The reply held no code that could be run.
    ParseError {
        /// What was wrong, worded by the parser.
        message: String,
    },
}

/// Where CPython found a syntax error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyntaxPlace {
    /// Line of the code, from 1 (`SyntaxError.lineno`).
    pub line_number: u32,
    /// Character of the line, from 1 (`SyntaxError.offset`).
    pub column: u32,
}

/// What the parser found in a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The text before the first code block, trimmed.
    pub thought: String,
    /// Python to run.
    pub code: String,
}

/// A retrieved passage as a dialect shows it to the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Title of the document.
    pub title: String,
    /// Text of the passage.
    pub text: String,
    /// Similarity in 0..=1.
    pub score: f32,
}

/// A tool as a system prompt describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolDescription {
    /// The function's name in Python.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its parameters, in order.
    pub inputs: Vec<ToolInput>,
    /// Type of what it returns, as the prompt names it.
    pub output_type: String,
}

/// One parameter of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolInput {
    /// Name of the parameter.
    pub name: String,
    /// Its type, as the prompt names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What to pass.
    pub description: String,
}

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The dialect's instructions.
    System,
    /// The question and the observations.
    User,
    /// The model.
    Assistant,
}

/// One message of the conversation, as HTTP chat interfaces take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text, without control tokens of the dialect.
    pub content: String,
}

/// A piece of rendered text. Each segment is tokenised alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The text.
    pub text: String,
    /// Whether its text may become control tokens.
    pub source: Source,
    /// Whether a student is trained to write it: this is the loss mask.
    pub learned: bool,
}

/// Where the text of a [`Segment`] came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The dialect's own words: the only text in which control tokens are recognised.
    Template,
    /// Text of users, documents, tools or the model.
    Content,
}
