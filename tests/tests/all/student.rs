//! The bundled student: its manifest, its recipe and its file belong together, and it can do what
//! the manifest says. And a small student is made from nothing, by a recipe.

use std::path::{Path, PathBuf};
use std::process::Command;

use retort::engine::ModelFile;
use retort::profile::Manifest;
use retort::transcript::Dialect;
use retort_tests::{program, retort};
use retort_train::student::Recipe;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Less than its manifest says: 120 questions of another world are few.
const RIGHT_MIN: f64 = 0.9;
/// A student of `models` and the most bytes it may have.
const STUDENTS: [(&str, u64); 3] =
    [("student", 12_000_000), ("student4", 1_500_000), ("small", 1_500_000)];

#[test]
fn manifest_recipe_and_file_belong_together() {
    for (name, bytes_max) in STUDENTS {
        let path = format!("models/{name}.toml");
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        let manifest = Manifest::read(&path, &text).unwrap();
        let recipe = Recipe::read(&root().join(format!("trainer/recipes/{name}.toml"))).unwrap();
        assert_eq!(recipe.name, name);
        assert_eq!(manifest.recipe_sha256, Some(recipe.key().unwrap()), "train {name} anew");
        let measured = recipe.measure.as_ref().map(|measure| measure.sha256().unwrap());
        assert_eq!(manifest.measure_sha256, measured, "measure {name} anew");
        let file = ModelFile::open(&root().join(format!("models/{name}.gguf"))).unwrap();
        assert_eq!(manifest.sha256.as_ref(), Some(&file.sha256));
        let header = |key| file.header.text(key).unwrap();
        let dialect = Dialect::named(&recipe.dialect).unwrap();
        assert_eq!(header("retort.dialect"), dialect.name());
        assert_eq!(header("retort.dialect_hash"), dialect.hash(), "trained on other words");
        assert!(file.bytes <= bytes_max, "{name}: {} bytes", file.bytes);
        if name == "student" {
            assert_eq!(retort::bundled::student().unwrap().sha256, file.sha256);
        }
    }
}

/// Writes the world of `seed`, with further flags, and indexes it as corpus `w`; returns the file of
/// its questions.
fn world(home: &Path, seed: u64, tasks: usize, further: &[&str]) -> PathBuf {
    let out = home.join("world");
    let (seed, tasks) = (seed.to_string(), tasks.to_string());
    let status = Command::new(program("retort-train"))
        .args(["world", "--seed", &seed, "--documents", "400", "--tasks", &tasks, "--out"])
        .arg(&out)
        .args(further)
        .status()
        .unwrap();
    assert!(status.success());
    let corpus = out.join("corpus.jsonl");
    let indexed = retort(home).arg("index").arg(corpus).args(["--corpus", "w"]).status().unwrap();
    assert!(indexed.success());
    out.join("test.jsonl")
}

fn eval(home: &Path, tasks: &Path, further: &[&str]) -> Vec<Value> {
    let output =
        retort(home).arg("eval").arg(tasks).args(["--json"]).args(further).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_bundled_student_reads_worlds_it_has_never_seen() {
    for domain in ["gazetteer", "plant"] {
        let home = tempfile::tempdir().unwrap();
        let tasks = world(home.path(), 20_261, 60, &["--style", "full", "--domain", domain]);
        let rows = eval(home.path(), &tasks, &["--corpus", "w", "--samples", "1"]);
        let (summary, rows) = rows.split_last().unwrap();
        assert!(summary["exact_match"].as_f64().unwrap() >= RIGHT_MIN, "{domain}: {summary}");
        let searched = |row: &&Value| row["kind"] != "no_search" && row["kind"] != "absent";
        for row in rows.iter().filter(|row| row["exact_match"] == true).filter(searched) {
            let cited = row["citations"].as_array().unwrap();
            assert!(!cited.is_empty(), "{row}");
        }
        // It reads; it does not remember. What needs no page it knows still.
        let elsewhere = eval(home.path(), &tasks, &["--corpus", "demo", "--samples", "1"]);
        let summary = elsewhere.last().unwrap();
        assert!(summary["exact_match"].as_f64().unwrap() < 0.35, "{domain}: {summary}");
    }
}

#[test]
fn every_student_reads_a_plain_world_it_has_never_seen() {
    let home = tempfile::tempdir().unwrap();
    let tasks = world(home.path(), 20_261, 60, &["--style", "plain"]);
    for (name, _) in STUDENTS {
        let model = root().join(format!("models/{name}.gguf"));
        let over = |corpus| {
            let model = ["--model", model.to_str().unwrap(), "--samples", "1"];
            eval(home.path(), &tasks, &[&model[..], &["--corpus", corpus]].concat())
        };
        let rows = over("w");
        let (summary, rows) = rows.split_last().unwrap();
        assert!(summary["exact_match"].as_f64().unwrap() >= 0.9, "{name}: {summary}");
        for row in rows.iter().filter(|row| row["exact_match"] == true) {
            let cited = row["citations"].as_array().unwrap();
            assert!(!cited.is_empty(), "{name}: {row}");
        }
        // It reads; it does not remember.
        let elsewhere = over("demo");
        let summary = elsewhere.last().unwrap();
        assert!(summary["exact_match"].as_f64().unwrap() < 0.15, "{name}: {summary}");
    }
}

#[test]
fn a_recipe_makes_a_student_and_is_not_repeated() {
    let out = tempfile::tempdir().unwrap();
    let run = || {
        let output = Command::new(program("retort-train"))
            .args(["run", "trainer/recipes/smoke.toml", "--out"])
            .arg(out.path())
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run().trim(), out.path().join("smoke.gguf").display().to_string());
    let path = out.path().join("smoke.toml");
    let first = std::fs::read_to_string(&path).unwrap();
    let manifest = Manifest::read("smoke.toml", &first).unwrap();
    // Seconds of training: it has learnt to search, not yet to tell documents apart.
    assert!(manifest.exact_match["all"] > 0.15, "{first}");
    let measured = std::fs::metadata(&path).unwrap().modified().unwrap();
    run();
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), measured);
}

/// Rounding to four bits without training for it costs the small student a few answers of sixty.
#[test]
fn a_student_that_rounding_costs_too_much_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    let small = std::fs::read_to_string(root().join("trainer/recipes/small.toml")).unwrap();
    let start = std::fs::canonicalize(root().join("models/small.gguf")).unwrap();
    let run = |drop_max: &str| {
        let text = [
            ("tokens_budget = 9_000_000", "tokens_budget = 1000\nlearning_rate = 1e-9"),
            ("drills = 12_000", &format!("drills = 10\nweights = \"Q4_0\"\nstart = {start:?}")),
            ("worlds = 40", "worlds = 1"),
            ("tasks = 350", "tasks = 10"),
            ("drop_max = 2.0", drop_max),
            ("tasks = 200", "tasks = 60"),
        ]
        .iter()
        .fold(small.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        std::fs::write(&recipe, text).unwrap();
        let arguments = ["run", "recipe.toml", "--out", "out"];
        let mut command = Command::new(program("retort-train"));
        command.args(arguments).env_remove("RUST_BACKTRACE").current_dir(folder.path());
        command.output().unwrap()
    };
    let refused = run("drop_max = 0.0");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("measure.drop_max: take larger"), "{told}");
    assert!(!folder.path().join("out/small.gguf").exists());
    let made = run("drop_max = 50.0");
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() && told.contains("| exact match | F32 | Q4_0 |"), "{told}");
    let out = folder.path().join("out");
    assert!(out.join("small.gguf").exists() && out.join("small.toml").exists());
}
