//! The protocol: OpenAI's chat completions, as far as a teacher needs them.

use retort::engine::{Sampling, Stop};
use retort_transcript::Message;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::config::ServerConfig;
use super::error::CallError;

/// What a server is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The conversation. If the last message is the assistant's, the reply goes on with it.
    pub messages: Vec<Message>,
    /// Replies to draw.
    pub candidates: u8,
    /// How they are drawn.
    pub sampling: Sampling,
    /// Seed, where the server has one.
    pub seed: u64,
    /// Texts that end a reply.
    pub stops: Vec<String>,
    /// Tokens of a reply at most.
    pub reply_tokens_max: u32,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    /// The replies, at least one.
    pub replies: Vec<Reply>,
    /// Tokens of the prompt and of all replies, where the server counts them.
    pub tokens: Option<(u64, u64)>,
}

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What the model wrote.
    pub text: String,
    /// Why it ended.
    pub stop: Stop,
}

/// Stop strings that servers take at most; the engine looks for all of them itself.
const STOPS_MAX: usize = 4;

impl ChatRequest {
    /// Bytes of all messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.content.len() + 16).sum()
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self, config: &ServerConfig) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("model", json!(config.model));
        put("messages", json!(self.messages));
        put(config.reply_limit_field.name(), json!(self.reply_tokens_max));
        match self.sampling {
            Sampling::Greedy => put("temperature", json!(0)),
            Sampling::Nucleus { temperature, top_p } => {
                put("top_p", json!(top_p));
                put("temperature", json!(temperature))
            }
        };
        // Larger ones are refused by servers that read a signed number.
        put("seed", json!(self.seed & 0x7fff_ffff));
        if self.candidates > 1 {
            put("n", json!(self.candidates));
        }
        if !self.stops.is_empty() {
            let stops: Vec<&String> = self.stops.iter().take(STOPS_MAX).collect();
            put("stop", json!(stops));
        }
        if config.stream {
            put("stream", json!(true));
            put("stream_options", json!({"include_usage": true}));
        }
        if self.continues() {
            put("add_generation_prompt", json!(false));
            put("continue_final_message", json!(true));
        }
        for name in &config.omit {
            body.remove(name);
        }
        body.extend(config.extra.clone());
        Value::Object(body)
    }

    /// Whether the reply goes on with the last message.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.messages.last().is_some_and(|last| last.role == retort_transcript::Role::Assistant)
    }
}

/// A whole answer, or one event of a stream.
#[derive(Debug, Deserialize)]
pub struct RawAnswer {
    #[serde(default)]
    pub choices: Vec<RawChoice>,
    #[serde(default, deserialize_with = "usage_if_any")]
    pub usage: Option<RawUsage>,
    pub error: Option<Value>,
}

/// A reply, or the next piece of one.
#[derive(Debug, Deserialize)]
pub struct RawChoice {
    #[serde(default)]
    pub index: usize,
    #[serde(alias = "delta")]
    pub message: Option<RawMessage>,
    pub finish_reason: Option<String>,
}

/// Its text.
#[derive(Debug, Deserialize)]
pub struct RawMessage {
    pub content: Option<String>,
}

/// What the server counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RawUsage {
    #[serde(default)]
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
}

/// A reply counts, even where what the server counted is no count.
fn usage_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RawUsage>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

impl RawUsage {
    /// Tokens of the prompt and of the replies; nothing was counted where both are 0.
    pub fn tokens(self) -> Option<(u64, u64)> {
        let counted = (self.prompt_tokens, self.completion_tokens);
        (counted != (0, 0)).then_some(counted)
    }
}

/// Why a reply ended, in the runtime's words. One that a filter cut off is no reply.
pub fn stop(reason: &str) -> Result<Stop, CallError> {
    match reason {
        "length" => Ok(Stop::Length),
        "content_filter" => Err(CallError::Refused {
            status: 200,
            message: "the reply was cut off by the server's filter".to_owned(),
        }),
        _ => Ok(Stop::End),
    }
}

/// The error that a server put into an answer of status 200.
pub fn told_error(error: &Value) -> CallError {
    let code = error
        .get("code")
        .and_then(Value::as_u64)
        .or_else(|| error.get("code").and_then(Value::as_str).and_then(|code| code.parse().ok()));
    let status = code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    CallError::of_status(status.unwrap_or(500), None, message_of(error))
}

/// The message of an error object, or all of it.
pub fn message_of(error: &Value) -> String {
    let inner = error.get("error").unwrap_or(error);
    let message = inner.get("message").or(Some(inner)).and_then(Value::as_str);
    message.map_or_else(|| shortened(&inner.to_string()), shortened)
}

/// The beginning of a text, for messages.
pub fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    let text = text.trim();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A whole answer.
///
/// # Errors
/// [`CallError::Garbage`] when it is none; the error that the server told.
pub fn read_answer(text: &str) -> Result<Completion, CallError> {
    let answer: RawAnswer = serde_json::from_str(text)
        .map_err(|error| CallError::Garbage(format!("{error}: {}", shortened(text))))?;
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Err(told_error(&error));
    }
    let mut choices = answer.choices;
    choices.sort_by_key(|choice| choice.index);
    let replies = choices.into_iter().map(|choice| {
        let text = choice.message.and_then(|message| message.content);
        let text = text.ok_or_else(|| CallError::Garbage("a choice without text".to_owned()))?;
        Ok(Reply { text, stop: stop(choice.finish_reason.as_deref().unwrap_or_default())? })
    });
    let replies = replies.collect::<Result<Vec<_>, CallError>>()?;
    if replies.is_empty() {
        return Err(CallError::Garbage(format!("no choices: {}", shortened(text))));
    }
    Ok(Completion { replies, tokens: answer.usage.and_then(RawUsage::tokens) })
}
