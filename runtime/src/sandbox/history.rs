//! The actions that led to a session's state, so that it can be reached again from another ground.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::guest::{Answer, End, Ended, Interruption, Request, Surroundings};
use super::limits::{Limit, Limits};
use crate::cancel::Cancel;

/// An action whose state was kept.
#[derive(Debug)]
pub struct Past {
    /// Its source.
    pub code: String,
    /// What it was allowed.
    pub limits: Limits,
    /// What its tool calls came to.
    pub answers: Vec<Answer>,
    fuel: u64,
    shown: [u8; 32],
}

impl Past {
    /// Notes an action that ended.
    pub fn new(code: &str, limits: &Limits, answers: Vec<Answer>, ended: &Ended) -> Self {
        let (code, limits) = (code.to_owned(), limits.clone());
        Self { code, limits, answers, fuel: ended.fuel, shown: shown(ended) }
    }

    /// Whether running it again showed the same.
    pub fn is_repeated_by(&self, ended: &Ended) -> bool {
        self.shown == shown(ended)
    }
}

/// Past actions, oldest first. Copies share them.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<Arc<Past>>);

impl History {
    /// Adds the latest.
    pub fn push(&mut self, past: Past) {
        self.0.push(Arc::new(past));
    }

    /// All of them, if running them again takes at most `fuel_max`.
    pub fn within(&self, fuel_max: u64) -> Option<&[Arc<Past>]> {
        let fuel = self.0.iter().fold(0, |sum: u64, past| sum.saturating_add(past.fuel));
        (fuel <= fuel_max).then_some(&self.0)
    }
}

/// Answers the tool calls of a past action as they were answered then.
pub struct Repeating<'a> {
    answers: std::slice::Iter<'a, Answer>,
    cancel: &'a Cancel,
}

impl<'a> Repeating<'a> {
    /// Runs `past` again.
    pub fn new(past: &'a Past, cancel: &'a Cancel) -> Self {
        Self { answers: past.answers.iter(), cancel }
    }
}

impl Surroundings for Repeating<'_> {
    fn call(&mut self, _request: &Request, _fuel_left: u64) -> Result<Answer, Limit> {
        self.answers.next().cloned().ok_or(Limit::HostCalls)
    }

    fn interruption(&mut self) -> Option<Interruption> {
        self.cancel.is_cancelled().then_some(Interruption::Cancelled)
    }
}

/// What an action printed and reported, in short.
fn shown(ended: &Ended) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(ended.printed.len().to_le_bytes());
    digest.update(&ended.printed);
    match &ended.end {
        End::Reported(json) => digest.update(json),
        other => digest.update(format!("{other:?}")),
    }
    digest.finalize().into()
}
