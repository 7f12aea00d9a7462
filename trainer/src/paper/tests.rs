#![allow(clippy::unwrap_used)]

use super::*;
use crate::world::Family;

const TINY: &str = r#"
kind = "paper"
dialect = "retort"
vocabulary_max = 700
seeds = [1, 2]
tokens_budget = 3000
drills = 20
world_seed = 40
worlds = 2
documents = 60
tasks = 20
slips = 0.1
test_tasks = 2
passages = 2
candidates = 2
threads = 2

[[sizes]]
width = 32
heads = 4
layers = 2
feed_forward = 32

[[sizes]]
width = 64
heads = 4
layers = 2
feed_forward = 64

[scale.one]
sizes = 1
seeds = 1
"#;

#[test]
fn a_scale_cuts_a_recipe_down_and_keeps_its_key_where_rows_are_the_same() {
    let whole = PaperRecipe::parse(TINY, None).unwrap();
    let one = PaperRecipe::parse(TINY, Some("one")).unwrap();
    assert_eq!((whole.sizes.len(), one.sizes.len(), one.seeds.len()), (2, 1, 1));
    assert_eq!(whole.key().unwrap(), one.key().unwrap());
    let other = PaperRecipe { slips: 0.2, ..whole.clone() };
    assert_ne!(whole.key().unwrap(), other.key().unwrap());
    let error = PaperRecipe::parse(TINY, Some("two")).unwrap_err().to_string();
    assert_eq!(error, "no scale \"two\"; the recipe has: one");
    let unknown = TINY.replace("slips", "slip");
    assert!(PaperRecipe::parse(&unknown, None).unwrap_err().to_string().contains("slip"));
    let uneven = TINY.replacen("width = 32", "width = 30", 1);
    let error = PaperRecipe::parse(&uneven, None).unwrap_err().to_string();
    assert_eq!(error, "sizes: 4 heads do not divide a width of 30");
    assert_eq!(Cell::all(&whole).len(), 2 * 2 * Regime::ALL.len());
}

#[test]
fn all_learners_learn_the_same_questions() {
    let recipe = PaperRecipe { slips: 0.3, ..PaperRecipe::parse(TINY, None).unwrap() };
    let dialect = Dialect::named("retort").unwrap();
    let sandbox = Sandbox::open(&SandboxOptions { cache_dir: None }).unwrap();
    let lessons = Lessons::collect(&recipe, &dialect, &sandbox, &ProgressBar::hidden()).unwrap();
    let text = |regime, index: usize| -> String {
        lessons.of(regime)[index].iter().map(|part| part.text.as_str()).collect()
    };
    let count = lessons.of(Regime::Cot).len();
    assert!((5..60).contains(&count), "{count}");
    assert!(lessons.summary().starts_with(&format!("{count} of 60 questions kept")));
    for index in 0..count {
        let cot = text(Regime::Cot, index);
        let question = cot.lines().nth(1).unwrap().trim_end_matches("<|im_end|>").to_owned();
        for regime in Regime::ALL {
            assert_eq!(lessons.of(regime).len(), count);
            assert!(text(regime, index).contains(&question), "{regime:?}: {question}");
        }
        assert!(cot.contains("\n\nAnswer: ") && !cot.contains("final_answer"));
        assert!(text(Regime::Agent, index).contains("final_answer("));
    }
    let passages: String = (0..count).map(|index| text(Regime::CotPassages, index)).collect();
    assert!(passages.contains(" [1]: "));
}

#[test]
fn rows_are_kept_by_cell_and_the_table_is_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.jsonl");
    let recipe = PaperRecipe::parse(TINY, None).unwrap();
    let cell = Cell::all(&recipe)[0];
    let row = |student, size: usize, seed, family, right| Row {
        recipe: recipe.key().unwrap(),
        student,
        size: recipe.sizes[size],
        parameters: 100_000 * (size + 1),
        seed,
        family,
        tasks: 10,
        right,
        steps: if student.regime() == Regime::Agent { 20 } else { 0 },
        unparsed: 1,
        failed: 1,
    };
    // A cell of which an interrupted run wrote a part is made again, and its rows stand once.
    let some = row(Student::Cot, 0, 1, Family::FactsKnown, 2);
    std::fs::write(&file, serde_json::to_string(&some).unwrap() + "\n{\"recipe\": \"cut").unwrap();
    let mut rows = Rows::open(&file, &recipe.key().unwrap()).unwrap();
    assert!(!rows.has(&cell, &recipe.sizes));
    let whole = Family::ALL.map(|family| row(Student::Cot, 0, 1, family, 2));
    rows.append(whole.to_vec()).unwrap();
    assert!(rows.has(&cell, &recipe.sizes));
    drop(rows);
    assert_eq!(read(&file).unwrap().len(), Family::ALL.len());
    let twice = read_table(&[file.clone(), file.clone()]).unwrap_err().to_string();
    assert!(twice.contains("CoT of 100000 parameters and seed 1 was asked"), "{twice}");
    let others = folder.path().join("others.jsonl");
    let other = Row { recipe: "other".to_owned(), ..some };
    std::fs::write(&others, serde_json::to_string(&other).unwrap()).unwrap();
    let mixed = read_table(&[file.clone(), others]).unwrap_err().to_string();
    assert!(mixed.contains("others.jsonl: rows of recipe other"), "{mixed}");
    std::fs::remove_file(&file).unwrap();

    let mut made = Vec::new();
    for (seed, right) in [(1, 4), (2, 6)] {
        for family in Family::ALL {
            made.push(row(Student::Cot, 0, seed, family, 2));
            made.push(row(Student::Cot, 1, seed, family, 3));
            made.push(row(Student::Agent, 0, seed, family, right));
        }
    }
    let mut rows = Rows::open(&file, &recipe.key().unwrap()).unwrap();
    assert!(!rows.has(&cell, &recipe.sizes));
    rows.append(made.clone()).unwrap();
    assert!(rows.has(&cell, &recipe.sizes));
    drop(rows);
    assert_eq!(Rows::open(&file, &recipe.key().unwrap()).unwrap().all(), made);
    assert!(Rows::open(&file, "another").unwrap().all().is_empty());

    let report = report(&made);
    assert!(report.contains("| CoT | 20.0 ± 0.0 | 30.0 ± 0.0 |"), "{report}");
    assert!(report.contains("| agent | 50.0 ± 127.1 | – |"), "{report}");
    assert!(
        report.contains("| agent − CoT one size up | all | 20.0 ± 127.1 | 2 | too few pairs |")
    );
    assert!(report.contains("| agent | 5.0 ± 0.0 | – |"), "{report}");
    let svg = folder.path().join("scores.svg");
    plot::draw(&made, &svg).unwrap();
    assert!(std::fs::read_to_string(&svg).unwrap().contains("agent + prefix + SAG"));

    std::fs::write(&file, "{\"recipe\": 3}\n").unwrap();
    let error = read(&file).unwrap_err().to_string();
    assert!(error.ends_with("rows.jsonl, line 1: no row of a table"), "{error}");
}
