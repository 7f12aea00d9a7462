//! What a model is trained on and judged by at once.

use super::shape::Shape;

/// Sequences side by side, without padding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Token ids of all sequences.
    pub ids: Vec<u32>,
    /// Tokens of each sequence; they add up to `ids`.
    pub lengths: Vec<usize>,
    /// Positions in `ids` with loss, and the token that should follow.
    pub targets: Vec<Target>,
    /// What shares the loss of those positions with these tokens.
    pub soft: SoftTargets,
}

/// A position with loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Index into [`Batch::ids`].
    pub position: usize,
    /// The token that should follow.
    pub token: u32,
}

/// Tokens that a teacher finds probable at positions with loss. Each has its share of the loss, the
/// token that should follow has the rest: the gradient is that of a weighted sum of cross-entropy
/// and of the divergence from the teacher (arXiv 1503.02531).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoftTargets {
    /// Tokens of each position; 0 where the token that should follow has the whole loss.
    pub per_position: usize,
    /// The tokens, those of one position after those of another.
    pub tokens: Vec<u32>,
    /// Share of each token; those of a position add up to 1 at most.
    pub shares: Vec<f32>,
}

impl SoftTargets {
    /// Appends those of other positions.
    pub fn extend(&mut self, other: &Self) {
        self.per_position = self.per_position.max(other.per_position);
        self.tokens.extend(&other.tokens);
        self.shares.extend(&other.shares);
    }

    /// Forgets all positions.
    pub fn clear(&mut self) {
        self.per_position = 0;
        self.tokens.clear();
        self.shares.clear();
    }

    /// Those of `count` positions, the first of which is `first`.
    pub(super) fn slice(&self, first: usize, count: usize) -> (&[u32], &[f32]) {
        let range = first * self.per_position..(first + count) * self.per_position;
        (&self.tokens[range.clone()], &self.shares[range])
    }
}

impl Batch {
    /// Appends a sequence; token `i` has loss when `learned[i]`. What follows the last token with
    /// loss is left out, for nothing depends on it.
    pub fn push(&mut self, ids: &[u32], learned: &[bool]) {
        let Some(last) = learned.iter().take(ids.len()).rposition(|learned| *learned) else {
            return;
        };
        if last == 0 {
            return;
        }
        let start = self.ids.len();
        let marked = ids.iter().zip(learned).enumerate().skip(1);
        self.targets.extend(
            marked
                .filter(|(_, (_, learned))| **learned)
                .map(|(index, (token, _))| Target { position: start + index - 1, token: *token }),
        );
        self.ids.extend(ids.iter().take(last));
        self.lengths.push(last);
    }

    /// Checks that a model of this shape can take the batch.
    ///
    /// # Errors
    /// [`BatchError`] says what does not fit.
    pub fn check(&self, shape: &Shape) -> Result<(), BatchError> {
        let (tokens, vocabulary) = (self.ids.len(), shape.vocabulary);
        let targets = self.targets.iter().map(|target| target.token);
        let ids = self.ids.iter().copied().chain(targets).chain(self.soft.tokens.iter().copied());
        if let Some(id) = ids.into_iter().find(|id| *id as usize >= vocabulary) {
            return Err(BatchError::UnknownToken { id, vocabulary });
        }
        if self.lengths.iter().sum::<usize>() != tokens
            || self.lengths.contains(&0)
            || self.targets.iter().any(|target| target.position >= tokens)
            || self.soft.tokens.len() != self.targets.len() * self.soft.per_position
            || self.soft.tokens.len() != self.soft.shares.len()
        {
            return Err(BatchError::Inconsistent { tokens });
        }
        let context_tokens = shape.context_tokens;
        match self.lengths.iter().copied().find(|length| *length > context_tokens) {
            Some(tokens) => Err(BatchError::TooLong { tokens, context_tokens }),
            None => Ok(()),
        }
    }
}

/// A batch that the model cannot take.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A token id outside the vocabulary.
    #[error("token {id} is outside the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Tokens the model has.
        vocabulary: usize,
    },
    /// A sequence longer than the context.
    #[error("a sequence has {tokens} tokens, the context holds {context_tokens}")]
    TooLong {
        /// Its length.
        tokens: usize,
        /// Tokens the context holds.
        context_tokens: usize,
    },
    /// Lengths or targets that do not fit the ids.
    #[error("the batch's lengths or targets do not fit its {tokens} ids")]
    Inconsistent {
        /// Ids of the batch.
        tokens: usize,
    },
}
