//! The dialect `smolagents` against what the reference really sent: 22 scripted runs, every message
//! list, stop list and ChatML string byte for byte.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Dialect, Message, Observation, Role, Step, SyntaxPlace, Transcript};

#[derive(Deserialize)]
struct Run {
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    /// `None` where the reference asks once more under another system prompt; ours does not.
    stop: Option<Vec<String>>,
    messages: Vec<Message>,
    chatml: String,
}

const QUESTION: &str = "How many times taller is the Empire State Building than the Eiffel Tower?";

/// A file of the compatibility data.
fn compat_file(name: &str) -> Option<String> {
    let path = retort_test_data::shared(&format!("compat/{name}"))?;
    Some(std::fs::read_to_string(path).unwrap())
}

fn runs() -> Option<(Dialect, BTreeMap<String, Run>)> {
    let prompt = compat_file("system_prompt_short.txt")?;
    let runs = compat_file("reference_message_sequences.json")?;
    let dialect = Dialect::named("smolagents").unwrap().with_system_prompt(&prompt, &[]).unwrap();
    Some((dialect, serde_json::from_str(&runs).unwrap()))
}

/// The transcript behind a message list: the inverse of the renderer, for the fixture's texts.
fn transcript_of(dialect: &Dialect, messages: &[Message]) -> Transcript {
    let turns = messages.get(2..).unwrap();
    let steps = turns.chunks(2).zip(1..).map(|(turn, number)| {
        let [reply, observation] = turn else { panic!("a reply without observation") };
        assert_eq!((reply.role, observation.role), (Role::Assistant, Role::User));
        let reply = reply.content.strip_suffix("<end_code>").unwrap_or(&reply.content).to_owned();
        let observation = observation_of(dialect, &reply, &observation.content, number);
        Step { reply, observation: Some(observation) }
    });
    Transcript { question: QUESTION.to_owned(), steps: steps.collect(), answer_requested: false }
}

fn observation_of(dialect: &Dialect, reply: &str, text: &str, number: usize) -> Observation {
    if text.starts_with("Error:") {
        let message = dialect.parse_reply(reply).unwrap_err().to_string();
        return Observation::ParseError { message };
    }
    dialect.parse_reply(reply).unwrap();
    let call = format!("Call id: call_{number}\n");
    let text = text.strip_prefix(&call).unwrap();
    let logs_header = "Observation:\nExecution logs:\n";
    let error_header = "Error:\n";
    let retry = "\nNow let's retry";
    if let Some((logs, error)) = text.split_once(&format!("{call}{error_header}")) {
        let logs = logs.strip_prefix(logs_header).unwrap();
        return error_of(logs, error.split_once(retry).unwrap().0);
    }
    if let Some(error) = text.strip_prefix(error_header) {
        return error_of("", error.split_once(retry).unwrap().0);
    }
    let (logs, value) = text.split_once("Last output from code snippet:\n").unwrap();
    let logs = logs.strip_prefix(logs_header).unwrap().to_owned();
    Observation::Output {
        logs,
        value: Some(value.to_owned()).filter(|value| value != "None"),
        assigned: None,
    }
}

fn error_of(logs: &str, error: &str) -> Observation {
    let logs = logs.to_owned();
    if let Some(at_line) = error.strip_prefix("Code execution failed at line '") {
        let (line, message) = at_line.split_once("' due to: ").unwrap();
        let (message, line) = (message.to_owned(), Some(line.to_owned()));
        return Observation::Error { logs, message, line, syntax: None };
    }
    let Some(syntax) = error.strip_prefix("Code parsing failed on line ") else {
        return Observation::Error { logs, message: error.to_owned(), line: None, syntax: None };
    };
    let (line_number, syntax) = syntax.split_once(" due to: ").unwrap();
    let [kind, line, caret, message] = syntax.split('\n').collect::<Vec<_>>().try_into().unwrap();
    let message = message.strip_prefix("Error: ").unwrap().split_once(" (<unknown>").unwrap().0;
    Observation::Error {
        logs,
        message: format!("{kind}: {message}"),
        line: Some(line.to_owned()),
        syntax: Some(SyntaxPlace {
            line_number: line_number.parse().unwrap(),
            column: u32::try_from(caret.find('^').unwrap()).unwrap(),
        }),
    }
}

#[test]
fn every_call_of_the_reference_is_rendered_byte_for_byte() {
    let Some((dialect, runs)) = runs() else {
        return;
    };
    assert_eq!(runs.len(), 22);
    for (name, run) in &runs {
        for call in run.calls.iter().filter(|call| call.stop.is_some()) {
            let transcript = transcript_of(&dialect, &call.messages);
            assert_eq!(Some(dialect.stops()), call.stop.as_deref(), "{name}");
            assert_eq!(dialect.message_sequence(&transcript), call.messages, "{name}");
            let text: String = dialect
                .render_prompt(&transcript)
                .into_iter()
                .map(|segment| segment.text)
                .collect();
            assert_eq!(text, call.chatml, "{name}");
        }
    }
}

/// The reference changes its system prompt after the last step; ours keeps it, and everything else
/// it said, and appends a request of its own.
#[test]
fn the_fallback_appends_a_request_and_changes_nothing_else() {
    let Some((dialect, runs)) = runs() else {
        return;
    };
    let fallbacks = runs.values().flat_map(|run| &run.calls).filter(|call| call.stop.is_none());
    let mut seen = 0;
    for call in fallbacks {
        let mut messages = call.messages.clone();
        let last = messages.last_mut().unwrap();
        last.content = last.content.split_once("Based on the above").unwrap().0.to_owned();
        let mut transcript = transcript_of(&dialect, &messages);
        let without = dialect.message_sequence(&transcript);
        assert_eq!(without.get(1..), messages.get(1..));
        transcript.answer_requested = true;
        let with = dialect.message_sequence(&transcript);
        assert_eq!(with.len(), without.len());
        let (with, without) = (with.last().unwrap(), without.last().unwrap());
        let request = with.content.strip_prefix(&without.content).unwrap();
        assert_eq!(request, "\nNo steps are left. Give your answer now with `final_answer`.");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

/// Passages as the retriever of the reference prints them, in the fixture's first run.
#[test]
fn passages_are_worded_as_the_reference_words_them() {
    let Some((dialect, runs)) = runs() else {
        return;
    };
    let passage = |title: &str, text: &str, score| crate::Passage {
        title: title.to_owned(),
        text: text.to_owned(),
        score,
    };
    let text = dialect.render_passages(
        "Eiffel Tower height",
        &[
            passage("Eiffel Tower", "The Eiffel Tower is 324 metres tall.", 0.88),
            passage(
                "Empire State Building",
                "The Empire State Building is 381 metres tall to its roof.",
                0.85,
            ),
            passage("Gustave Eiffel", "Gustave Eiffel was a French civil engineer.", 0.84),
        ],
    );
    let run = runs.get("search_then_answer").unwrap();
    let observation = &run.calls.last().unwrap().messages.get(3).unwrap().content;
    assert!(observation.contains(&format!("Execution logs:\n{text}\nLast output")), "{text}");
}

/// Smolagents' template over its tools yields the prompt that its students were trained under.
#[test]
fn the_tool_list_of_the_reference_prompt_is_reproduced() {
    let Some(prompt) = compat_file("system_prompt_short.txt") else {
        return;
    };
    let (before, rest) = prompt.split_once("- web_search: ").unwrap();
    let (_, after) = rest.split_once("Returns an output of type: any").unwrap();
    let tools = "{%- for tool in tools.values() %}\n- {{ tool.name }}: {{ tool.description }}\n    \
                 Takes inputs: {{tool.inputs}}\n    Returns an output of type: {{tool.output_type}}\n\
                 {%- endfor %}";
    let dialect = Dialect::named("smolagents").unwrap();
    let descriptions = dialect.tools().to_vec();
    let dialect =
        dialect.with_system_prompt(&format!("{before}{tools}{after}"), &descriptions).unwrap();
    let messages = dialect.message_sequence(&Transcript::default());
    assert_eq!(messages.first().unwrap().content, prompt);
}
