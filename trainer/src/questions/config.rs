//! What a user writes about questions.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How questions are written and which are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuestionsConfig {
    /// Passages that are read, drawn from all of them; none is all.
    pub passages: Option<usize>,
    /// Words of a passage at least; shorter ones are headings and lists.
    pub passage_words_min: usize,
    /// Share of the passages that are shown with the nearest one of another document, for questions
    /// that take both.
    pub pairs_share: f64,
    /// Questions asked for a passage.
    pub per_passage: usize,
    /// Words of an answer at most.
    pub answer_words_max: usize,
    /// Share of yes/no questions at most.
    pub yes_no_share_max: f64,
    /// Share of common words from which two questions with one answer are the same question.
    pub same_words_share: f64,
    /// Share of the questions set aside for a test.
    pub test_share: f64,
    /// Tokens of a reply.
    pub reply_tokens_max: u32,
    /// Passages that may fail one after the other before the work stops.
    pub failures_max: usize,
    /// Share of them that may fail for good, as those that are too long for the teacher, with which the
    /// stage still counts as done.
    pub failed_share_max: f64,
}

impl Default for QuestionsConfig {
    fn default() -> Self {
        Self {
            passages: None,
            passage_words_min: 15,
            pairs_share: 0.25,
            per_passage: 3,
            answer_words_max: 12,
            yes_no_share_max: 0.15,
            same_words_share: 0.7,
            test_share: 0.1,
            reply_tokens_max: 1024,
            failures_max: 10,
            failed_share_max: 0.0,
        }
    }
}

impl QuestionsConfig {
    /// Refuses values that cannot be meant.
    ///
    /// # Errors
    /// Names the field and what was expected.
    pub fn check(&self) -> Result<()> {
        for (name, share) in [
            ("pairs_share", self.pairs_share),
            ("yes_no_share_max", self.yes_no_share_max),
            ("same_words_share", self.same_words_share),
            ("test_share", self.test_share),
            ("failed_share_max", self.failed_share_max),
        ] {
            ensure!(
                (0.0..=1.0).contains(&share),
                "questions.{name} is {share}; expected a share from 0 to 1"
            );
        }
        ensure!(self.test_share < 1.0, "questions.test_share is 1; nothing would be left to learn");
        ensure!(self.passages != Some(0), "questions.passages is 0; expected at least 1");
        ensure!(self.answer_words_max > 0, "questions.answer_words_max is 0; expected at least 1");
        ensure!(self.per_passage > 0, "questions.per_passage is 0; expected at least 1");
        ensure!(self.reply_tokens_max > 0, "questions.reply_tokens_max is 0; expected at least 1");
        Ok(())
    }
}
