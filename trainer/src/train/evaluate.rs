//! Teacher-forced greedy exact match of whole turns: what a greedy run would write, as long as its
//! environment answers as the transcript did.

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::dataset::Sequence;
use crate::parallel::Loss;

/// Tokens evaluated at once.
const BATCH_TOKENS: usize = 8192;

/// How well a model writes the learned turns of held-out sequences.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exactness {
    /// Sequences with_turns.
    pub sequences: usize,
    /// Part of those that have turns, with every turn right.
    pub full: f64,
    /// Part of the first, second, ... turns that are right.
    pub turns: Vec<f64>,
    /// Cross-entropy per learned token.
    pub loss: f64,
}

/// Judges `sequences` by what `predict` gives: the loss, and for each sequence the most probable
/// token at each position with loss. A turn is a run of learned tokens that holds `turn_end`; without
/// one, every run of learned tokens is a turn.
///
/// # Errors
/// [`TrainError::Batch`] when a sequence does not fit the model.
pub fn evaluate(
    mut predict: impl FnMut(&[&Sequence]) -> Result<(Loss, Vec<Vec<u32>>), TrainError>,
    sequences: &[Sequence],
    turn_end: Option<u32>,
) -> Result<Exactness, TrainError> {
    let mut counts = Counts::default();
    let mut loss = Loss::default();
    for batch in batches(sequences) {
        let (part, predicted) = predict(&batch)?;
        loss.sum += part.sum;
        loss.positions += part.positions;
        for (sequence, predicted) in batch.iter().zip(predicted) {
            counts.add(&turns(sequence, &predicted, turn_end));
        }
    }
    let part = |(right, all): &(usize, usize)| *right as f64 / (*all).max(1) as f64;
    Ok(Exactness {
        sequences: sequences.len(),
        full: part(&(counts.full, counts.with_turns)),
        turns: counts.turns.iter().map(part).collect(),
        loss: loss.mean(),
    })
}

#[derive(Default)]
struct Counts {
    /// Sequences that have turns, and those of them without a fault.
    with_turns: usize,
    full: usize,
    turns: Vec<(usize, usize)>,
}

impl Counts {
    fn add(&mut self, turns: &[bool]) {
        self.with_turns += usize::from(!turns.is_empty());
        self.full += usize::from(!turns.is_empty() && turns.iter().all(|right| *right));
        if self.turns.len() < turns.len() {
            self.turns.resize(turns.len(), (0, 0));
        }
        for ((right, all), turn) in self.turns.iter_mut().zip(turns) {
            *right += usize::from(*turn);
            *all += 1;
        }
    }
}

fn batches(sequences: &[Sequence]) -> Vec<Vec<&Sequence>> {
    let mut batches: Vec<Vec<&Sequence>> = Vec::new();
    let mut tokens = BATCH_TOKENS;
    for sequence in sequences {
        if tokens + sequence.ids.len() > BATCH_TOKENS {
            batches.push(Vec::new());
            tokens = 0;
        }
        tokens += sequence.ids.len();
        if let Some(batch) = batches.last_mut() {
            batch.push(sequence);
        }
    }
    batches
}

/// Whether each turn of a sequence was predicted right.
fn turns(sequence: &Sequence, predicted: &[u32], turn_end: Option<u32>) -> Vec<bool> {
    let mut turns = Vec::new();
    let mut predicted = predicted.iter();
    let mut open: Option<(bool, bool)> = None;
    // The first token has nothing before it from which it could be predicted.
    for (token, learned) in sequence.ids.iter().zip(&sequence.learned).skip(1) {
        if *learned {
            let (right, ended) = open.unwrap_or((true, turn_end.is_none()));
            let hit = predicted.next() == Some(token);
            open = Some((right && hit, ended || Some(*token) == turn_end));
        } else if let Some((right, ended)) = open.take() {
            turns.extend(ended.then_some(right));
        }
    }
    if let Some((right, ended)) = open {
        turns.extend(ended.then_some(right));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_without_the_end_token_are_no_turns() {
        let sequence = Sequence::new(
            vec![5, 1, 9, 5, 2, 5, 3, 9],
            vec![true, true, true, false, true, false, true, true],
        );
        let predicted = [1, 9, 7, 3, 8];
        assert_eq!(turns(&sequence, &predicted, Some(9)), [true, false]);
        assert_eq!(turns(&sequence, &predicted, None), [true, false, false]);
    }

    #[test]
    fn batches_hold_all_sequences_in_order() {
        let sequence = |length| Sequence::new(vec![0; length], vec![true; length]);
        let sequences: Vec<Sequence> = [5000, 4000, 100, 9000, 1].map(sequence).to_vec();
        let lengths: Vec<usize> = batches(&sequences).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2, 1, 1]);
    }
}
