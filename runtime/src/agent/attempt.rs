//! The candidates of one step, each tried in its own fork of the state.

use retort_transcript::{Action, Dialect, Observation, SyntaxPlace};

use serde_json::Value;

use super::own_calls::Acting;
use super::tools::StepTools;
use super::types::{Sampled, ToolUse};
use super::vote::{self, Ballot, ResultKey};
use crate::cancel::Cancel;
use crate::engine::Candidate;
use crate::sandbox::{Limits, Outcome, SandboxError, Session};

/// What the candidates of a step did. Equal code runs once.
pub struct Attempts<'a> {
    dialect: &'a Dialect,
    base: &'a Session,
    cancel: &'a Cancel,
    acting: Acting,
    tried: Vec<Tried>,
    trials: Vec<Trial>,
    ballots: Vec<Ballot>,
}

/// One candidate: its reply parsed, and where to find what its code did.
struct Tried {
    candidate: usize,
    parsed: Result<(Action, usize), String>,
}

/// One distinct piece of code, run in a fork.
struct Trial {
    code: String,
    outcome: Outcome,
    /// None where the states before it fill the memory that one action may have.
    state: Option<Session>,
    /// What it wanted to do and may only do if it wins.
    deed: Option<String>,
}

/// The chosen candidate with everything the run keeps of it.
pub struct Chosen {
    /// Its index among the candidates.
    pub candidate: usize,
    /// Its reply parsed; an error when no candidate held code.
    pub action: Result<Action, String>,
    /// What its code did and the state after it, which is kept unless `again` says otherwise.
    pub ran: Option<(Outcome, Option<Session>)>,
    /// Its code is to be run again: it stopped short of a deed, or its state was not kept.
    pub again: Option<Acting>,
    /// How far the candidates came.
    pub sampled: Sampled,
}

impl<'a> Attempts<'a> {
    pub fn new(
        dialect: &'a Dialect,
        base: &'a Session,
        cancel: &'a Cancel,
        acting: Acting,
    ) -> Self {
        let (tried, trials, ballots) = (Vec::new(), Vec::new(), Vec::new());
        Self { dialect, base, cancel, acting, tried, trials, ballots }
    }

    /// Parses and runs one reply.
    ///
    /// # Errors
    /// When the state cannot be forked.
    pub fn add(
        &mut self,
        candidate: usize,
        reply: &Candidate,
        limits: &Limits,
        tools: &mut StepTools<'_>,
    ) -> Result<(), SandboxError> {
        let parsed = match self.dialect.parse_reply(&reply.text) {
            Ok(action) => {
                let trial = self.trial(&action.code, limits, tools)?;
                Ok((action, trial))
            }
            Err(error) => Err(error.to_string()),
        };
        self.ballots.push(Ballot {
            result: parsed.as_ref().ok().and_then(|(_, trial)| self.result_key(*trial)),
            mean_logprob: reply.mean_logprob,
            text: reply.text.clone(),
        });
        self.tried.push(Tried { candidate, parsed });
        Ok(())
    }

    /// Whether `remaining` further candidates can no longer change the result, nor whether
    /// `agreement_min` of all agree on an answer.
    pub fn is_decided(&self, remaining: usize, agreement_min: f64) -> bool {
        vote::is_decided(&self.ballots, remaining, agreement_min)
    }

    /// Fuel of all actions run so far.
    pub fn fuel(&self) -> u64 {
        self.trials.iter().map(|trial| trial.outcome.fuel).sum()
    }

    /// Seconds of all actions run so far.
    pub fn seconds(&self) -> f64 {
        self.trials.iter().map(|trial| trial.outcome.seconds).sum()
    }

    /// Takes the vote. `None` if no candidate was tried.
    pub fn choose(mut self) -> Option<Chosen> {
        let (index, agreed) = vote::winner(&self.ballots)?;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let sampled = Sampled {
            sampled: count(self.tried.len()),
            parsed: count(self.tried.iter().filter(|tried| tried.parsed.is_ok()).count()),
            ran: count(self.ballots.iter().filter(|ballot| ballot.result.is_some()).count()),
            agreed,
        };
        let tried = self.tried.swap_remove(index);
        let (action, ran, again) = match tried.parsed {
            Ok((action, trial)) => {
                let trial = self.trials.swap_remove(trial);
                let again = match (&trial.deed, &trial.state) {
                    (Some(_), _) => Some(Acting::Now),
                    (None, None) => Some(self.acting),
                    (None, Some(_)) => None,
                };
                (Ok(action), Some((trial.outcome, trial.state)), again)
            }
            Err(message) => (Err(message), None, None),
        };
        Some(Chosen { candidate: tried.candidate, action, ran, again, sampled })
    }

    fn trial(
        &mut self,
        code: &str,
        limits: &Limits,
        tools: &mut StepTools<'_>,
    ) -> Result<usize, SandboxError> {
        if let Some(index) = self.trials.iter().position(|trial| trial.code == code) {
            return Ok(index);
        }
        let mut state = self.base.fork()?;
        tools.own.begin_action(self.acting);
        let outcome = state.run(code, limits, tools, self.cancel);
        let deed = tools.own.deed().map(ToOwned::to_owned);
        let states = self.trials.iter().filter_map(|trial| trial.state.as_ref());
        let held: u64 = states.map(Session::held_bytes).sum();
        let fits = held + state.held_bytes() <= limits.memory_bytes_max;
        let state = fits.then_some(state);
        self.trials.push(Trial { code: code.to_owned(), outcome, state, deed });
        Ok(self.trials.len() - 1)
    }

    fn result_key(&self, trial: usize) -> Option<ResultKey> {
        let Trial { outcome, deed, .. } = self.trials.get(trial)?;
        if let Some(deed) = deed {
            return Some(ResultKey::of_deed(deed));
        }
        let succeeded = outcome.error.is_none() && outcome.limit.is_none();
        succeeded.then(|| {
            let answer = outcome.is_final.then(|| outcome.answer.as_deref().unwrap_or("None"));
            ResultKey::new(&outcome.logs, outcome.value.as_deref(), answer)
        })
    }
}

impl Chosen {
    /// What the model is told of it.
    pub fn observation(&self) -> Observation {
        match (&self.ran, &self.action) {
            (Some((outcome, _)), _) => observe(outcome),
            (None, Err(message)) => Observation::ParseError { message: message.clone() },
            (None, Ok(_)) => Observation::ParseError { message: String::new() },
        }
    }

    /// Runs the action again from `base`, acting as `again` says. All else is the same as in its
    /// trial: Python is deterministic, and searches are answered as before.
    ///
    /// # Errors
    /// When the state cannot be forked.
    pub fn run_again(
        &mut self,
        base: &Session,
        limits: &Limits,
        tools: &mut StepTools<'_>,
        cancel: &Cancel,
    ) -> Result<(), SandboxError> {
        let (Ok(action), Some(acting)) = (&self.action, self.again.take()) else { return Ok(()) };
        let mut state = base.fork()?;
        tools.own.begin_action(acting);
        // What it took the first time it may take again.
        let taken = self.ran.as_ref().map_or(0, |(outcome, _)| outcome.fuel);
        let limits = Limits { fuel_max: limits.fuel_max.max(taken), ..limits.clone() };
        let outcome = state.run(&action.code, &limits, tools, cancel);
        self.ran = Some((outcome, Some(state)));
        Ok(())
    }
}

/// What the model is told of an outcome.
pub fn observe(outcome: &Outcome) -> Observation {
    let logs = outcome.logs.clone();
    if let Some(error) = &outcome.error {
        let message = format!("{}: {}", error.kind, error.message);
        let line = error.source_line.clone();
        let place = error.line.zip(error.column);
        let syntax = place.map(|(line_number, column)| SyntaxPlace { line_number, column });
        return Observation::Error { logs, message, line, syntax };
    }
    match outcome.limit {
        Some(limit) => {
            let message = limit.to_string();
            Observation::Error { logs, message, line: None, syntax: None }
        }
        None => Observation::Output {
            logs,
            value: outcome.value.clone(),
            assigned: outcome.assigned.clone(),
        },
    }
}

/// The tool calls of an outcome, as records keep them.
pub fn tool_uses(outcome: &Outcome) -> Vec<ToolUse> {
    outcome
        .calls
        .iter()
        .map(|call| ToolUse {
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            result: match &call.result {
                Ok(Value::String(text)) | Err(text) => text.clone(),
                Ok(value) => value.to_string(),
            },
            fuel: call.fuel,
            failed: call.result.is_err(),
            is_json: call.result.as_ref().is_ok_and(|value| !value.is_string()),
        })
        .collect()
}
