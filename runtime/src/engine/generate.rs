//! Drawing N replies from one shared prefix, in one batch.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use super::llama::{Context, Model};
use super::protocol::SampledReply;
use super::stops::StopWindow;
use super::{Sampling, Stop, sampling};

/// Replies drawn at once at most; those beyond are not drawn.
pub const CANDIDATES_MAX: usize = 64;

/// One item for each candidate that is drawn.
type PerCandidate<T> = heapless::Vec<T, CANDIDATES_MAX>;

/// What [`replies`] needs to know of a request.
pub struct Draw<'a> {
    pub candidates: u8,
    pub sampling: Sampling,
    pub seed: u64,
    pub stops: &'a [String],
    pub reply_tokens_max: u32,
    pub wall_max: Option<Duration>,
    /// Tokens all candidates together may add to the cache.
    pub room_tokens: u32,
}

/// What the caller wants after a batch or a finished candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    GoOn,
    DropOthers,
    Cancel,
}

/// Who hears of progress; the worker's pipe.
pub trait Listener {
    /// A batch was decoded.
    fn batch(&mut self) -> Result<Wish, String>;
    /// A candidate has ended.
    fn finished(&mut self, candidate: u8, reply: &SampledReply) -> Result<Wish, String>;
}

/// One reply while it grows.
struct Growing {
    random: ChaCha8Rng,
    text: Vec<u8>,
    tokens: Vec<u32>,
    sampled: u32,
    logprob_sum: f32,
    stop: Option<Stop>,
}

impl Growing {
    fn reply(&self) -> SampledReply {
        SampledReply {
            text: self.text.clone(),
            tokens: self.tokens.clone(),
            sampled: self.sampled,
            mean_logprob: self.logprob_sum / self.sampled.max(1) as f32,
            stop: self.stop.unwrap_or(Stop::Dropped),
        }
    }

    /// Takes in a drawn token. `tokens` holds only what will be decoded: the one that ends the
    /// reply is not.
    fn push(&mut self, token: u32, logprob: f32, model: &Model, window: &StopWindow<'_>, max: u32) {
        self.sampled += 1;
        self.logprob_sum += logprob;
        if model.ends_turn(token) {
            self.stop = Some(Stop::End);
            return;
        }
        let piece = model.piece(token);
        self.text.extend_from_slice(&piece);
        if let Some(begin) = window.find(&self.text, piece.len()) {
            self.text.truncate(begin);
            self.stop = Some(Stop::Text);
        } else if self.sampled >= max {
            self.stop = Some(Stop::Length);
        } else {
            self.tokens.push(token);
        }
    }
}

/// Draws replies until each has ended or the time is over. Returns all of them, or `None` if
/// cancelled.
///
/// # Errors
/// llama.cpp's words, or the listener's.
pub fn replies(
    model: &Model,
    context: &mut Context<'_>,
    draw: &Draw<'_>,
    listener: &mut dyn Listener,
) -> Result<Option<Vec<SampledReply>>, String> {
    let begun = Instant::now();
    let window = StopWindow::new(draw.stops);
    let share = draw.room_tokens / u32::from(draw.candidates.max(1));
    let max = draw.reply_tokens_max.min(share).max(1);
    let mut scratch = Vec::with_capacity(context.logits().len());
    let mut growing: PerCandidate<Growing> = (0..draw.candidates)
        .take(CANDIDATES_MAX)
        .map(|candidate| Growing {
            random: sampling::stream(draw.seed, candidate),
            text: Vec::new(),
            tokens: Vec::with_capacity(max as usize),
            sampled: 0,
            logprob_sum: 0.0,
            stop: None,
        })
        .collect();
    context.branch(draw.candidates)?;
    let prefix = context.length();
    // Candidate, token and position of what the next batch decodes.
    let mut active: PerCandidate<(u8, u32, u32)> =
        (0..draw.candidates).take(CANDIDATES_MAX).map(|candidate| (candidate, 0, prefix)).collect();
    let mut is_first = true;
    loop {
        let order = active.clone();
        active.clear();
        for (index, (candidate, _, _)) in order.into_iter().enumerate() {
            let Some(reply) = growing.get_mut(usize::from(candidate)) else { continue };
            let logits = if is_first { context.logits() } else { context.step_logits(index) };
            let (token, logprob) =
                sampling::draw(logits, draw.sampling, &mut reply.random, &mut scratch);
            reply.push(token, logprob, model, &window, max);
            if reply.stop.is_none() {
                let position = prefix + reply.tokens.len() as u32 - 1;
                // Cannot overflow: nobody is in `active` twice.
                let _ = active.push((candidate, token, position));
                continue;
            }
            match listener.finished(candidate, &reply.reply())? {
                Wish::GoOn => {}
                Wish::DropOthers => return Ok(Some(growing.iter().map(Growing::reply).collect())),
                Wish::Cancel => return Ok(None),
            }
        }
        if active.is_empty() {
            return Ok(Some(growing.iter().map(Growing::reply).collect()));
        }
        context.step(&active)?;
        is_first = false;
        if listener.batch()? == Wish::Cancel {
            return Ok(None);
        }
        if draw.wall_max.is_some_and(|wall_max| begun.elapsed() >= wall_max) {
            return Ok(Some(growing.iter().map(Growing::reply).collect()));
        }
    }
}
