//! The sink that records runs in the store. A run that cannot be recorded still answers.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::context::Context;
use super::setup::Setup;
use crate::agent::{Event, RecordedRun, Run, Settings, Sink, StepReport, Tool};
use crate::engine::ModelInfo;
use crate::sandbox::Seed;
use crate::store::{NewRun, RunEnd, RunId, RunRecord, StepRecord, Store, StoreError};

/// Records each event before the run goes on.
pub struct Journal {
    store: Option<Store>,
    run: Option<RunId>,
    corpus: String,
    dialect: String,
    dialect_hash: String,
    /// Name and module of each of the user's tools.
    tools: Value,
}

impl Journal {
    /// Opens the store; where it cannot be written, says so once and records nothing.
    pub fn open(context: &Context, setup: &Setup) -> Self {
        let path = context.data_dir().map(|dir| dir.join("runs.db"));
        let opened = path.and_then(|path| Ok(Store::open(&path)?));
        let store = match opened {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::warn!("runs are not recorded: {error}");
                None
            }
        };
        Self {
            store,
            run: None,
            corpus: setup.corpus.clone(),
            dialect: setup.dialect.name().to_owned(),
            dialect_hash: setup.dialect.hash(),
            tools: setup.toolbox.tools.iter().map(tool_json).collect(),
        }
    }

    /// What is heard next belongs to this run.
    pub fn resume(&mut self, run: RunId) {
        self.run = Some(run);
    }

    /// Id of the current run, if it is recorded.
    pub fn run_id(&self) -> Option<&str> {
        self.run.as_ref().map(RunId::as_str)
    }

    /// A failure ends the recording of this run, not the run.
    fn record(&mut self, write: impl FnOnce(&mut Store, Option<&RunId>) -> Result<(), StoreError>) {
        let Some(store) = &mut self.store else { return };
        if let Err(error) = write(store, self.run.as_ref()) {
            tracing::warn!("this run is no longer recorded: {error}");
            self.run = None;
        }
    }

    fn begin(&mut self, question: &str, model: &ModelInfo, settings: &Settings, unix_seconds: i64) {
        let Some(store) = &mut self.store else { return };
        let begun = store.begin_run(&NewRun {
            session: None,
            question: question.to_owned(),
            model_name: model.name.clone(),
            model_sha256: model.sha256.clone(),
            corpus: Some(self.corpus.clone()),
            dialect: self.dialect.clone(),
            dialect_hash: self.dialect_hash.clone(),
            seed: settings.seed,
            settings_json: settings_json(settings, unix_seconds, &self.tools),
            started_unix_ms: unix_ms(),
        });
        self.run =
            begun.inspect_err(|error| tracing::warn!("this run is not recorded: {error}")).ok();
    }
}

impl Sink for Journal {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { question, model, settings, unix_seconds } => {
                self.begin(question, model, settings, *unix_seconds);
            }
            Event::Resumed { .. } => self.record(|store, run| match run {
                Some(run) => store.reopen_run(run),
                None => Ok(()),
            }),
            Event::Step(step) => self.record(|store, run| match run {
                Some(run) => store.append_step(run, &step_record(step)),
                None => Ok(()),
            }),
            Event::Ended(ended) => self.record(|store, run| match run {
                Some(run) => store.finish_run(run, &run_end(ended)),
                None => Ok(()),
            }),
        }
    }
}

/// The settings, and what else the run's Python saw.
fn settings_json(settings: &Settings, unix_seconds: i64, tools: &Value) -> Value {
    let mut value = json!(settings);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("action".to_owned(), json!(settings.action));
        fields.insert("unix_seconds".to_owned(), Value::from(unix_seconds));
        fields.insert("tools".to_owned(), tools.clone());
    }
    value
}

fn tool_json(tool: &Tool) -> Value {
    json!({"name": tool.declared.name, "sha256": tool.sha256})
}

/// A recorded run as it can be replayed.
pub fn recorded_run(record: RunRecord) -> anyhow::Result<RecordedRun> {
    let settings = &record.run.settings_json;
    let unix_seconds = settings.get("unix_seconds").and_then(Value::as_i64);
    let unix_seconds = unix_seconds.context("it was recorded by a version that kept no clock")?;
    let limits = settings.get("action").cloned().unwrap_or_default();
    let steps = record.steps.into_iter().map(recorded_step);
    Ok(RecordedRun {
        steps: steps.collect::<anyhow::Result<_>>()?,
        question: record.run.question,
        seed: Seed { random: record.run.seed, unix_seconds },
        limits: serde_json::from_value(limits)?,
    })
}

/// The settings of a recorded run.
pub fn recorded_settings(run: &NewRun) -> anyhow::Result<Settings> {
    let mut settings: Settings = serde_json::from_value(run.settings_json.clone())?;
    let limits = run.settings_json.get("action").cloned().unwrap_or_default();
    settings.action = serde_json::from_value(limits)?;
    Ok(settings)
}

/// What columns hold; all else of a step is its outcome.
const COLUMNS: [&str; 7] =
    ["index", "prompt_sha256", "prompt_tokens", "reply", "replies", "tool_calls", "chosen"];

fn step_record(step: &StepReport) -> StepRecord {
    let mut outcome_json = json!(step);
    if let Some(fields) = outcome_json.as_object_mut() {
        fields.retain(|name, _| !COLUMNS.contains(&name.as_str()));
    }
    StepRecord {
        index: step.index,
        prompt_sha256: step.prompt_sha256.clone(),
        prompt_tokens: step.prompt_tokens,
        reply: step.reply.clone(),
        candidates_json: json!(step.replies),
        tool_calls_json: json!(step.tool_calls),
        outcome_json,
        chosen: u32::try_from(step.chosen).unwrap_or(u32::MAX),
    }
}

fn recorded_step(record: StepRecord) -> anyhow::Result<StepReport> {
    let outcome: StepReport = serde_json::from_value(record.outcome_json)?;
    Ok(StepReport {
        index: record.index,
        prompt_sha256: record.prompt_sha256,
        prompt_tokens: record.prompt_tokens,
        reply: record.reply,
        replies: serde_json::from_value(record.candidates_json)?,
        tool_calls: serde_json::from_value(record.tool_calls_json)?,
        chosen: usize::try_from(record.chosen)?,
        // Only an action that ended the run has an answer.
        is_final: outcome.is_final || outcome.answer.is_some(),
        ..outcome
    })
}

fn run_end(run: &Run) -> RunEnd {
    RunEnd {
        status: run.status.name().to_owned(),
        answer: run.answer.clone(),
        answer_json: run.answer_json.clone(),
        finished_unix_ms: unix_ms(),
        usage_json: json!(run.usage),
        citations_json: json!(run.citations),
        detail_json: detail(run),
    }
}

fn detail(run: &Run) -> Value {
    json!({
        "status": run.status,
        "forced": run.forced,
        "agreement": run.agreement,
        "abstained": run.abstained,
        "seconds": run.seconds,
    })
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
