//! The verdict on one trajectory.

use std::path::Path;

use anyhow::{Context as _, Result};
use retort::engine::{ModelFile, Tokenizer};
use retort::eval::score;
use retort::sandbox::Sandbox;
use retort_transcript::{Dialect, Segment};

use super::config::{FilterConfig, Right};
use super::math::{Equality, equal, has_same_signs};
use super::symbolic::all_equal;
use crate::trajectory::Trajectory;

/// Why a trajectory is not kept; the first reason that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fell {
    /// The run ended without an answer.
    NoAnswer,
    /// The answer came only when the steps were spent.
    Forced,
    /// The answer is wrong.
    Wrong,
    /// Whether it is right could not be computed within the sandbox's limits.
    Undecided,
    /// A reply could not be parsed.
    ParseError,
    /// More characters or tokens than allowed.
    TooLong,
    /// A task that was there already.
    Repeated,
}

impl Fell {
    /// All, in the order in which they are looked for.
    pub const ALL: [Self; 7] = [
        Self::NoAnswer,
        Self::Forced,
        Self::Wrong,
        Self::Undecided,
        Self::ParseError,
        Self::TooLong,
        Self::Repeated,
    ];

    /// Its name in tables and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::Forced => "answer only when asked at the end",
            Self::Wrong => "wrong answer",
            Self::Undecided => "answer too hard to judge",
            Self::ParseError => "a reply without code",
            Self::TooLong => "too long",
            Self::Repeated => "the task is there twice",
        }
    }
}

/// Judges trajectories. The sandbox is opened when sympy is first needed.
pub struct Judge<'a> {
    config: &'a FilterConfig,
    tokenizer: Option<Tokenizer>,
    sandbox: &'a dyn Fn() -> Result<Sandbox>,
    opened: Option<Sandbox>,
}

impl<'a> Judge<'a> {
    /// A judge by these rules.
    ///
    /// # Errors
    /// When the tokenizer cannot be read.
    pub fn new(config: &'a FilterConfig, sandbox: &'a dyn Fn() -> Result<Sandbox>) -> Result<Self> {
        config.check()?;
        let tokenizer = config.tokenizer.as_deref().map(read_tokenizer).transpose()?;
        Ok(Self { config, tokenizer, sandbox, opened: None })
    }

    /// Why the trajectory is not kept; `None` if it is.
    ///
    /// # Errors
    /// When the sandbox does not start or the tokenizer fails.
    pub fn verdict(&mut self, row: &Trajectory, dialect: &Dialect) -> Result<Option<Fell>> {
        let Some(answer) = row.generated.as_deref().filter(|_| row.status == "answered") else {
            return Ok(Some(Fell::NoAnswer));
        };
        if row.forced && !self.config.keeps_forced {
            return Ok(Some(Fell::Forced));
        }
        match self.is_right(answer, row)? {
            Some(true) => {}
            Some(false) => return Ok(Some(Fell::Wrong)),
            None => return Ok(Some(Fell::Undecided)),
        }
        if row.has_parse_error() {
            return Ok(Some(Fell::ParseError));
        }
        let segments = dialect.render_training(&row.transcript);
        Ok(self.is_too_long(&segments)?.then_some(Fell::TooLong))
    }

    /// Whether `answer` is one of the right ones; `None` where that could not be computed.
    ///
    /// # Errors
    /// When the sandbox does not start.
    pub fn is_right(&mut self, answer: &str, row: &Trajectory) -> Result<Option<bool>> {
        match self.config.right {
            Right::Exact => return Ok(Some(score(answer, row.expected()).exact_match)),
            Right::F1 => return Ok(Some(score(answer, row.expected()).f1 >= self.config.f1_min)),
            Right::Auto => {
                // What only punctuation tells apart is left to what follows.
                let mut expected = row.expected();
                if expected.any(|own| is_match(answer, own) && has_same_signs(answer, own)) {
                    return Ok(Some(true));
                }
            }
            Right::Math => {}
        }
        let mut is_right = Some(false);
        for expected in row.expected() {
            match equal(answer, expected) {
                Equality::Equal => return Ok(Some(true)),
                Equality::Different => {}
                Equality::Open(pairs) => match all_equal(self.sandbox()?, &pairs) {
                    Some(true) => return Ok(Some(true)),
                    Some(false) => {}
                    None => is_right = None,
                },
            }
        }
        Ok(is_right)
    }

    fn sandbox(&mut self) -> Result<&Sandbox> {
        let opened = match self.opened.take() {
            Some(sandbox) => sandbox,
            None => (self.sandbox)()?,
        };
        Ok(self.opened.insert(opened))
    }

    fn is_too_long(&self, segments: &[Segment]) -> Result<bool> {
        let characters: usize = segments.iter().map(|s| s.text.chars().count()).sum();
        if self.config.characters_max.is_some_and(|most| characters > most) {
            return Ok(true);
        }
        match (self.config.tokens_max, &self.tokenizer) {
            (Some(most), Some(tokenizer)) => Ok(tokenizer.encode(segments)?.len() > most),
            _ => Ok(false),
        }
    }
}

fn is_match(answer: &str, expected: &str) -> bool {
    score(answer, std::iter::once(expected)).exact_match
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    let at = || format!("filter.tokenizer {}", path.display());
    if path.extension().is_some_and(|extension| extension == "gguf") {
        let file = ModelFile::open(path).with_context(at)?;
        return Tokenizer::from_header(&file.header).with_context(at);
    }
    Tokenizer::from_json(path).with_context(at)
}
