//! Calls of the user's tools in one step, and the rules for those that act.
//!
//! Candidates are tried before the vote, so a tool that acts must not be called while several are:
//! a candidate that comes to such a call stands in the vote with *what it wants to do*, its deed.
//! If it wins, its action is run once more from the state before, and then the call is made. So a
//! deed is done after the vote, by the winner alone, and once a step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::toolbox::{Tool, Toolbox};
use crate::profile::Effects;
use crate::sandbox::Allowance;

/// When a tool may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acting {
    /// Now: there is only one candidate, or it has won.
    Now,
    /// Not while candidates are tried.
    AfterVote,
}

/// The calls of one step.
#[derive(Debug)]
pub struct OwnCalls<'a> {
    toolbox: &'a Toolbox,
    acting: Acting,
    /// The run read text from outside before this step.
    had_read: bool,
    /// It has now, as far as the current action knows.
    has_read: bool,
    /// Calls that change nothing, made once for all candidates.
    answers: BTreeMap<(String, String), Made>,
    /// Tools that acted in this step.
    acted: BTreeSet<String>,
    deed: Option<String>,
}

/// A call that came to its end.
#[derive(Debug)]
struct Made {
    result: Result<Value, String>,
    fuel: u64,
}

impl<'a> OwnCalls<'a> {
    /// No calls yet, in a run that has or has not read text from outside.
    #[must_use]
    pub fn new(toolbox: &'a Toolbox, had_read: bool, acting: Acting) -> Self {
        Self {
            toolbox,
            acting,
            had_read,
            has_read: had_read,
            answers: BTreeMap::new(),
            acted: BTreeSet::new(),
            deed: None,
        }
    }

    /// Another candidate's action begins: it has read nothing of what the others read.
    pub fn begin_action(&mut self, acting: Acting) {
        self.acting = acting;
        self.has_read = self.had_read;
        self.deed = None;
    }

    /// The action was given text from outside.
    pub fn note_reading(&mut self) {
        self.has_read = true;
    }

    /// Whether the run, with the current action, has read text from outside.
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.has_read
    }

    /// What the current action wanted to do first, and did not because of the others.
    #[must_use]
    pub fn deed(&self) -> Option<&str> {
        self.deed.as_deref()
    }

    /// Whether a call of `name` that succeeded brought text from outside.
    #[must_use]
    pub fn is_reading(&self, name: &str) -> bool {
        self.toolbox.find(name).is_some_and(|tool| tool.declared.effects == Effects::Read)
    }

    /// Calls the tool called `name`.
    ///
    /// # Errors
    /// What Python's exception says.
    pub fn call(
        &mut self,
        name: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let toolbox = self.toolbox;
        let Some(tool) = toolbox.find(name) else {
            return Err(format!("there is no tool named {name}"));
        };
        match tool.declared.effects {
            Effects::None => self.shared(tool, arguments, allowance),
            Effects::Read => {
                let answer = self.shared(tool, arguments, allowance);
                self.has_read |= answer.is_ok();
                answer
            }
            Effects::Act => self.act(tool, arguments, allowance),
        }
    }

    /// Equal calls are made once and cost each candidate the same: the vote must not depend on
    /// who came first.
    fn shared(
        &mut self,
        tool: &Tool,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let key = (tool.declared.name.clone(), arguments.to_string());
        if let Some(made) = self.answers.get(&key) {
            allowance.charge(made.fuel);
            return made.result.clone();
        }
        let result = tool.call(arguments, allowance);
        // What was cut off with its action is no answer for a candidate that has more left.
        if !allowance.is_over() {
            let fuel = allowance.fuel_used();
            self.answers.insert(key, Made { result: result.clone(), fuel });
        }
        result
    }

    fn act(
        &mut self,
        tool: &Tool,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let name = &tool.declared.name;
        if self.has_read && !tool.declared.allow_after_reading {
            return Err(format!(
                "{name}: not allowed, because text from outside was read in this run: go on without it"
            ));
        }
        if self.acted.contains(name) {
            return Err(format!("{name}: acts once a step only: call it again in the next step"));
        }
        if self.acting == Acting::AfterVote {
            self.deed.get_or_insert_with(|| format!("{name} {arguments}"));
            return Err(format!("{name}: acts only after the vote"));
        }
        // Noted first: a call that failed may have acted.
        self.acted.insert(name.clone());
        tool.call(arguments, allowance)
    }
}
