//! Rendered segments as token sequences with their loss mask.
//!
//! Each segment is encoded alone, only the dialect's own words may become control tokens, and the
//! mask is the segment's: nothing is searched for afterwards.

use retort::engine::{TokenizeError, Tokenizer};
use retort_transcript::{Dialect, Segment, Transcript};

use crate::model::{Batch, SoftTargets};

/// A tokenised text. Token `i` is trained upon when `learned[i]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Whether each token has loss; as long as `ids`.
    pub learned: Vec<bool>,
    /// What a teacher finds probable at the positions with loss; of all sequences of a step or of
    /// none.
    pub soft: SoftTargets,
}

impl Sequence {
    /// Tokens of which each is trained upon when `learned`, and nothing else is.
    #[must_use]
    pub fn new(ids: Vec<u32>, learned: Vec<bool>) -> Self {
        Sequence { ids, learned, soft: SoftTargets::default() }
    }

    /// Makes it the next of a batch.
    pub fn add_to(&self, batch: &mut Batch) {
        batch.push(&self.ids, &self.learned);
        batch.soft.extend(&self.soft);
    }
}

/// Encodes the segments of one transcript, each by itself, behind the token with which a model's
/// texts begin if it has one.
///
/// # Errors
/// When a text cannot be encoded.
pub fn encode_segments(segments: &[Segment], words: &Tokenizer) -> Result<Sequence, TokenizeError> {
    let ids = Vec::from_iter(words.begin());
    let mut sequence = Sequence { learned: vec![false; ids.len()], ids, ..Sequence::default() };
    for segment in segments {
        let ids = words.encode_segment(segment)?;
        sequence.learned.resize(sequence.learned.len() + ids.len(), segment.learned);
        sequence.ids.extend(ids);
    }
    Ok(sequence)
}

/// The sequences of at most `context_tokens` tokens; how many are longer is said.
///
/// # Errors
/// When a text cannot be encoded.
pub fn encode(
    rendered: &[Vec<Segment>],
    words: &Tokenizer,
    context_tokens: usize,
) -> Result<Vec<Sequence>, TokenizeError> {
    let encoded = rendered.iter().map(|segments| encode_segments(segments, words));
    let mut sequences = encoded.collect::<Result<Vec<_>, _>>()?;
    let all = sequences.len();
    sequences.retain(|sequence| sequence.ids.len() <= context_tokens);
    if sequences.len() < all {
        let longer = all - sequences.len();
        errln!("{longer} of {all} left out: longer than the context of {context_tokens} tokens");
    }
    Ok(sequences)
}

/// As [`encode`], of transcripts in a dialect.
///
/// # Errors
/// When a text cannot be encoded.
pub fn encode_transcripts(
    transcripts: &[Transcript],
    dialect: &Dialect,
    words: &Tokenizer,
    context_tokens: usize,
) -> Result<Vec<Sequence>, TokenizeError> {
    let rendered: Vec<_> = transcripts.iter().map(|own| dialect.render_training(own)).collect();
    encode(&rendered, words, context_tokens)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use retort_transcript::Source;

    use super::*;
    use crate::tokenizer::{MESSAGE_END, train_tokenizer};

    #[test]
    fn a_student_learns_the_tokens_it_is_asked_in() {
        let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hub");
        for (family, begins) in [("llama", true), ("qwen2", false)] {
            let words = Tokenizer::from_json(&hub.join(family).join("tokenizer.json")).unwrap();
            let segment = |source| Segment { text: "<|im_end|> 9".into(), source, learned: true };
            let segments = [segment(Source::Template), segment(Source::Content)];
            let sequence = encode_segments(&segments, &words).unwrap();
            assert_eq!(sequence.ids, words.encode(&segments).unwrap());
            assert_eq!(sequence.learned.first(), Some(&!begins));
        }
    }

    #[test]
    fn content_never_becomes_control_and_the_mask_follows_the_segment() {
        let vocabulary = train_tokenizer(["a b", "a b"], &[], 400).unwrap();
        let words = vocabulary.words().unwrap();
        let segment = |source, learned| Segment { text: MESSAGE_END.to_owned(), source, learned };
        let segments = [segment(Source::Content, false), segment(Source::Template, true)];
        let sequence = encode_segments(&segments, &words).unwrap();
        let end = vocabulary.id(MESSAGE_END).unwrap();
        assert_eq!(sequence.ids.iter().position(|id| *id == end), Some(sequence.ids.len() - 1));
        assert_eq!(
            sequence.learned.iter().position(|learned| *learned),
            sequence.ids.len().checked_sub(1)
        );
    }
}
