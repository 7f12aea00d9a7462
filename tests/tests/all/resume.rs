//! Runs that stopped half-way and go on from their record.

use std::path::Path;

use serde_json::{Value, json};

use super::tool_runs::{home_with_lamp, one, run};

/// A search, a variable, an answer made of both.
const STEPS: [&str; 3] = [
    "found = search(\"Heahi Bridge\")\nprint(found)",
    "year = 1836\nprint(year)",
    "final_answer(year if str(year) in found else found)",
];

fn script(home: &Path, steps: &[&str]) {
    let line = |code: &&str| {
        let reply = format!("I act.\n```py\n{code}\n```");
        format!("{}\n", json!({ "replies": [reply] }))
    };
    let script: String = steps.iter().map(line).collect();
    std::fs::write(home.join("script.jsonl"), script).unwrap();
}

const SCRIPTED: [&str; 5] = ["--engine", "scripted", "--script", "script.jsonl", "--json"];

fn ask(home: &Path, steps: &[&str]) -> std::process::Output {
    script(home, steps);
    run(home, &[&["ask", "How old?"][..], &SCRIPTED].concat())
}

fn resume(home: &Path, id: &str, steps: &[&str]) -> std::process::Output {
    script(home, steps);
    run(home, &[&["runs", "resume", id][..], &SCRIPTED].concat())
}

/// A run that failed after these steps.
fn failed(home: &Path, steps: &[&str]) -> String {
    let output = ask(home, steps);
    assert_eq!(output.status.code(), Some(1));
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (run["status"].as_str(), run["steps"].as_array().unwrap().len()),
        (Some("model_error"), steps.len())
    );
    run["run"].as_str().unwrap().to_owned()
}

/// What does not depend on when and where.
fn told(mut run: Value) -> Value {
    for varying in ["run", "seconds"] {
        run.as_object_mut().unwrap().remove(varying);
    }
    // The context is read again after a stop.
    run["usage"].as_object_mut().unwrap().remove("reused_tokens");
    run
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_resumed_run_ends_as_if_it_had_never_stopped() {
    let home = home_with_lamp("");
    let home = home.path();
    let whole = told(one(&ask(home, &STEPS)));
    assert_eq!(whole["answer"], "1836");
    assert_eq!(whole["citations"].as_array().unwrap().len(), 1);
    for stop in 0..STEPS.len() {
        let id = failed(home, &STEPS[..stop]);
        let run = one(&resume(home, &id, &STEPS[stop..]));
        assert_eq!(run["run"], id.as_str());
        assert_eq!(told(run), whole, "stopped after {stop} steps");
        // The record is that of one run.
        let shown = one(&self::run(home, &["runs", "show", &id, "--json"]));
        assert_eq!(shown["end"]["status"], "answered");
        assert_eq!(shown["steps"].as_array().unwrap().len(), STEPS.len());
        let replayed = one(&self::run(home, &["runs", "replay", &id, "--json"]));
        assert_eq!(replayed["differences"], json!([]));
    }
}

#[test]
fn no_tool_is_called_again() {
    let home = home_with_lamp("");
    let home = home.path();
    let id = failed(home, &STEPS[..2]);
    std::fs::write(
        home.join("docs.jsonl"),
        "{\"id\": 1, \"title\": \"Other\", \"text\": \"None.\"}\n",
    )
    .unwrap();
    one(&run(home, &["index", "docs.jsonl", "--corpus", "notes", "--json"]));
    assert_eq!(one(&resume(home, &id, &STEPS[2..]))["answer"], "1836");
}

#[test]
fn who_had_read_may_still_not_act() {
    let home = home_with_lamp("");
    let home = home.path();
    let id = failed(home, &STEPS[..1]);
    let run = one(&resume(home, &id, &["switch(\"door\")", "final_answer(1)"]));
    assert_eq!(run["steps"][1]["error"]["type"], "RuntimeError", "{run}");
    let refused = run["steps"][1]["error"]["message"].as_str().unwrap();
    assert!(refused.starts_with("switch: not allowed"), "{run}");
}

#[test]
fn what_cannot_go_on_is_told_and_stays_as_it_is() {
    let home = home_with_lamp("");
    let home = home.path();
    let answered = one(&ask(home, &STEPS));
    let output = resume(home, answered["run"].as_str().unwrap(), &STEPS);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("has its end (answered)"), "{}", stderr(&output));
    let id = failed(home, &STEPS[..1]);
    let output = run(home, &["runs", "resume", &id]);
    assert!(stderr(&output).contains("name it with --model"), "{}", stderr(&output));
    let output = run(home, &[&["runs", "resume", &id, "--seed", "7"][..], &SCRIPTED].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--seed: a run goes on with"), "{}", stderr(&output));
    let output =
        run(home, &[&["runs", "resume", &id, "--dialect", "chat"][..], &SCRIPTED].concat());
    assert!(stderr(&output).contains("the prompt of step 1 is no longer"), "{}", stderr(&output));
    let shown = one(&run(home, &["runs", "show", &id, "--json"]));
    assert_eq!(shown["end"]["status"], "model_error");
}
