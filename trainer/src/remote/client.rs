//! Sends a request until it is answered.

use std::io::{BufReader, Read as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::book::Book;
use super::config::ServerConfig;
use super::error::CallError;
use super::gate::RequestGate;
use super::http::{self, broken, failure};
use super::meter::{Meter, Spent, estimated_tokens, prompt_tokens_at_most};
use super::pace::Pace;
use super::prefix::Continuing;
use super::retry::{backoff, retry_after};
use super::secret::Secret;
use super::stream::Stream;
use super::wire::{self, ChatRequest, Completion};

/// Bytes of an answer that is not streamed, at most.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Bytes of an error's body that are read.
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// A server's address, and the connections to it.
struct Server {
    url: String,
    http: Agent,
}

/// One server or several of the same model, shared by all tasks: limits hold over all of them.
pub struct Client {
    config: ServerConfig,
    servers: Vec<Server>,
    key: Option<Secret>,
    pace: Arc<dyn Pace>,
    gate: RequestGate,
    meter: Meter,
    jitter: Mutex<ChaCha8Rng>,
    /// What no further request would survive.
    halted: Mutex<Option<CallError>>,
    continuing: Continuing,
}

impl Client {
    /// A client that begins with what earlier runs have spent. Nothing is sent yet.
    ///
    /// # Errors
    /// A configuration that cannot be meant, a key that is not there, an unreadable certificate.
    pub fn new(
        config: ServerConfig,
        seed: u64,
        before: Spent,
        book: Option<Book>,
        pace: Arc<dyn Pace>,
    ) -> Result<Self> {
        config.check()?;
        let key = config.api_key_env.as_deref().map(Secret::from_environment).transpose()?;
        let server = |url: &String| {
            let http = http::agent(&config, url)?;
            let url = format!("{}/chat/completions", url.trim_end_matches('/'));
            Ok(Server { url, http })
        };
        let servers = config.url.all().iter().map(server).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            gate: RequestGate::new(
                servers.len(),
                config.concurrent_max,
                config.requests_per_minute,
            ),
            servers,
            meter: Meter::new(config.price, config.budget, before, book),
            jitter: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            halted: Mutex::default(),
            continuing: Continuing::default(),
            key,
            pace,
            config,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// What was spent, earlier runs included.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.meter.spent()
    }

    /// What was spent stands in a manifest.
    pub fn close_book(&self) {
        self.meter.close_book();
    }

    /// The error after which no request will be answered, if there was one.
    #[must_use]
    pub fn halted(&self) -> Option<CallError> {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the server goes on with an assistant's last message. Where the configuration leaves
    /// that open, one short request finds out, whose cost is added to `spent`.
    ///
    /// # Errors
    /// As those of [`Self::complete`].
    pub fn goes_on(&self, spent: &mut Spent) -> Result<bool, CallError> {
        self.continuing.by(self, spent)
    }

    /// Sends `request` until it is answered, refused, or sent as often as allowed. What it took is
    /// added to `spent`.
    ///
    /// # Errors
    /// [`CallError::Refused`], [`CallError::BudgetSpent`], or [`CallError::GivenUp`] with the last
    /// failure.
    pub fn complete(
        &self,
        request: &ChatRequest,
        spent: &mut Spent,
    ) -> Result<Completion, CallError> {
        let outcome = self.attempts(request, spent);
        if let Err(error) = &outcome
            && error.concerns_all()
        {
            let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
            halted.get_or_insert_with(|| error.clone());
        }
        outcome
    }

    fn attempts(&self, request: &ChatRequest, spent: &mut Spent) -> Result<Completion, CallError> {
        let body = request.body(&self.config).to_string();
        let mut failures = 0;
        loop {
            if let Some(error) = self.halted() {
                return Err(error);
            }
            let (error, server) = match self.attempt(request, &body, spent) {
                Err((error, Some(server))) if error.is_transient() => (error, server),
                outcome => return outcome.map_err(|(error, _)| error),
            };
            failures += 1;
            let asked = error.asked_to_wait();
            let wait = self.pass_over(server, failures, asked);
            if failures >= self.config.attempts_max || wait.is_none() {
                return Err(CallError::GivenUp { attempts: failures, last: Box::new(error) });
            }
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                self.pace.wait(wait);
            }
        }
    }

    /// A request failed at `server`, as others before. Returns how long it waits before it is sent
    /// again; `None` when that would be too long.
    fn pass_over(&self, server: usize, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        let longest = Duration::from_secs_f64(self.config.retry_after_seconds_max);
        let drawn = |failures| {
            let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
            asked.unwrap_or_default().max(backoff(&self.config, failures, &mut *jitter))
        };
        if self.servers.len() > 1 {
            // The next attempt goes elsewhere at once, or waits at the gate.
            self.gate.failed(server, &*self.pace, |failures| drawn(failures).min(longest));
            return Some(Duration::ZERO);
        }
        if asked.is_some_and(|asked| asked > longest) {
            return None;
        }
        if let Some(asked) = asked {
            // The others would be told the same.
            self.gate.close_for(server, asked, &*self.pace);
        }
        Some(drawn(failures))
    }

    /// Sends the request once and accounts for it. An error comes with the server that was asked.
    fn attempt(
        &self,
        request: &ChatRequest,
        body: &str,
        spent: &mut Spent,
    ) -> Result<Completion, (CallError, Option<usize>)> {
        let prompt = estimated_tokens(request.bytes());
        let replies_max =
            u64::from(request.reply_tokens_max) * u64::from(request.candidates.max(1));
        let prompt_max = prompt_tokens_at_most(request.bytes());
        let reserved = self.meter.reserve(prompt_max, replies_max);
        let reserved = reserved.map_err(|error| (error, None))?;
        let pass = self.gate.enter(&*self.pace);
        let server = pass.server;
        let (outcome, received) = self.send(server, body);
        drop(pass);
        if outcome.is_ok() {
            self.gate.answered(server);
        }
        let used = self.used(&outcome, prompt, received);
        self.meter.settle(reserved, &used);
        spent.add(&used);
        outcome.map_err(|error| (error, Some(server)))
    }

    /// What an attempt used. A reply that broke off was written and is paid for; a request that
    /// was turned away is not.
    fn used(&self, outcome: &Result<Completion, CallError>, prompt: u64, received: usize) -> Spent {
        let counted = outcome.as_ref().ok().and_then(|completion| completion.tokens);
        let guessed = match outcome {
            Ok(_) => Some((prompt, estimated_tokens(received))),
            Err(_) if received > 0 => Some((prompt, estimated_tokens(received))),
            Err(_) => None,
        };
        let (prompt_tokens, completion_tokens) = counted.or(guessed).unwrap_or_default();
        let is_guess = counted.is_none();
        Spent {
            requests: u64::from(outcome.is_ok()),
            failures: u64::from(outcome.is_err()),
            prompt_tokens,
            completion_tokens,
            estimated_tokens: if is_guess { prompt_tokens + completion_tokens } else { 0 },
            cost: self.meter.cost(prompt_tokens, completion_tokens),
        }
    }

    /// The answer, and the bytes of text that came whatever became of it.
    fn send(&self, server: usize, body: &str) -> (Result<Completion, CallError>, usize) {
        let Some(Server { url, http }) = self.servers.get(server) else {
            return (Err(CallError::Garbage("there is no such server".to_owned())), 0);
        };
        let mut request = http.post(url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", key.header());
        }
        match request.send(body) {
            Ok(response) if response.status().is_success() => self.receive(response),
            Ok(response) => (Err(self.refusal(response)), 0),
            Err(error) => {
                let error = match failure(error) {
                    CallError::Unreachable(why) => CallError::Unreachable(format!("{url}: {why}")),
                    CallError::TimedOut(why) => CallError::TimedOut(format!("{url}: {why}")),
                    other => other,
                };
                (Err(error), 0)
            }
        }
    }

    fn receive(&self, mut response: Response<Body>) -> (Result<Completion, CallError>, usize) {
        // A server that cannot stream answers in one piece whatever it was asked.
        let is_stream = response.body().mime_type() == Some("text/event-stream");
        if is_stream {
            let mut stream = Stream::default();
            let reader = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader();
            let read = stream.read(&mut BufReader::new(reader));
            let bytes = stream.bytes();
            return (read.and_then(|()| stream.completion()).map_err(|e| self.hide(e)), bytes);
        }
        let mut text = String::new();
        let reader = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader();
        let mut reader = BufReader::new(reader);
        match reader.read_to_string(&mut text) {
            Ok(_) => {
                let answer = wire::read_answer(&text);
                let texts = |c: &Completion| c.replies.iter().map(|reply| reply.text.len()).sum();
                let bytes = answer.as_ref().map_or(0, texts);
                (answer.map_err(|error| self.hide(error)), bytes)
            }
            // What came is paid for.
            Err(error) => (Err(broken(&error)), text.len()),
        }
    }

    fn refusal(&self, mut response: Response<Body>) -> CallError {
        let status = response.status().as_u16();
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let after = after.and_then(|value| retry_after(value, self.pace.unix_seconds()));
        let elsewhere = response.headers().get("location").and_then(|to| to.to_str().ok());
        let elsewhere = elsewhere.map(wire::shortened);
        let mut body = Vec::new();
        // Of a body that is longer, or breaks off, its beginning.
        let _ = response.body_mut().as_reader().take(ERROR_BYTES_MAX).read_to_end(&mut body);
        let body = String::from_utf8_lossy(&body);
        let message = match serde_json::from_str(&body) {
            Ok(value) => wire::message_of(&value),
            Err(_) => wire::shortened(&body),
        };
        let advice = match (status, &self.config.api_key_env) {
            (401 | 403, None) => "; teacher.api_key_env names the variable with a key".to_owned(),
            (401 | 403, Some(name)) => format!("; the key is that of the variable {name}"),
            (300..=399, _) => match &elsewhere {
                Some(place) => format!("; it moved to {place}: name that in teacher.url"),
                None => String::new(),
            },
            _ => String::new(),
        };
        self.hide(CallError::of_status(status, after, message + &advice))
    }

    /// The error without the key, which servers like to repeat.
    fn hide(&self, error: CallError) -> CallError {
        let Some(key) = &self.key else { return error };
        let hidden = |message: String| key.hidden_in(&message);
        match error {
            CallError::Busy { after, message } => {
                CallError::Busy { after, message: hidden(message) }
            }
            CallError::Failed { status, after, message } => {
                CallError::Failed { status, after, message: hidden(message) }
            }
            CallError::Refused { status, message } => {
                CallError::Refused { status, message: hidden(message) }
            }
            CallError::Garbage(message) => CallError::Garbage(hidden(message)),
            other => other,
        }
    }
}
