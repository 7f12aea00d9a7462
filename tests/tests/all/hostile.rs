//! What goes wrong around the program: odd bytes, a first use that was cut off, no home.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use retort_tests::{error, lines, retort, run};
use serde_json::{Value, json};

/// A line of a script: a step with these replies, each as the code of a block.
fn scripted_step(codes: &[&str]) -> String {
    let reply = |code: &&str| format!("I act.\n```py\n{code}\n```");
    json!({"replies": codes.iter().map(reply).collect::<Vec<_>>()}).to_string() + "\n"
}

/// Asks an engine that gives these replies, each as the code of a block.
fn ask_scripted(home: &Path, codes: &[&str], flags: &[&str]) -> Value {
    std::fs::write(home.join("script.jsonl"), scripted_step(codes)).unwrap();
    let ask = ["ask", "Q?", "--engine", "scripted", "--script", "script.jsonl", "--json"];
    let output = run(home, &[&ask[..], flags].concat());
    lines(&output).remove(0)
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_wanted_agreement_does_not_hang_on_the_order_of_replies() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--samples", "8", "--min-agreement", "0.9"];
    for codes in ["AAAAABBB", "BBBAAAAA", "ABABABAA"] {
        let codes: Vec<String> = codes.chars().map(|c| format!("final_answer('{c}')")).collect();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let run = ask_scripted(home.path(), &codes, &flags);
        assert_eq!((&run["abstained"], &run["answer"]), (&json!(true), &Value::Null), "{run}");
    }
    let agreed = ask_scripted(home.path(), &["final_answer('A')"; 8], &flags);
    assert_eq!(agreed["answer"], "A");
}

#[test]
fn a_line_with_a_bad_byte_does_not_end_the_batch() {
    let home = tempfile::tempdir().unwrap();
    for command in ["ask", "search"] {
        let mut command_line = retort(home.path());
        command_line.args([command, "-", "--json"]);
        if command == "ask" {
            command_line.args(["--engine", "scripted"]);
        }
        let output = with_input(command_line, b"Mipa Bridge\nM\xffipa\r\nMipa Bridge\n");
        let answers = lines(&output);
        assert_eq!(answers.len(), 3, "{command}: {}", error(&output));
        let told =
            |answer: &Value| answer[if command == "ask" { "answer" } else { "hits" }].clone();
        assert_eq!(told(&answers[0]), told(&answers[2]));
    }
}

#[test]
fn names_that_are_no_utf8_are_told() {
    let home = tempfile::tempdir().unwrap();
    let pages = home.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(pages.join("a.txt"), "alpha").unwrap();
    std::fs::write(pages.join(OsStr::from_bytes(b"bad\xff.txt")), "beta").unwrap();
    let index = run(home.path(), &["index", "pages", "--corpus", "p", "--json"]);
    let report = &lines(&index)[0];
    assert_eq!((&report["indexed"], &report["skipped_total"]), (&json!(1), &json!(1)), "{report}");
    assert!(report["skipped"][0]["reason"].as_str().unwrap().contains("not UTF-8"));
    let archive = OsStr::from_bytes(b"e\xff.zst");
    let mut export = retort(home.path());
    let exported = export.args(["corpus", "export", "p"]).arg(archive).arg("--json").output();
    assert_eq!(lines(&exported.unwrap())[0]["passages"], 1);
}

#[test]
fn a_first_question_that_was_cut_off_leaves_the_next_one_an_answer() {
    let home = tempfile::tempdir().unwrap();
    let corpora = home.path().join(".local/share/retort/corpora");
    std::fs::create_dir_all(&corpora).unwrap();
    // As an ingest leaves it before its first commit.
    std::fs::write(corpora.join("nothing.txt"), "").unwrap();
    run(home.path(), &["index", ".local/share/retort/corpora/nothing.txt", "--corpus", "demo"]);
    let search = ["search", "Mipa Bridge", "--json"];
    assert!(!lines(&run(home.path(), &search))[0]["hits"].as_array().unwrap().is_empty());
    // Several first questions at once.
    let home = tempfile::tempdir().unwrap();
    let ask = |_| {
        let mut command = retort(home.path());
        command.args(search).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(ask).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    }
}

#[test]
fn without_a_home_the_demo_answers() {
    let home = tempfile::tempdir().unwrap();
    let mut command = retort(home.path());
    command.env_remove("HOME").args(["search", "Mipa Bridge", "--json"]);
    let output = command.output().unwrap();
    assert!(!lines(&output)[0]["hits"].as_array().unwrap().is_empty());
    let told = error(&output);
    assert!(told.contains("the demo corpus is not kept"), "{told}");
}

#[test]
fn the_boards_limits_hold_for_python_too() {
    let home = tempfile::tempdir().unwrap();
    let boards = home.path().join(".config/retort/firmware-configs/boards");
    std::fs::create_dir_all(&boards).unwrap();
    let board = "inherit = \"base\"\n[sandbox]\noutput_bytes_max = 10\n";
    std::fs::write(boards.join("tight.toml"), board).unwrap();
    std::fs::write(home.path().join("x.py"), "print('x' * 100)").unwrap();
    let output = run(home.path(), &["--board", "tight", "python", "x.py", "--json"]);
    assert_eq!(lines(&output)[0]["limit"], "output");
}

#[test]
fn a_deleted_question_is_gone_from_the_file() {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), &["ask", "My PIN is SECRET4711", "--engine", "scripted"]);
    let record = home.path().join(".local/share/retort/runs.db");
    let holds = || {
        let bytes = std::fs::read(&record).unwrap();
        bytes.windows(10).any(|window| window == b"SECRET4711")
    };
    assert!(holds());
    let runs = lines(&run(home.path(), &["runs", "list", "--json"]));
    run(home.path(), &["runs", "delete", runs[0]["id"].as_str().unwrap()]);
    assert!(!holds());
}

#[test]
fn a_run_that_met_a_limit_can_be_executed_again() {
    let home = tempfile::tempdir().unwrap();
    let loops = "t = 0\nfor i in range(300000):\n    t += i\nprint(t)";
    let flags = ["--run-fuel-max", "1000000", "--samples", "1"];
    let run_of = ask_scripted(home.path(), &[loops], &flags);
    assert_eq!(run_of["steps"][0]["limit"], "fuel", "{run_of}");
    let replayed = run(home.path(), &["runs", "replay", run_of["run"].as_str().unwrap(), "--json"]);
    assert_eq!(lines(&replayed)[0]["differences"], json!([]));
}

#[test]
fn replies_that_fill_the_memory_are_not_all_kept() {
    let home = tempfile::tempdir().unwrap();
    // The states of two of these do not fit into what one action may have; the second wins.
    let first = "x = bytearray(b'a') * 140_000_000\ny = 1\nprint(y)";
    let [second, third] = ["y = 2", "y = 1 + 1"].map(|y| first.replace("y = 1", y));
    let last = scripted_step(&["final_answer((len(x), y))"; 3]);
    let asked = |first: &str, second: &str, third: &str| {
        let script = scripted_step(&[first, second, third]) + &last;
        std::fs::write(home.path().join("script.jsonl"), script).unwrap();
        let ask = ["ask", "Q?", "--engine", "scripted", "--script", "script.jsonl", "--json"];
        let output = run(home.path(), &[&ask[..], &["--samples", "3", "--log", "debug"]].concat());
        (lines(&output).remove(0), error(&output).contains("its action runs again"))
    };
    let (told, again) = asked(first, &second, &third);
    assert_eq!((&told["answer"], again), (&json!("(140000000, 2)"), true), "{told}");
    let small = |code: &str| code.replace("140_000_000", "140");
    let (told, again) = asked(&small(first), &small(&second), &small(&third));
    assert_eq!((&told["answer"], again), (&json!("(140, 2)"), false), "{told}");
}

#[test]
fn indexing_over_damage_does_not_hide_it() {
    let home = tempfile::tempdir().unwrap();
    let pages = home.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    let text = |page: usize| format!("Page {page} tells of zebra{page} and its keeper Mipa{page}.");
    for page in 0..40 {
        std::fs::write(pages.join(format!("{page}.txt")), text(page)).unwrap();
    }
    let index = ["index", "pages", "--corpus", "p"];
    assert!(run(home.path(), &index).status.success());
    let stored = home.path().join(".local/share/retort/corpora/p/index");
    let entries = std::fs::read_dir(stored).unwrap().map(|entry| entry.unwrap().path());
    let store = entries.into_iter().find(|path| path.extension().is_some_and(|e| e == "store"));
    let store = store.unwrap();
    let mut bytes = std::fs::read(&store).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&store, bytes).unwrap();
    std::fs::write(pages.join("0.txt"), text(99)).unwrap();
    let indexed = run(home.path(), &index);
    assert!(indexed.status.success(), "{}", error(&indexed));
    let checked = run(home.path(), &["corpus", "check", "p"]);
    assert!(checked.status.success(), "{}", error(&checked));
    for page in (1..40).chain([99]) {
        let found =
            run(home.path(), &["search", &format!("zebra{page}"), "--corpus", "p", "--json"]);
        assert_eq!(lines(&found)[0]["hits"][0]["passage"], text(page), "{}", error(&found));
    }
}

#[test]
fn a_model_is_imported_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let pupil = home.path().join("pupil.gguf");
    std::fs::copy(models.join("small.gguf"), &pupil).unwrap();
    let own = "dialect = \"smolagents\"\nsystem_prompt = { file = \"prompt.txt\" }\n";
    std::fs::write(pupil.with_extension("toml"), own).unwrap();
    let import = ["models", "import", "pupil.gguf"];
    let kept = home.path().join(".local/share/retort/models");
    let refused = |told: &str| {
        let output = run(home.path(), &import);
        assert!(!output.status.success() && error(&output).contains(told), "{}", error(&output));
    };
    refused("prompt.txt");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
    std::fs::write(home.path().join("prompt.txt"), "You have {{ tools }}.").unwrap();
    std::fs::write(home.path().join("tokenizer.json"), "{}").unwrap();
    refused("tokenizer.json");
    std::fs::remove_file(home.path().join("tokenizer.json")).unwrap();
    let output = run(home.path(), &import);
    assert!(output.status.success(), "{}", error(&output));
    let read = |name: &str| std::fs::read_to_string(kept.join(name)).unwrap();
    assert_eq!(read("pupil.prompt.jinja"), "You have {{ tools }}.");
    assert!(read("pupil.toml").contains("file = \"pupil.prompt.jinja\""), "{}", read("pupil.toml"));
    refused("is there already");
}

#[test]
fn a_relative_folder_in_a_settings_file_starts_there() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join(".config/retort");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "data_dir = \"data\"\n").unwrap();
    std::fs::write(home.path().join("a.txt"), "alpha").unwrap();
    let output = run(home.path(), &["index", "a.txt", "--corpus", "p"]);
    assert!(output.status.success(), "{}", error(&output));
    assert!(config.join("data/corpora/p").is_dir());
    std::fs::write(config.join("config.toml"), "data_dir = \"~/data\"\n").unwrap();
    let output = run(home.path(), &["corpus", "list"]);
    assert!(error(&output).contains("`~` is the shell's"), "{}", error(&output));
}
