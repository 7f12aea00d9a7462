//! A student of one's own documents, end to end with the real programs: pages, questions,
//! trajectories, filter, training, score. The teacher is a server on loopback.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use retort_test_data::server::{Act, Asked, Server};
use retort_tests::{program, random_model, retort};
use serde_json::{Value, json};

fn trainer(home: &Path) -> Command {
    let mut command = Command::new(program("retort-train"));
    command.env_clear().env("HOME", home).current_dir(home);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const PUMPS: u32 = 6;

/// A folder of pages, indexed as corpus `manual`.
fn pages(home: &Path) {
    write_pages(home);
    run(retort(home).args(["index", "pages", "--corpus", "manual"]));
}

fn write_pages(home: &Path) {
    let folder = home.join("pages");
    std::fs::create_dir(&folder).unwrap();
    for n in 1..=PUMPS {
        let text = format!(
            "# Pump P{n}\n\nThe pump P{n} stands in hall H{n} of the plant, and its seal of type \
             S{n} is changed every {n}00 hours by the crew of the hall.\n"
        );
        std::fs::write(folder.join(format!("pump-{n}.md")), text).unwrap();
    }
}

/// The number of the first pump named in a text.
fn pump(text: &str) -> &str {
    let after = text.split("ump P").nth(1).unwrap_or("?");
    after.get(..1).unwrap_or("?")
}

/// Writes questions, answers them from the passage, thinks, and acts: whatever it is told to do.
/// Every third request at first is turned away.
fn teach(asked: &Asked) -> Act {
    if asked.number % 3 == 2 && asked.number < 12 {
        let after = vec![("retry-after", "0".to_owned())];
        return Act::Status(429, after, "{\"error\": {\"message\": \"slowly\"}}".to_owned());
    }
    let (told, last) = (asked.message(0), asked.message(-1));
    let n = pump(asked.message(1));
    if told.starts_with("You write questions") {
        let question = |question: String, answer: String| {
            json!({"question": question, "answer": answer}).to_string()
        };
        return Act::Reply(
            [
                question(format!("In which hall does the pump P{n} stand?"), format!("H{n}")),
                question(
                    format!("How many hours does a seal of pump P{n} last?"),
                    format!("{n}00"),
                ),
                question("What does the passage describe?".to_owned(), format!("P{n}")),
            ]
            .join("\n"),
        );
    }
    let answer = if last.contains("hall") && last.contains("stand?") {
        format!("H{n}")
    } else {
        format!("{n}00")
    };
    if told.starts_with("Answer the question from the passage") {
        return Act::Reply(answer);
    }
    if told.starts_with("Think step by step") {
        return Act::Reply(format!("The page of pump P{n} says it.\n\nSo.\n\nAnswer: {answer}"));
    }
    let is_hall = asked.message(1).contains("stand?");
    let found = if is_hall { format!("H{n}") } else { format!("{n}00") };
    Act::Reply(if last.contains("[1]") {
        // The teacher errs in one case, and the filter has something to do.
        let found = if n == "3" && is_hall { "H9".to_owned() } else { found };
        format!("It stands there.\n```py\nfinal_answer(\"{found}\")\n```")
    } else {
        format!("I look it up.\n```py\nprint(search(\"Pump P{n}\"))\n```")
    })
}

fn config(server: &Server) -> String {
    format!(
        "[teacher]\nkind = \"server\"\nurl = \"{}\"\nmodel = \"scripted\"\nbackoff_seconds = 0.001\n\
         price = {{ prompt_per_million = 1.0, completion_per_million = 2.0 }}\n\
         [corpus]\nname = \"manual\"\n\
         [questions]\ntest_share = 0.25\npairs_share = 0.0\nper_passage = 3\n\
         [collect]\ntasks.file = \"questions.jsonl\"\nfirst_thought_prefix = true\n",
        server.url()
    )
}

const RECIPE: &str = "
name = 'own'
license = 'Apache-2.0'
dialect = 'retort'
vocabulary_max = 700
width = 128
layers = 2
feed_forward = 64
tokens_budget = 60_000
seed = 1
drills = 20
collect = { seed = 1, worlds = 1, documents = 120, tasks = 20, held_out_tasks = 2, threads = 1 }
data = { trajectories = 'kept.jsonl', held_out_share = 0.2 }
";

#[test]
fn from_a_folder_of_pages_to_a_student_and_its_score() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    pages(home);
    let server = Server::start(teach);
    std::fs::write(home.join("distil.toml"), config(&server)).unwrap();
    std::fs::write(home.join("own.toml"), RECIPE).unwrap();

    run(trainer(home).args(["questions", "distil.toml", "--out", "questions.jsonl"]));
    let tasks = lines(&home.join("questions.jsonl"));
    let test = lines(&home.join("questions.test.jsonl"));
    assert_eq!(tasks.len() + test.len(), 2 * PUMPS as usize);
    assert!(!test.is_empty());

    run(trainer(home).args(["collect", "distil.toml", "--out", "trajectories.jsonl"]));
    let rows = lines(&home.join("trajectories.jsonl"));
    assert_eq!(rows.len(), tasks.len());
    assert!(rows.iter().all(|row| row["prefix"].as_str().unwrap().ends_with("says it.\n\n")));
    let manifest = std::fs::read_to_string(home.join("trajectories.manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["complete"], true);
    assert!(manifest["spent"]["cost"].as_f64().unwrap() > 0.0);

    let filter = ["filter", "trajectories.jsonl", "--out", "kept.jsonl", "--json"];
    let counts: Value = serde_json::from_slice(&run(trainer(home).args(filter)).stdout).unwrap();
    let erred = rows.iter().filter(|row| row["generated"] == "H9").count();
    assert_eq!(counts["fell"]["wrong answer"], json!(erred));
    assert_eq!(counts["kept"], json!(rows.len() - erred));

    run(trainer(home).args(["run", "own.toml", "--out", "made"]));
    let eval = ["eval", "questions.test.jsonl", "--corpus", "manual", "--model", "made/own.gguf"];
    let output = run(retort(home).args(eval).args(["--json", "--samples", "1"]));
    let summary = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(summary.lines().last().unwrap()).unwrap();
    assert_eq!(summary["tasks"], json!(test.len()));
}

#[test]
fn the_published_format_goes_out_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    pages(home);
    let server = Server::start(teach);
    std::fs::write(home.join("distil.toml"), config(&server)).unwrap();
    run(trainer(home).args(["questions", "distil.toml", "--out", "questions.jsonl"]));
    let collect = ["collect", "distil.toml", "--out", "t.jsonl", "--limit", "2"];
    run(trainer(home).args(collect));
    let export = ["export-trajectories", "t.jsonl", "--out", "rows.jsonl", "--log-data-as-text"];
    run(trainer(home).args(export));
    let rows = lines(&home.join("rows.jsonl"));
    for field in
        ["model_id", "question", "generated_answer", "true_answer", "log_data", "cost", "score"]
    {
        assert!(rows[0].get(field).is_some(), "{field}");
    }
    run(trainer(home).args(["import-trajectories", "rows.jsonl", "--out", "back.jsonl"]));
    let steps = |name: &str| -> Vec<Value> {
        let rows = lines(&home.join(name));
        rows.iter().map(|row| row["transcript"]["steps"].clone()).collect()
    };
    let replies = |name: &str| -> Vec<Value> {
        let all = steps(name);
        all.iter().flat_map(|s| s.as_array().unwrap()).map(|s| s["reply"].clone()).collect()
    };
    assert_eq!(replies("back.jsonl"), replies("t.jsonl"));
    let mut newer = lines(&home.join("t.jsonl"))[0].clone();
    newer["version"] = json!(9);
    std::fs::write(home.join("newer.jsonl"), newer.to_string()).unwrap();
    let refused =
        trainer(home).args(["filter", "newer.jsonl", "--out", "x.jsonl"]).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && told.contains("newer.jsonl:1") && told.contains("format 9"),
        "{told}"
    );
}

#[test]
fn a_gguf_is_a_teacher_too() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    random_model(&home.join("teacher.gguf"));
    let config = "[teacher]\nkind = \"gguf\"\npath = \"teacher.gguf\"\nthreads = 1\n\
                  [collect]\ntasks.file = \"tasks.jsonl\"\nsteps_max = 1\nreply_tokens_max = 24\n";
    std::fs::write(home.join("distil.toml"), config).unwrap();
    std::fs::write(
        home.join("tasks.jsonl"),
        "{\"question\": \"One and one?\", \"answer\": \"It is two.\\n#### 2\"}\n",
    )
    .unwrap();
    run(trainer(home).args(["collect", "distil.toml", "--out", "t.jsonl"]));
    let rows = lines(&home.join("t.jsonl"));
    // Random weights write no code; that they were asked, and through the loop, is what counts.
    assert_eq!((&rows[0]["teacher"], &rows[0]["answer"]), (&json!("teacher"), &json!("2")));
    assert!(rows[0]["spent"]["completion_tokens"].as_u64().unwrap() > 0);
    assert!(!rows[0]["transcript"]["steps"].as_array().unwrap().is_empty());
}

#[test]
fn a_collection_that_is_killed_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    write_pages(home);
    let (silent, heard) = std::sync::mpsc::channel();
    // The second task's first request is the third of all, and is not answered.
    let server = Server::start(move |asked| {
        if asked.number == 2 {
            silent.send(()).unwrap();
            return Act::Silent;
        }
        let n = pump(asked.message(1));
        Act::Reply(match asked.message(-1).contains("[1]") {
            true => format!("It stands there.\n```py\nfinal_answer(\"H{n}\")\n```"),
            false => format!("I look.\n```py\nprint(search(\"Pump P{n}\"))\n```"),
        })
    });
    let config = format!(
        "[teacher]\nkind = \"server\"\nurl = \"{}\"\nmodel = \"m\"\nconcurrent_max = 1\n\
         [corpus]\nfolder = \"pages\"\n[collect]\ntasks.file = \"tasks.jsonl\"\n",
        server.url()
    );
    std::fs::write(home.join("distil.toml"), config).unwrap();
    let task =
        |n| format!("{{\"question\": \"Where does pump P{n} stand?\", \"answer\": \"H{n}\"}}\n");
    std::fs::write(home.join("tasks.jsonl"), (1..=3).map(task).collect::<String>()).unwrap();
    let collect = ["collect", "distil.toml", "--out", "t.jsonl"];
    let mut child = trainer(home).args(collect).spawn().unwrap();
    heard.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines(&home.join("t.jsonl")).len(), 1);
    // As if the power had failed in the midst of a row.
    let mut text = std::fs::read_to_string(home.join("t.jsonl")).unwrap();
    text += "{\"version\": 1, \"id\": \"li";
    std::fs::write(home.join("t.jsonl"), text).unwrap();
    run(trainer(home).args(collect));
    let rows = lines(&home.join("t.jsonl"));
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["line-1", "line-2", "line-3"]);
    assert!(rows.iter().all(|row| row["generated"] == row["answer"]));
    // Two requests for each task, and the one that was cut off.
    assert_eq!(server.asked().len(), 7);
}

#[test]
fn one_command_goes_from_a_corpus_to_what_is_worth_learning() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    pages(home);
    let server = Server::start(teach);
    let config = config(&server).replace("tasks.file = \"questions.jsonl\"\n", "");
    let config = config + "[student]\nrecipe = \"own.toml\"\n";
    std::fs::write(home.join("distil.toml"), &config).unwrap();
    let distil = ["distil", "distil.toml", "--out", "taught"];
    // A recipe whose student could not learn it costs no request.
    for (recipe, expected) in [
        (RECIPE.replace("'retort'", "'smolagents'"), "own.toml is of dialect \"smolagents\""),
        (RECIPE.replace("layers", "layer"), "unknown field `layer`"),
    ] {
        std::fs::write(home.join("own.toml"), recipe).unwrap();
        let refused = trainer(home).args(distil).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && told.contains(expected), "{told}");
    }
    assert!(server.asked().is_empty());

    std::fs::write(home.join("own.toml"), RECIPE).unwrap();
    let told = String::from_utf8(run(trainer(home).args(distil)).stdout).unwrap();
    assert!(told.contains("asked already") && told.contains("wrong answer"), "{told}");
    assert!(told.contains("exact match") && told.ends_with("taught/own.gguf\n"), "{told}");
    let test = lines(&home.join("taught/questions.test.jsonl"));
    let answered = lines(&home.join("taught/own.questions.jsonl"));
    assert_eq!(answered.len(), test.len() + 1);
    assert_eq!(answered.last().unwrap()["tasks"], json!(test.len()));
    let kept = lines(&home.join("taught/kept.jsonl"));
    assert!(kept.len() > PUMPS as usize);
    let sent = server.asked().len();
    run(trainer(home).args(distil));
    assert_eq!(server.asked().len(), sent);
    assert_eq!(lines(&home.join("taught/kept.jsonl")), kept);

    // What is set aside later is no longer learnt.
    std::fs::write(home.join("distil.toml"), config.replace("0.25", "0.6")).unwrap();
    run(trainer(home).args(distil));
    assert_eq!(server.asked().len(), sent);
    let ids = |name: &str| -> BTreeSet<String> {
        let rows = lines(&home.join("taught").join(name));
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ids("questions.test.jsonl").len() > test.len());
    assert!(ids("kept.jsonl").is_disjoint(&ids("questions.test.jsonl")));

    // What somebody wrote is not replaced.
    std::fs::write(home.join("taught/questions.jsonl"), "{\"mine\": 1}\n").unwrap();
    run(trainer(home).args(["questions", "distil.toml", "--out", "taught/questions.jsonl"]));
    assert_eq!(lines(&home.join("taught/questions.edited.jsonl")), [json!({"mine": 1})]);
    std::fs::write(home.join("mine.jsonl"), "{\"mine\": 1}\n").unwrap();
    let foreign = ["questions", "distil.toml", "--out", "mine.jsonl"];
    let refused = trainer(home).args(foreign).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("mine.jsonl: questions that were not written here"), "{told}");
}
