//! The teacher in the place of a model.

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retort::engine::{
    Candidate, Engine, EngineError, Flow, ModelInfo, Prefilled, SampleRequest, Stop, hand_over,
};
use retort_transcript::{Action, Dialect, Passage, Segment, Source};

use super::policy::{Manner, next_action};
use super::reading::find;
use super::slip::Slip;
use crate::world::{Plan, Relation};

/// How often a teacher is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slips {
    /// Share of actions with a slip, 0..=1.
    pub rate: f64,
    /// Equal seeds slip alike. Candidates of one turn slip each for itself.
    pub seed: u64,
}

/// Answers one task by its plan. Like a model it sees nothing but the prompt: the observations are
/// taken from there. What its broken Python brought is no observation of the corpus: it does the
/// action again.
pub struct TeacherEngine<'a> {
    plan: &'a Plan,
    dialect: &'a Dialect,
    manner: Manner,
    slips: Slips,
    info: ModelInfo,
    observations: Vec<String>,
}

/// Refuses a dialect in which the programmatic teacher cannot read what a search found.
///
/// # Errors
/// Says so.
pub fn check_dialect(dialect: &Dialect) -> Result<()> {
    let (title, text) = ("Heahi".to_owned(), "Heahi was founded in 1400.".to_owned());
    let passage = Passage { title, text, score: 1.0 };
    let told = dialect.render_passages("Heahi", &[passage]);
    let reads = find(&told, "Heahi", Relation::FoundingYear).is_some();
    ensure!(
        reads && !dialect.has_system_prompt(),
        "dialect {}: the programmatic teacher reads prompts of dialect retort only",
        dialect.name()
    );
    Ok(())
}

impl<'a> TeacherEngine<'a> {
    /// A teacher for the task with this plan, writing replies in `dialect` (one without a system
    /// prompt).
    pub fn new(plan: &'a Plan, dialect: &'a Dialect, manner: Manner, slips: Slips) -> Self {
        let info = ModelInfo {
            name: "teacher".to_owned(),
            sha256: String::new(),
            context_tokens: u32::MAX,
        };
        Self { plan, dialect, manner, slips, info, observations: Vec::new() }
    }

    /// The action of candidate number `index`, with a slip or without.
    fn slipped(&self, action: &Action, index: usize) -> Action {
        let mut rng = ChaCha8Rng::seed_from_u64(self.slips.seed);
        rng.set_stream(((self.observations.len() as u64) << 32) | index as u64);
        if !rng.random_bool(self.slips.rate.clamp(0.0, 1.0)) {
            return action.clone();
        }
        Slip::draw(action, &mut rng).apply(action.clone(), &mut rng)
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
        let read = self.observations.iter().map(String::as_str);
        let read: Vec<&str> = read.filter(|text| !text.starts_with("Error")).collect();
        let action = next_action(self.plan, self.manner, &read)
            .map_err(|error| EngineError::NoReply(error.to_string()))?;
        let mut replies: Vec<Candidate> = (0..usize::from(request.candidates.max(1)))
            .map(|index| Candidate {
                text: self.dialect.compose_reply(&self.slipped(&action, index)),
                tokens: 0,
                mean_logprob: 0.0,
                stop: Stop::End,
            })
            .collect();
        hand_over(&mut replies, finished);
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
