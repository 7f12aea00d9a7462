//! `retort python -i`: Ctrl-C stops what runs, and the conversation goes on.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use retort_tests::retort;

/// Clock ticks that a process has computed for.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(11).unwrap().parse().unwrap()
}

#[test]
fn an_interrupted_action_leaves_the_conversation_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let mut command = retort(home.path())
        .args(["python", "-i"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = command.stdin.take().unwrap();
    let mut output = BufReader::new(command.stdout.take().unwrap()).lines();
    let mut said = |lines: &str| {
        input.write_all(lines.as_bytes()).unwrap();
        output.next().unwrap().unwrap()
    };
    assert_eq!(said("x = 6\nx\n"), "6");
    for round in 1..3 {
        // What is written next is read when the loop was stopped.
        input_while_busy(&mut input, command.id());
        let status = Command::new("kill").args(["-INT", &command.id().to_string()]).status();
        assert!(status.unwrap().success());
        input.write_all(format!("x * {round}\n").as_bytes()).unwrap();
        assert_eq!(output.next().unwrap().unwrap(), (6 * round).to_string());
    }
    drop(input);
    assert_eq!(command.wait().unwrap().code(), Some(0));
    let mut errors = String::new();
    command.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let stopped =
        "KeyboardInterrupt: the run was cancelled\nstopped: what this action changed is undone\n";
    assert_eq!(errors.matches(stopped).count(), 2, "{errors}");
}

/// Starts an endless action and comes back when it has run for a while.
fn input_while_busy(input: &mut impl Write, process: u32) {
    let before = ticks(process);
    input.write_all(b"while True: x = 7\n\n").unwrap();
    while ticks(process) < before + 30 {
        std::thread::yield_now();
    }
}
