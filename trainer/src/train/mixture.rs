//! Which sequences a step trains on: several sources in shares that change once.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::dataset::Sequence;

/// Sequences of one kind and how much of the training they make up.
#[derive(Clone, Debug, PartialEq)]
pub struct MixtureSource {
    /// Name in errors.
    pub name: String,
    /// The sequences; they are shuffled anew each time all have been seen.
    pub sequences: Vec<Sequence>,
    /// Share of the tokens in the first and in the second phase of the budget. Shares are relative
    /// to one another.
    pub shares: [f32; 2],
}

/// How far each source has been read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureState {
    phase: usize,
    sources: Vec<SourceState>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceState {
    epoch: u64,
    next: usize,
    /// Tokens drawn in this phase.
    drawn: u64,
}

/// Draws sequences; the same seed and state give the same sequences.
pub struct Mixture<'a> {
    sources: &'a [MixtureSource],
    seed: u64,
    state: MixtureState,
    orders: Vec<Vec<usize>>,
}

impl<'a> Mixture<'a> {
    /// A mixture that goes on from `state`; the default one is the beginning.
    pub fn new(
        sources: &'a [MixtureSource],
        seed: u64,
        mut state: MixtureState,
    ) -> Result<Self, TrainError> {
        for source in sources {
            let bad_share = source.shares.iter().any(|share| !share.is_finite() || *share < 0.0);
            if bad_share {
                let reason = format!("shares {:?}, expected numbers from 0 up", source.shares);
                return Err(TrainError::Data { name: source.name.clone(), reason });
            }
            if source.sequences.is_empty() && source.shares.iter().any(|share| *share > 0.0) {
                let reason = "a share but no sequences".to_owned();
                return Err(TrainError::Data { name: source.name.clone(), reason });
            }
        }
        for phase in 0..2 {
            let share = |source: &MixtureSource| source.shares.get(phase).copied().unwrap_or(0.0);
            if sources.iter().all(|source| share(source) == 0.0) {
                let reason = format!("no source has a share in phase {}", phase + 1);
                return Err(TrainError::Data { name: "mixture".to_owned(), reason });
            }
        }
        state.sources.resize_with(sources.len(), SourceState::default);
        let mut mixture = Mixture { sources, seed, state, orders: Vec::new() };
        mixture.orders = (0..sources.len()).map(|source| mixture.order(source)).collect();
        Ok(mixture)
    }

    /// How far each source has been read.
    pub fn state(&self) -> &MixtureState {
        &self.state
    }

    fn order(&self, source: usize) -> Vec<usize> {
        let length = self.sources.get(source).map_or(0, |source| source.sequences.len());
        let epoch = self.state.sources.get(source).map_or(0, |state| state.epoch);
        let mut order: Vec<usize> = (0..length).collect();
        let mut seed = [0; 32];
        let parts = [self.seed, source as u64, epoch];
        for (bytes, part) in seed.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        order.shuffle(&mut ChaCha8Rng::from_seed(seed));
        order
    }

    /// Sequences of at least `tokens` tokens together, in phase 0 or 1 of the budget.
    pub fn draw(&mut self, phase: usize, tokens: usize) -> Vec<&'a Sequence> {
        if self.state.phase != phase {
            self.state.phase = phase;
            self.state.sources.iter_mut().for_each(|source| source.drawn = 0);
        }
        let mut drawn = Vec::new();
        let mut total = 0;
        while total < tokens {
            let Some(sequence) = self.draw_one(phase) else {
                break;
            };
            total += sequence.ids.len().max(1);
            drawn.push(sequence);
        }
        drawn
    }

    /// From the source that is furthest behind its share.
    fn draw_one(&mut self, phase: usize) -> Option<&'a Sequence> {
        let behind = |(index, source): (usize, &MixtureSource)| {
            let share = f64::from(*source.shares.get(phase)?);
            let drawn = self.state.sources.get(index)?.drawn;
            (share > 0.0).then(|| (drawn as f64 / share, index))
        };
        let sources = self.sources.iter().enumerate().filter_map(behind);
        let (_, index) = sources.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let source = self.sources.get(index)?;
        if self.state.sources.get(index)?.next >= source.sequences.len() {
            let state = self.state.sources.get_mut(index)?;
            state.epoch += 1;
            state.next = 0;
            let order = self.order(index);
            *self.orders.get_mut(index)? = order;
        }
        let state = self.state.sources.get_mut(index)?;
        let sequence = source.sequences.get(*self.orders.get(index)?.get(state.next)?)?;
        state.next += 1;
        state.drawn += sequence.ids.len().max(1) as u64;
        Some(sequence)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(name: &str, length: usize, shares: [f32; 2]) -> MixtureSource {
        let sequence = |id| Sequence::new(vec![id; length], vec![true; length]);
        MixtureSource { name: name.into(), sequences: (0..7).map(sequence).collect(), shares }
    }

    #[test]
    fn shares_are_shares_of_tokens_and_change_with_the_phase() {
        let sources = [source("long", 30, [0.5, 1.0]), source("short", 10, [0.5, 0.0])];
        let mut mixture = Mixture::new(&sources, 1, MixtureState::default()).unwrap();
        let tokens = |drawn: Vec<&Sequence>, length: usize| {
            drawn.iter().filter(|s| s.ids.len() == length).count() * length
        };
        let first = mixture.draw(0, 6000);
        assert!(tokens(first, 10).abs_diff(3000) <= 30);
        assert_eq!(tokens(mixture.draw(1, 600), 10), 0);
    }

    #[test]
    fn an_epoch_sees_every_sequence_once_and_a_state_goes_on() {
        let sources = [source("one", 1, [1.0, 1.0])];
        let mut mixture = Mixture::new(&sources, 1, MixtureState::default()).unwrap();
        let mut seen: Vec<u32> = mixture.draw(0, 7).iter().map(|s| s.ids[0]).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
        mixture.draw(0, 3);
        let mut resumed = Mixture::new(&sources, 1, mixture.state().clone()).unwrap();
        assert_eq!(mixture.draw(0, 20), resumed.draw(0, 20));
    }

    #[test]
    fn names_the_source_at_fault() {
        let empty = MixtureSource { sequences: Vec::new(), ..source("drills", 1, [0.1, 0.0]) };
        let error = Mixture::new(&[empty], 1, MixtureState::default()).err().unwrap();
        assert_eq!(error.to_string(), "training data, drills: a share but no sequences");
        let late = [source("early", 1, [1.0, 0.0])];
        assert!(Mixture::new(&late, 1, MixtureState::default()).is_err());
    }
}
