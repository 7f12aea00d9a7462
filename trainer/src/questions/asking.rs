//! The teacher and one passage.

use anyhow::Result;
use retort::corpus::{Corpus, Hit};
use retort::engine::Sampling;
use retort_transcript::Dialect;

use super::check::{ANSWER, at_once, is_same_answer};
use super::config::QuestionsConfig;
use super::row::{PASSAGE_ROW_VERSION, PassageRow, Proposed, Verdict};
use super::write::{instruction, pair_instruction, read_questions, shown};
use crate::hash::{is_drawn, sha256};
use crate::remote::Spent;
use crate::teachers::{Draw, Seat, ask, instructed};

/// Words of a passage by which its neighbour is looked for.
const QUERY_WORDS: usize = 40;
/// Hits among which it is looked for.
const NEIGHBOURS: usize = 8;

/// What all passages share.
pub struct Asking<'a> {
    config: &'a QuestionsConfig,
    seed: u64,
    corpus: &'a Corpus,
    writing: Dialect,
    writing_of_pairs: Dialect,
    answering: Dialect,
}

impl<'a> Asking<'a> {
    /// What the teacher is told, by `config`.
    ///
    /// # Errors
    /// None: the words are fixed.
    pub fn new(config: &'a QuestionsConfig, seed: u64, corpus: &'a Corpus) -> Result<Self> {
        let plain = Dialect::named("chat")?;
        let writing = instructed(&plain, &instruction(config.per_passage))?;
        let writing_of_pairs = instructed(&plain, &pair_instruction(config.per_passage))?;
        let answering = instructed(&plain, ANSWER)?;
        Ok(Self { config, seed, corpus, writing, writing_of_pairs, answering })
    }

    /// Has questions written about a passage, or about it and a neighbour, and checks each.
    ///
    /// # Errors
    /// What keeps the teacher from replying; such a passage has no row.
    pub fn passage(&self, seat: &mut Seat<'_>, hit: &Hit) -> Result<PassageRow> {
        let second = self.second(hit)?;
        let (told, text, passages) = match &second {
            Some(second) => (
                &self.writing_of_pairs,
                format!("{}\n\n{}", shown(hit), shown(second)),
                format!("{}\n{}", hit.passage, second.passage),
            ),
            None => (&self.writing, shown(hit), hit.passage.clone()),
        };
        let mut spent = Spent::default();
        let reply = self.ask(seat, told, &text, &mut spent)?;
        let mut proposed = Vec::new();
        for (question, answer) in read_questions(&reply, self.config.per_passage) {
            let most = self.config.answer_words_max;
            let verdict = match at_once(&question, &answer, &passages, most) {
                Some(verdict) => verdict,
                None => self.again(seat, &text, &question, &answer, &mut spent)?,
            };
            proposed.push(Proposed { question, answer, verdict });
        }
        Ok(PassageRow {
            version: PASSAGE_ROW_VERSION,
            key: key(hit),
            document: hit.document.clone(),
            title: hit.title.clone(),
            second: second.map(|second| second.document),
            proposed,
            spent,
        })
    }

    /// For a share of the passages, the nearest one of another document: a question about both takes
    /// more than one search.
    fn second(&self, hit: &Hit) -> Result<Option<Hit>> {
        if !is_drawn(&format!("{} {}", self.seed, key(hit)), self.config.pairs_share) {
            return Ok(None);
        }
        let words = hit.passage.split_whitespace().take(QUERY_WORDS);
        let query = words.fold(hit.title.clone(), |query, word| query + " " + word);
        let least = self.config.passage_words_min;
        let is_other = |other: &Hit| {
            other.document != hit.document && other.passage.split_whitespace().count() >= least
        };
        Ok(self.corpus.search(&query, NEIGHBOURS)?.into_iter().find(is_other))
    }

    /// Has the question answered again from what was shown.
    fn again(
        &self,
        seat: &mut Seat<'_>,
        shown: &str,
        question: &str,
        answer: &str,
        spent: &mut Spent,
    ) -> Result<Verdict> {
        let asked = format!("{shown}\n\nQuestion: {question}");
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
