//! A dialect: the words in which a transcript is told to a model, by name.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::observation;
use crate::parse::{self, ParseError};
use crate::passages;
use crate::prompt;
use crate::render;
use crate::types::{Action, Message, Passage, Segment, ToolDescription, Transcript};
use crate::words::{FORMAT, Words};

/// The dialects there are, each with its data file.
const DIALECTS: [(&str, &str); 3] = [
    ("retort", include_str!("../dialects/retort.toml")),
    ("smolagents", include_str!("../dialects/smolagents.toml")),
    ("chat", include_str!("../dialects/chat.toml")),
];

/// How transcripts are worded for one kind of student.
#[derive(Clone, Debug)]
pub struct Dialect {
    words: Words,
    /// The words in one canonical text, without comments: what the hash is taken of.
    words_text: String,
    system_prompt: Option<String>,
}

/// Why there is no such dialect.
#[derive(Debug, thiserror::Error)]
pub enum DialectError {
    /// The name is not one of the known ones.
    #[error("unknown dialect `{name}`; expected one of: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The known names, comma-separated.
        known: String,
    },
    /// The data file of a dialect is broken.
    #[error("dialect `{dialect}`: {reason}")]
    Words {
        /// Name of the dialect.
        dialect: String,
        /// What is wrong with its data.
        reason: String,
    },
    /// The template of the system prompt cannot be rendered.
    #[error("system prompt of dialect `{dialect}`: {source}")]
    SystemPrompt {
        /// Name of the dialect.
        dialect: String,
        /// Where and why.
        source: minijinja::Error,
    },
}

impl Dialect {
    /// Names of all dialects.
    #[must_use]
    pub fn names() -> [&'static str; 3] {
        DIALECTS.map(|(name, _)| name)
    }

    /// The dialect called `name`: `retort`, `smolagents` or `chat`.
    ///
    /// # Errors
    /// [`DialectError::Unknown`] lists the known names.
    pub fn named(name: &str) -> Result<Self, DialectError> {
        let Some((_, data)) = DIALECTS.iter().find(|(known, _)| *known == name) else {
            return Err(DialectError::Unknown { name: name.to_owned(), known: known_names() });
        };
        Self::from_data(name, data)
    }

    /// The same dialect with another system prompt: a Jinja template over `tools`, as smolagents
    /// writes them. Models published with such a prompt name their own copy of it.
    ///
    /// # Errors
    /// [`DialectError::SystemPrompt`] when the template is malformed or names an unknown variable.
    pub fn with_system_prompt(
        self,
        jinja_template: &str,
        tools: &[ToolDescription],
    ) -> Result<Self, DialectError> {
        let variables = &self.words.template_variables;
        let prompt = prompt::render(jinja_template, tools, variables).map_err(|source| {
            DialectError::SystemPrompt { dialect: self.name().to_owned(), source }
        })?;
        Ok(Self { system_prompt: Some(prompt), ..self })
    }

    /// The same dialect with further tools in its system prompt. A dialect without such a prompt
    /// reads as before; only [`Dialect::with_system_prompt`] then has use for them.
    ///
    /// # Errors
    /// [`DialectError::SystemPrompt`] when the dialect's own template cannot be rendered.
    pub fn with_tools(mut self, tools: &[ToolDescription]) -> Result<Self, DialectError> {
        if tools.is_empty() {
            return Ok(self);
        }
        self.words.tools.extend_from_slice(tools);
        match self.words.system_prompt.clone() {
            Some(template) => {
                let all = self.words.tools.clone();
                self.with_system_prompt(&template, &all)
            }
            None => Ok(self),
        }
    }

    /// Whether its prompt can tell a model of tools.
    #[must_use]
    pub fn has_system_prompt(&self) -> bool {
        self.system_prompt.is_some()
    }

    /// Its name, as manifests give it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.words.name
    }

    /// SHA-256 of all its words and the system prompt, lower-case hexadecimal. A student trained
    /// under another hash reads words it was not trained on.
    #[must_use]
    pub fn hash(&self) -> String {
        hash_of(&[&self.words_text, self.system_prompt.as_deref().unwrap_or_default()])
    }

    /// Name of the Python function that searches.
    #[must_use]
    pub fn search_tool(&self) -> &str {
        &self.words.search_tool
    }

    /// The tools as the published prompts of this dialect describe them, for
    /// [`Dialect::with_system_prompt`]. Empty where no prompt describes any.
    #[must_use]
    pub fn tools(&self) -> &[ToolDescription] {
        &self.words.tools
    }

    /// Texts that end a reply and are not part of it.
    #[must_use]
    pub fn stops(&self) -> &[String] {
        &self.words.stops
    }

    /// The conversation as a student is trained on it. `learned` of each segment is the loss mask.
    #[must_use]
    pub fn render_training(&self, transcript: &Transcript) -> Vec<Segment> {
        render::segments(&self.words, self.system_prompt.as_deref(), transcript)
    }

    /// The conversation as a student is asked to go on with it: [`Dialect::render_training`] and
    /// the header of its next reply.
    #[must_use]
    pub fn render_prompt(&self, transcript: &Transcript) -> Vec<Segment> {
        let mut segments = self.render_training(transcript);
        segments.push(render::reply_header(&self.words));
        segments
    }

    /// The conversation as messages, for chat interfaces that bring their own control tokens.
    #[must_use]
    pub fn message_sequence(&self, transcript: &Transcript) -> Vec<Message> {
        render::messages(&self.words, self.system_prompt.as_deref(), transcript)
    }

    /// Ends a turn; a student learns to write it after a reply.
    #[must_use]
    pub fn turn_end(&self) -> &str {
        &self.words.frame.close
    }

    /// A chat template (Jinja) that renders [`Dialect::message_sequence`] as
    /// [`Dialect::render_training`] does, with transformers' `generation` tags around what a student
    /// learns to write. Marks within an observation that are learned too are not. Control text
    /// stands there as `spell` has it for the model, behind the text `begin`.
    #[must_use]
    pub fn chat_template(&self, begin: &str, spell: impl Fn(&str) -> String) -> String {
        render::chat_template(&self.words.frame, begin, spell)
    }

    /// What the model was told after the last step; empty if it was told nothing.
    #[must_use]
    pub fn last_observation(&self, transcript: &Transcript) -> String {
        let told = transcript.steps.last().and_then(|step| step.observation.as_ref());
        told.map(|told| observation::render(&self.words.observation, told, transcript.steps.len()))
            .unwrap_or_default()
    }

    /// The action in a reply (given without the stop text that ended it).
    ///
    /// # Errors
    /// [`ParseError`] when it holds no code; its text is what the model is to be told.
    pub fn parse_reply(&self, reply: &str) -> Result<Action, ParseError> {
        parse::parse_reply(&self.words.reply, reply)
    }

    /// A reply that [`Dialect::parse_reply`] reads as `action`, provided that thought and code are
    /// trimmed and hold no code fence.
    #[must_use]
    pub fn compose_reply(&self, action: &Action) -> String {
        parse::compose_reply(&self.words.reply, action)
    }

    /// What a search returns to the model's Python.
    #[must_use]
    pub fn render_passages(&self, query: &str, passages: &[Passage]) -> String {
        passages::render(&self.words.passages, query, passages)
    }

    /// The passages as a run with these observations is shown them: one that stands there already is
    /// only named, in a dialect that has words for it.
    #[must_use]
    pub fn without_repeats(
        &self,
        passages: &[Passage],
        observations: &[impl AsRef<str>],
    ) -> Vec<Passage> {
        let mut passages = passages.to_vec();
        if let Some(repeated) = &self.words.passages.repeated {
            for passage in &mut passages {
                let words = &self.words.passages;
                let mut told = observations.iter().map(AsRef::as_ref);
                if told.any(|told| passages::shows(words, told, passage)) {
                    passage.text.clone_from(repeated);
                }
            }
        }
        passages
    }

    fn from_data(name: &str, data: &str) -> Result<Self, DialectError> {
        let broken = |reason: String| DialectError::Words { dialect: name.to_owned(), reason };
        let words: Words = toml::from_str(data).map_err(|error| broken(error.to_string()))?;
        if words.format != FORMAT || words.name != name {
            return Err(broken(format!("expected name = \"{name}\" and format = {FORMAT}")));
        }
        let template = words.system_prompt.clone();
        let tools = words.tools.clone();
        let words_text = toml::to_string(&words).map_err(|error| broken(error.to_string()))?;
        let dialect = Self { words, words_text, system_prompt: None };
        match template {
            Some(template) => dialect.with_system_prompt(&template, &tools),
            None => Ok(dialect),
        }
    }
}

fn known_names() -> String {
    Dialect::names().join(", ")
}

fn hash_of(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        // The length keeps apart what concatenation would join.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
