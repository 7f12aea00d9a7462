//! How trajectories are collected, as it is written.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::shard::Shard;
use crate::trajectory::Mode;
use crate::world::{Domain, Style};

/// Where tasks come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TasksConfig {
    /// A file of tasks.
    File(PathBuf),
    /// The training tasks of a generated world.
    World(WorldTasks),
}

/// A generated world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldTasks {
    /// Its seed.
    pub seed: u64,
    /// Its documents.
    pub documents: usize,
    /// Its tasks.
    pub tasks: usize,
    /// What its documents are about.
    #[serde(default)]
    pub domain: Domain,
    /// How they are written, and what is asked.
    #[serde(default)]
    pub style: Style,
}

/// How trajectories are collected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// Where tasks come from.
    pub tasks: Option<TasksConfig>,
    /// Only the first so many of them.
    pub limit: Option<usize>,
    /// Only this part of them: others are collected elsewhere, and merged.
    pub shard: Option<Shard>,
    /// What the teacher is asked to do.
    pub mode: Mode,
    /// Dialect of the student: the teacher's replies are written in it.
    pub dialect: String,
    /// The teacher's own system prompt, a Jinja template over `tools`; students never see it.
    pub system_prompt: Option<PathBuf>,
    /// The first thought comes from a chain of thought about the bare question (arXiv 2505.17612).
    pub first_thought_prefix: bool,
    /// Passages that stand under the question in chain-of-thought mode.
    pub cot_passages: usize,
    /// Passages a search returns.
    pub passages_per_search: usize,
    /// Turns of the teacher.
    pub steps_max: u32,
    /// Tokens of one reply.
    pub reply_tokens_max: u32,
    /// Temperature; 0 is greedy.
    pub temperature: f32,
    /// Probability mass that sampling keeps.
    pub top_p: f32,
    /// Replies drawn per step, which then vote.
    pub candidates: u8,
    /// Tasks that may fail one after the other before the collection stops.
    pub failures_max: usize,
    /// Share of them that may fail for good, as those that are too long for the teacher, with which the
    /// stage still counts as done.
    pub failed_share_max: f64,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            tasks: None,
            limit: None,
            shard: None,
            mode: Mode::Agent,
            dialect: "retort".to_owned(),
            system_prompt: None,
            first_thought_prefix: false,
            cot_passages: 0,
            passages_per_search: 3,
            steps_max: 5,
            reply_tokens_max: 1024,
            temperature: 0.0,
            top_p: 1.0,
            candidates: 1,
            failures_max: 10,
            failed_share_max: 0.0,
        }
    }
}

impl CollectConfig {
    /// Refuses values that cannot be meant.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<()> {
        let Self { temperature, top_p, candidates, steps_max, .. } = *self;
        let is_number = temperature.is_finite() && temperature >= 0.0;
        ensure!(is_number, "collect.temperature is {temperature}; expected 0 or more");
        for (name, value) in [
            ("reply_tokens_max", self.reply_tokens_max as usize),
            ("passages_per_search", self.passages_per_search),
            ("failures_max", self.failures_max),
        ] {
            ensure!(value > 0, "collect.{name} is 0; expected at least 1");
        }
        ensure!(top_p > 0.0 && top_p <= 1.0, "collect.top_p is {top_p}; expected above 0, up to 1");
        let failed_share_max = self.failed_share_max;
        ensure!(
            (0.0..=1.0).contains(&failed_share_max),
            "collect.failed_share_max is {failed_share_max}; expected a share from 0 to 1"
        );
        ensure!(candidates > 0, "collect.candidates is 0; expected at least 1");
        ensure!(steps_max > 0, "collect.steps_max is 0; expected at least 1");
        let votes_without_chance = candidates > 1 && temperature == 0.0;
        ensure!(
            !votes_without_chance,
            "collect.candidates is {candidates} with temperature 0: all would be equal; raise \
             collect.temperature"
        );
        Ok(())
    }
}
