//! Replies that begin with given words: whether a server goes on from them, and how it is asked
//! where it does not.

use std::sync::{Mutex, PoisonError};

use retort::engine::Sampling;
use retort_transcript::{Message, Role};

use super::client::Client;
use super::config::PrefixBy;
use super::error::CallError;
use super::meter::Spent;
use super::wire::{ChatRequest, Reply};

/// A reply whose next word is known. A server that does not go on from it starts over, says
/// nothing, or speaks of something else.
const BEGUN: [&str; 2] = [
    "Write the numbers from one to twelve in words, separated by commas.",
    "one, two, three, four, five, six,",
];
const NEXT: &str = "seven";
const PROBE_TOKENS_MAX: u32 = 16;

/// Whether a server goes on with the assistant's last message. Found out once, by the first that
/// asks; the others wait.
#[derive(Debug, Default)]
pub struct Continuing(Mutex<Option<bool>>);

impl Continuing {
    /// What the configuration of `client` says, or else what its server does with a reply whose
    /// next word is known. What that took is added to `spent`.
    ///
    /// # Errors
    /// Those of the request, unless the server refuses its form (400, 422).
    pub fn by(&self, client: &Client, spent: &mut Spent) -> Result<bool, CallError> {
        match client.config().prefix_by {
            PrefixBy::Continue => return Ok(true),
            PrefixBy::Instruction => return Ok(false),
            PrefixBy::Auto => {}
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = *known {
            return Ok(known);
        }
        let goes_on = match client.complete(&probe(), spent) {
            Ok(completion) => completion.replies.first().is_some_and(is_next),
            Err(CallError::Refused { status: 400 | 422, .. }) => false,
            // No text at all: it held the reply to be whole, or thought until the limit.
            Err(CallError::GivenUp { last, .. }) if matches!(*last, CallError::Garbage(_)) => false,
            Err(error) => return Err(error),
        };
        Ok(*known.insert(goes_on))
    }
}

fn probe() -> ChatRequest {
    let message = |role, text: &str| Message { role, content: text.to_owned() };
    let [question, begun] = BEGUN;
    ChatRequest {
        messages: vec![message(Role::User, question), message(Role::Assistant, begun)],
        candidates: 1,
        sampling: Sampling::Greedy,
        seed: 0,
        stops: Vec::new(),
        reply_tokens_max: PROBE_TOKENS_MAX,
    }
}

fn is_next(reply: &Reply) -> bool {
    let text = reply.text.trim_start();
    let rest = text.strip_prefix(BEGUN[1]).unwrap_or(text);
    rest.trim_start().to_lowercase().starts_with(NEXT)
}

/// What dialects that label thoughts put before them.
const LABEL: &str = "Thought:";

/// What a reasoning model says after thinking aloud, where its server does not take that away.
pub fn spoken(text: &str) -> &str {
    match text.trim_start().strip_prefix("<think>") {
        Some(thought) => thought.split_once("</think>").map_or("", |(_, said)| said.trim_start()),
        None => text,
    }
}

/// Some servers repeat the words that they went on from; a teacher that did not begin with them at
/// least repeats their label (`Thought:`), which is there already.
pub fn without_prefix(replies: Vec<Reply>, prefix: &str) -> Vec<Reply> {
    let prefix = prefix.trim();
    let label = prefix.starts_with(LABEL).then_some(LABEL);
    let rest = |text: &str| {
        let text = text.trim_start();
        let rest = text.strip_prefix(prefix).or_else(|| text.strip_prefix(label?))?;
        Some(rest.trim_start_matches([' ', '\n']).to_owned())
    };
    let shorten = |reply: Reply| {
        let said = spoken(&reply.text);
        Reply { text: rest(said).unwrap_or_else(|| said.to_owned()), ..reply }
    };
    replies.into_iter().map(shorten).collect()
}

/// Asks in the last turn of the user for a reply that begins with `prefix`, in place of an open
/// reply.
pub fn instruct(messages: &mut Vec<Message>, prefix: &str) {
    messages.pop();
    let prefix = prefix.trim_end();
    let request =
        format!("\n\nBegin your reply with exactly these words, then go on from them:\n{prefix}");
    match messages.last_mut().filter(|last| last.role == Role::User) {
        Some(last) => last.content.push_str(&request),
        None => messages.push(Message { role: Role::User, content: request.trim().to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use retort::engine::Stop;

    use super::*;

    #[test]
    fn what_the_prefix_says_is_not_said_twice() {
        for (reply, rest) in [
            ("Thought: a b\n\nand on", "and on"),
            (" and on", " and on"),
            ("Thought: something else", "something else"),
            ("<think>Thought: a b\n```</think>\n\nThought: a b and on", "and on"),
            ("<think>without end", ""),
        ] {
            let replies = vec![Reply { text: reply.to_owned(), stop: Stop::End }];
            let replies = without_prefix(replies, "Thought: a b\n\n");
            assert_eq!(replies.first().map(|reply| reply.text.as_str()), Some(rest));
        }
    }
}
