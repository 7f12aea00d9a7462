//! The record of runs, on files in temporary folders.

use rusqlite::Connection;
use serde_json::json;

use super::{INTERRUPTED, NewRun, RunEnd, RunId, StepRecord, Store, StoreError};

const START_MS: u64 = 1_700_000_000_000;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("data/runs.db")).unwrap()
}

fn new_run(started_unix_ms: u64) -> NewRun {
    NewRun {
        question: "Who?".to_owned(),
        model_name: "student".to_owned(),
        corpus: Some("demo".to_owned()),
        seed: u64::MAX,
        settings_json: json!({"candidates": 8}),
        started_unix_ms,
        ..NewRun::default()
    }
}

fn step(index: u32) -> StepRecord {
    StepRecord {
        index,
        reply: format!("print({index})\u{0}<|im_end|>"),
        candidates_json: json!(["a", "b"]),
        tool_calls_json: json!([{"name": "search"}]),
        outcome_json: json!({"logs": "1\n"}),
        chosen: 1,
        ..StepRecord::default()
    }
}

fn end() -> RunEnd {
    RunEnd {
        status: "answered".to_owned(),
        answer: Some("7".to_owned()),
        answer_json: Some(json!(7)),
        finished_unix_ms: START_MS + 900,
        usage_json: json!({"searches": 1}),
        citations_json: json!([]),
        detail_json: json!(null),
    }
}

#[test]
fn a_run_is_read_back_as_it_was_written() {
    let folder = folder();
    let id = {
        let mut store = open(&folder);
        let id = store.begin_run(&new_run(START_MS)).unwrap();
        store.append_step(&id, &step(0)).unwrap();
        store.append_step(&id, &step(1)).unwrap();
        store.finish_run(&id, &end()).unwrap();
        id
    };
    let record = open(&folder).run(id.as_str()).unwrap();
    assert_eq!(record.run, new_run(START_MS));
    assert_eq!(record.steps, [step(0), step(1)]);
    assert_eq!(record.end, Some(end()));
    assert_eq!(record.status(), "answered");
}

#[test]
fn a_run_that_goes_on_loses_its_end_and_takes_steps_again() {
    let folder = folder();
    let mut store = open(&folder);
    let id = store.begin_run(&new_run(START_MS)).unwrap();
    store.append_step(&id, &step(0)).unwrap();
    store.finish_run(&id, &end()).unwrap();
    store.reopen_run(&id).unwrap();
    assert_eq!(store.run(id.as_str()).unwrap().end, None);
    store.append_step(&id, &step(1)).unwrap();
    store.finish_run(&id, &end()).unwrap();
    assert_eq!(store.run(id.as_str()).unwrap().steps, [step(0), step(1)]);
    store.delete_run(id.as_str()).unwrap();
    assert!(matches!(store.reopen_run(&id), Err(StoreError::UnknownRun { .. })));
}

#[test]
fn a_run_without_an_end_was_interrupted() {
    let folder = folder();
    let mut store = open(&folder);
    let id = store.begin_run(&new_run(START_MS)).unwrap();
    store.append_step(&id, &step(0)).unwrap();
    let runs = open(&folder).runs(10).unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].status.as_str(), runs[0].steps), (INTERRUPTED, 1));
    assert_eq!(runs[0].finished_unix_ms, None);
    assert_eq!(store.run(id.as_str()).unwrap().status(), INTERRUPTED);
}

#[test]
fn runs_are_listed_latest_first_and_found_by_a_beginning() {
    let folder = folder();
    let mut store = open(&folder);
    let ids: Vec<RunId> = [0, 0, 1, 5_000_000_000]
        .map(|later| store.begin_run(&new_run(START_MS + later)).unwrap())
        .into();
    let listed: Vec<RunId> = store.runs(3).unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(listed, [ids[3].clone(), ids[2].clone(), ids[1].clone()]);
    let beginning = &ids[3].as_str()[..6];
    assert_eq!(store.run(&beginning.to_uppercase()).unwrap().id, ids[3]);
    let shared = &ids[0].as_str()[..9];
    assert!(matches!(store.run(shared), Err(StoreError::AmbiguousRun { count: 2, .. })));
    for unknown in ["", "zzz", "%", "1_"] {
        assert!(matches!(store.run(unknown), Err(StoreError::UnknownRun { .. })), "{unknown}");
    }
}

#[test]
fn steps_come_in_turn_and_before_the_end() {
    let folder = folder();
    let mut store = open(&folder);
    let id = store.begin_run(&new_run(START_MS)).unwrap();
    let early = store.append_step(&id, &step(1));
    assert!(matches!(early, Err(StoreError::StepOrder { expected: 0, found: 1, .. })));
    store.append_step(&id, &step(0)).unwrap();
    assert!(matches!(store.append_step(&id, &step(0)), Err(StoreError::StepOrder { .. })));
    store.finish_run(&id, &end()).unwrap();
    assert!(matches!(store.append_step(&id, &step(1)), Err(StoreError::Ended { .. })));
    assert!(matches!(store.finish_run(&id, &end()), Err(StoreError::Ended { .. })));
    let other = RunId("nothing".to_owned());
    assert!(matches!(store.append_step(&other, &step(0)), Err(StoreError::UnknownRun { .. })));
}

#[test]
fn a_deleted_run_takes_its_steps_along() {
    let folder = folder();
    let mut store = open(&folder);
    let session = store.begin_session("evening", START_MS).unwrap();
    let run = NewRun { session: Some(session), ..new_run(START_MS) };
    let id = store.begin_run(&run).unwrap();
    store.append_step(&id, &step(0)).unwrap();
    assert_eq!(store.delete_run(id.as_str()).unwrap(), id);
    assert_eq!(store.runs(10).unwrap(), []);
    assert!(matches!(store.delete_run(id.as_str()), Err(StoreError::UnknownRun { .. })));
    let left: i64 =
        store.connection.query_row("SELECT count(*) FROM steps", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn commits_are_flushed_before_they_are_acknowledged() {
    let store = open(&folder());
    let pragma =
        |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    // 2 is FULL.
    assert_eq!((pragma("synchronous"), pragma("foreign_keys")), (2, 1));
    let mode: String =
        store.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn what_was_acknowledged_survives_a_process_that_never_closed() {
    let (folder, copy) = (folder(), folder());
    let mut store = open(&folder);
    let id = store.begin_run(&new_run(START_MS)).unwrap();
    store.append_step(&id, &step(0)).unwrap();
    // The files as a killed process leaves them: with the log.
    std::fs::create_dir(copy.path().join("data")).unwrap();
    for name in ["data/runs.db", "data/runs.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(open(&copy).run(id.as_str()).unwrap().steps, [step(0)]);
}

#[test]
fn a_file_of_version_1_is_read() {
    let folder = folder();
    let path = folder.path().join("runs.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("fixtures/v1.sql")).unwrap();
    let mut store = Store::open(&path).unwrap();
    let runs = store.runs(10).unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].status, INTERRUPTED);
    let record = store.run("1hf7ya").unwrap();
    assert_eq!(record.run.seed, u64::MAX);
    assert_eq!(record.end.unwrap().answer_json, Some(json!("Ann Boll")));
    assert_eq!(record.steps[0].outcome_json, json!({"answer": "Ann Boll"}));
    let id = store.begin_run(&new_run(START_MS)).unwrap();
    assert_eq!(id.as_str(), "1hf7yat001");
}

#[test]
fn files_that_are_not_ours_are_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("runs.db");
    std::fs::write(&path, "this is no database, only a text of some length".repeat(40)).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("runs.db"));

    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(Store::open(&other), Err(StoreError::Damaged { .. })));

    let newer = folder.path().join("newer.db");
    drop(Store::open(&newer).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&newer).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");

    let blocked = path.join("below/runs.db");
    assert!(matches!(Store::open(&blocked), Err(StoreError::Unavailable { .. })));
}

#[test]
fn a_damaged_page_is_found_after_an_unclean_stop() {
    let folder = folder();
    let path = folder.path().join("runs.db");
    let mut store = Store::open(&path).unwrap();
    for later in 0..200 {
        store.begin_run(&new_run(START_MS + later)).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4096 * 3).take(64) {
        *byte = 0xff;
    }
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.path().join("runs.db-wal"), "").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged { .. })));
}
