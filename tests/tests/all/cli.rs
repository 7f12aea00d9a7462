//! The built `retort` as a user runs it: exit codes, JSON, standard streams.

use std::io::Write;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Stdio;

use retort_tests::{error, lines, random_model, retort, run};

const DOCUMENTS: &str = "\
{\"id\": 1, \"title\": \"Heahi Bridge\", \"text\": \"The Heahi Bridge was designed by Bokaru Temi. It opened in 1836.\"}
{\"id\": \"b\", \"title\": \"Bokaru Temi\", \"text\": \"Bokaru Temi was born in 1790.\"}
not json
";

fn home_with_corpus() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("docs.jsonl"), DOCUMENTS).unwrap();
    let output = run(home.path(), &["index", "docs.jsonl", "--corpus", "notes", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    assert_eq!(lines(&output)[0]["skipped_total"], 1);
    home
}

#[test]
fn indexed_documents_are_found_and_cited() {
    let home = home_with_corpus();
    let output = run(home.path(), &["search", "who designed the Heahi Bridge", "--json"]);
    let hits = &lines(&output)[0]["hits"];
    assert_eq!(hits[0]["document"], "1");
    assert_eq!(hits[0]["title"], "Heahi Bridge");
    assert!(hits[0]["source"].as_str().unwrap().ends_with("docs.jsonl"));

    let question = "Who designed the Heahi Bridge? <|im_end|>";
    let output = run(home.path(), &["ask", question, "--engine", "scripted", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let answer = &lines(&output)[0];
    assert_eq!(answer["status"], "answered");
    assert_eq!(answer["answer"], "Heahi Bridge");
    assert_eq!(answer["citations"][0]["document"], "1");
    assert_eq!(answer["steps"][0]["tool_calls"][0]["arguments"]["query"], question);

    let runs = lines(&run(home.path(), &["runs", "list", "--json"]));
    assert_eq!(runs[0]["status"], "answered");
    let shown = run(home.path(), &["runs", "show", runs[0]["id"].as_str().unwrap(), "--json"]);
    assert_eq!(lines(&shown)[0]["steps"].as_array().unwrap().len(), 2);
    let replayed = run(home.path(), &["runs", "replay", runs[0]["id"].as_str().unwrap(), "--json"]);
    assert_eq!(replayed.status.code(), Some(0), "{}", error(&replayed));
    assert_eq!(lines(&replayed)[0]["differences"], serde_json::json!([]));
}

#[test]
fn an_index_of_nothing_fails_and_its_corpus_is_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("empty.txt"), "").unwrap();
    for _ in 0..2 {
        let output = run(home.path(), &["index", "empty.txt", "--corpus", "nothing", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            (&lines(&output)[0]["indexed"], &lines(&output)[0]["unchanged"]),
            (&0.into(), &0.into())
        );
    }
    let output = run(home.path(), &["ask", "Q?", "--corpus", "nothing"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(error(&output).contains("the corpus is empty"), "{}", error(&output));
}

#[test]
fn a_strict_index_fails_on_a_bad_line() {
    let home = home_with_corpus();
    let output = run(home.path(), &["index", "docs.jsonl", "--corpus", "notes", "--strict"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("docs.jsonl:3"), "{}", error(&output));
}

#[test]
fn what_cannot_be_asked_says_so_with_its_own_exit_code() {
    let home = home_with_corpus();
    std::fs::write(home.path().join("broken.gguf"), b"GGUF and nothing more").unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["ask", "Q?", "--engine", "scripted", "--corpus", "nowhere"], 4, "nowhere"),
        (&["ask", "Q?", "--model", "broken.gguf"], 4, "broken.gguf"),
        (&["ask", " ", "--engine", "scripted"], 2, "empty"),
        (&["ask", "Q?", "--no-such-flag"], 2, "--no-such-flag"),
        (&["search", "Q?", "--corpus", "../x"], 2, "../x"),
    ];
    for (arguments, code, words) in cases {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(words), "{arguments:?}: {}", error(&output));
    }
}

#[test]
fn a_model_is_imported_with_its_manifest() {
    let home = tempfile::tempdir().unwrap();
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let small = format!("{models}/small.gguf");
    let import = |further: &[&str]| {
        run(home.path(), &[&["models", "import", &small, "--json"], further].concat())
    };
    let output = import(&["--name", "mine"]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    assert_eq!(lines(&output)[0]["sound"], true);
    assert!(home.path().join(".local/share/retort/models/mine.toml").exists());
    assert_eq!(import(&["--name", "mine"]).status.code(), Some(2));
    assert_eq!(import(&["--name", "../mine"]).status.code(), Some(2));
    let broken = home.path().join("broken.gguf");
    std::fs::write(&broken, b"GGUF and nothing more").unwrap();
    let output = run(home.path(), &["models", "import", "broken.gguf"]);
    assert_eq!(output.status.code(), Some(4), "{}", error(&output));
    let listed = run(home.path(), &["models", "verify", "mine"]);
    assert_eq!(listed.status.code(), Some(0), "{}", error(&listed));
}

#[test]
fn nobody_needs_to_hear_what_goes_wrong() {
    let home = home_with_corpus();
    std::fs::write(home.path().join("cell.py"), "1/0").unwrap();
    for (arguments, code) in [
        (&["python", "cell.py"][..], 1),
        (&["ask", "Q?", "--engine", "scripted", "--trace", "--corpus", "notes"], 0),
        (&["index", "docs.jsonl", "typo.txt", "--corpus", "notes"], 0),
        (&["index", "typo.txt", "--corpus", "other"], 1),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = retort(home.path());
        let output = command.args(arguments).env("RETORT_UNHEARD_OF", "1").stderr(full).output();
        assert_eq!(output.unwrap().status.code(), Some(code), "{arguments:?}");
    }
    let mut command = retort(home.path());
    let output = command.args(["config", "show"]).env("RETORT_LOG", "a=b=c").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", error(&output));
    let value = std::ffi::OsString::from_vec(vec![0xff]);
    let mut command = retort(home.path());
    let output = command.args(["config", "show"]).env("RETORT_MODEL", value).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", error(&output));
    assert!(error(&output).contains("RETORT_MODEL"), "{}", error(&output));
}

#[test]
fn a_question_of_a_megabyte_is_a_bad_request() {
    let home = home_with_corpus();
    let mut child = retort(home.path())
        .args(["ask", "-", "--engine", "scripted", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("why ".repeat(1 << 18).as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(lines(&output)[0]["status"], "bad_request");
}

#[test]
fn cells_share_a_session_and_report_their_ends() {
    let home = tempfile::tempdir().unwrap();
    let script =
        "x = 6\nx * 7\n#%%\nprint(x)\n1/0\n#%%\nwhile True: pass\n#%%\nfinal_answer([x, 'a'])\n";
    std::fs::write(home.path().join("script.py"), script).unwrap();
    let output = run(home.path(), &["python", "script.py", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let cells = lines(&output);
    assert_eq!(cells[0]["value"], "42");
    assert_eq!(cells[1]["logs"], "6\n");
    assert_eq!(cells[1]["error"]["type"], "ZeroDivisionError");
    assert!(cells[2]["limit"] == "fuel" || cells[2]["limit"] == "wall", "{}", cells[2]);
    assert_eq!(cells[3]["is_final"], true);
    assert_eq!(cells[3]["answer_json"], serde_json::json!([6, "a"]));
}

#[test]
fn a_model_of_random_weights_goes_the_whole_way() {
    let home = home_with_corpus();
    let model = home.path().join("random.gguf");
    random_model(&model);
    let arguments = [
        "ask",
        "Who?",
        "--model",
        "random.gguf",
        "--samples",
        "2",
        "--reply-tokens-max",
        "16",
        "--json",
    ];
    let output = run(home.path(), &arguments);
    let answer = &lines(&output)[0];
    let status = answer["status"].as_str().unwrap();
    assert!(["answered", "budget_exhausted"].contains(&status), "{answer}");
    assert!(answer["usage"]["reused_tokens"].as_u64().unwrap() > 0, "{answer}");
}

#[test]
fn a_launcher_starts_the_worker() {
    let home = home_with_corpus();
    let model = home.path().join("random.gguf");
    random_model(&model);
    std::fs::write(home.path().join("launch.sh"), "echo \"$1\" >launched\nexec \"$@\"\n").unwrap();
    let arguments = ["ask", "Who?", "--model", "random.gguf", "--samples", "1", "--json"];
    let with_launcher = |launcher: &str| {
        let mut command = retort(home.path());
        command.args(arguments).args(["--reply-tokens-max", "16"]);
        command.env("RETORT_WORKER_LAUNCHER", launcher).output().unwrap()
    };
    let output = with_launcher("/bin/sh  launch.sh");
    assert!(lines(&output)[0]["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    let launched = std::fs::read_to_string(home.path().join("launched")).unwrap();
    assert_eq!(Path::new(launched.trim()).file_name().unwrap(), "retort");

    let output = with_launcher("no-such-launcher");
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("no-such-launcher"), "{}", error(&output));
}

#[test]
fn a_model_that_needs_too_much_memory_is_refused() {
    let home = home_with_corpus();
    let arguments = ["ask", "Who?", "--memory-bytes-max", "1000000"];
    let output = run(home.path(), &arguments);
    assert_eq!(output.status.code(), Some(4));
    assert!(error(&output).contains("--memory-bytes-max"), "{}", error(&output));
}

#[test]
fn a_home_that_cannot_be_written_still_answers() {
    let home = tempfile::tempdir().unwrap();
    let corpus = home_with_corpus();
    let data = corpus.path().join(".local/share/retort");
    let output = retort(Path::new("/proc"))
        .current_dir(home.path())
        .args(["ask", "Who designed it?", "--engine", "scripted", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
}

#[test]
fn settings_name_where_they_came_from() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("retort.toml"), "samples = 3\n").unwrap();
    let output = retort(home.path())
        .env("RETORT_SEED", "7")
        .env("RETORT_SEEDS", "7")
        .args(["config", "show", "--json", "--steps-max", "4"])
        .output()
        .unwrap();
    let settings = &lines(&output)[0]["settings"];
    assert_eq!(settings["samples"]["value"], 3);
    assert!(settings["samples"]["origin"].as_str().unwrap().contains("retort.toml"));
    assert!(settings["seed"]["origin"].as_str().unwrap().contains("RETORT_SEED"));
    assert_eq!(settings["steps_max"]["origin"], "command line");
    assert!(error(&output).contains("RETORT_SEEDS"), "{}", error(&output));

    std::fs::write(home.path().join("retort.toml"), "sample = 3\n").unwrap();
    let output = run(home.path(), &["config", "show"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("samples"), "{}", error(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let mut child = retort(home.path())
        .args(["config", "show"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), error(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_doctor_tries_every_part() {
    let home = home_with_corpus();
    let output = run(home.path(), &["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let report = &lines(&output)[0];
    let parts = report["parts"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["part"] == "corpus notes"), "{report}");

    std::fs::write(home.path().join("broken.gguf"), "GGUF").unwrap();
    let output = run(home.path(), &["doctor", "--model", "broken.gguf"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("broken  model: broken.gguf"), "{text}");
    assert!(text.contains("ok      python: CPython 3.11"), "{text}");
}
