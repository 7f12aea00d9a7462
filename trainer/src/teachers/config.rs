//! Who teaches, as it is written.

use std::path::PathBuf;

use anyhow::Result;
use serde::de::{self, DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::environment::CorpusConfig;
use crate::hash::file_sha256;
use crate::remote::ServerConfig;

/// What all stages of teaching share.
#[derive(Clone, Copy, Debug)]
pub struct Teaching<'a> {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Who teaches.
    pub teacher: &'a TeacherConfig,
    /// What is searched.
    pub corpus: Option<&'a CorpusConfig>,
}

/// Who teaches.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TeacherConfig {
    /// A server that speaks OpenAI's chat completions.
    Server(Box<ServerConfig>),
    /// A model file, through the runtime's own engine.
    Gguf(GgufConfig),
    /// The programmatic teacher; only for the tasks of a generated world.
    Program(ProgramConfig),
}

// The derived one does not say at which key a value is wrong.
impl<'de> Deserialize<'de> for TeacherConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = toml::Table::deserialize(deserializer)?;
        let kind = keys.remove("kind");
        Ok(match kind.as_ref().and_then(toml::Value::as_str) {
            Some("server") => Self::Server(Box::new(part(keys)?)),
            Some("gguf") => Self::Gguf(part(keys)?),
            Some("program") => Self::Program(part(keys)?),
            _ => {
                let found = kind.map_or("missing".to_owned(), |kind| kind.to_string());
                let expected = "expected \"server\", \"gguf\" or \"program\"";
                return Err(D::Error::custom(format!("kind is {found}, {expected}")));
            }
        })
    }
}

fn part<T: DeserializeOwned, E: de::Error>(keys: toml::Table) -> Result<T, E> {
    serde_path_to_error::deserialize(toml::Value::Table(keys)).map_err(|error| {
        let (path, told) = (error.path().to_string(), error.inner().message().to_owned());
        E::custom(if path == "." { told } else { format!("{path}: {told}") })
    })
}

impl TeacherConfig {
    /// What rows depend on: which teacher, but not how fast or at what price it is asked.
    ///
    /// # Errors
    /// When a model file cannot be read.
    pub fn identity(&self) -> Result<Value> {
        Ok(match self {
            Self::Server(server) => json!({"model": server.model, "extra": server.extra}),
            Self::Gguf(gguf) => json!({"gguf_sha256": file_sha256(&gguf.path)?}),
            Self::Program(_) => json!("program"),
        })
    }
}

/// A model file as a teacher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GgufConfig {
    /// The file.
    pub path: PathBuf,
    /// Tokens of its context; the model's own limit if that is smaller.
    #[serde(default = "gguf_context_tokens")]
    pub context_tokens: u32,
    /// Threads of decoding; by default all.
    pub threads: Option<u16>,
    /// Copies of the model that work at the same time.
    #[serde(default = "one")]
    pub concurrent_max: usize,
}

/// The programmatic teacher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramConfig {
    /// Tasks at once.
    #[serde(default = "one")]
    pub concurrent_max: usize,
}

fn one() -> usize {
    1
}

fn gguf_context_tokens() -> u32 {
    8192
}
