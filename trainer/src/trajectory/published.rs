//! The published format of trajectories (`Nardien/agent-distillation`, Apache-2.0): a row is
//! `model_id, question, generated_answer, true_answer, log_data, cost, score`, and `log_data`, an
//! object or its JSON as a string, has the messages of the run.
//!
//! Read into a transcript, a message of role `tool-call` is dropped, a `tool-response` is what the
//! student's user says, the system prompt is the student's own, and a user's message that nothing
//! answers is dropped: as the reference does before training.

use retort_transcript::{Dialect, Role, Step, Transcript};
use serde_json::{Value, json};

use super::observed::observation;
use super::row::{Mode, TRAJECTORY_VERSION, Trajectory};
use crate::remote::Spent;

/// Version of what we write into `log_data.metadata.format_version`. Rows without one are the
/// published ones.
const FORMAT: u64 = 1;

/// Why a row is none of this format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    /// A later version wrote it.
    #[error(
        "format_version {0} of log_data is newer than {FORMAT}, which this program reads: use a \
         newer retort-train"
    )]
    Newer(u64),
    /// A field is missing or of another kind.
    #[error("{field}: expected {expected}")]
    Field {
        /// The field.
        field: String,
        /// What should stand there.
        expected: &'static str,
    },
}

fn field(field: &str, expected: &'static str) -> PublishedError {
    PublishedError::Field { field: field.to_owned(), expected }
}

/// Reads a row; `id` is for one that has none. Rows that we wrote name their dialect, others are
/// in `dialect`.
///
/// # Errors
/// [`PublishedError`] names the field.
pub fn from_published(
    row: &Value,
    id: &str,
    dialect: &Dialect,
) -> Result<Trajectory, PublishedError> {
    let log_data = log_data(row)?;
    let metadata = log_data.get("metadata").unwrap_or(&Value::Null);
    let told = |name: &str| metadata.get(name).and_then(Value::as_str);
    let is_ours = metadata.get("format_version").is_some();
    match metadata.get("format_version").map(|version| version.as_u64()) {
        Some(None) => return Err(field("log_data.metadata.format_version", "a whole number")),
        Some(Some(version)) if version > FORMAT => return Err(PublishedError::Newer(version)),
        _ => {}
    }
    if metadata.get("dialect").is_some_and(|dialect| !dialect.is_string()) {
        return Err(field("log_data.metadata.dialect", "a known dialect"));
    }
    let named = told("dialect").filter(|name| *name != dialect.name());
    let named = named.map(Dialect::named).transpose();
    let named = named.map_err(|_| field("log_data.metadata.dialect", "a known dialect"))?;
    let dialect = named.as_ref().unwrap_or(dialect);

    let question = text_field(row, "question")?;
    let mode = match told("mode") {
        Some("cot") => Mode::Cot,
        None | Some("agent") => Mode::Agent,
        Some(_) => return Err(field("log_data.metadata.mode", "agent or cot")),
    };
    let steps = steps(&log_data, dialect)?;
    let generated = row.get("generated_answer").and_then(text);
    let unsaid = if generated.is_some() { "answered" } else { "budget_exhausted" }.to_owned();
    Ok(Trajectory {
        version: TRAJECTORY_VERSION,
        id: row.get("id").and_then(text).unwrap_or_else(|| id.to_owned()),
        kind: told("kind").map(str::to_owned),
        mode,
        answer: text_field(row, "true_answer")?,
        aliases: aliases(metadata)?,
        status: told("status").filter(|_| is_ours).map_or(unsaid, str::to_owned),
        generated,
        forced: metadata.get("forced").and_then(Value::as_bool).unwrap_or(false),
        prefix: told("prefix").map(str::to_owned),
        dialect: dialect.name().to_owned(),
        dialect_hash: dialect.hash(),
        transcript: Transcript {
            question: told("prompt").unwrap_or(&question).to_owned(),
            steps,
            answer_requested: false,
        },
        question,
        teacher: row.get("model_id").and_then(text).unwrap_or_default(),
        spent: Spent {
            cost: row.get("cost").and_then(Value::as_f64).unwrap_or(0.0),
            ..Spent::default()
        },
    })
}

/// The row of a trajectory; `score` says whether its answer is right.
#[must_use]
pub fn to_published(trajectory: &Trajectory, dialect: &Dialect, score: bool) -> Value {
    let transcript = &trajectory.transcript;
    let mut is_question = true;
    let messages: Vec<Value> = dialect
        .message_sequence(transcript)
        .into_iter()
        .map(|message| {
            let role = match message.role {
                Role::System => "system",
                Role::Assistant => "assistant",
                Role::User if std::mem::take(&mut is_question) => "user",
                Role::User => "tool-response",
            };
            json!({"role": role, "content": message.content})
        })
        .collect();
    let prompt = (transcript.question != trajectory.question).then_some(&transcript.question);
    json!({
        "id": trajectory.id,
        "model_id": trajectory.teacher,
        "question": trajectory.question,
        "generated_answer": trajectory.generated,
        "true_answer": trajectory.answer,
        "log_data": {
            "messages": messages,
            "metadata": {
                "format_version": FORMAT,
                "dialect": trajectory.dialect,
                "mode": trajectory.mode,
                "kind": trajectory.kind,
                "prefix": trajectory.prefix,
                "prompt": prompt,
                "aliases": trajectory.aliases,
                "status": trajectory.status,
                "forced": trajectory.forced,
            },
        },
        "cost": trajectory.spent.cost,
        "score": score,
    })
}

/// Other right answers, in rows that we wrote.
fn aliases(metadata: &Value) -> Result<Vec<String>, PublishedError> {
    match metadata.get("aliases") {
        None => Ok(Vec::new()),
        Some(aliases) => serde_json::from_value(aliases.clone())
            .map_err(|_| field("log_data.metadata.aliases", "a list of texts")),
    }
}

/// On the hub it is a string.
fn log_data(row: &Value) -> Result<Value, PublishedError> {
    let expected = "an object with messages, or its JSON as a string";
    match row.get("log_data") {
        Some(Value::String(text)) => {
            serde_json::from_str(text).map_err(|_| field("log_data", expected))
        }
        Some(object @ Value::Object(_)) => Ok(object.clone()),
        _ => Err(field("log_data", expected)),
    }
}

fn text_field(row: &Value, name: &str) -> Result<String, PublishedError> {
    row.get(name).and_then(text).ok_or_else(|| field(name, "a text or a number"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// What a student will read or write.
#[derive(PartialEq, Eq)]
enum Speaker {
    Student,
    User,
}

/// The messages after the question, neighbours of one speaker joined without a separator.
fn turns(log_data: &Value) -> Result<Vec<(Speaker, String)>, PublishedError> {
    let messages = log_data.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or_else(|| field("log_data.messages", "an array"))?;
    let mut turns: Vec<(Speaker, String)> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let name = |part: &str| format!("log_data.messages[{index}].{part}");
        let speaker = match message.get("role").and_then(Value::as_str) {
            Some("system" | "tool-call" | "tool_call") => continue,
            Some("assistant") => Speaker::Student,
            Some("user" | "tool-response" | "tool_response") => Speaker::User,
            _ => {
                let expected = "system, user, assistant, tool-call or tool-response";
                return Err(field(&name("role"), expected));
            }
        };
        let content = message.get("content").and_then(content);
        let content =
            content.ok_or_else(|| field(&name("content"), "a text, or parts of type text"))?;
        match turns.last_mut().filter(|(last, _)| *last == speaker) {
            Some((_, text)) => text.push_str(&content),
            None => turns.push((speaker, content)),
        }
    }
    Ok(turns)
}

fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            parts.iter().map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => None,
    }
}

fn steps(log_data: &Value, dialect: &Dialect) -> Result<Vec<Step>, PublishedError> {
    let mut turns = turns(log_data)?.into_iter().peekable();
    turns.next_if(|(speaker, _)| *speaker == Speaker::User);
    let mut steps = Vec::new();
    while let Some((_, reply)) = turns.next() {
        let told = turns.next_if(|(speaker, _)| *speaker == Speaker::User);
        let is_answered = turns.peek().is_some();
        let observation = told.filter(|_| is_answered).map(|(_, text)| observation(&text, dialect));
        let reply = reply.trim();
        let reply = reply.strip_suffix("<end_code>").unwrap_or(reply).trim_end().to_owned();
        steps.push(Step { reply, observation });
    }
    if steps.is_empty() {
        return Err(field("log_data.messages", "at least one of role assistant"));
    }
    Ok(steps)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use retort_transcript::Observation;

    fn output(logs: &str, value: Option<&str>) -> Observation {
        let value = value.map(str::to_owned);
        Observation::Output { logs: logs.to_owned(), value, assigned: None }
    }

    fn error(logs: &str, message: &str) -> Observation {
        let (logs, message) = (logs.to_owned(), message.to_owned());
        Observation::Error { logs, message, line: None, syntax: None }
    }

    fn trajectory(dialect: &Dialect) -> Trajectory {
        let told = [
            output("a\nb\n", Some("12")),
            output("", None),
            error("printed first\n", "NameError: x"),
            error("", "Code execution failed at line 'x' due to: NameError: x"),
            Observation::ParseError { message: "Error in code parsing:\nno code".to_owned() },
        ];
        let step = |observation| Step {
            reply: "Thought: I look.\n\nCode:\n```py\nprint(1)\n```".to_owned(),
            observation,
        };
        let mut steps: Vec<Step> = told.into_iter().map(Some).map(step).collect();
        steps.push(step(None));
        let transcript = Transcript { question: "Who?".to_owned(), steps, answer_requested: false };
        Trajectory {
            version: TRAJECTORY_VERSION,
            id: "7".to_owned(),
            kind: Some("hop".to_owned()),
            mode: Mode::Agent,
            question: "Who?".to_owned(),
            answer: "Ada".to_owned(),
            aliases: vec!["Ada Lovelace".to_owned()],
            generated: Some("Ada".to_owned()),
            status: "budget_exhausted".to_owned(),
            forced: true,
            prefix: Some("Thought: I look.\n\n".to_owned()),
            dialect: dialect.name().to_owned(),
            dialect_hash: dialect.hash(),
            transcript,
            teacher: "big".to_owned(),
            spent: Spent { cost: 0.5, ..Spent::default() },
        }
    }

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        let dialect = Dialect::named("smolagents").unwrap();
        let written = trajectory(&dialect);
        let row = to_published(&written, &dialect, true);
        assert_eq!(row["log_data"]["messages"][2]["role"], "tool-response");
        assert_eq!(from_published(&row, "1", &dialect).unwrap(), written);
        let mut as_text = row.clone();
        as_text["log_data"] = Value::String(row["log_data"].to_string());
        assert_eq!(from_published(&as_text, "1", &dialect).unwrap(), written);
    }

    #[test]
    fn in_other_dialects_the_student_reads_the_same_text() {
        let smolagents = Dialect::named("smolagents").unwrap();
        for name in ["retort", "chat"] {
            let dialect = Dialect::named(name).unwrap();
            let mut written = trajectory(&dialect);
            written.transcript.steps.remove(2);
            let row = to_published(&written, &dialect, true);
            let read = from_published(&row, "1", &smolagents).unwrap();
            assert_eq!(read.dialect, name);
            let texts = |t: &Trajectory| dialect.message_sequence(&t.transcript);
            assert_eq!(texts(&read), texts(&written), "{name}");
        }
    }

    #[test]
    fn published_messages_become_what_a_student_reads() {
        let dialect = Dialect::named("smolagents").unwrap();
        let part = |text: &str| json!([{"type": "text", "text": text}]);
        let row = json!({
            "model_id": "Qwen/Qwen2.5-32B-Instruct", "question": "Q", "generated_answer": 4,
            "true_answer": 4.0, "cost": null, "score": true,
            "log_data": json!({"metadata": {"success": true}, "messages": [
                {"role": "system", "content": part("You are")},
                {"role": "user", "content": part("New task:\nQ")},
                {"role": "assistant", "content": part("Thought: a\n\nCode:\n```py\nx = 4\n```<end_code>")},
                {"role": "tool-call", "content": part("Calling tools: ...")},
                {"role": "tool-response", "content":
                    part("Call id: call_1\nObservation:\nExecution logs:\nLast output from code snippet:\n4")},
                {"role": "assistant", "content": "final_answer(4)"},
                {"role": "user", "content": "left over"},
            ]}).to_string(),
        });
        let read = from_published(&row, "line-1", &dialect).unwrap();
        assert_eq!((read.id.as_str(), read.answer.as_str()), ("line-1", "4.0"));
        assert_eq!(read.transcript.steps[0].reply, "Thought: a\n\nCode:\n```py\nx = 4\n```");
        assert_eq!(read.transcript.steps[0].observation, Some(output("", Some("4"))));
        let last = read.transcript.steps.last().unwrap();
        assert_eq!((last.reply.as_str(), &last.observation), ("final_answer(4)", &None));
    }

    #[test]
    fn what_is_no_row_is_named() {
        let dialect = Dialect::named("smolagents").unwrap();
        let told = |row: Value| from_published(&row, "1", &dialect).unwrap_err().to_string();
        let with =
            |log_data: Value| json!({"question": "Q", "true_answer": "A", "log_data": log_data});
        assert!(told(json!({"question": "Q"})).starts_with("log_data: "));
        assert!(told(with(json!("{"))).starts_with("log_data: "));
        let newer = with(json!({"messages": [], "metadata": {"format_version": 2}}));
        assert!(told(newer).contains("format_version 2"));
        for (name, value) in
            [("format_version", json!("2")), ("mode", json!("x")), ("dialect", json!(7))]
        {
            let strange = with(json!({"messages": [], "metadata": {name: value}}));
            assert!(told(strange).starts_with(&format!("log_data.metadata.{name}: ")));
        }
        let strange = with(json!({"messages": [{"role": "judge", "content": "x"}]}));
        assert!(told(strange).starts_with("log_data.messages[0].role"));
        assert!(told(with(json!({"messages": []}))).contains("assistant"));
    }
}
