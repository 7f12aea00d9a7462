//! Whole runs with a model in a worker process: a published model's shape, a worker that dies.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use retort::agent::{
    Agent, Budget, Budgets, Clock, Event, Retrieved, Retriever, RetrieverError, Run, Settings,
    Sink, Status, SystemClock, Toolbox,
};
use retort::cancel::Cancel;
use retort::engine::{
    Candidate, Engine, EngineError, Flow, ModelFile, ModelInfo, Prefilled, SampleRequest, Sampling,
    Stop, WorkerEngine, WorkerSettings,
};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort::transcript::{Dialect, Segment};
use retort_tests::{program, random_model, retort};
use retort_train::gguf::{self, Weights};
use retort_train::model::Shape;
use serde_json::Value;

struct Nothing;

impl Retriever for Nothing {
    fn retrieve(&self, _query: &str, _limit: usize) -> Result<Vec<Retrieved>, RetrieverError> {
        Ok(Vec::new())
    }
}

/// Kills a process at every step.
struct Killer(Option<u32>);

impl Sink for Killer {
    fn event(&mut self, event: &Event<'_>) {
        if let (Event::Step(_), Some(worker)) = (event, self.0.take()) {
            kill(worker);
        }
    }
}

fn kill(process: u32) {
    Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
}

fn ask(model: &Path, kills: bool) -> Run {
    let settings = WorkerSettings { context_tokens: 2048, threads: 1, ..WorkerSettings::default() };
    let settings = settings.with_command(vec![program("retort")]);
    let mut engine =
        WorkerEngine::load(ModelFile::open(model).unwrap(), settings, Cancel::default()).unwrap();
    let mut sink = Killer(kills.then(|| engine.worker_id().unwrap()));
    let sampling = Sampling::Nucleus { temperature: 1.0, top_p: 0.95 };
    let mut budgets = Settings::default().budgets;
    budgets.reply_tokens_max = 24;
    let mut agent = Agent {
        engine: &mut engine,
        sandbox: &Sandbox::open(&SandboxOptions::default()).unwrap(),
        retriever: &Nothing,
        toolbox: &Toolbox::default(),
        dialect: &Dialect::named("retort").unwrap(),
        clock: &SystemClock::default(),
        settings: Settings { candidates: 3, sampling, budgets, ..Settings::default() },
        cancel: Cancel::default(),
    };
    agent.run("Who designed the bridge?", &mut sink)
}

#[test]
fn a_run_whose_worker_is_killed_goes_on_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("tiny.gguf");
    random_model(&model);
    let (whole, killed) = (ask(&model, false), ask(&model, true));
    let replies = |run: &Run| -> Vec<Vec<String>> {
        run.steps.iter().map(|step| step.replies.clone()).collect()
    };
    assert!(whole.steps.len() > 1);
    assert_eq!(replies(&whole), replies(&killed));
    assert_eq!((whole.status, whole.answer), (killed.status, killed.answer));
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name may hold anything; state and parent follow its closing parenthesis.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.to_owned());
        let parent_of = fields.and_then(|fields| fields.split(' ').nth(1)?.parse::<u32>().ok());
        parent_of == Some(parent)
    })
    .collect()
}

#[test]
fn a_command_whose_worker_is_killed_answers_the_next_question() {
    let home = tempfile::tempdir().unwrap();
    let mut command = retort(home.path())
        .args(["ask", "-", "--corpus", "demo", "--samples", "1", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = command.stdin.take().unwrap();
    let mut answers = BufReader::new(command.stdout.take().unwrap()).lines();
    let mut ask = || -> Value {
        questions.write_all(b"In what year was the Mipa Bridge renewed?\n").unwrap();
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    let before = ask();
    for worker in children(command.id()) {
        kill(worker);
    }
    let after = ask();
    drop(questions);
    assert_eq!(before["status"], "answered", "{before}");
    assert_eq!((&after["answer"], &after["status"]), (&before["answer"], &before["status"]));
    assert_eq!(command.wait().unwrap().code(), Some(0));
}

/// Random weights say nothing of sense; what is shown is that a model of a published student's
/// size and vocabulary goes through all steps of a run, in the dialect of those students.
#[test]
fn the_shape_of_a_published_student_goes_through_all_steps() {
    let Some(prompt) = retort_test_data::shared("compat/system_prompt_short.txt") else { return };
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("qwen.gguf");
    gguf::random_model(&model, &Shape::qwen2_half_billion(), 3, Weights::Q8_0).unwrap();
    std::fs::copy(prompt, home.path().join("prompt.txt")).unwrap();
    let manifest = "dialect = \"smolagents\"\nsystem_prompt = { file = \"prompt.txt\" }\n\
                    [settings]\nsamples = 1\nsteps_max = 3\nreply_tokens_max = 8\n";
    std::fs::write(home.path().join("qwen.toml"), manifest).unwrap();
    let output = retort(home.path())
        .args(["ask", "Who?", "--model", "qwen.gguf", "--corpus", "demo", "--json"])
        // Threads that wait for each other are slow on a machine that does other work as well.
        .args(["--wall-seconds-max", "900", "--threads", "1"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let run: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));
    // Three steps and the request for an answer; nothing that was decoded is decoded again.
    assert_eq!(run["steps"].as_array().unwrap().len(), 4, "{run}");
    let (prompt, reused) = (&run["usage"]["prompt_tokens"], &run["usage"]["reused_tokens"]);
    assert!(reused.as_u64().unwrap() * 10 > prompt.as_u64().unwrap() * 5, "{reused} of {prompt}");
}

/// An engine whose model never comes to an end by itself.
struct Endless(ModelInfo);

impl Engine for Endless {
    fn model(&self) -> &ModelInfo {
        &self.0
    }

    fn prefill(&mut self, _prompt: &[Segment]) -> Result<Prefilled, EngineError> {
        Ok(Prefilled::default())
    }

    fn sample(
        &mut self,
        request: &SampleRequest,
        _finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError> {
        assert!(request.wall_max.is_some_and(|wall_max| wall_max <= Duration::from_secs(5)));
        let text = "I th".to_owned();
        Ok(vec![Candidate { text, tokens: 2, mean_logprob: -1.0, stop: Stop::Dropped }])
    }

    fn keep(&mut self, _candidate: usize) -> Result<(), EngineError> {
        Ok(())
    }
}

/// A clock on which each look takes a second.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Duration {
        self.0.set(self.0.get() + 1);
        Duration::from_secs(self.0.get())
    }

    fn unix_seconds(&self) -> i64 {
        0
    }
}

#[test]
fn the_wall_budget_ends_a_reply_under_way() {
    let sandbox = Sandbox::open(&SandboxOptions::default()).unwrap();
    let (name, sha256) = ("endless".to_owned(), String::new());
    let mut engine = Endless(ModelInfo { name, sha256, context_tokens: 4096 });
    let budgets = Budgets { wall_max: Duration::from_secs(5), ..Budgets::default() };
    let mut agent = Agent {
        engine: &mut engine,
        sandbox: &sandbox,
        retriever: &Nothing,
        toolbox: &Toolbox::default(),
        dialect: &Dialect::named("retort").unwrap(),
        clock: &Ticking::default(),
        settings: Settings { budgets, ..Settings::default() },
        cancel: Cancel::default(),
    };
    let run = agent.run("Q?", &mut ());
    assert_eq!(run.status, Status::BudgetExhausted { budget: Budget::Wall });
}
