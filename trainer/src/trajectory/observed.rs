//! What a model was told, read back into what happened.

use retort_transcript::{Dialect, Observation};

const OUTPUT: &str = "Observation:\n";
const LOGS: &str = "Execution logs:\n";
const LAST_VALUE: &str = "Last output from code snippet:\n";
const ERROR: &str = "Error:\n";
const RETRY: &str = "\nNow let's retry: ";
/// Words of dialects with which a reply without code is answered.
const PARSE_ERRORS: [&str; 3] =
    ["Error in code parsing:", "No code found.", "There was no code in your reply."];

/// An outcome from the words in which a model was told of it: such that the dialect words it so
/// again.
pub fn observation(text: &str, dialect: &Dialect) -> Observation {
    let is_parse_error = PARSE_ERRORS.iter().any(|words| text.contains(words));
    match dialect.name() {
        "smolagents" => smolagents_observation(text, is_parse_error),
        _ => plain_observation(text, is_parse_error),
    }
}

fn smolagents_observation(text: &str, is_parse_error: bool) -> Observation {
    let (before, error) = match text.rsplit_once(ERROR) {
        Some((before, error)) if error.contains(RETRY) => (without_call(before), Some(error)),
        _ => (text, None),
    };
    let printed =
        after_call(before).strip_prefix(OUTPUT).map(|rest| rest.strip_prefix(LOGS).unwrap_or(rest));
    if let Some(error) = error {
        let message = error.rsplit_once(RETRY).map_or(error, |(message, _)| message).to_owned();
        if is_parse_error {
            return Observation::ParseError { message };
        }
        let logs = printed.unwrap_or_default().to_owned();
        return Observation::Error { logs, message, line: None, syntax: None };
    }
    let printed = printed.unwrap_or(text);
    match printed.rsplit_once(LAST_VALUE) {
        Some((logs, value)) => {
            let value = (value.trim_end() != "None").then(|| value.to_owned());
            Observation::Output { logs: logs.to_owned(), value, assigned: None }
        }
        None => Observation::Output { logs: printed.to_owned(), value: None, assigned: None },
    }
}

/// The text after a first line `Call id: call_N`.
fn after_call(text: &str) -> &str {
    match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("Call id: ") => rest,
        _ => text,
    }
}

/// The text before a last line `Call id: call_N`.
fn without_call(text: &str) -> &str {
    let trimmed = text.strip_suffix('\n').unwrap_or(text);
    match trimmed.rfind("Call id: ") {
        Some(at) if !trimmed.get(at..).unwrap_or_default().contains('\n') => {
            text.get(..at).unwrap_or_default()
        }
        _ => text,
    }
}

/// `retort` and `chat` show printed text as it is, and begin errors alike.
fn plain_observation(text: &str, is_parse_error: bool) -> Observation {
    match text.strip_prefix("Error: ") {
        Some(error) if is_parse_error => Observation::ParseError { message: error.to_owned() },
        Some(error) => Observation::Error {
            logs: String::new(),
            message: error
                .strip_suffix("\nCorrect the code, or try another way.")
                .unwrap_or(error)
                .to_owned(),
            line: None,
            syntax: None,
        },
        None => {
            let logs = text.strip_prefix("Output:\n").unwrap_or(text).to_owned();
            Observation::Output { logs, value: None, assigned: None }
        }
    }
}
