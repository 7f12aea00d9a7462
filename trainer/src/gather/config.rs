//! What a user writes about teaching: one file for `questions`, `collect` and `filter`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::de::{self, DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::shard::Shard;
use crate::filter::FilterConfig;
use crate::hash::file_sha256;
use crate::questions::QuestionsConfig;
use crate::remote::ServerConfig;
use crate::trajectory::Mode;
use crate::world::{Domain, Style};

/// A file for all stages of teaching. Each command reads its own part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistilConfig {
    /// Seed of everything that is drawn.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Who teaches.
    pub teacher: TeacherConfig,
    /// What is searched; tasks of a generated world bring their own.
    pub corpus: Option<CorpusConfig>,
    /// How trajectories are collected.
    #[serde(default)]
    pub collect: GatherConfig,
    /// How questions are written.
    #[serde(default)]
    pub questions: QuestionsConfig,
    /// Which trajectories are kept.
    #[serde(default)]
    pub filter: FilterConfig,
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

/// What is searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CorpusConfig {
    /// A corpus that `retort index` made, by its name in the data folder.
    Name(String),
    /// A folder: a corpus, or documents that are indexed beside the output.
    Folder(PathBuf),
}

/// Where tasks come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TasksConfig {
    /// A file of tasks.
    File(PathBuf),
    /// The training tasks of a generated world.
    World(WorldTasks),
}

/// A generated world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldTasks {
    /// Its seed.
    pub seed: u64,
    /// Its documents.
    pub documents: usize,
    /// Its tasks.
    pub tasks: usize,
    /// What its documents are about.
    #[serde(default)]
    pub domain: Domain,
    /// How they are written, and what is asked.
    #[serde(default)]
    pub style: Style,
}

/// How trajectories are collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatherConfig {
    /// Where tasks come from.
    pub tasks: Option<TasksConfig>,
    /// Only the first so many of them.
    pub limit: Option<usize>,
    /// Only this part of them: others are collected elsewhere, and merged.
    pub shard: Option<Shard>,
    /// What the teacher is asked to do.
    pub mode: Mode,
    /// Dialect of the student: the teacher's replies are written in it.
    pub dialect: String,
    /// The teacher's own system prompt, a Jinja template over `tools`; students never see it.
    pub system_prompt: Option<PathBuf>,
    /// The first thought comes from a chain of thought about the bare question (arXiv 2505.17612).
    pub first_thought_prefix: bool,
    /// Passages that stand under the question in chain-of-thought mode.
    pub cot_passages: usize,
    /// Passages a search returns.
    pub passages_per_search: usize,
    /// Turns of the teacher.
    pub steps_max: u32,
    /// Tokens of one reply.
    pub reply_tokens_max: u32,
    /// Temperature; 0 is greedy.
    pub temperature: f32,
    /// Probability mass that sampling keeps.
    pub top_p: f32,
    /// Replies drawn per step, which then vote.
    pub candidates: u8,
    /// Tasks that may fail one after the other before the collection stops.
    pub failures_max: usize,
    /// Share of them that may fail for good, as those that are too long for the teacher, with which the
    /// stage still counts as done.
    pub failed_share_max: f64,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self {
            tasks: None,
            limit: None,
            shard: None,
            mode: Mode::Agent,
            dialect: "retort".to_owned(),
            system_prompt: None,
            first_thought_prefix: false,
            cot_passages: 0,
            passages_per_search: 3,
            steps_max: 5,
            reply_tokens_max: 1024,
            temperature: 0.0,
            top_p: 1.0,
            candidates: 1,
            failures_max: 10,
            failed_share_max: 0.0,
        }
    }
}

impl DistilConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, lacks a key, has an unknown one or a value that cannot be meant.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let config: Self = toml::from_str(&text)
            .with_context(|| format!("{} is no configuration of teaching", path.display()))?;
        config.check().with_context(|| format!("{}", path.display()))?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if let TeacherConfig::Server(server) = &self.teacher {
            server.check()?;
        }
        let GatherConfig { temperature, top_p, candidates, steps_max, .. } = self.collect;
        let is_number = temperature.is_finite() && temperature >= 0.0;
        ensure!(is_number, "collect.temperature is {temperature}; expected 0 or more");
        for (name, value) in [
            ("reply_tokens_max", self.collect.reply_tokens_max as usize),
            ("passages_per_search", self.collect.passages_per_search),
            ("failures_max", self.collect.failures_max),
        ] {
            ensure!(value > 0, "collect.{name} is 0; expected at least 1");
        }
        ensure!(top_p > 0.0 && top_p <= 1.0, "collect.top_p is {top_p}; expected above 0, up to 1");
        let failed_share_max = self.collect.failed_share_max;
        ensure!(
            (0.0..=1.0).contains(&failed_share_max),
            "collect.failed_share_max is {failed_share_max}; expected a share from 0 to 1"
        );
        ensure!(candidates > 0, "collect.candidates is 0; expected at least 1");
        ensure!(steps_max > 0, "collect.steps_max is 0; expected at least 1");
        let votes_without_chance = candidates > 1 && temperature == 0.0;
        ensure!(
            !votes_without_chance,
            "collect.candidates is {candidates} with temperature 0: all would be equal; raise \
             collect.temperature"
        );
        self.filter.check()?;
        self.questions.check()
    }
}

fn seed() -> u64 {
    42
}

fn one() -> usize {
    1
}

fn gguf_context_tokens() -> u32 {
    8192
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SERVER: &str = "kind = \"server\"\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n";

    fn read(text: &str) -> Result<DistilConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("distil.toml");
        std::fs::write(&path, text).unwrap();
        DistilConfig::read(&path).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn each_teacher_can_be_written() {
        let server = read(&format!("[teacher]\n{SERVER}price.prompt_per_million = 0.5\n")).unwrap();
        assert!(matches!(server.teacher, TeacherConfig::Server(ref s) if s.concurrent_max == 8));
        let gguf = "[teacher]\nkind = \"gguf\"\npath = \"m.gguf\"\n[corpus]\nname = \"manual\"\n";
        assert_eq!(read(gguf).unwrap().corpus, Some(CorpusConfig::Name("manual".to_owned())));
        let world = "[teacher]\nkind = \"program\"\n[collect.tasks.world]\nseed = 1\n\
                     documents = 200\ntasks = 3\n";
        assert!(matches!(read(world).unwrap().collect.tasks, Some(TasksConfig::World(_))));
    }

    #[test]
    fn an_unknown_key_is_refused_in_every_part() {
        let told = |text: &str| read(text).unwrap_err();
        assert!(told(&format!("[teacher]\n{SERVER}tries = 3")).contains("tries"));
        let with = |more: &str| told(&format!("[teacher]\n{SERVER}\n{more}"));
        assert!(with("[collect]\nmodus = \"cot\"").contains("modus"));
        assert!(with("[filter]\nright = \"exact\"\nlenght = 3").contains("lenght"));
        assert!(with("[questions]\ncuont = 3").contains("cuont"));
        assert!(with("[corpus]\npath = \"x\"").contains("path"));
        assert!(with("[extra]").contains("extra"));
        assert!(told("[teacher]\nkind = \"oracle\"").contains("kind is \"oracle\", expected"));
        assert!(told("[teacher]\nurl = \"h\"").contains("kind is missing"));
        let price = format!("[teacher]\n{SERVER}price.prompt_per_million = \"1\"");
        assert!(told(&price).contains("price.prompt_per_million: invalid type"));
    }

    #[test]
    fn values_that_cannot_be_meant_are_named() {
        let with =
            |more: &str| read(&format!("[teacher]\n{SERVER}\n[collect]\n{more}")).unwrap_err();
        assert!(with("candidates = 8").contains("collect.temperature"));
        assert!(with("top_p = 0.0").contains("collect.top_p"));
        assert!(with("steps_max = 0").contains("collect.steps_max"));
    }
}
