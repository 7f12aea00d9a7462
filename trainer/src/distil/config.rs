//! What a user writes about teaching: one file for `questions`, `collect` and `filter`.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::StudentConfig;
use crate::collect::CollectConfig;
use crate::environment::CorpusConfig;
use crate::filter::FilterConfig;
use crate::questions::QuestionsConfig;
use crate::teachers::{TeacherConfig, Teaching};

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
    pub collect: CollectConfig,
    /// How questions are written.
    #[serde(default)]
    pub questions: QuestionsConfig,
    /// Which trajectories are kept.
    #[serde(default)]
    pub filter: FilterConfig,
    /// The student that `distil` makes in the end.
    pub student: Option<StudentConfig>,
}

impl DistilConfig {
    /// What every stage needs.
    #[must_use]
    pub fn teaching(&self) -> Teaching<'_> {
        let Self { seed, teacher, corpus, .. } = self;
        Teaching { seed: *seed, teacher, corpus: corpus.as_ref() }
    }

    /// Reads the file; `corpus` stands in place of what it says.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_about(path: &Path, corpus: Option<&str>) -> Result<Self> {
        let mut config = Self::read(path)?;
        if let Some(name) = corpus {
            config.corpus = Some(CorpusConfig::Name(name.to_owned()));
        }
        Ok(config)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, lacks a key, has an unknown one or a value that cannot be meant.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let mut config: Self = toml::from_str(&text)
            .with_context(|| format!("{} is no configuration of teaching", path.display()))?;
        config.check().with_context(|| format!("{}", path.display()))?;
        if let (Some(student), Some(folder)) = (&mut config.student, path.parent()) {
            student.recipe = folder.join(&student.recipe);
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        if let TeacherConfig::Server(server) = &self.teacher {
            server.check()?;
        }
        self.collect.check()?;
        self.filter.check()?;
        self.questions.check()
    }
}

fn seed() -> u64 {
    42
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collect::TasksConfig;

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
