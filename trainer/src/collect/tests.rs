//! Whole collections from a server on loopback.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use retort_test_data::server::{Act, Asked, Server};
use retort_transcript::{Dialect, Observation};
use serde_json::{Value, json};

use super::*;
use crate::distil::DistilConfig;
use crate::environment::CorpusConfig;
use crate::filter::{FilterConfig, Table};
use crate::remote::{BudgetConfig, Price, ServerConfig, SystemPace};
use crate::teachers::{Pool, ProgramConfig, Seat, Teacher, TeacherConfig};
use crate::trajectory::{
    Journal, Manifest, Mode, Trajectory, manifest_path, merge_files, read_trajectories,
};
use crate::world::{Domain, Style};

const PAGES: [(&str, &str); 3] = [
    ("Heahi Bridge", "The Heahi Bridge was opened in 1836 by Ada Lum."),
    ("Lumo Mill", "The Lumo Mill was built in 1790 beside the river Tarn."),
    ("Tarn", "The Tarn is a river of 210 km."),
];

struct Scene {
    folder: tempfile::TempDir,
    config: DistilConfig,
}

impl Scene {
    /// Two tasks about three pages.
    fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("pages");
        std::fs::create_dir(&pages).unwrap();
        let line = |(title, text): &(&str, &str)| {
            json!({"id": title, "title": title, "text": text}).to_string() + "\n"
        };
        std::fs::write(pages.join("p.jsonl"), PAGES.iter().map(line).collect::<String>()).unwrap();
        let corpus = folder.path().join("corpus");
        let files = [pages.join("p.jsonl")];
        retort::corpus::ingest(&corpus, &files, &Default::default(), &mut ()).unwrap();
        let tasks = folder.path().join("tasks.jsonl");
        std::fs::write(
            &tasks,
            "{\"id\": \"bridge\", \"question\": \"When was the Heahi Bridge opened?\", \"answer\": 1836}\n\
             {\"id\": \"mill\", \"question\": \"When was the Lumo Mill built?\", \"answer\": \"1790\"}\n",
        )
        .unwrap();
        let server = ServerConfig {
            price: Price { prompt_per_million: 1.0, completion_per_million: 10.0 },
            backoff_seconds: 1e-4,
            ..ServerConfig::new(&server.url(), "scripted")
        };
        let config = DistilConfig {
            seed: 1,
            teacher: TeacherConfig::Server(Box::new(server)),
            corpus: Some(CorpusConfig::Folder(corpus)),
            collect: CollectConfig { tasks: Some(TasksConfig::File(tasks)), ..Default::default() },
            questions: Default::default(),
            filter: FilterConfig::default(),
            student: None,
        };
        Self { folder, config }
    }

    fn server(&mut self) -> &mut ServerConfig {
        match &mut self.config.teacher {
            TeacherConfig::Server(server) => server,
            other => panic!("{other:?}"),
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out.jsonl")
    }

    fn collect(&self) -> Result<Vec<Trajectory>, String> {
        let pace = Arc::new(SystemPace::default());
        let DistilConfig { collect: config, .. } = &self.config;
        collect(self.config.teaching(), config, &self.out(), pace)
            .map_err(|error| format!("{error:#}"))?;
        Ok(read_trajectories(&self.out()).unwrap())
    }

    fn manifest(&self) -> Manifest {
        manifest(&self.out())
    }
}

fn manifest(out: &Path) -> Manifest {
    serde_json::from_slice(&std::fs::read(manifest_path(out)).unwrap()).unwrap()
}

/// Searches the question, then answers with the year it was shown.
fn act(asked: &Asked) -> Act {
    let last = asked.message(-1);
    let year = last.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 4);
    Act::Reply(match year {
        Some(year) => format!("I found it.\n```py\nfinal_answer({year})\n```\nOutput:\n{year}"),
        None => format!("I need the page.\n```py\nprint(search({}))\n```", Value::from(last)),
    })
}

#[test]
fn a_teacher_walks_the_loop_of_a_student() {
    let server = Server::start(act);
    let scene = Scene::new(&server);
    let rows = scene.collect().unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["bridge", "mill"]);
    let row = &rows[0];
    assert_eq!((row.generated.as_deref(), row.status.as_str()), (Some("1836"), "answered"));
    // The real corpus answered, in the words of the student's dialect.
    let Some(Observation::Output { logs, .. }) = &row.transcript.steps[0].observation else {
        panic!("{:?}", row.transcript.steps)
    };
    assert!(logs.contains("Heahi Bridge [1]"), "{logs}");
    // What the teacher went on to invent is not there.
    assert!(row.transcript.steps[1].reply.ends_with("final_answer(1836)\n```"));
    assert_eq!((row.spent.prompt_tokens, row.spent.completion_tokens), (200, 20));
    let manifest = scene.manifest();
    assert!(manifest.complete);
    assert_eq!(manifest.spent.requests, 4);
    assert!((manifest.spent.cost - 4.0 * 200e-6).abs() < 1e-9, "{:?}", manifest.spent);
    // The teacher was told what students are not.
    assert!(server.asked()[0].message(0).contains("final_answer"));
    let dialect = Dialect::named("retort").unwrap();
    assert_eq!(dialect.message_sequence(&row.transcript)[0].content, row.question);
    assert_eq!(row.dialect_hash, dialect.hash());
}

#[test]
fn a_second_run_does_only_what_is_missing() {
    let fails = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&fails);
    let server = Server::start(move |asked| {
        let is_mill = asked.message(1).contains("Mill");
        if is_mill && switch.load(Ordering::SeqCst) {
            return Act::Status(422, vec![], "{\"detail\": \"no mills\"}".to_owned());
        }
        act(asked)
    });
    let mut scene = Scene::new(&server);
    let told = scene.collect().unwrap_err();
    assert!(told.contains("1 tasks failed; run again"), "{told}");
    // Where some may fail, that is enough.
    scene.config.collect.failed_share_max = 0.5;
    assert_eq!(scene.collect().unwrap().len(), 1);
    assert!(!scene.manifest().complete);
    assert_eq!(read_trajectories(&scene.out()).unwrap().len(), 1);
    let sent = server.asked().len();
    fails.store(false, Ordering::SeqCst);
    assert_eq!(scene.collect().unwrap().len(), 2);
    let again = server.asked().split_off(sent);
    assert!(again.iter().all(|asked| asked.message(1).contains("Mill")));
    // Complete, it asks nothing.
    scene.collect().unwrap();
    assert_eq!(server.asked().len(), sent + again.len());
    assert_eq!(scene.manifest().spent.requests, 4);
}

#[test]
fn tasks_may_be_added_but_none_may_change_under_its_id() {
    let server = Server::start(act);
    let scene = Scene::new(&server);
    let rows = scene.collect().unwrap();
    let asked = server.asked().len();
    let tasks = scene.folder.path().join("tasks.jsonl");
    let text = std::fs::read_to_string(&tasks).unwrap();
    let first = text.lines().next().unwrap();
    let third = first.replacen(&rows[0].id, "third", 1);
    std::fs::write(&tasks, format!("{text}{third}\n")).unwrap();
    assert_eq!(scene.collect().unwrap().len(), rows.len() + 1);
    assert_eq!(server.asked().len(), asked + 2);
    std::fs::write(&tasks, first.replacen(&rows[0].answer, "1999", 1)).unwrap();
    let told = scene.collect().unwrap_err();
    assert!(told.contains(&format!("the row of task {:?}", rows[0].id)), "{told}");
}

#[test]
fn rows_of_another_teacher_are_not_mixed() {
    let server = Server::start(act);
    let mut scene = Scene::new(&server);
    scene.collect().unwrap();
    scene.server().model = "another".to_owned();
    let told = scene.collect().unwrap_err();
    assert!(told.contains("teacher was") && told.contains("another"), "{told}");
    assert_eq!(read_trajectories(&scene.out()).unwrap().len(), 2);
}

/// Thinks when told to think, acts when told to act.
fn think_or_act(asked: &Asked) -> Act {
    if !asked.message(0).starts_with("Think step by step") {
        return match asked.body.get("continue_final_message") {
            Some(_) if asked.message(-1).ends_with("six,") => Act::Reply(" seven".to_owned()),
            Some(_) => {
                Act::Reply("Let me look.\n```py\nprint(search(\"Heahi Bridge\"))\n```".to_owned())
            }
            None => act(asked),
        };
    }
    let year = if asked.message(1).contains("1836 by Ada") { "1836" } else { "1790" };
    Act::Reply(format!("It may be old.\nVery old.\n\nI guess.\n\nAnswer: {year}"))
}

#[test]
fn the_first_thought_comes_from_a_chain_about_the_bare_question() {
    let server = Server::start(think_or_act);
    let mut scene = Scene::new(&server);
    scene.server().concurrent_max = 1;
    scene.config.collect.first_thought_prefix = true;
    scene.config.collect.limit = Some(1);
    let rows = scene.collect().unwrap();
    let prefix = "It may be old.\nVery old.\n\n";
    assert_eq!(rows[0].prefix.as_deref(), Some(prefix));
    assert!(rows[0].transcript.steps[0].reply.starts_with(&format!("{prefix}Let me look.")));
    let asked = server.asked();
    // Bare: nothing but the question, under the instruction to think.
    assert_eq!(asked[0].message(1), "When was the Heahi Bridge opened?");
    // Whether the server goes on with a reply is found out first.
    assert_eq!(asked[2].message(-1), prefix);
    assert_eq!(asked[2].body["add_generation_prompt"], json!(false));
    // Only the first turn is prefilled, and the chain is paid for.
    assert!(asked[3].body.get("continue_final_message").is_none());
    assert_eq!(rows[0].spent.requests, 4);
}

#[test]
fn the_published_dialect_is_taught_byte_for_byte() {
    let server = Server::start(|asked| {
        let is_thinking = asked.message(0).starts_with("Think step by step");
        Act::Reply(match asked.message(-1) {
            _ if is_thinking => "It was long ago.\n\nAnswer: 1".to_owned(),
            told if told.contains("===== Document ") => {
                "Thought: I know.\nCode:\n```py\nfinal_answer(1836)\n```<end_code>".to_owned()
            }
            _ => {
                "I look.\nCode:\n```py\nprint(web_search(\"Heahi\"))\n```<end_code>\nObservation: 9"
                    .to_owned()
            }
        })
    });
    let mut scene = Scene::new(&server);
    scene.config.collect.dialect = "smolagents".to_owned();
    scene.config.collect.first_thought_prefix = true;
    scene.config.collect.limit = Some(1);
    let rows = scene.collect().unwrap();
    let reply =
        "Thought: It was long ago.\n\nI look.\nCode:\n```py\nprint(web_search(\"Heahi\"))\n```";
    assert_eq!(rows[0].transcript.steps[0].reply, reply);
    assert_eq!(rows[0].prefix.as_deref(), Some("Thought: It was long ago.\n\n"));
    let dialect = Dialect::named("smolagents").unwrap();
    let messages = dialect.message_sequence(&rows[0].transcript);
    // No system prompt of the teacher's, the mark after the fence, the observation as published.
    assert!(messages[0].content.starts_with("New task:\nWhen was the Heahi Bridge opened?"));
    assert_eq!(messages[1].content, format!("{reply}<end_code>"));
    assert!(messages[2].content.starts_with("Call id: call_1\nObservation:\nExecution logs:\n"));
    assert!(messages[2].content.contains("\"Heahi Bridge\"\nThe Heahi Bridge was opened"));
    assert_eq!(rows[0].generated.as_deref(), Some("1836"));
    let acting = server.asked().into_iter().find(|a| a.body.get("stop").is_some()).unwrap();
    assert_eq!(acting.body["stop"], json!(["<end_code>", "Observation:", "Calling tools:"]));
}

#[test]
fn chains_of_thought_are_collected_with_passages_or_without() {
    let server = Server::start(think_or_act);
    let mut scene = Scene::new(&server);
    scene.config.collect.mode = Mode::Cot;
    let bare = scene.collect().unwrap();
    assert_eq!(bare[0].transcript.question, bare[0].question);
    assert_eq!(bare[0].generated.as_deref(), Some("1790"));
    assert_eq!(bare[0].transcript.steps.len(), 1);
    scene.config.collect.cot_passages = 1;
    assert!(scene.collect().unwrap_err().contains("cot_passages was 0, now 1"));
    std::fs::remove_file(scene.out()).unwrap();
    std::fs::remove_file(manifest_path(&scene.out())).unwrap();
    let with = scene.collect().unwrap();
    let read = &with[0].transcript.question;
    assert!(
        read.contains("opened in 1836") && read.starts_with("When was the Heahi Bridge opened?\n")
    );
    assert_eq!(with[0].generated.as_deref(), Some("1836"));
}

#[test]
fn a_spent_budget_stops_cleanly_and_a_larger_one_goes_on() {
    let server = Server::start(act);
    let mut scene = Scene::new(&server);
    scene.server().concurrent_max = 1;
    scene.config.collect.reply_tokens_max = 20;
    scene.server().budget = BudgetConfig { tokens_max: Some(1_000), cost_max: None };
    let told = scene.collect().unwrap_err();
    assert!(told.contains("budget is spent") && told.contains("tokens_max"), "{told}");
    let sent = server.asked().len() as u64;
    assert!((1..4).contains(&sent), "{sent}");
    assert_eq!(scene.manifest().spent.requests, sent);
    // What was spent counts in the next run too.
    assert!(scene.collect().unwrap_err().contains("budget is spent"));
    scene.server().budget = BudgetConfig { tokens_max: Some(100_000), cost_max: None };
    assert_eq!(scene.collect().unwrap().len(), 2);
}

#[test]
fn a_teacher_of_garbage_is_given_up_by_name() {
    let server = Server::start(|_| Act::Raw("application/json", "<html>".to_owned()));
    let mut scene = Scene::new(&server);
    scene.server().attempts_max = 2;
    scene.config.collect.failures_max = 2;
    let told = scene.collect().unwrap_err();
    assert!(told.contains("2 failures one after the other"), "{told}");
    assert!(told.contains("no chat completion"), "{told}");
    assert!(!scene.manifest().complete);
}

#[test]
fn replies_without_code_are_rows_that_the_filter_drops() {
    let server = Server::start(|asked| {
        let last = asked.message(-1);
        if last.contains("[1]") {
            return act(asked);
        }
        Act::Reply(if last.contains("No code found") {
            let question = Value::from(asked.message(1));
            format!("I need the page.\n```py\nprint(search({question}))\n```")
        } else {
            "I think about it.".to_owned()
        })
    });
    let scene = Scene::new(&server);
    let rows = scene.collect().unwrap();
    assert!(rows.iter().all(Trajectory::has_parse_error));
    let sandbox = || anyhow::bail!("no algebra");
    let mut judge = crate::filter::Judge::new(&scene.config.filter, &sandbox).unwrap();
    let dialect = Dialect::named("retort").unwrap();
    let mut table = Table::default();
    for row in &rows {
        table.add(None, judge.verdict(row, &dialect).unwrap());
    }
    assert_eq!((table.kept(), &table.json()["fell"]["a reply without code"]), (0, &json!(2)));
}

#[test]
fn the_programmatic_teacher_is_behind_the_same_collection() {
    let folder = tempfile::tempdir().unwrap();
    let (domain, style) = (Domain::default(), Style::default());
    let world = WorldTasks { seed: 5, documents: 120, tasks: 6, domain, style };
    let config = DistilConfig {
        seed: 1,
        teacher: TeacherConfig::Program(ProgramConfig { concurrent_max: 2 }),
        corpus: None,
        collect: CollectConfig { tasks: Some(TasksConfig::World(world)), ..Default::default() },
        questions: Default::default(),
        filter: FilterConfig::default(),
        student: None,
    };
    let out = folder.path().join("out.jsonl");
    // In words that it cannot read it is refused before anything is written.
    let unread = CollectConfig { dialect: "smolagents".to_owned(), ..config.collect.clone() };
    let pace = Arc::new(SystemPace::default());
    let told = collect(config.teaching(), &unread, &out, pace).unwrap_err().to_string();
    assert!(told.starts_with("dialect smolagents: the programmatic teacher"), "{told}");
    collect(config.teaching(), &config.collect, &out, Arc::new(SystemPace::default())).unwrap();
    let rows = read_trajectories(&out).unwrap();
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().filter(|row| row.generated.as_ref() == Some(&row.answer)).count() >= 5);
    assert!(rows.iter().all(|row| row.teacher == "program" && row.kind.is_some()));
    let prefixed = CollectConfig { first_thought_prefix: true, ..config.collect.clone() };
    let config = DistilConfig { collect: prefixed, ..config };
    let out = folder.path().join("prefixed.jsonl");
    collect(config.teaching(), &config.collect, &out, Arc::new(SystemPace::default())).unwrap();
    let thoughts = |rows: &[Trajectory]| -> Vec<String> {
        rows.iter().map(|row| row.transcript.steps[0].reply.clone()).collect()
    };
    let prefixed = thoughts(&read_trajectories(&out).unwrap());
    let longer = thoughts(&rows).iter().zip(&prefixed).filter(|(a, b)| a.len() < b.len()).count();
    assert!(longer > 0, "{prefixed:?}");

    let cot = CollectConfig { mode: Mode::Cot, cot_passages: 2, ..config.collect.clone() };
    let config = DistilConfig { collect: cot, ..config };
    let out = folder.path().join("cot.jsonl");
    collect(config.teaching(), &config.collect, &out, Arc::new(SystemPace::default())).unwrap();
    let rows = read_trajectories(&out).unwrap();
    assert!(rows.iter().all(|row| row.generated.as_ref() == Some(&row.answer)));
    assert!(rows.iter().all(|row| row.transcript.question.contains(" [1]: ")));
}

#[test]
fn a_row_that_stands_twice_is_one() {
    let server = Server::start(act);
    let scene = Scene::new(&server);
    scene.collect().unwrap();
    let text = std::fs::read_to_string(scene.out()).unwrap();
    let first = text.lines().next().unwrap();
    std::fs::write(scene.out(), format!("{first}\n{first}\n")).unwrap();
    let rows = scene.collect().unwrap();
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["bridge", "mill"]);
    assert!(scene.manifest().complete && !scene.out().with_extension("spent.json").exists());
}

#[test]
fn a_full_disk_stops_the_work_by_name() {
    let config = TeacherConfig::Program(ProgramConfig { concurrent_max: 1 });
    let pace = Arc::new(SystemPace::default());
    let teacher = Teacher::open(&config, 1, Default::default(), Path::new("unread"), pace).unwrap();
    let pool = Pool { teacher: &teacher, failures_max: 3 };
    let begun = std::sync::atomic::AtomicUsize::new(0);
    let work = |_: &mut Seat<'_>, item: &u32| {
        begun.fetch_add(1, Ordering::SeqCst);
        Ok(*item)
    };
    let name = |item: &u32| item.to_string();
    let done = pool.run(&[1, 2, 3], &mut Journal::full(), &work, &name, &|_| ()).unwrap();
    let told = done.halt.unwrap().to_string();
    assert!(told.contains("what it holds is kept") && told.contains("space"), "{told}");
    assert_eq!((done.rows, begun.into_inner()), (0, 1));
}

#[test]
fn shards_are_merged_into_what_one_machine_collects() {
    let server = Server::start(act);
    let mut scene = Scene::new(&server);
    let whole = scene.collect().unwrap();
    let folder = scene.folder.path().to_owned();
    let part = |number| folder.join(format!("{number}.jsonl"));
    for number in 1..=2 {
        scene.config.collect.shard = Some(format!("{number}/2").parse().unwrap());
        collect(
            scene.config.teaching(),
            &scene.config.collect,
            &part(number),
            Arc::new(SystemPace::default()),
        )
        .unwrap();
    }
    let merged = folder.join("merged.jsonl");
    let parts =
        |files: &[PathBuf]| merge_files(files, &merged).map_err(|error| format!("{error:#}"));
    parts(&[part(1), part(2), part(1)]).unwrap();
    assert_eq!(read_trajectories(&merged).unwrap(), whole);
    assert!(!manifest(&merged).complete);
    // A part that comes late takes nothing away; nothing is missing, so nobody is asked again.
    let spent = manifest(&merged).spent;
    parts(&[part(2)]).unwrap();
    assert_eq!(read_trajectories(&merged).unwrap(), whole);
    // What it cost is counted once, however often it is merged.
    let both = [1, 2].map(|number| manifest(&part(number)).spent);
    assert_eq!(spent, both.iter().sum());
    assert_eq!(manifest(&merged).spent, spent);
    let asked = server.asked().len();
    scene.config.collect.shard = None;
    collect(
        scene.config.teaching(),
        &scene.config.collect,
        &merged,
        Arc::new(SystemPace::default()),
    )
    .unwrap();
    assert_eq!(server.asked().len(), asked);
    assert!(manifest(&merged).complete);
    // The same id may stand for another question in another file of tasks.
    let other = folder.join("other.jsonl");
    let asked = std::fs::read_to_string(part(1)).unwrap().replacen("When was", "Since when is", 1);
    std::fs::write(&other, asked).unwrap();
    std::fs::copy(manifest_path(&part(1)), manifest_path(&other)).unwrap();
    assert!(parts(&[other]).unwrap_err().contains("asks or expects something else"));
    // Rows of another teacher are another collection.
    scene.server().model = "another".to_owned();
    collect(
        scene.config.teaching(),
        &scene.config.collect,
        &part(3),
        Arc::new(SystemPace::default()),
    )
    .unwrap();
    let told = parts(&[part(3)]).unwrap_err();
    assert!(
        told.contains("teacher was") && told.contains("merge it into a file of its own"),
        "{told}"
    );
}
