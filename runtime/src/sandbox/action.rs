//! One action while it runs, and what is made of its end.

use std::time::Duration;

use serde_json::Value;

use super::Host;
use super::allowance::Allowance;
use super::guest::{Answer, End, Ended, Interruption, Request, Surroundings};
use super::limits::{Limit, Limits};
use super::outcome::{Outcome, PythonError, Report, ToolCall};

use crate::cancel::Cancel;

/// Answers a running action's calls and watches its limits.
pub struct Running<'a> {
    limits: &'a Limits,
    host: &'a mut dyn Host,
    cancel: &'a Cancel,
    clock: &'a dyn Fn() -> Duration,
    deadline: Duration,
    calls: Vec<ToolCall>,
    answers: Vec<Answer>,
}

impl<'a> Running<'a> {
    /// The action begins now.
    pub fn new(
        limits: &'a Limits,
        host: &'a mut dyn Host,
        cancel: &'a Cancel,
        clock: &'a dyn Fn() -> Duration,
    ) -> Self {
        let deadline = clock().saturating_add(limits.wall);
        Self { limits, host, cancel, clock, deadline, calls: Vec::new(), answers: Vec::new() }
    }

    /// The calls that were made, and what the guest was answered.
    pub fn into_calls(self) -> (Vec<ToolCall>, Vec<Answer>) {
        (self.calls, self.answers)
    }

    fn answer(&mut self, request: &Request, fuel_left: u64) -> Answer {
        let arguments = match serde_json::from_slice(&request.arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                let result = Err(format!("the arguments are not JSON: {error}"));
                return Answer { result, fuel: 0 };
            }
        };
        let (cancel, clock, deadline) = (self.cancel, self.clock, self.deadline);
        let is_interrupted = || cancel.is_cancelled() || clock() >= deadline;
        let mut allowance = Allowance::new(fuel_left, &is_interrupted);
        let result = self.ask(&request.tool, &arguments, &mut allowance);
        let (name, fuel) = (request.tool.clone(), allowance.fuel_used());
        self.calls.push(ToolCall { name, arguments, result: result.clone(), fuel });
        Answer { result: result.map(|value| value.to_string()), fuel }
    }

    fn ask(
        &mut self,
        tool: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let query = arguments.get("query").and_then(Value::as_str).map_or(0, str::len);
        let max = self.limits.query_bytes_max;
        if u64::try_from(query).is_ok_and(|bytes| bytes > max) {
            return Err(format!("the query is {query} bytes long, at most {max} are allowed"));
        }
        self.host.call(tool, arguments, allowance)
    }
}

impl Surroundings for Running<'_> {
    fn call(&mut self, request: &Request, fuel_left: u64) -> Result<Answer, Limit> {
        let made = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        if made >= self.limits.host_calls_max {
            return Err(Limit::HostCalls);
        }
        let answer = self.answer(request, fuel_left);
        self.answers.push(answer.clone());
        Ok(answer)
    }

    fn interruption(&mut self) -> Option<Interruption> {
        if self.cancel.is_cancelled() {
            return Some(Interruption::Cancelled);
        }
        let late = (self.clock)() >= self.deadline;
        late.then_some(Interruption::Limit(Limit::Wall))
    }
}

/// What an ended action amounts to, and whether the state it left is kept.
pub fn outcome(ended: &Ended, limits: &Limits, calls: Vec<ToolCall>) -> (Outcome, bool) {
    let output_bytes_max = usize::try_from(limits.output_bytes_max).unwrap_or(usize::MAX);
    let mut outcome = Outcome { fuel: ended.fuel, calls, ..Outcome::default() };
    outcome.logs = text(&ended.printed, output_bytes_max);
    let reported = matches!(ended.end, End::Reported(_));
    match &ended.end {
        End::Reported(json) => report(json, output_bytes_max, &mut outcome),
        End::Interrupted(Interruption::Limit(limit)) => reach(*limit, &mut outcome),
        End::Interrupted(Interruption::Cancelled) => {
            outcome.error = Some(PythonError::new("KeyboardInterrupt", "the run was cancelled"));
        }
        End::StackExhausted => {
            let message = "maximum recursion depth exceeded";
            outcome.error = Some(PythonError::new("RecursionError", message));
        }
        End::Exited(status) => {
            outcome.error = Some(PythonError::new("SystemExit", status.to_string()));
        }
        End::Aborted(reason) => {
            let message = format!("the interpreter broke down: {reason}");
            outcome.error = Some(PythonError::new("SystemError", message));
        }
    }
    let keeps_state = reported && outcome.limit.is_none();
    (outcome, keeps_state)
}

/// Fills in what the guest reported, unless that is more than may be shown.
fn report(json: &[u8], output_bytes_max: usize, outcome: &mut Outcome) {
    match serde_json::from_slice::<Report>(json) {
        Ok(report) if report.output_bytes() + outcome.logs.len() > output_bytes_max => {
            reach(Limit::Output, outcome);
        }
        Ok(report) => {
            if report.is_out_of_memory() {
                outcome.limit = Some(Limit::Memory);
            }
            report.fill(outcome, output_bytes_max);
        }
        Err(error) => {
            let message = format!("the interpreter's report cannot be read: {error}");
            outcome.error = Some(PythonError::new("SystemError", message));
        }
    }
}

/// Notes a limit, in CPython's words too where it has them.
fn reach(limit: Limit, outcome: &mut Outcome) {
    outcome.limit = Some(limit);
    if limit == Limit::Memory {
        outcome.error = Some(PythonError::new("MemoryError", ""));
    }
}

/// What was printed, as text of at most `bytes_max` bytes.
fn text(printed: &[u8], bytes_max: usize) -> String {
    let mut text = String::from_utf8_lossy(printed).into_owned();
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}
