//! What a user writes about a server.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// A server that speaks OpenAI's chat completions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address up to and with the version, such as `http://127.0.0.1:8000/v1`; or those of several
    /// servers of the same model, which share the work.
    pub url: Addresses,
    /// Name of the model, as the server calls it.
    pub model: String,
    /// Environment variable that holds the key. The key itself is written nowhere.
    pub api_key_env: Option<String>,
    /// PEM file of the authority that signed the server's certificate, in place of the public ones.
    pub certificate: Option<PathBuf>,
    /// Replies come token by token, so that a silent server is noticed.
    #[serde(default = "yes")]
    pub stream: bool,
    /// How a reply is made to begin with given words.
    #[serde(default)]
    pub prefix_by: PrefixBy,
    /// What the server calls the limit of a reply.
    #[serde(default)]
    pub reply_limit_field: ReplyLimitField,
    /// Fields of a request that this server does not take, such as `seed`.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Further fields of every request.
    #[serde(default)]
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// Tokens of the server's context.
    #[serde(default = "context_tokens")]
    pub context_tokens: u32,
    /// Requests under way at once at each server, over all tasks.
    #[serde(default = "concurrent_max")]
    pub concurrent_max: usize,
    /// Requests a minute at each server at most; none is no limit.
    pub requests_per_minute: Option<u32>,
    /// Seconds to connect.
    #[serde(default = "connect_seconds_max")]
    pub connect_seconds_max: f64,
    /// Seconds without a byte after which a request has failed. A server that does not stream is
    /// silent until its reply is whole.
    #[serde(default = "silence_seconds_max")]
    pub silence_seconds_max: f64,
    /// Seconds of one request.
    #[serde(default = "request_seconds_max")]
    pub request_seconds_max: f64,
    /// Times that a request is sent before it is given up.
    #[serde(default = "attempts_max")]
    pub attempts_max: u32,
    /// Seconds before the second attempt; each further wait is twice as long.
    #[serde(default = "backoff_seconds")]
    pub backoff_seconds: f64,
    /// The longest such wait.
    #[serde(default = "backoff_seconds_max")]
    pub backoff_seconds_max: f64,
    /// The longest wait that a server may ask for (`Retry-After`).
    #[serde(default = "retry_after_seconds_max")]
    pub retry_after_seconds_max: f64,
    /// What tokens cost; none is nothing.
    #[serde(default)]
    pub price: Price,
    /// What may be spent; none is no limit.
    #[serde(default)]
    pub budget: BudgetConfig,
}

/// One address or several, written as a text or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Addresses(Vec<String>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Several(Vec<String>),
}

impl From<Written> for Addresses {
    fn from(written: Written) -> Self {
        match written {
            Written::One(one) => Self(vec![one]),
            Written::Several(all) => Self(all),
        }
    }
}

impl From<Addresses> for Written {
    fn from(Addresses(mut all): Addresses) -> Self {
        match (all.len(), all.pop()) {
            (1, Some(one)) => Self::One(one),
            (_, last) => Self::Several(all.into_iter().chain(last).collect()),
        }
    }
}

impl Addresses {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.0
    }
}

/// How a reply is made to begin with given words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixBy {
    /// `continue` where one short request shows that the server does so, else `instruction`.
    #[default]
    Auto,
    /// The last message is the assistant's and is to be continued: `add_generation_prompt` false,
    /// `continue_final_message` true, as vLLM has it.
    Continue,
    /// The user's turn asks for these first words.
    Instruction,
}

/// What a server calls the limit of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyLimitField {
    /// The common name.
    #[default]
    MaxTokens,
    /// OpenAI's newer models take only this.
    MaxCompletionTokens,
}

impl ReplyLimitField {
    /// The field's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// What a million tokens cost, in any one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// Of prompts.
    pub prompt_per_million: f64,
    /// Of replies.
    pub completion_per_million: f64,
}

/// What may be spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// Tokens, prompts and replies together.
    pub tokens_max: Option<u64>,
    /// In the currency of the price.
    pub cost_max: Option<f64>,
}

impl Price {
    /// What these tokens cost.
    #[must_use]
    pub fn of(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (prompt_tokens as f64 * self.prompt_per_million
            + completion_tokens as f64 * self.completion_per_million)
            / 1e6
    }
}

impl ServerConfig {
    /// A server at `url` with everything else as it is when nothing is written.
    #[must_use]
    pub fn new(url: &str, model: &str) -> Self {
        Self {
            url: Addresses(vec![url.to_owned()]),
            model: model.to_owned(),
            api_key_env: None,
            certificate: None,
            stream: yes(),
            prefix_by: PrefixBy::default(),
            reply_limit_field: ReplyLimitField::default(),
            omit: Vec::new(),
            extra: serde_json::Map::new(),
            context_tokens: context_tokens(),
            concurrent_max: concurrent_max(),
            requests_per_minute: None,
            connect_seconds_max: connect_seconds_max(),
            silence_seconds_max: silence_seconds_max(),
            request_seconds_max: request_seconds_max(),
            attempts_max: attempts_max(),
            backoff_seconds: backoff_seconds(),
            backoff_seconds_max: backoff_seconds_max(),
            retry_after_seconds_max: retry_after_seconds_max(),
            price: Price::default(),
            budget: BudgetConfig::default(),
        }
    }

    /// Refuses values that cannot be meant.
    ///
    /// # Errors
    /// Names the field and what was expected.
    pub fn check(&self) -> Result<()> {
        let all = self.url.all();
        ensure!(!all.is_empty(), "teacher.url is an empty list; expected at least one address");
        for (index, url) in all.iter().enumerate() {
            check_address(url)?;
            let is_first = !all.iter().take(index).any(|other| other == url);
            ensure!(is_first, "teacher.url holds {url} twice");
        }
        ensure!(!self.model.is_empty(), "teacher.model is empty; name the server's model");
        ensure!(self.concurrent_max > 0, "teacher.concurrent_max is 0; expected at least 1");
        ensure!(self.attempts_max > 0, "teacher.attempts_max is 0; expected at least 1");
        ensure!(
            self.requests_per_minute != Some(0),
            "teacher.requests_per_minute is 0; expected at least 1"
        );
        ensure!(self.context_tokens > 0, "teacher.context_tokens is 0; expected the server's");
        for field in ["messages", "model"] {
            let is_needed = !self.omit.iter().any(|omitted| omitted == field);
            ensure!(is_needed, "teacher.omit holds {field}, without which nothing can be asked");
        }
        for (field, own) in
            [("messages", "none"), ("model", "teacher.model"), ("stream", "teacher.stream")]
        {
            let is_there = self.extra.contains_key(field);
            ensure!(
                !is_there,
                "teacher.extra holds {field}, which is written here; expected {own}"
            );
        }
        self.check_seconds()?;
        self.check_money()?;
        let costs_nothing = self.price == Price::default();
        ensure!(
            self.budget.cost_max.is_none() || !costs_nothing,
            "teacher.budget.cost_max needs teacher.price: without a price nothing costs anything"
        );
        Ok(())
    }

    fn check_money(&self) -> Result<()> {
        let Price { prompt_per_million, completion_per_million } = self.price;
        for (name, value) in [
            ("price.prompt_per_million", prompt_per_million),
            ("price.completion_per_million", completion_per_million),
            ("budget.cost_max", self.budget.cost_max.unwrap_or_default()),
        ] {
            let fits = value.is_finite() && value >= 0.0;
            ensure!(fits, "teacher.{name} is {value}; expected an amount of money, 0 or more");
        }
        Ok(())
    }

    fn check_seconds(&self) -> Result<()> {
        for (name, value) in [
            ("connect_seconds_max", self.connect_seconds_max),
            ("silence_seconds_max", self.silence_seconds_max),
            ("request_seconds_max", self.request_seconds_max),
            ("backoff_seconds", self.backoff_seconds),
            ("backoff_seconds_max", self.backoff_seconds_max),
            ("retry_after_seconds_max", self.retry_after_seconds_max),
        ] {
            let fits = value > 0.0 && value <= 86_400.0;
            ensure!(fits, "teacher.{name} is {value}; expected seconds above 0, at most a day");
        }
        Ok(())
    }
}

fn check_address(url: &str) -> Result<()> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = host.and_then(|host| host.split('/').next()).unwrap_or_default();
    ensure!(
        !authority.is_empty(),
        "teacher.url is {url:?}; expected an address such as http://127.0.0.1:8000/v1"
    );
    // The address is written into manifests.
    ensure!(
        !authority.contains('@') && !url.contains('?'),
        "teacher.url holds a name, a password or a query; put the key into an environment variable \
         and name that in teacher.api_key_env"
    );
    Ok(())
}

fn yes() -> bool {
    true
}

fn context_tokens() -> u32 {
    32_768
}

fn concurrent_max() -> usize {
    8
}

fn connect_seconds_max() -> f64 {
    10.0
}

fn silence_seconds_max() -> f64 {
    120.0
}

fn request_seconds_max() -> f64 {
    600.0
}

fn attempts_max() -> u32 {
    6
}

fn backoff_seconds() -> f64 {
    1.0
}

fn backoff_seconds_max() -> f64 {
    60.0
}

fn retry_after_seconds_max() -> f64 {
    600.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ServerConfig, String> {
        let config: ServerConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let config = read("url = \"http://h/v1\"\nmodel = \"m\"").unwrap();
        assert_eq!(config, ServerConfig::new("http://h/v1", "m"));
        let several = read("url = [\"http://a/v1\", \"http://b/v1\"]\nmodel = \"m\"").unwrap();
        assert_eq!(several.url.all(), ["http://a/v1", "http://b/v1"]);
        assert!(toml::to_string(&several).unwrap().contains("url = [\"http://a/v1\", "));
        assert!(toml::to_string(&config).unwrap().contains("url = \"http://h/v1\""));
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let told = |more: &str| {
            read(&format!("url = \"http://h/v1\"\nmodel = \"m\"\n{more}")).unwrap_err()
        };
        assert!(told("tries = 3").contains("unknown field `tries`"));
        assert!(told("attempts_max = 0").contains("teacher.attempts_max"));
        assert!(told("silence_seconds_max = -1").contains("teacher.silence_seconds_max"));
        assert!(told("price = { prompt_per_million = nan }").contains("price.prompt_per_million"));
        assert!(told("price = { completion_per_million = -1 }").contains("completion_per_million"));
        assert!(told("budget = { cost_max = inf }").contains("budget.cost_max"));
        assert!(told("omit = [\"messages\"]").contains("teacher.omit holds messages"));
        assert!(told("extra = { stream = true }").contains("expected teacher.stream"));
        assert!(told("budget = { cost_max = 1 }").contains("teacher.price"));
        assert!(read("url = \"h\"\nmodel = \"m\"").unwrap_err().contains("teacher.url"));
        let with_key = read("url = \"http://u:secret@h/v1\"\nmodel = \"m\"").unwrap_err();
        let several = |list: &str| read(&format!("url = {list}\nmodel = \"m\"")).unwrap_err();
        assert!(several("[]").contains("empty list"));
        assert!(several("[\"http://h/v1\", \"http://h/v1\"]").contains("twice"));
        assert!(with_key.contains("api_key_env") && !with_key.contains("secret"), "{with_key}");
    }
}
