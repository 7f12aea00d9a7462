//! Rendered segments as token sequences with their loss mask.
//!
//! Each segment is encoded alone, only the dialect's own words may become control tokens, and the
//! mask is the segment's: nothing is searched for afterwards.

use retort::engine::Tokenizer;
use retort_transcript::{Dialect, Segment, Transcript};

pub use crate::parallel::Sequence;

/// Encodes the segments of one transcript, each by itself.
///
/// # Errors
/// Those of `encode`.
pub fn encode_segments<E>(
    segments: &[Segment],
    encode: impl Fn(&Segment) -> Result<Vec<u32>, E>,
) -> Result<Sequence, E> {
    let mut sequence = Sequence::default();
    for segment in segments {
        let ids = encode(segment)?;
        sequence.learned.resize(sequence.learned.len() + ids.len(), segment.learned);
        sequence.ids.extend(ids);
    }
    Ok(sequence)
}

/// The sequences of at most `context_tokens` tokens; how many are longer is said.
///
/// # Errors
/// Those of `encode`.
pub fn encode<E: std::error::Error + Send + Sync + 'static>(
    rendered: &[Vec<Segment>],
    context_tokens: usize,
    encode: impl Fn(&Segment) -> Result<Vec<u32>, E>,
) -> anyhow::Result<Vec<Sequence>> {
    let encoded = rendered.iter().map(|segments| encode_segments(segments, &encode));
    let mut sequences = encoded.collect::<Result<Vec<_>, _>>()?;
    let all = sequences.len();
    sequences.retain(|sequence| sequence.ids.len() <= context_tokens);
    if sequences.len() < all {
        let longer = all - sequences.len();
        eprintln!("{longer} of {all} left out: longer than the context of {context_tokens} tokens");
    }
    Ok(sequences)
}

/// As [`encode`], of transcripts as a model reads them whose tokens are `words`.
///
/// # Errors
/// When a text cannot be encoded.
pub fn encode_transcripts(
    transcripts: &[Transcript],
    dialect: &Dialect,
    words: &Tokenizer,
    context_tokens: usize,
) -> anyhow::Result<Vec<Sequence>> {
    let rendered: Vec<_> = transcripts.iter().map(|own| dialect.render_training(own)).collect();
    encode(&rendered, context_tokens, |segment| words.encode(std::slice::from_ref(segment)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use retort_transcript::Source;

    use super::*;
    use crate::tokenizer::{MESSAGE_END, train_tokenizer};

    #[test]
    fn content_never_becomes_control_and_the_mask_follows_the_segment() {
        let vocabulary = train_tokenizer(["a b", "a b"], &[], 400).unwrap();
        let encoder = vocabulary.encoder().unwrap();
        let segment = |source, learned| Segment { text: MESSAGE_END.to_owned(), source, learned };
        let segments = [segment(Source::Content, false), segment(Source::Template, true)];
        let sequence = encode_segments(&segments, |segment| encoder.segment(segment)).unwrap();
        let end = vocabulary.id(MESSAGE_END).unwrap();
        assert_eq!(sequence.ids.iter().position(|id| *id == end), Some(sequence.ids.len() - 1));
        assert_eq!(
            sequence.learned.iter().position(|learned| *learned),
            sequence.ids.len().checked_sub(1)
        );
    }
}
