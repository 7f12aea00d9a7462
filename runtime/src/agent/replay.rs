//! Executes a recorded run again, without its model, and says where it differs. A run that was not
//! taken to its end goes on from there.
//!
//! Replies and the results of tools are taken from the record; prompts are rendered and actions run
//! anew. A difference means that this program, its dialect or its Python is not what it was.

use retort_transcript::{Dialect, Observation, Step, Transcript};
use serde::Serialize;
use serde_json::Value;

use super::attempt::observe;
use super::state::prompt_hash;
use super::toolbox::Toolbox;
use super::types::{StepReport, ToolUse};
use crate::cancel::Cancel;
use crate::sandbox::{
    Allowance, Host, Limits, Outcome, PythonError, Sandbox, SandboxError, Seed, Session,
};

/// A run as a record keeps it.
#[derive(Clone, Debug, Default)]
pub struct RecordedRun {
    /// The question.
    pub question: String,
    /// What the session was seeded with.
    pub seed: Seed,
    /// Limits of its actions.
    pub limits: Limits,
    /// Its steps, in order.
    pub steps: Vec<StepReport>,
}

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Index of the step, from 0.
    pub step: usize,
    /// What differs: `prompt`, `logs`, `value`, `error`, `limit` or `answer`.
    pub field: &'static str,
    /// As it was recorded.
    pub recorded: String,
    /// As it is now.
    pub replayed: String,
}

/// Why a run is not executed again to its end, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// This program, its dialect or its Python is not what it was.
    #[error("the run cannot go on: {}", told(.0))]
    Differs(Vec<Difference>),
    /// The sandbox cannot be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

fn told(differences: &[Difference]) -> String {
    let told = |difference: &Difference| {
        let Difference { step, field, .. } = difference;
        format!("the {field} of step {} is no longer as it was recorded", step + 1)
    };
    differences.first().map(told).unwrap_or_default()
}

/// Executes `run` again. Of `toolbox` only the functions are used; nothing is called.
///
/// # Errors
/// When the sandbox cannot be made, or it was cancelled.
pub fn replay(
    run: &RecordedRun,
    sandbox: &Sandbox,
    toolbox: &Toolbox,
    dialect: &Dialect,
    cancel: &Cancel,
) -> Result<Vec<Difference>, ReplayError> {
    Ok(Replayed::of(run, sandbox, toolbox, dialect, cancel)?.differences)
}

/// What executing a run again came to.
pub struct Replayed {
    /// Python after the last step.
    pub session: Session,
    /// The steps as the model reads them.
    pub transcript: Transcript,
    /// Of the last step's final answer.
    pub answer_json: Option<Value>,
    /// The last step was asked for an answer.
    pub answer_was_requested: bool,
    /// What is not as it was.
    pub differences: Vec<Difference>,
}

impl Replayed {
    /// Executes `run` again.
    ///
    /// # Errors
    /// When the sandbox cannot be made, or it was cancelled.
    pub fn of(
        run: &RecordedRun,
        sandbox: &Sandbox,
        toolbox: &Toolbox,
        dialect: &Dialect,
        cancel: &Cancel,
    ) -> Result<Self, ReplayError> {
        let mut session = sandbox.session(&run.seed)?;
        toolbox.define(&mut session, cancel)?;
        let mut replayed = Self {
            session,
            transcript: Transcript { question: run.question.clone(), ..Transcript::default() },
            answer_json: None,
            answer_was_requested: false,
            differences: Vec::new(),
        };
        for (index, step) in run.steps.iter().enumerate() {
            let is_last = index + 1 == run.steps.len();
            replayed.step(index, step, is_last, &run.limits, dialect, cancel);
            if cancel.is_cancelled() {
                return Err(ReplayError::Cancelled);
            }
        }
        Ok(replayed)
    }

    fn step(
        &mut self,
        index: usize,
        step: &StepReport,
        is_last: bool,
        limits: &Limits,
        dialect: &Dialect,
        cancel: &Cancel,
    ) {
        let prompt = self.rendered(dialect, step, is_last);
        let (now, observation) = self.act(step, limits, dialect, cancel);
        let fields = [("prompt", step.prompt_sha256.clone(), prompt)];
        let fields = fields.into_iter().chain(compared(step, &now));
        self.differences.extend(fields.filter(|(_, recorded, replayed)| recorded != replayed).map(
            |(field, recorded, replayed)| Difference { step: index, field, recorded, replayed },
        ));
        let observation = (!now.is_final).then_some(observation);
        self.transcript.steps.push(Step { reply: step.reply.clone(), observation });
    }

    /// Hash of the prompt of `step`. Only before the last step may an answer have been asked for;
    /// the record does not say.
    fn rendered(&mut self, dialect: &Dialect, step: &StepReport, is_last: bool) -> String {
        let plain = prompt_hash(&dialect.render_prompt(&self.transcript));
        if plain == step.prompt_sha256 || !is_last {
            return plain;
        }
        self.transcript.answer_requested = true;
        let asking = prompt_hash(&dialect.render_prompt(&self.transcript));
        self.transcript.answer_requested = false;
        self.answer_was_requested = asking == step.prompt_sha256;
        if self.answer_was_requested { asking } else { plain }
    }

    fn act(
        &mut self,
        step: &StepReport,
        limits: &Limits,
        dialect: &Dialect,
        cancel: &Cancel,
    ) -> (StepReport, Observation) {
        match dialect.parse_reply(&step.reply) {
            // A limit depends on the clock and on what the run had left; what the action did until
            // then was undone.
            Ok(_) if step.limit.is_some() => {
                let StepReport { logs, value, error, limit, .. } = step.clone();
                let outcome = Outcome { logs, value, error, limit, ..Outcome::default() };
                let observation = observe(&outcome);
                (outcome_of(outcome), observation)
            }
            Ok(action) => {
                let mut tools = RecordedTools(step.tool_calls.clone());
                let outcome = self.session.run(&action.code, limits, &mut tools, cancel);
                self.answer_json.clone_from(&outcome.answer_json);
                let observation = observe(&outcome);
                (outcome_of(outcome), observation)
            }
            Err(error) => {
                let message = error.to_string();
                let error = Some(PythonError::parse_error(&message));
                let report = StepReport { error, ..StepReport::default() };
                (report, Observation::ParseError { message })
            }
        }
    }
}

/// What a report keeps of an outcome and is compared in.
fn outcome_of(outcome: Outcome) -> StepReport {
    StepReport {
        is_final: outcome.is_final,
        answer: outcome.is_final.then_some(outcome.answer).flatten(),
        logs: outcome.logs,
        value: outcome.value,
        error: outcome.error,
        limit: outcome.limit,
        ..StepReport::default()
    }
}

/// What two outcomes have to agree in, as texts.
fn compared(recorded: &StepReport, now: &StepReport) -> [(&'static str, String, String); 5] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let error = |outcome: &StepReport| {
        let error = outcome.error.as_ref();
        error.map(|error| format!("{}: {}", error.kind, error.message)).unwrap_or_default()
    };
    let limit =
        |outcome: &StepReport| outcome.limit.map(|limit| limit.to_string()).unwrap_or_default();
    [
        ("logs", recorded.logs.clone(), now.logs.clone()),
        ("value", text(&recorded.value), text(&now.value)),
        ("error", error(recorded), error(now)),
        ("limit", limit(recorded), limit(now)),
        ("answer", text(&recorded.answer), text(&now.answer)),
    ]
}

/// Answers each call as it was answered, once.
struct RecordedTools(Vec<ToolUse>);

impl Host for RecordedTools {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let same = |call: &ToolUse| call.name == tool && call.arguments == *arguments;
        let Some(index) = self.0.iter().position(same) else {
            return Err(format!("the record holds no call of {tool} with these arguments"));
        };
        let call = self.0.remove(index);
        allowance.charge(call.fuel);
        if call.failed {
            return Err(call.result);
        }
        let value = call.is_json.then(|| serde_json::from_str(&call.result).ok()).flatten();
        Ok(value.unwrap_or(Value::String(call.result)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::SandboxOptions;

    fn step(reply: &str, logs: &str, tool_calls: Vec<ToolUse>) -> StepReport {
        let (reply, logs) = (reply.to_owned(), logs.to_owned());
        StepReport { reply, logs, tool_calls, ..StepReport::default() }
    }

    /// The differences of a run, those of prompts left out.
    fn differences(steps: Vec<StepReport>) -> Vec<(usize, &'static str, String)> {
        let sandbox = Sandbox::open(&SandboxOptions::default()).unwrap();
        let dialect = Dialect::named("retort").unwrap();
        let run = RecordedRun { question: "Q?".to_owned(), steps, ..RecordedRun::default() };
        let found =
            replay(&run, &sandbox, &Toolbox::default(), &dialect, &Cancel::default()).unwrap();
        let found = found.into_iter().filter(|difference| difference.field != "prompt");
        found.map(|found| (found.step, found.field, found.replayed)).collect()
    }

    #[test]
    fn state_and_tool_results_come_back() {
        let call = ToolUse {
            name: "search".to_owned(),
            arguments: json!({"query": "Oru"}),
            result: "a river".to_owned(),
            fuel: 0,
            failed: false,
            is_json: false,
        };
        let first = step("t\n```py\nx = search(\"Oru\")\n```", "", vec![call]);
        let second = step("t\n```py\nprint(x)\n```", "a river\n", vec![]);
        assert_eq!(differences(vec![first, second]), []);
    }

    #[test]
    fn a_result_that_is_no_text_comes_back_as_what_it_was() {
        let arguments = json!({"query": "Oru"});
        let (name, result) = ("search".to_owned(), "[2, 3]".to_owned());
        let call = ToolUse { name, arguments, result, fuel: 0, failed: false, is_json: true };
        let sums = step("t\n```py\nprint(sum(search(\"Oru\")))\n```", "5\n", vec![call]);
        assert_eq!(differences(vec![sums]), []);
    }

    #[test]
    fn what_is_not_as_recorded_is_named_with_its_step() {
        let first = step("t\n```py\nprint(1)\n```", "1\n", vec![]);
        let second = step("t\n```py\nprint(search(\"Oru\"))\n```", "a river\n", vec![]);
        let found = differences(vec![first, second]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], (1, "logs", String::new()));
        assert!(
            found[1].1 == "error" && found[1].2.contains("the record holds no call"),
            "{found:?}"
        );
    }
}
