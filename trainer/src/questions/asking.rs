//! The teacher and one passage.

use anyhow::Result;
use retort::corpus::Hit;
use retort::engine::Sampling;
use retort_transcript::Dialect;

use super::check::{ANSWER, at_once, is_same_answer};
use super::config::QuestionsConfig;
use super::row::{PASSAGE_ROW_VERSION, PassageRow, Proposed, Verdict};
use super::write::{instruction, read_questions, shown};
use crate::gather::{Draw, Seat, ask, instructed};
use crate::remote::Spent;
use crate::trajectory::sha256;

/// What all passages share.
pub struct Asking<'a> {
    config: &'a QuestionsConfig,
    seed: u64,
    writing: Dialect,
    answering: Dialect,
}

impl<'a> Asking<'a> {
    /// What the teacher is told, by `config`.
    ///
    /// # Errors
    /// None: the words are fixed.
    pub fn new(config: &'a QuestionsConfig, seed: u64) -> Result<Self> {
        let plain = Dialect::named("chat")?;
        let writing = instructed(&plain, &instruction(config.per_passage))?;
        let answering = instructed(&plain, ANSWER)?;
        Ok(Self { config, seed, writing, answering })
    }

    /// Has questions written about a passage, and checks each.
    ///
    /// # Errors
    /// What keeps the teacher from replying; such a passage has no row.
    pub fn passage(&self, seat: &mut Seat<'_>, hit: &Hit) -> Result<PassageRow> {
        let mut spent = Spent::default();
        let reply = self.ask(seat, &self.writing, &shown(hit), &mut spent)?;
        let mut proposed = Vec::new();
        for (question, answer) in read_questions(&reply, self.config.per_passage) {
            let most = self.config.answer_words_max;
            let verdict = match at_once(&question, &answer, &hit.passage, most) {
                Some(verdict) => verdict,
                None => self.again(seat, hit, &question, &answer, &mut spent)?,
            };
            proposed.push(Proposed { question, answer, verdict });
        }
        Ok(PassageRow {
            version: PASSAGE_ROW_VERSION,
            key: key(hit),
            document: hit.document.clone(),
            title: hit.title.clone(),
            proposed,
            spent,
        })
    }

    /// Has the question answered from the passage again.
    fn again(
        &self,
        seat: &mut Seat<'_>,
        hit: &Hit,
        question: &str,
        answer: &str,
        spent: &mut Spent,
    ) -> Result<Verdict> {
        let asked = format!("{}\n\nQuestion: {question}", shown(hit));
        let again = self.ask(seat, &self.answering, &asked, spent)?;
        Ok(if is_same_answer(&again, answer) { Verdict::Kept } else { Verdict::NotAnswerable })
    }

    fn ask(
        &self,
        seat: &mut Seat<'_>,
        dialect: &Dialect,
        text: &str,
        spent: &mut Spent,
    ) -> Result<String> {
        let reply_tokens_max = self.config.reply_tokens_max;
        let draw = Draw { sampling: Sampling::Greedy, seed: self.seed, reply_tokens_max };
        let mut own = Spent::default();
        let (reply, counted) =
            seat.with_engine(None, dialect, |engine| ask(engine, dialect, text, draw, &mut own))?;
        spent.add(&counted.unwrap_or(own));
        reply
    }
}

/// Names a passage: its file too, for two files may have documents of one id.
pub fn key(hit: &Hit) -> String {
    let file = sha256(hit.source.as_bytes());
    format!("{}#{}#{}", hit.document, hit.ordinal, file.get(..8).unwrap_or_default())
}
