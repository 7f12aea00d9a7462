//! What the documents say is what the programs do: blocks marked `console` are run as they stand.

use std::path::{Path, PathBuf};
use std::process::Command;

use retort_tests::program;

/// A command of a document and what it is said to print.
struct Session {
    place: String,
    command: String,
    printed: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The commands of a document's `console` blocks: a line `$ command`, then what it prints.
fn sessions(document: &str) -> Vec<Session> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let mut sessions: Vec<Session> = Vec::new();
    let mut is_console = false;
    for (line, number) in text.lines().zip(1..) {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if let (true, Some(command)) = (is_console, line.strip_prefix("$ ")) {
            let place = format!("{document}:{number}");
            sessions.push(Session { place, command: command.to_owned(), printed: Vec::new() });
        } else if let (true, Some(session)) = (is_console, sessions.last_mut()) {
            session.printed.push(line.to_owned());
        }
    }
    sessions
}

/// Whether a printed line is the documented one; `…` stands for anything.
fn fits(documented: &str, printed: &str) -> bool {
    let mut parts = documented.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    // What ends in `…` may go on.
    rest.is_empty() || (last.is_empty() && documented.ends_with('…'))
}

/// Runs the sessions of a document one after the other in a new home, beside a copy of `files`.
fn check(document: &str) {
    let home = tempfile::tempdir().unwrap();
    let programs = program("retort").parent().unwrap().to_path_buf();
    let sessions = sessions(document);
    assert!(!sessions.is_empty(), "{document} has no console block");
    for folder in ["models", "trainer"] {
        std::os::unix::fs::symlink(root().join(folder), home.path().join(folder)).unwrap();
    }
    for Session { place, command, printed } in sessions {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(home.path())
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{place}: {command}: {errors}");
        if printed.is_empty() {
            continue;
        }
        // A last line that is only `…` stands for all further lines.
        let is_open = printed.last().is_some_and(|line| line == "…");
        let shown = &printed[..printed.len() - usize::from(is_open)];
        let lines: Vec<&str> = said.lines().collect();
        let is_long_enough =
            if is_open { lines.len() >= shown.len() } else { lines.len() == shown.len() };
        let all_fit = shown.iter().zip(&lines).all(|(documented, line)| fits(documented, line));
        assert!(
            is_long_enough && all_fit,
            "{place}: {command} printed\n{said}\nnot\n{}",
            printed.join("\n")
        );
    }
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    check("README.md");
}

#[test]
fn the_table_of_the_results_is_that_of_the_rows() {
    check("docs/RESULTS.md");
}

#[test]
fn dots_stand_for_anything() {
    assert!(fits("a … c", "a b c") && fits("a…", "abc") && fits("abc", "abc") && fits("…", ""));
    assert!(!fits("a … c", "a b") && !fits("ab", "abc") && !fits("b…", "abc"));
}

/// The example is what README calls "the library alone".
#[test]
fn the_example_answers_and_cites() {
    let output = Command::new(program("examples/ask"))
        .arg(root().join("models/demo/corpus.jsonl"))
        .arg("How old was the architect of the Wiva Bridge when it opened?")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = said.lines();
    assert!(lines.next().unwrap().parse::<u32>().is_ok(), "{said}");
    assert!(lines.any(|line| line.contains("Wiva Bridge")), "{said}");
}
