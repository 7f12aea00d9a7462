//! Everything a run needs, opened once and used for every question of a command.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::context::{Context, CorpusRetriever};
use crate::agent::{Agent, Run, Settings, Sink, SystemClock};
use crate::cancel::Cancel;
use crate::engine::{
    Engine, ModelFile, Sampling, ScriptedEngine, SearchQuestion, WorkerEngine, WorkerSettings,
};
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::transcript::{Dialect, ToolDescription, ToolInput};

/// GGUF metadata that names the dialect a student was trained on, and the hash of its words.
const DIALECT_KEY: &str = "retort.dialect";
const DIALECT_HASH_KEY: &str = "retort.dialect_hash";

/// What answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// llama.cpp in a worker process.
    #[default]
    Llama,
    /// A script that searches each question as it stands: tests the way without a model.
    Scripted,
}

/// Flags of a run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// GGUF file, or name in the models folder [default: the bundled student].
    #[arg(long, env = "RETORT_MODEL", value_name = "MODEL")]
    model: Option<PathBuf>,
    /// What answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// Words of the prompt [default: what the model was trained on].
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<String>,
    /// System prompt as a Jinja template over the tools (dialect smolagents).
    #[arg(long, value_name = "FILE")]
    system_prompt: Option<PathBuf>,
    /// Replies drawn per step; above 1 they vote on what their code does.
    #[arg(long, env = "RETORT_SAMPLES", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    samples: u8,
    /// Temperature of sampling.
    #[arg(long, default_value_t = 0.4)]
    temperature: f32,
    /// Nucleus of sampling.
    #[arg(long, default_value_t = 0.8)]
    top_p: f32,
    /// Seed of sampling and of Python's random numbers.
    #[arg(long, env = "RETORT_SEED", default_value_t = 42)]
    seed: u64,
    /// Steps before an answer is asked for.
    #[arg(long, default_value_t = 5)]
    steps: u32,
    /// Passages a search returns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    passages: u16,
    /// Wall time of a run in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Threads of the model [default: all cores].
    #[arg(long, env = "RETORT_THREADS")]
    threads: Option<u16>,
    /// Tokens of the model's context.
    #[arg(long, default_value_t = 8192)]
    context: u32,
}

/// The opened parts.
pub struct Setup {
    engine: Box<dyn Engine>,
    sandbox: Sandbox,
    retriever: CorpusRetriever,
    cancel: Cancel,
    /// How transcripts become text.
    pub dialect: Dialect,
    /// The corpus' name.
    pub corpus: String,
    /// Sampling and limits.
    pub settings: Settings,
}

impl Setup {
    /// Opens corpus, model and sandbox, in the order of what it costs to find a mistake.
    pub fn open(args: &RunArgs, corpus: Option<&str>, context: &Context) -> Result<Self> {
        let (corpus, opened) = context.corpus(corpus)?;
        let (engine, dialect) = args.engine(context)?;
        let sandbox = Sandbox::open(&SandboxOptions { cache_dir: context.cache_dir.clone() })?;
        Ok(Self {
            engine,
            sandbox,
            retriever: CorpusRetriever(opened),
            cancel: context.cancel.clone(),
            dialect,
            corpus,
            settings: args.settings(),
        })
    }

    /// What answers.
    pub fn model(&self) -> &crate::engine::ModelInfo {
        self.engine.model()
    }

    /// Takes a question to its end.
    pub fn ask(&mut self, question: &str, sink: &mut dyn Sink) -> Run {
        let clock = SystemClock::default();
        let mut agent = Agent {
            engine: self.engine.as_mut(),
            sandbox: &self.sandbox,
            retriever: &self.retriever,
            dialect: &self.dialect,
            clock: &clock,
            settings: self.settings.clone(),
            cancel: self.cancel.clone(),
        };
        agent.run(question, sink)
    }
}

impl RunArgs {
    fn engine(&self, context: &Context) -> Result<(Box<dyn Engine>, Dialect)> {
        if self.engine == EngineKind::Scripted {
            let dialect = self.dialect(None)?;
            return Ok((Box::new(ScriptedEngine::new(SearchQuestion)), dialect));
        }
        let file = context.model(self.model.as_deref())?;
        let dialect = self.dialect(Some(&file))?;
        let mut settings = WorkerSettings {
            context_tokens: self.context,
            candidates_max: self.samples,
            ..WorkerSettings::default()
        };
        settings.threads = self.threads.unwrap_or(settings.threads).max(1);
        let engine = WorkerEngine::load(file, settings, context.cancel.clone())?;
        Ok((Box::new(engine), dialect))
    }

    fn dialect(&self, file: Option<&ModelFile>) -> Result<Dialect> {
        let trained = |key| file.and_then(|file| file.header.text(key).ok());
        let name = self.dialect.as_deref().or(trained(DIALECT_KEY)).unwrap_or("retort");
        let dialect = Dialect::named(name)?;
        if let Some(hash) = trained(DIALECT_HASH_KEY)
            && hash != dialect.hash()
        {
            tracing::warn!(
                "the model was trained on other words of the dialect {name} than this version has"
            );
        }
        match &self.system_prompt {
            Some(path) => {
                let template = std::fs::read_to_string(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?;
                Ok(dialect.with_system_prompt(&template, &tools())?)
            }
            None => Ok(dialect),
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings {
            candidates: self.samples,
            sampling: if self.samples == 1 {
                Sampling::Greedy
            } else {
                Sampling::Nucleus { temperature: self.temperature, top_p: self.top_p }
            },
            seed: self.seed,
            passages_per_search: usize::from(self.passages),
            ..Settings::default()
        };
        settings.budgets.steps_max = self.steps;
        settings.budgets.wall_max = Duration::from_secs(self.seconds);
        settings
    }
}

/// The tools as a system prompt's template lists them.
fn tools() -> [ToolDescription; 2] {
    let input = |name: &str, kind: &str, description: &str| ToolInput {
        name: name.to_owned(),
        kind: kind.to_owned(),
        description: description.to_owned(),
    };
    [
        ToolDescription {
            name: "web_search".to_owned(),
            description: "Searches the local corpus for the passages closest to a query."
                .to_owned(),
            inputs: vec![input("query", "string", "The query.")],
            output_type: "string".to_owned(),
        },
        ToolDescription {
            name: "final_answer".to_owned(),
            description: "Gives the final answer to the task.".to_owned(),
            inputs: vec![input("answer", "any", "The answer.")],
            output_type: "any".to_owned(),
        },
    ]
}
