//! Rendered segments as token sequences with their loss mask.
//!
//! Each segment is encoded alone, only the dialect's own words may become control tokens, and the
//! mask is the segment's: nothing is searched for afterwards.

use retort_transcript::{Segment, Source};

pub use crate::parallel::Sequence;
use crate::tokenizer::{Encoder, TokenizerError};

/// Encodes the segments of one transcript.
///
/// # Errors
/// [`TokenizerError::Failed`] when `tokenizers` fails.
pub fn encode_segments(
    encoder: &Encoder,
    segments: &[Segment],
) -> Result<Sequence, TokenizerError> {
    let mut sequence = Sequence::default();
    for segment in segments {
        let ids = match segment.source {
            Source::Template => encoder.template(&segment.text)?,
            Source::Content => encoder.content(&segment.text)?,
        };
        sequence.learned.resize(sequence.learned.len() + ids.len(), segment.learned);
        sequence.ids.extend(ids);
    }
    Ok(sequence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tokenizer::{MESSAGE_END, train_tokenizer};

    #[test]
    fn content_never_becomes_control_and_the_mask_follows_the_segment() {
        let vocabulary = train_tokenizer(["a b", "a b"], &[], 400).unwrap();
        let encoder = vocabulary.encoder().unwrap();
        let segment = |source, learned| Segment { text: MESSAGE_END.to_owned(), source, learned };
        let segments = [segment(Source::Content, false), segment(Source::Template, true)];
        let sequence = encode_segments(&encoder, &segments).unwrap();
        let end = vocabulary.id(MESSAGE_END).unwrap();
        assert_eq!(sequence.ids.iter().position(|id| *id == end), Some(sequence.ids.len() - 1));
        assert_eq!(
            sequence.learned.iter().position(|learned| *learned),
            sequence.ids.len().checked_sub(1)
        );
    }
}
