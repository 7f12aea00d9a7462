//! The runtime's engine over a server.

use std::sync::{Arc, Mutex, PoisonError};

use retort::engine::{
    Candidate, Engine, EngineError, Flow, ModelInfo, Prefilled, SampleRequest, Stop, hand_over,
};
use retort_transcript::{Dialect, Message, Role, Segment};

use super::client::Client;
use super::error::CallError;
use super::frame::Frame;
use super::meter::Spent;
use super::prefix::{instruct, without_prefix};
use super::wire::{ChatRequest, Reply};

/// What an engine has spent, readable while the engine is lent.
pub type Tally = Arc<Mutex<Spent>>;

/// A server in the place of a model: prompts become messages, and a prompt that ends inside a reply
/// asks the server to go on with it.
///
/// Tokens of a prompt are known only after it was answered, so [`Engine::prefill`] reports none;
/// the tally has them. Servers give no probabilities here: every reply's is 0, and votes that end
/// equal are decided by the text.
pub struct RemoteEngine {
    client: Arc<Client>,
    frame: Frame,
    info: ModelInfo,
    messages: Vec<Message>,
    tally: Tally,
}

impl RemoteEngine {
    /// An engine for prompts of `dialect`.
    #[must_use]
    pub fn new(client: Arc<Client>, dialect: &Dialect) -> Self {
        let info = ModelInfo {
            name: client.config().model.clone(),
            sha256: String::new(),
            context_tokens: client.config().context_tokens,
        };
        let (messages, tally) = (Vec::new(), Tally::default());
        Self { client, frame: Frame::of(dialect), info, messages, tally }
    }

    /// What it spends, from now on too.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Arc::clone(&self.tally)
    }

    fn complete(&self, request: &SampleRequest, candidates: u8) -> Result<Vec<Reply>, CallError> {
        let mut asked = ChatRequest {
            messages: self.messages.clone(),
            candidates,
            sampling: request.sampling,
            seed: request.seed,
            stops: request.stops.clone(),
            reply_tokens_max: request.reply_tokens_max,
        };
        let is_first = asked.messages.iter().all(|message| message.role != Role::Assistant);
        let prefix = asked.messages.last().filter(|_| asked.continues());
        let Some(prefix) = prefix.map(|last| last.content.clone()) else {
            return said(self.send(&asked)?, is_first);
        };
        if !self.counted(|spent| self.client.goes_on(spent))? {
            instruct(&mut asked.messages, &prefix);
        }
        Ok(without_prefix(self.send(&asked)?, &prefix))
    }

    /// The replies; where a server draws fewer than asked, the rest one by one.
    fn send(&self, request: &ChatRequest) -> Result<Vec<Reply>, CallError> {
        let mut replies = self.send_once(request)?;
        replies.truncate(usize::from(request.candidates));
        while replies.len() < usize::from(request.candidates) {
            let number = replies.len() as u64;
            let seed = request.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9));
            let one = ChatRequest { candidates: 1, seed, ..request.clone() };
            replies.extend(self.send_once(&one)?.into_iter().take(1));
        }
        Ok(replies)
    }

    fn send_once(&self, request: &ChatRequest) -> Result<Vec<Reply>, CallError> {
        Ok(self.counted(|spent| self.client.complete(request, spent))?.replies)
    }

    /// Does `work`, and adds what it spent to the tally.
    fn counted<T>(&self, work: impl FnOnce(&mut Spent) -> T) -> T {
        let mut spent = Spent::default();
        let done = work(&mut spent);
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(&spent);
        done
    }

    fn completion_tokens(&self) -> u64 {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).completion_tokens
    }
}

impl Engine for RemoteEngine {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn shares_context(&self) -> bool {
        false
    }

    fn prefill(&mut self, prompt: &[Segment]) -> Result<Prefilled, EngineError> {
        self.messages = self.frame.messages(prompt);
        Ok(Prefilled::default())
    }

    fn sample(
        &mut self,
        request: &SampleRequest,
        finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError> {
        let before = self.completion_tokens();
        let replies = self.complete(request, request.candidates.max(1));
        let replies = replies.map_err(|error| EngineError::NoReply(error.to_string()))?;
        let used = self.completion_tokens().saturating_sub(before);
        let each = u32::try_from(used / replies.len().max(1) as u64).unwrap_or(u32::MAX);
        let mut candidates: Vec<Candidate> =
            replies.into_iter().map(|reply| candidate(reply, &request.stops, each)).collect();
        hand_over(&mut candidates, finished);
        Ok(candidates)
    }

    fn keep(&mut self, _candidate: usize) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Refuses to begin with replies without text. Later ones are the loop's: the teacher is told, and
/// what went before is not lost.
fn said(replies: Vec<Reply>, is_first: bool) -> Result<Vec<Reply>, CallError> {
    match is_first && replies.iter().all(|reply| reply.text.trim().is_empty()) {
        true => Err(CallError::NoText),
        false => Ok(replies),
    }
}

/// A reply up to the first stop text: servers take only some, and some leave it standing.
fn candidate(reply: Reply, stops: &[String], tokens: u32) -> Candidate {
    let Reply { mut text, mut stop } = reply;
    let found = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop));
    if let Some(end) = found.min() {
        text.truncate(end);
        stop = Stop::Text;
    }
    Candidate { text, tokens, mean_logprob: 0.0, stop }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_at_the_first_stop_text() {
        let stops = ["Observation:".to_owned(), "<end_code>".to_owned()];
        let reply = Reply { text: "a<end_code>b Observation: c".to_owned(), stop: Stop::End };
        let candidate = candidate(reply, &stops, 3);
        assert_eq!((candidate.text.as_str(), candidate.stop), ("a", Stop::Text));
    }
}
