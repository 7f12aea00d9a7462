//! What holds of every dialect, and the texts of our own.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use crate::{
    Action, Dialect, Observation, ParseError, Passage, Source, Step, SyntaxPlace, Transcript,
    TranscriptRow,
};

const NAMES: [&str; 3] = ["retort", "smolagents", "chat"];

fn retort() -> Dialect {
    Dialect::named("retort").unwrap()
}

fn output(logs: &str, value: Option<&str>) -> Observation {
    Observation::Output { logs: logs.to_owned(), value: value.map(str::to_owned), assigned: None }
}

fn step(reply: &str, observation: Option<Observation>) -> Step {
    Step { reply: reply.to_owned(), observation }
}

fn joined(segments: &[crate::Segment]) -> String {
    segments.iter().map(|segment| segment.text.as_str()).collect()
}

#[test]
fn an_unknown_dialect_lists_the_known_ones() {
    let error = Dialect::named("llama").unwrap_err().to_string();
    assert_eq!(error, "unknown dialect `llama`; expected one of: retort, smolagents, chat");
}

#[test]
fn the_hash_is_of_the_words() {
    let plain = Dialect::named("smolagents").unwrap();
    let prompted = plain.clone().with_system_prompt("Be brief.", &[]).unwrap();
    let hashes = [plain.hash(), prompted.hash(), retort().hash()];
    assert!(hashes.iter().all(|hash| hash.len() == 64));
    assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
    assert_eq!(retort().hash(), retort().hash());
}

#[test]
fn a_malformed_system_prompt_is_refused() {
    let error = retort().with_system_prompt("{{ x", &[]).unwrap_err().to_string();
    assert!(error.starts_with("system prompt of dialect `retort`: "), "{error}");
}

#[test]
fn the_chat_prompt_names_its_tools() {
    let chat = Dialect::named("chat").unwrap();
    let prompt = joined(&chat.render_prompt(&Transcript::default()));
    assert!(
        prompt.contains("\n- search(query: string) -> string: searches a collection"),
        "{prompt}"
    );
    assert!(prompt.contains("as text.\n    query: What to look for.\n- final_answer("), "{prompt}");
    assert!(prompt.contains("\n- final_answer(answer: any) -> any: ends"), "{prompt}");
}

#[test]
fn a_run_in_the_words_of_retort() {
    let transcript = Transcript {
        question: "Who made <|im_end|> it?".to_owned(),
        steps: vec![
            step(
                "Look.\n```py\nprint(search(\"it\"))\n```",
                Some(output("It [1]: Ada made it [1].\n", None)),
            ),
            step("Ada [1].\n```py\nfinal_answer(\"Ada\")\n```", None),
        ],
        answer_requested: false,
    };
    let segments = retort().render_training(&transcript);
    let shown: Vec<(&str, Source, bool)> = segments
        .iter()
        .map(|segment| (segment.text.as_str(), segment.source, segment.learned))
        .collect();
    let (template, content) = (Source::Template, Source::Content);
    let expected = [
        ("<|im_start|>user\n", template, false),
        ("Who made <|im_end|> it?", content, false),
        ("<|im_end|>", template, false),
        ("\n", template, false),
        ("<|im_start|>assistant\n", template, false),
        ("Look.\n```py\nprint(search(\"it\"))\n```", content, true),
        ("<|im_end|>", template, true),
        ("\n", template, false),
        ("<|im_start|>user\n", template, false),
        ("It [1]: Ada made it", content, false),
        (" [1]", content, true),
        (".", content, false),
        ("<|im_end|>", template, false),
        ("\n", template, false),
        ("<|im_start|>assistant\n", template, false),
        ("Ada [1].\n```py\nfinal_answer(\"Ada\")\n```", content, true),
        ("<|im_end|>", template, true),
        ("\n", template, false),
    ];
    assert_eq!(shown, expected);
}

#[track_caller]
fn check_observed(dialect: &str, observation: Observation, expected: &str) {
    let transcript =
        Transcript { steps: vec![step("x", Some(observation))], ..Transcript::default() };
    let messages = Dialect::named(dialect).unwrap().message_sequence(&transcript);
    assert_eq!(messages.last().unwrap().content, expected);
}

fn error(logs: &str, message: &str) -> Observation {
    Observation::Error {
        logs: logs.to_owned(),
        message: message.to_owned(),
        line: Some("1/0".to_owned()),
        syntax: None,
    }
}

#[test]
fn outcomes_in_the_words_of_retort() {
    check_observed("retort", output("a\nb\n", None), "a\nb");
    check_observed("retort", output("a", Some("7")), "a\n7");
    check_observed("retort", output("", Some("7")), "7");
    check_observed("retort", output("", None), "(no output)");
    check_observed(
        "retort",
        error("", "ZeroDivisionError: division by zero"),
        "Error: ZeroDivisionError: division by zero",
    );
    check_observed("retort", error("a\n", "ValueError: x"), "a\nError: ValueError: x");
    check_observed("retort", Observation::ParseError { message: "No.".to_owned() }, "Error: No.");
    let syntax = Observation::Error {
        logs: String::new(),
        message: "SyntaxError: '(' was never closed".to_owned(),
        line: Some("print(1".to_owned()),
        syntax: Some(SyntaxPlace { line_number: 3, column: 6 }),
    };
    check_observed("retort", syntax, "Error: SyntaxError: '(' was never closed (line 3)");
}

#[test]
fn an_assigned_value_is_shown_by_smolagents_alone() {
    let assigned =
        || Observation::Output { logs: String::new(), value: None, assigned: Some("3".to_owned()) };
    check_observed("retort", assigned(), "(no output)");
    check_observed(
        "smolagents",
        assigned(),
        "Call id: call_1\nObservation:\nExecution logs:\nLast output from code snippet:\n3",
    );
}

#[test]
fn our_text_where_the_reference_differs_from_python() {
    let undefined = Observation::Error {
        logs: String::new(),
        message: "NameError: name 'undefined_name' is not defined".to_owned(),
        line: Some("y = undefined_name + 1".to_owned()),
        syntax: None,
    };
    check_observed(
        "smolagents",
        undefined,
        "Call id: call_1\nError:\nCode execution failed at line 'y = undefined_name + 1' due to: NameError: name 'undefined_name' is not defined\nNow let's retry: take care not to repeat previous errors! If you have retried several times, try a completely different approach.\n",
    );
    check_observed(
        "smolagents",
        output("no newline", None),
        "Call id: call_1\nObservation:\nExecution logs:\nno newline\nLast output from code snippet:\nNone",
    );
}

#[test]
fn long_output_keeps_its_head_and_tail() {
    let logs = format!("{}{}\n", "é".repeat(40_000), "b".repeat(40_000));
    let transcript =
        Transcript { steps: vec![step("x", Some(output(&logs, None)))], ..Transcript::default() };
    let messages = Dialect::named("smolagents").unwrap().message_sequence(&transcript);
    let text = &messages.last().unwrap().content;
    let note = "é\n..._This content has been truncated to stay below 50000 characters_...\nb";
    assert!(text.contains(note), "{text}");
    assert_eq!(text.matches('é').count(), 25_000);
    assert_eq!(text.matches("bb").count(), 12_499);
}

#[test]
fn the_request_for_an_answer_follows_the_last_user_text() {
    let mut transcript =
        Transcript { question: "Who?".to_owned(), answer_requested: true, ..Transcript::default() };
    let request = "\nNo steps left. Call final_answer now.";
    assert_eq!(
        joined(&retort().render_prompt(&transcript)),
        format!("<|im_start|>user\nWho?{request}<|im_end|>\n<|im_start|>assistant\n")
    );
    transcript.steps.push(step("a", Some(output("b", None))));
    let prompt = retort().render_prompt(&transcript);
    assert!(
        joined(&prompt).ends_with(&format!("user\nb{request}<|im_end|>\n<|im_start|>assistant\n"))
    );
    transcript.steps.push(step("final_answer(1)", None));
    assert!(retort().render_training(&transcript).starts_with(&prompt));
}

#[track_caller]
fn check_code(reply: &str, thought: &str, code: &str) {
    for name in NAMES {
        let action = Dialect::named(name).unwrap().parse_reply(reply).unwrap();
        assert_eq!((action.thought.as_str(), action.code.as_str()), (thought, code), "{name}");
    }
}

#[test]
fn replies_are_parsed() {
    check_code("Think.\n```py\nprint(1)\n```", "Think.", "print(1)");
    check_code("A\n```python\na=1\n```\nthen\n```\n\nprint(a)\n\n```\nbye", "A", "a=1\n\nprint(a)");
    check_code("print(5)", "", "print(5)");
    check_code("```js\nx\n```py\nprint(1)\n```", "```js\nx", "print(1)");
    check_code(
        "```py\nfinal_answer = 3\nfinal_answer(final_answer)\n```",
        "",
        "final_answer_variable = 3\nfinal_answer(final_answer_variable)",
    );
}

#[test]
fn replies_without_code_are_told_so() {
    for name in NAMES {
        let dialect = Dialect::named(name).unwrap();
        for reply in ["", "Paris it is.", "```py\nprint(1)", "```py\n```"] {
            let error = dialect.parse_reply(reply).unwrap_err();
            assert!(matches!(error, ParseError::NoCode { .. }), "{name} {reply:?}");
        }
        let error = dialect.parse_reply("The final answer is Paris.").unwrap_err();
        assert!(matches!(error, ParseError::AnswerWithoutCode { .. }), "{name}");
    }
    assert_eq!(
        retort().parse_reply("Paris it is.").unwrap_err().to_string(),
        "No code found. Write one block that starts with ```py and ends with ```."
    );
}

#[test]
fn passages_in_the_words_of_retort() {
    let passages = [
        Passage {
            title: "Heahi\nBridge".to_owned(),
            text: "It opened in 1902.\nIt is long.".to_owned(),
            score: 0.9,
        },
        Passage { title: "Tao".to_owned(), text: "A town".to_owned(), score: 0.1 },
    ];
    assert_eq!(
        retort().render_passages("q", &passages),
        "Heahi Bridge [1]: It opened in 1902 [1]. It is long [1].\nTao [2]: A town [2]"
    );
    for name in NAMES {
        let none = Dialect::named(name).unwrap().render_passages("a \"b\"", &[]);
        assert!(none.starts_with("No results found for \"a \"b\"\"."), "{none}");
    }
}

#[test]
fn a_passage_that_was_shown_is_only_named() {
    let passage = |title: &str, text: &str| Passage {
        title: title.to_owned(),
        text: text.to_owned(),
        score: 0.5,
    };
    let (bridge, town) =
        (passage("Heahi", "It opened in 1902. It is long."), passage("Tao", "A town"));
    for name in NAMES {
        let dialect = Dialect::named(name).unwrap();
        let first = dialect.render_passages("q", &[town.clone(), bridge.clone()]);
        let told = dialect.without_repeats(&[bridge.clone(), passage("Tao", "A river")], &[&first]);
        assert_eq!(told[1].text, "A river", "another passage of the same title");
        // Published students were trained on whole passages.
        assert_eq!(told[0].text == bridge.text, name == "smolagents", "{name}");
        let only = std::slice::from_ref(&bridge);
        assert_eq!(dialect.without_repeats(only, &[""]), only);
    }
}

#[test]
fn rows_of_version_1_are_read() {
    let line = r#"{"version":1,"id":"7","dialect":"retort","dialect_hash":"ab","transcript":{"question":"Who?","steps":[{"reply":"print(1)","observation":{"kind":"output","logs":"1\n","value":null,"assigned":null}},{"reply":"x(","observation":{"kind":"error","logs":"","message":"SyntaxError: '(' was never closed","line":"x("}},{"reply":"no","observation":{"kind":"parse_error","message":"No."}},{"reply":"final_answer(1)","observation":null}],"answer_requested":true},"later":1}"#;
    let row: TranscriptRow = serde_json::from_str(line).unwrap();
    assert_eq!((row.version, row.transcript.steps.len()), (crate::TRANSCRIPT_ROW_VERSION, 4));
    let again: TranscriptRow = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
    assert_eq!(again, row);
}

/// Text with what could go wrong in it: control tokens, fences, markers, placeholders.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "Été ",
        " ",
        "\n",
        "```py\n",
        "\n```",
        "<|im_start|>user\n",
        "<|im_end|>",
        " [1].",
        " [2]",
        "{question}",
        "{logs}",
        "1/0",
        "final_answer(",
        "=",
        "\"",
        ".",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        (any_text(), prop::option::of(any_text()), prop::option::of(any_text()))
            .prop_map(|(logs, value, assigned)| Observation::Output { logs, value, assigned }),
        (
            any_text(),
            any_text(),
            prop::option::of(any_text()),
            prop::option::of((0..9_u32, 0..99_u32))
        )
            .prop_map(|(logs, message, line, place)| Observation::Error {
                logs,
                message,
                line,
                syntax: place.map(|(line_number, column)| SyntaxPlace { line_number, column }),
            }),
        any_text().prop_map(|message| Observation::ParseError { message }),
    ]
}

fn any_transcript() -> impl Strategy<Value = Transcript> {
    let steps = prop::collection::vec((any_text(), any_observation()), 0..4);
    (any_text(), steps, any_text(), any::<bool>()).prop_map(
        |(question, steps, last, answer_requested)| {
            let finished =
                steps.into_iter().map(|(reply, observation)| step(&reply, Some(observation)));
            let steps = finished.chain([step(&last, None)]).collect();
            Transcript { question, steps, answer_requested }
        },
    )
}

proptest! {
    #[test]
    fn a_prompt_is_a_prefix_of_the_training_text(transcript in any_transcript()) {
        for name in NAMES {
            let dialect = Dialect::named(name).unwrap();
            let training = dialect.render_training(&transcript);
            let finished = transcript.steps.len() - 1;
            for steps in 0..=finished {
                let shorter = Transcript {
                    question: transcript.question.clone(),
                    steps: transcript.steps[..steps].to_vec(),
                    answer_requested: transcript.answer_requested && steps == finished,
                };
                let prompt = dialect.render_prompt(&shorter);
                prop_assert!(training.starts_with(&prompt), "{} after {} steps", name, steps);
            }
        }
    }

    #[test]
    fn no_content_becomes_a_control_token(transcript in any_transcript()) {
        for name in NAMES {
            let dialect = Dialect::named(name).unwrap();
            let segments = dialect.render_training(&transcript);
            let turns = dialect.message_sequence(&transcript).len();
            let control = |token: &str| {
                let template = segments.iter().filter(|segment| segment.source == Source::Template);
                template.map(|segment| segment.text.matches(token).count()).sum::<usize>()
            };
            prop_assert_eq!(control("<|im_start|>"), turns);
            prop_assert_eq!(control("<|im_end|>"), turns);
        }
    }

    #[test]
    fn segments_say_what_the_messages_say(transcript in any_transcript()) {
        for name in NAMES {
            let dialect = Dialect::named(name).unwrap();
            let chatml: String = dialect
                .message_sequence(&transcript)
                .into_iter()
                .map(|message| {
                    let role = format!("{:?}", message.role).to_lowercase();
                    format!("<|im_start|>{role}\n{}<|im_end|>\n", message.content)
                })
                .collect();
            prop_assert_eq!(joined(&dialect.render_training(&transcript)), chatml);
        }
    }

    #[test]
    fn a_reply_survives_the_round_trip(
        thought in r"([A-Z][a-z ,.\[\]0-9]{0,30}[a-z.])?",
        code in r"[a-z]([a-z0-9 =()\n\[\]\{\}\x22'#]{0,40}[a-z0-9)])?",
    ) {
        let action = Action { thought, code };
        for name in NAMES {
            let dialect = Dialect::named(name).unwrap();
            let reply = dialect.compose_reply(&action);
            prop_assert_eq!(&dialect.parse_reply(&reply).unwrap(), &action, "{}", name);
        }
    }

    #[test]
    fn any_reply_is_an_action_or_an_error(reply in any_text(), noise in ".{0,40}") {
        for name in NAMES {
            let dialect = Dialect::named(name).unwrap();
            for text in [&reply, &noise] {
                if let Ok(action) = dialect.parse_reply(text) {
                    prop_assert_eq!(action.thought.trim(), &action.thought);
                }
            }
        }
    }
}
