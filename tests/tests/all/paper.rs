//! The table of the method, cell by cell.

use std::path::Path;
use std::process::{Command, Output};

use retort_tests::program;

const RECIPE: &str = r#"
kind = "paper"
dialect = "retort"
vocabulary_max = 700
seeds = [1]
tokens_budget = 3000
drills = 20
world_seed = 40
worlds = 2
documents = 60
tasks = 20
slips = 0.1
test_tasks = 1
passages = 2
candidates = 2
threads = 2

[[sizes]]
width = 32
heads = 4
layers = 2
feed_forward = 32

[scale.small]
seeds = 1
"#;

fn run(home: &Path, arguments: &[&str]) -> Output {
    Command::new(program("retort-train"))
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn cells_are_made_once_and_alike() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("paper.toml"), RECIPE).unwrap();
    let make = ["run", "paper.toml", "--scale", "small", "--out", "out"];
    let first = printed(&run(home, &make));
    let rows = home.join("out/rows.jsonl");
    let made = std::fs::read_to_string(&rows).unwrap();
    // Five students, eight families.
    assert_eq!(made.lines().count(), 40);
    assert!(first.contains("| agent + prefix + SAG |"), "{first}");
    assert!(home.join("out/scores.svg").exists());
    assert_eq!(printed(&run(home, &make)), first);
    assert_eq!(printed(&run(home, &["table", "out/rows.jsonl"])), first);

    // As if the run had stopped before its last cell.
    let kept = |line: &&str| !line.contains("agent-prefix");
    let fewer: String = made.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    assert_eq!(fewer.lines().count(), 24);
    std::fs::write(&rows, fewer).unwrap();
    assert_eq!(printed(&run(home, &make)), first);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&std::fs::read_to_string(&rows).unwrap()), sorted(&made));
}

#[test]
fn a_recipe_that_does_not_fit_is_named_with_what_was_expected() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let refused = |name: &str, text: &str, further: &[&str]| {
        std::fs::write(home.join(name), text).unwrap();
        let output = run(home, &[&["run", name, "--out", "out"], further].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let told = refused("unknown.toml", &RECIPE.replace("slips", "slip"), &[]);
    assert!(told.contains("unknown.toml is no recipe") && told.contains("slip"), "{told}");
    let told = refused("scale.toml", RECIPE, &["--scale", "huge"]);
    assert!(told.contains("no scale \"huge\"; the recipe has: small"), "{told}");
    let told = refused("kind.toml", &RECIPE.replace("\"paper\"", "\"table\""), &[]);
    assert!(
        told.contains("kind.toml: kind, expected \"paper\", \"finetune\" or nothing"),
        "{told}"
    );
    let told = refused("slips.toml", &RECIPE.replace("slips = 0.1", "slips = 3.0"), &[]);
    assert!(told.contains("slips is 3, expected a share"), "{told}");
}
