//! Questions about documents, written by a server on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use retort_test_data::server::{Act, Asked, Server};
use serde_json::{Value, json};

use super::*;
use crate::collect::CollectConfig;
use crate::distil::DistilConfig;
use crate::environment::CorpusConfig;
use crate::filter::FilterConfig;
use crate::remote::{ServerConfig, SystemPace};
use crate::teachers::{TeacherConfig, read_teacher_tasks};
use crate::trajectory::{Manifest, manifest_path};

fn config(server: &Server, folder: &std::path::Path) -> DistilConfig {
    let file = folder.join("pages.jsonl");
    let page = |n: u32| {
        let text = format!(
            "The pump P{n} has a seal of type S{n} that is changed every {n}00 hours by the crew."
        );
        json!({"id": format!("p{n}"), "title": format!("Pump P{n}"), "text": text}).to_string()
            + "\n"
    };
    std::fs::write(&file, (1..=4).map(page).collect::<String>()).unwrap();
    let corpus = folder.join("corpus");
    retort::corpus::ingest(&corpus, &[file], &Default::default(), &mut ()).unwrap();
    DistilConfig {
        seed: 1,
        teacher: TeacherConfig::Server(Box::new(ServerConfig::new(&server.url(), "scripted"))),
        corpus: Some(CorpusConfig::Folder(corpus)),
        collect: CollectConfig::default(),
        questions: QuestionsConfig {
            per_passage: 5,
            pairs_share: 0.0,
            test_share: 0.0,
            ..QuestionsConfig::default()
        },
        filter: FilterConfig::default(),
        student: None,
    }
}

fn write(config: &DistilConfig, out: &std::path::Path) -> anyhow::Result<()> {
    let pace = Arc::new(SystemPace::default());
    write_questions(config.teaching(), &config.questions, out, pace)
}

fn number(text: &str) -> &str {
    text.split("Title: Pump P").nth(1).and_then(|rest| rest.get(..1)).unwrap_or("?")
}

/// For each passage a good question, and one for each way to be of no use.
fn teach(asked: &Asked) -> Act {
    let text = asked.message(-1);
    let n = number(text);
    Act::Reply(match text.split_once("Question: ") {
        None => [
            (format!("How often is the seal of pump P{n} changed?"), format!("every {n}00 hours")),
            ("Which pump is described in the passage?".to_owned(), format!("P{n}")),
            (format!("Who makes pump P{n}?"), "Acme".to_owned()),
            (format!("How many bolts has pump P{n}?"), "12".to_owned()),
            ("Who changes the seal of a pump?".to_owned(), "the crew".to_owned()),
        ]
        .map(|(question, answer)| json!({"question": question, "answer": answer}).to_string())
        .join("\n"),
        Some((_, question)) if question.contains("often") => format!("{n}00 hours"),
        Some((_, question)) if question.contains("Who changes") => "Crew".to_owned(),
        Some(_) => "Not answerable".to_owned(),
    })
}

#[test]
fn only_questions_that_the_documents_answer_are_kept() {
    let server = Server::start(teach);
    let folder = tempfile::tempdir().unwrap();
    let config = config(&server, folder.path());
    let out = folder.path().join("questions.jsonl");
    write(&config, &out).unwrap();
    let tasks = read_teacher_tasks(&out).unwrap();
    assert_eq!(tasks.len(), 5);
    assert_eq!(tasks.iter().filter(|task| task.question.contains("How often")).count(), 4);
    let manifest: Manifest =
        serde_json::from_slice(&std::fs::read(manifest_path(&out)).unwrap()).unwrap();
    for (verdict, count) in [
        (Verdict::Kept, 5),
        (Verdict::NotAlone, 4),
        (Verdict::AnswerNotThere, 4),
        (Verdict::NotAnswerable, 4),
        (Verdict::Duplicate, 3),
    ] {
        assert_eq!(manifest.counts[verdict.name()], json!(count), "{}", verdict.name());
    }
    // Written once and asked again three times for each of four passages.
    assert_eq!(server.asked().len(), 16);
    write(&config, &out).unwrap();
    assert_eq!(server.asked().len(), 16);
}

#[test]
fn a_test_set_is_set_aside() {
    let server = Server::start(teach);
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server, folder.path());
    config.questions.test_share = 0.5;
    let out = folder.path().join("questions.jsonl");
    write(&config, &out).unwrap();
    let lines = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let (train, test) = (lines("questions.jsonl"), lines("questions.test.jsonl"));
    assert_eq!(train.len() + test.len(), 5);
    assert!(!test.is_empty() && test.iter().all(|task| !train.contains(task)));
}

#[test]
fn a_teacher_that_writes_no_question_is_named() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let asked_for = is_mended.clone();
    let server = Server::start(move |asked| match asked_for.load(Ordering::Relaxed) {
        true => teach(asked),
        false => Act::Reply("I would rather not.".to_owned()),
    });
    let folder = tempfile::tempdir().unwrap();
    let config = config(&server, folder.path());
    let out = folder.path().join("questions.jsonl");
    let told = write(&config, &out).unwrap_err();
    assert!(told.to_string().contains("no question was kept"), "{told}");
    // Its replies are not held against it for ever.
    is_mended.store(true, Ordering::Relaxed);
    write(&config, &out).unwrap();
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 5);
    let (asked, record) = (server.asked().len(), out.with_extension("passages.jsonl"));
    let rows = std::fs::read_to_string(&record).unwrap();
    write(&config, &out).unwrap();
    assert_eq!((server.asked().len(), std::fs::read_to_string(&record).unwrap()), (asked, rows));
}

#[test]
fn some_questions_take_two_passages() {
    let server = Server::start(|asked| {
        let text = asked.message(-1);
        let both: Vec<&str> = text.split("Title: Pump P").skip(1).map(|rest| &rest[..1]).collect();
        Act::Reply(match (text.contains("Question: "), &both[..]) {
            (false, [one, two]) => {
                assert!(asked.message(0).contains("two passages"));
                let question =
                    format!("By how many hours do the seals of P{one} and P{two} differ?");
                json!({"question": question, "answer": "100"}).to_string()
            }
            (true, [_, _]) => "100".to_owned(),
            _ => "{}".to_owned(),
        })
    });
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server, folder.path());
    config.questions.pairs_share = 1.0;
    let out = folder.path().join("questions.jsonl");
    write(&config, &out).unwrap();
    let text = std::fs::read_to_string(&out).unwrap();
    let tasks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(tasks.len() >= 2);
    for task in tasks {
        assert_eq!(task["kind"], "pair");
        assert_ne!(task["documents"][0], task["documents"][1]);
    }
}
