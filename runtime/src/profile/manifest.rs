//! The manifest of a model: `NAME.toml` beside `NAME.gguf`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::layers;
use super::settings::RawSettings;

/// What is known about a model beside its file. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of the GGUF file, lower-case hexadecimal. A file with another hash is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// SPDX expression of the licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Dialect the model reads; without it the one named in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// Where the system prompt stands that the model was trained under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<SystemPromptFile>,
    /// SHA-256 of what the recipe says that made the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe_sha256: Option<String>,
    /// SHA-256 of what the recipe says of how the model is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure_sha256: Option<String>,
    /// Settings that suit the model. They cover those of the board; whatever a user sets covers
    /// them.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub settings: RawSettings,
    /// Share of questions answered exactly, 0..=1, by kind of question; `all` for all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exact_match: BTreeMap<String, f64>,
    /// Among those questions, the ones whose first search did not show what it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_search_missed: Option<FirstSearchMissed>,
}

/// What came of questions whose first search missed: a model that changes its query answers some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSearchMissed {
    /// How many there were.
    pub questions: u32,
    /// How many of them were answered exactly all the same.
    pub exact_match: u32,
}

/// A system prompt in a file: a Jinja template over the tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemPromptFile {
    /// The file; a relative path starts in the manifest's folder.
    pub file: PathBuf,
    /// Key of a YAML file under which the template stands; without it the file is the template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Manifest {
    /// Reads the text of the manifest that messages call `origin`.
    ///
    /// # Errors
    /// [`ConfigError`] names an unknown key, a figure that is none, or a setting that is not the
    /// model's to make.
    pub fn read(origin: &str, text: &str) -> Result<Self, ConfigError> {
        let manifest: Self = layers::read_toml(origin, text)?;
        manifest.check(origin)?;
        match manifest.foreign_setting() {
            None => Ok(manifest),
            Some(key) => Err(ConfigError::UnknownKey {
                origin: origin.to_owned(),
                key: format!("settings.{key}"),
                hint: "a manifest says how to use its model, nothing about the machine".to_owned(),
            }),
        }
    }

    /// Refuses figures that nothing can have measured.
    fn check(&self, origin: &str) -> Result<(), ConfigError> {
        let out_of_range = |key: String, value: String, expected| ConfigError::OutOfRange {
            origin: origin.to_owned(),
            key,
            value,
            expected,
        };
        for (kind, share) in &self.exact_match {
            if !(0.0..=1.0).contains(share) {
                let key = format!("exact_match.{kind}");
                return Err(out_of_range(key, share.to_string(), "a share from 0 to 1"));
            }
        }
        match self.first_search_missed {
            Some(missed) if missed.exact_match > missed.questions => Err(out_of_range(
                "first_search_missed.exact_match".to_owned(),
                missed.exact_match.to_string(),
                "at most first_search_missed.questions",
            )),
            _ => Ok(()),
        }
    }

    fn foreign_setting(&self) -> Option<&'static str> {
        let RawSettings { model, adapter, corpus, data_dir, board, .. } = &self.settings;
        let RawSettings { threads, memory_bytes_max, worker_launcher, tools, .. } = &self.settings;
        let set = [
            ("model", model.is_some()),
            ("adapter", adapter.is_some()),
            ("corpus", corpus.is_some()),
            ("data_dir", data_dir.is_some()),
            ("board", board.is_some()),
            ("threads", threads.is_some()),
            ("memory_bytes_max", memory_bytes_max.is_some()),
            // It names a program to run; a manifest comes with its model, perhaps from someone else.
            ("worker_launcher", worker_launcher.is_some()),
            ("tools", !tools.is_empty()),
        ];
        set.into_iter().find_map(|(key, is_set)| is_set.then_some(key))
    }
}

fn is_unset(settings: &RawSettings) -> bool {
    *settings == RawSettings::default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_being_written() {
        let manifest = Manifest {
            name: Some("student".to_owned()),
            dialect: Some("smolagents".to_owned()),
            system_prompt: Some(SystemPromptFile {
                file: "code_agent.yaml".into(),
                key: Some("system_prompt_short".to_owned()),
            }),
            settings: RawSettings { temperature: Some(0.5), ..RawSettings::default() },
            exact_match: BTreeMap::from([("all".to_owned(), 0.5)]),
            first_search_missed: Some(FirstSearchMissed { questions: 3, exact_match: 2 }),
            ..Manifest::default()
        };
        let text = toml::to_string(&manifest).unwrap();
        assert_eq!(Manifest::read("m.toml", &text).unwrap(), manifest);
    }

    #[test]
    fn figures_that_nothing_can_have_measured_are_refused() {
        let refused = |text: &str| Manifest::read("m.toml", text).unwrap_err().to_string();
        let told = refused("[exact_match]\nhop = 97.1");
        assert_eq!(told, "m.toml: `exact_match.hop` is 97.1; expected a share from 0 to 1");
        assert!(refused("[exact_match]\nhop = nan").contains("`exact_match.hop` is NaN"));
        let told = refused("[first_search_missed]\nquestions = 2\nexact_match = 3");
        assert!(
            told.contains("`first_search_missed.exact_match` is 3; expected at most"),
            "{told}"
        );
    }

    #[test]
    fn unknown_keys_and_settings_of_the_machine_are_refused() {
        let refused = |text: &str| Manifest::read("m.toml", text).unwrap_err().to_string();
        let message = refused("licence = \"MIT\"");
        assert!(
            message.starts_with("m.toml: unknown key `licence`") && message.contains("license")
        );
        let message = refused("[settings]\nthreads = 2");
        assert!(message.starts_with("m.toml: unknown key `settings.threads`"), "{message}");
        let message = refused("[settings]\nworker_launcher = \"sh\"");
        assert!(message.contains("`settings.worker_launcher`"), "{message}");
    }
}
