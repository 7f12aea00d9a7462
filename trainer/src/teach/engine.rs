//! The teacher in the place of a model.

use retort::engine::{
    Candidate, Engine, EngineError, Flow, ModelInfo, Prefilled, SampleRequest, Stop,
};
use retort_transcript::{Dialect, Segment, Source};

use super::policy::next_action;
use crate::world::Plan;

/// Answers one task by its plan. Like a model it sees nothing but the prompt: the observations are
/// taken from there.
pub struct TeacherEngine<'a> {
    plan: &'a Plan,
    dialect: &'a Dialect,
    info: ModelInfo,
    observations: Vec<String>,
}

impl<'a> TeacherEngine<'a> {
    /// A teacher for the task with this plan, writing replies in `dialect` (one without a system
    /// prompt).
    pub fn new(plan: &'a Plan, dialect: &'a Dialect) -> Self {
        let info = ModelInfo {
            name: "teacher".to_owned(),
            sha256: String::new(),
            context_tokens: u32::MAX,
        };
        Self { plan, dialect, info, observations: Vec::new() }
    }
}

impl Engine for TeacherEngine<'_> {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn prefill(&mut self, prompt: &[Segment]) -> Result<Prefilled, EngineError> {
        self.observations = observations(prompt);
        Ok(Prefilled::default())
    }

    fn sample(
        &mut self,
        request: &SampleRequest,
        finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError> {
        let observations: Vec<&str> = self.observations.iter().map(String::as_str).collect();
        let action = next_action(self.plan, &observations)
            .map_err(|error| EngineError::WorkerFailed(error.to_string()))?;
        let reply = Candidate {
            text: self.dialect.compose_reply(&action),
            tokens: 0,
            mean_logprob: 0.0,
            stop: Stop::End,
        };
        let mut replies = vec![reply; usize::from(request.candidates.max(1))];
        let mut flow = Flow::Continue;
        for (index, reply) in replies.iter_mut().enumerate() {
            match flow {
                Flow::Continue => flow = finished(index, reply),
                Flow::Stop => reply.stop = Stop::Dropped,
            }
        }
        Ok(replies)
    }

    fn keep(&mut self, _candidate: usize) -> Result<(), EngineError> {
        Ok(())
    }
}

/// The observations in a prompt. Between control texts stand the question, a reply, its
/// observation, a reply, its observation, and so on.
fn observations(prompt: &[Segment]) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let mut is_open = false;
    for segment in prompt {
        match (segment.source, is_open) {
            (Source::Template, _) => is_open = false,
            (Source::Content, true) => {
                if let Some(message) = messages.last_mut() {
                    message.push_str(&segment.text);
                }
            }
            (Source::Content, false) => {
                messages.push(segment.text.clone());
                is_open = true;
            }
        }
    }
    messages.into_iter().skip(2).step_by(2).collect()
}
