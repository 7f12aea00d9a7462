//! What came of an action, in the words of a dialect.

use crate::types::{Observation, SyntaxPlace};
use crate::words::{ObservationLimits, ObservationWords, fill};

/// The text the model is told after step `number` (from 1).
pub(crate) fn render(words: &ObservationWords, observation: &Observation, number: usize) -> String {
    let step = number.to_string();
    let text = match observation {
        Observation::Output { logs, value, assigned } => {
            let assigned = assigned.as_ref().filter(|_| words.shows_assigned);
            output(words, &step, logs, value.as_ref().or(assigned))
        }
        Observation::Error { logs, message, line, syntax } => {
            let error = error_text(words, message, line.as_deref(), *syntax);
            let before = logs_before_error(words, &step, logs);
            before + &fill(&words.error, &[("step", &step), ("error", &error)])
        }
        Observation::ParseError { message } => fill(&words.parse_error, &[("message", message)]),
    };
    if words.strips_last_newline { text.trim_end_matches('\n').to_owned() } else { text }
}

fn output(words: &ObservationWords, step: &str, logs: &str, value: Option<&String>) -> String {
    if logs.is_empty() && value.is_none() && !words.output_empty.is_empty() {
        return words.output_empty.clone();
    }
    let logs = printed(&words.limits, logs);
    let value = value.unwrap_or(&words.value_none);
    let value = truncate(value, words.limits.value_characters_max, &words.limits);
    fill(&words.output, &[("step", step), ("logs", &logs), ("value", &value)])
}

fn logs_before_error(words: &ObservationWords, step: &str, logs: &str) -> String {
    if logs.is_empty() {
        return String::new();
    }
    let logs = printed(&words.limits, logs);
    fill(&words.logs_before_error, &[("step", step), ("logs", &logs)])
}

fn error_text(
    words: &ObservationWords,
    message: &str,
    line: Option<&str>,
    syntax: Option<SyntaxPlace>,
) -> String {
    let message = truncate(message, words.limits.value_characters_max, &words.limits);
    match (line, syntax) {
        (line, Some(place)) => syntax_error(words, &message, line.unwrap_or_default(), place),
        (Some(line), None) => {
            let line = truncate(line, words.limits.value_characters_max, &words.limits);
            fill(&words.error_at_line, &[("line", &line), ("message", &message)])
        }
        (None, None) => message,
    }
}

fn syntax_error(words: &ObservationWords, message: &str, line: &str, place: SyntaxPlace) -> String {
    let (kind, message) = message.split_once(": ").unwrap_or((message, ""));
    let line = line.trim_end_matches('\n');
    // A column past the line's end is wrong or one beyond its last character.
    let indent = (place.column as usize).min(line.chars().count() + 1);
    let values = [
        ("type", kind),
        ("message", message),
        ("line", line),
        ("line_number", &place.line_number.to_string()),
        ("indent", &" ".repeat(indent)),
    ];
    fill(&words.syntax_error, &values)
}

/// Printed text within its limit; it ends in a newline unless nothing was printed.
fn printed(limits: &ObservationLimits, logs: &str) -> String {
    let mut logs = truncate(logs, limits.logs_characters_max, limits);
    if !logs.is_empty() && !logs.ends_with('\n') {
        logs.push('\n');
    }
    logs
}

/// Head and tail of a longer text, half of `characters_max` each, around the dialect's note.
fn truncate(text: &str, characters_max: usize, limits: &ObservationLimits) -> String {
    let characters = text.chars().count();
    if characters <= characters_max {
        return text.to_owned();
    }
    let half = characters_max / 2;
    let head = text.chars().take(half);
    let tail = text.chars().skip(characters - half);
    let note = fill(&limits.truncation_note, &[("characters_max", &characters_max.to_string())]);
    head.chain(note.chars()).chain(tail).collect()
}
