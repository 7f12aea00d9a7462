//! What a run has come to: it grows by a step at a time, and from a record as it grew at first.

use std::time::Duration;

use retort_transcript::{Dialect, Observation, Segment, Step, Transcript};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::types::{Budgets, Citation, Seconds, StepReport, Usage};

/// What grows while a run goes on.
pub struct RunState {
    pub transcript: Transcript,
    /// When this program took the run up.
    pub begun: Duration,
    pub steps: Vec<StepReport>,
    pub citations: Vec<Citation>,
    pub usage: Usage,
    pub seconds: Seconds,
    pub answer: Option<String>,
    pub answer_json: Option<Value>,
    pub is_answered: bool,
    /// The last step was asked for an answer.
    pub forced: bool,
    pub search_refused: bool,
    /// Replies of the last step that were wanted and found no room.
    pub undrawn: u32,
    /// An action of the run was given text from outside.
    pub has_read: bool,
    repeats: u32,
}

impl RunState {
    pub fn new(question: &str, begun: Duration) -> Self {
        Self {
            transcript: Transcript { question: question.to_owned(), ..Transcript::default() },
            begun,
            steps: Vec::new(),
            citations: Vec::new(),
            usage: Usage::default(),
            seconds: Seconds::default(),
            answer: None,
            answer_json: None,
            is_answered: false,
            forced: false,
            search_refused: false,
            undrawn: 0,
            has_read: false,
            repeats: 0,
        }
    }

    /// Adds a step. `answer_json` is that of its final answer.
    pub fn push(
        &mut self,
        report: StepReport,
        observation: Option<Observation>,
        answer_json: Option<Value>,
    ) {
        self.usage.completion_tokens += u64::from(report.completion_tokens);
        self.usage.prompt_tokens += u64::from(report.prompt_tokens);
        self.usage.reused_tokens += u64::from(report.reused_tokens);
        self.usage.searches += report.searches;
        self.usage.fuel += report.fuel;
        self.has_read |= report.has_read;
        for passage in &report.passages {
            if !self.citations.contains(passage) {
                self.citations.push(passage.clone());
            }
        }
        self.is_answered = report.is_final;
        self.answer = report.answer.clone().filter(|_| report.is_final);
        self.answer_json = answer_json;
        self.repeats = if self.is_repeat(&report) { self.repeats + 1 } else { 0 };
        self.transcript.answer_requested = false;
        self.transcript.steps.push(Step { reply: report.reply.clone(), observation });
        self.steps.push(report);
    }

    fn is_repeat(&self, report: &StepReport) -> bool {
        self.steps.last().is_some_and(|last| {
            last.code == report.code && last.logs == report.logs && last.error == report.error
        })
    }

    /// The last step with what the model is told of it.
    pub fn last_told(&mut self, dialect: &Dialect) -> Option<&StepReport> {
        let report = self.steps.last_mut()?;
        if !report.is_final {
            report.observation = dialect.last_observation(&self.transcript);
        }
        Some(report)
    }

    /// Whether the next step is to be asked for an answer.
    pub fn is_due_for_answer(&self, budgets: &Budgets) -> bool {
        let steps = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        steps >= budgets.steps_max || self.repeats >= budgets.repeats_max
    }

    /// Whether the last reply had no room to come to its end.
    pub fn is_cut_off(&self) -> bool {
        self.steps.last().is_some_and(|step| step.is_cut_off)
    }

    /// Asked for an answer, a model may simply write it, to its end.
    pub fn answer_from_text(&mut self) -> bool {
        let last = self.steps.last().filter(|step| step.code.is_empty() && !step.is_cut_off);
        let text = last.map(|step| step.reply.trim());
        match text {
            Some(text) if !text.is_empty() => {
                self.answer = Some(text.to_owned());
                self.answer_json = Some(Value::String(text.to_owned()));
                true
            }
            _ => false,
        }
    }
}

/// SHA-256 of a rendered prompt, lower-case hexadecimal.
pub fn prompt_hash(prompt: &[Segment]) -> String {
    let mut hasher = Sha256::new();
    for segment in prompt {
        hasher.update(segment.text.as_bytes());
    }
    hex::encode(hasher.finalize())
}
