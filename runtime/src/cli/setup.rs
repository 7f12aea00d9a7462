//! Everything a run needs, opened once and used for every question of a command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::context::Context;
use super::exit::UsageError;
use super::model::{Model, locate, prompted, read_system_prompt};
use super::tools;
use crate::agent::{
    self, Agent, Budgets, RecordedRun, ReplayError, Run, Sink, SystemClock, Toolbox,
};
use crate::cancel::Cancel;
use crate::corpus::Corpus;
use crate::engine::gguf::Header;
use crate::engine::{
    Engine, EngineError, ModelFile, ModelInfo, Replies, Sampling, ScriptedEngine, SearchQuestion,
    WorkerEngine, WorkerSettings,
};
use crate::profile::{Resolved, Settings};
use crate::sandbox::{Limits, Sandbox, SandboxOptions};
use crate::transcript::{Dialect, TRANSCRIPT_ROW_VERSION};

/// GGUF metadata that names the dialect a student was trained on, and the hash of its words.
const DIALECT_KEY: &str = "retort.dialect";
const DIALECT_HASH_KEY: &str = "retort.dialect_hash";
/// GGUF metadata with the version of the transcripts a student was trained on.
const TRANSCRIPT_VERSION_KEY: &str = "retort.transcript_version";
/// GGUF metadata that instruct models have.
const CHAT_TEMPLATE_KEY: &str = "tokenizer.chat_template";
/// Dialect of a model that says nothing.
const OWN_DIALECT: &str = "retort";

/// What answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// llama.cpp in a worker process.
    #[default]
    Llama,
    /// A script: the one of --script, else one that searches each question as it stands. Tests
    /// the way without a model.
    Scripted,
}

/// Flags of a run.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// What answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// Replies of --engine scripted: JSON Lines, a step {"replies": ["text", ...]} a line.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Words of the prompt [default: what the model was trained on].
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<String>,
    /// System prompt as a Jinja template over the tools (dialect smolagents).
    #[arg(long, value_name = "FILE")]
    system_prompt: Option<PathBuf>,
}

/// The opened parts.
pub struct Setup {
    engine: Box<dyn Engine>,
    sandbox: Sandbox,
    retriever: Corpus,
    /// The user's own tools.
    pub toolbox: Toolbox,
    cancel: Cancel,
    /// How transcripts become text.
    pub dialect: Dialect,
    /// The corpus' name.
    pub corpus: String,
    /// Sampling and limits.
    pub settings: agent::Settings,
}

impl Setup {
    /// Opens corpus, model and sandbox, in the order of what it costs to find a mistake.
    pub fn open(args: &RunArgs, context: &Context) -> Result<Self> {
        let (corpus, opened) = context.corpus()?;
        let toolbox = tools::open(&context.resolved.tools)?;
        let (engine, dialect) = args.engine(context, &toolbox)?;
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: context.cache_dir.clone() })?;
        Ok(Self {
            engine,
            sandbox,
            retriever: opened,
            toolbox,
            cancel: context.cancel.clone(),
            dialect,
            corpus,
            settings: run_settings(&context.resolved),
        })
    }

    /// Takes a question to its end.
    pub fn ask(&mut self, question: &str, sink: &mut dyn Sink) -> Run {
        self.agent(&SystemClock::default()).run(question, sink)
    }

    /// Takes a recorded run from its last step to its end.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn resume(&mut self, run: &RecordedRun, sink: &mut dyn Sink) -> Result<Run, ReplayError> {
        self.agent(&SystemClock::default()).resume(run, sink)
    }

    /// What answers.
    pub fn model(&self) -> &ModelInfo {
        self.engine.model()
    }

    fn agent<'a>(&'a mut self, clock: &'a SystemClock) -> Agent<'a> {
        Agent {
            engine: self.engine.as_mut(),
            sandbox: &self.sandbox,
            retriever: &self.retriever,
            toolbox: &self.toolbox,
            dialect: &self.dialect,
            clock,
            settings: self.settings.clone(),
            cancel: self.cancel.clone(),
        }
    }
}

impl RunArgs {
    /// The engine and the dialect of its model.
    ///
    /// # Errors
    /// When the model is refused or its worker does not start.
    pub fn engine(
        &self,
        context: &Context,
        toolbox: &Toolbox,
    ) -> Result<(Box<dyn Engine>, Dialect)> {
        if self.engine == EngineKind::Scripted {
            return Ok((self.scripted()?, self.dialect(None, toolbox)?));
        }
        if self.script.is_some() {
            return Err(UsageError("--script is for --engine scripted".to_owned()).into());
        }
        let settings = &context.resolved.settings;
        let mut model = context.model(settings.model.as_deref().map(Path::new))?;
        if let Some(adapter) = &settings.adapter {
            model.file = model.file.with_adapter(&locate(Path::new(adapter), settings)?)?;
        }
        check_memory(&model.file, settings)?;
        let dialect = self.dialect(Some(&model), toolbox)?;
        let worker = WorkerSettings {
            context_tokens: settings.context_tokens,
            candidates_max: settings.samples,
            threads: model.file.useful_threads(settings.threads),
            ..WorkerSettings::default()
        }
        .with_launcher(settings.worker_launcher.as_deref().unwrap_or_default());
        let engine = WorkerEngine::load(model.file, worker, context.cancel.clone())?;
        Ok((Box::new(engine), dialect))
    }

    /// An engine that needs no model.
    fn scripted(&self) -> Result<Box<dyn Engine>> {
        let Some(path) = &self.script else {
            return Ok(Box::new(ScriptedEngine::new(SearchQuestion)));
        };
        let script = std::fs::read_to_string(path)
            .with_context(|| format!("script {} cannot be read", path.display()))?;
        let replies = Replies::read(&script)
            .map_err(|error| UsageError(format!("{}: {error}", path.display())))?;
        Ok(Box::new(ScriptedEngine::new(replies)))
    }

    /// The dialect of the command line, the manifest or the file, with the system prompt likewise.
    fn dialect(&self, model: Option<&Model>, toolbox: &Toolbox) -> Result<Dialect> {
        let named = self.dialect.as_deref();
        let name = named.or(model.map(trained_dialect)).unwrap_or(OWN_DIALECT);
        let dialect = Dialect::named(name).map_err(|error| UsageError(error.to_string()))?;
        let dialect = dialect.with_tools(&toolbox.descriptions())?;
        if let Some(model) = model {
            warn_of_other_words(model, &dialect);
        }
        let template = match (&self.system_prompt, model) {
            (Some(path), _) => Some(read_system_prompt(path, None)?),
            (None, Some(model)) => model.system_prompt()?,
            (None, None) => None,
        };
        let Some(template) = template else {
            warn_of_untold_tools(toolbox, &dialect);
            return Ok(dialect);
        };
        prompted(dialect, &template)
    }
}

/// A student that was trained without a system prompt is not given one because of a tool.
fn warn_of_untold_tools(toolbox: &Toolbox, dialect: &Dialect) {
    if !toolbox.tools.is_empty() && !dialect.has_system_prompt() {
        let dialect = dialect.name();
        tracing::warn!(
            "the dialect {dialect} has no prompt that lists tools: the model is not told of yours"
        );
    }
}

/// Refuses a model whose weights and context do not fit into the memory it may have: loading it
/// would push everything else out of a board.
fn check_memory(file: &ModelFile, settings: &Settings) -> Result<(), EngineError> {
    let tokens = u64::from(settings.context_tokens.min(file.family.context_tokens));
    let context = tokens.saturating_mul(file.family.context_token_bytes);
    let allowed = settings.memory_bytes_max;
    let weights = file.bytes + file.adapter.as_ref().map_or(0, |adapter| adapter.bytes);
    if weights.saturating_add(context) <= allowed {
        return Ok(());
    }
    let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let reason = format!(
        "it needs {} MiB of memory for its weights and {} MiB for a context of {tokens} tokens, and \
         {} MiB are allowed: take a smaller or more strongly quantised model, lower \
         --context-tokens, or raise --memory-bytes-max",
        megabytes(weights),
        megabytes(context),
        megabytes(allowed)
    );
    Err(EngineError::Refused { path: file.display.clone(), reason })
}

/// The header of the model's adapter, where there is one that says what it was trained on.
fn adapter_header(model: &Model) -> Option<&Header> {
    let adapter = model.file.adapter.as_ref().map(|adapter| &adapter.header);
    adapter.filter(|header| header.text(DIALECT_KEY).is_ok())
}

/// The dialect a model reads. One that does not say, but has a template for chats, was not
/// distilled by anyone.
fn trained_dialect(model: &Model) -> &str {
    let header = &model.file.header;
    let is_chat = || header.text(CHAT_TEMPLATE_KEY).is_ok();
    let of_adapter = adapter_header(model).and_then(|header| header.text(DIALECT_KEY).ok());
    let named = of_adapter.or(model.manifest.dialect.as_deref());
    let named = named.or_else(|| header.text(DIALECT_KEY).ok());
    named.unwrap_or(if is_chat() { "chat" } else { OWN_DIALECT })
}

/// A student that reads words it was not trained on answers worse, and nothing else would say why.
fn warn_of_other_words(model: &Model, dialect: &Dialect) {
    let header = adapter_header(model).unwrap_or(&model.file.header);
    let name = model.file.identity().0;
    let trained = header.text(DIALECT_KEY).is_ok_and(|trained| trained == dialect.name());
    if trained && header.text(DIALECT_HASH_KEY).is_ok_and(|hash| hash != dialect.hash()) {
        let dialect = dialect.name();
        tracing::warn!(
            "{name} was trained on other words of the dialect {dialect} than this version's"
        );
    }
    let version = header.integer(TRANSCRIPT_VERSION_KEY).ok();
    if let Some(version) = version.filter(|version| *version != u64::from(TRANSCRIPT_ROW_VERSION)) {
        tracing::warn!(
            "{name} was trained on transcripts of version {version}, this version renders version \
             {TRANSCRIPT_ROW_VERSION}"
        );
    }
}

/// What the board lets one action use.
pub fn action_limits(resolved: &Resolved) -> Limits {
    let sandbox = &resolved.profile.sandbox;
    Limits {
        wall: Duration::from_secs(u64::from(sandbox.wall_seconds_max)),
        fuel_max: sandbox.fuel_max,
        memory_bytes_max: sandbox.memory_bytes_max,
        output_bytes_max: sandbox.output_bytes_max,
        host_calls_max: sandbox.host_calls_max,
        query_bytes_max: u64::from(sandbox.query_bytes_max),
        source_bytes_max: sandbox.source_bytes_max,
    }
}

/// A run's settings from those in force and the board's limits.
fn run_settings(resolved: &Resolved) -> agent::Settings {
    let set = &resolved.settings;
    let is_greedy = set.samples == 1 || set.temperature <= 0.0;
    agent::Settings {
        candidates: if is_greedy { 1 } else { set.samples },
        sampling: if is_greedy {
            Sampling::Greedy
        } else {
            Sampling::Nucleus { temperature: set.temperature, top_p: set.top_p }
        },
        seed: set.seed,
        passages_per_search: usize::from(set.passages_per_search),
        passage_tokens_max: set.passage_tokens_max,
        min_agreement: set.min_agreement,
        budgets: Budgets {
            steps_max: u32::from(set.steps_max),
            reply_tokens_max: set.reply_tokens_max,
            run_tokens_max: set.run_tokens_max,
            searches_max: set.searches_max,
            fuel_max: set.run_fuel_max,
            wall_max: Duration::from_secs(u64::from(set.wall_seconds_max)),
            ..Budgets::default()
        },
        action: action_limits(resolved),
    }
}
