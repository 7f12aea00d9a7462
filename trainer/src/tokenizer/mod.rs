//! Byte-level BPE vocabularies: trained on texts and syllables, saved, and turned into encoders.
//!
//! A [`Vocabulary`] is plain data: the GGUF file gets its tokens and merges, and
//! [`Vocabulary::encoder`] builds the `tokenizers` pipeline that llama.cpp's equals.

mod bytes;
mod learn;

pub use bytes::{byte_level, byte_level_alphabet};
pub use learn::train_tokenizer;

use retort::engine::{PreTokenizer, TokenizeError};
use retort_transcript::{Segment, Source};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// Ends a text.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Begins a message.
pub const MESSAGE_START: &str = "<|im_start|>";
/// Ends a message, and so a reply.
pub const MESSAGE_END: &str = "<|im_end|>";
/// The control tokens of every vocabulary trained here, in the order of their ids.
pub const CONTROL: [&str; 3] = [END_OF_TEXT, MESSAGE_START, MESSAGE_END];

/// Why a vocabulary could not be trained or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A syllable that is not plain lower-case ASCII.
    #[error("syllable {0:?}: expected lower-case ASCII letters")]
    Syllable(String),
    /// The tokens that must exist are more than allowed.
    #[error(
        "vocabulary_max is {max}, but bytes, syllables, decades and control tokens are {needed}"
    )]
    TooSmall {
        /// Tokens that must exist.
        needed: usize,
        /// Tokens allowed.
        max: usize,
    },
    /// The `tokenizers` crate refused.
    #[error("tokenizer: {0}")]
    Failed(String),
}

impl From<TokenizeError> for TokenizerError {
    fn from(error: TokenizeError) -> Self {
        Self::Failed(error.0)
    }
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Failed(error.to_string())
}

/// The tokens of a model. Ids are positions: `tokens`, then `control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Ordinary tokens, each byte written as one character (GPT-2's alphabet).
    pub tokens: Vec<String>,
    /// Control tokens; content never becomes one.
    pub control: Vec<String>,
    /// Pairs that merge, the first rule first.
    pub merges: Vec<(String, String)>,
    /// How text is cut before merging.
    pub pre_tokenizer: PreTokenizer,
}

impl Vocabulary {
    /// Tokens of both kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.control.len()
    }

    /// Whether there is no token at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Id of a token by its byte-level text.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        let ordinary = self.tokens.iter().position(|own| own == token);
        let control =
            || Some(self.tokens.len() + self.control.iter().position(|own| own == token)?);
        ordinary.or_else(control).and_then(|id| u32::try_from(id).ok())
    }

    /// The pipeline that encodes and decodes with this vocabulary.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when merges name unknown tokens.
    pub fn encoder(&self) -> Result<Encoder, TokenizerError> {
        let template = self.tokenizer()?;
        let mut content = template.clone();
        content.set_encode_special_tokens(true);
        Ok(Encoder { template, content })
    }

    /// The `tokenizers` pipeline.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when merges name unknown tokens.
    pub fn tokenizer(&self) -> Result<Tokenizer, TokenizerError> {
        let mut tokenizer = Tokenizer::new(self.model(self.merges.clone())?);
        tokenizer.with_pre_tokenizer(Some(self.pre_tokenizer.sequence()?));
        tokenizer.with_decoder(Some(ByteLevel::new(false, false, false)));
        let control = self.control.iter().map(|token| AddedToken::from(token.clone(), true));
        tokenizer.add_special_tokens(control).map_err(failed)?;
        Ok(tokenizer)
    }

    /// That pipeline as the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`Vocabulary::tokenizer`].
    pub fn json(&self) -> Result<String, TokenizerError> {
        self.tokenizer()?.to_string(false).map_err(failed)
    }

    fn model(&self, merges: Vec<(String, String)>) -> Result<BPE, TokenizerError> {
        let ids = (0_u32..).zip(&self.tokens).map(|(id, token)| (token.clone(), id));
        BPE::builder()
            .vocab_and_merges(ids.collect::<Vocab>(), merges)
            .ignore_merges(self.pre_tokenizer.ignores_merges())
            .build()
            .map_err(failed)
    }
}

/// Encodes text, with control tokens recognised in the dialect's own words only.
pub struct Encoder {
    template: Tokenizer,
    content: Tokenizer,
}

impl Encoder {
    /// Ids of a piece of the dialect's own text: control tokens are recognised.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when `tokenizers` fails.
    pub fn template(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.template.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// Ids of any other text: `<|im_end|>` is text.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when `tokenizers` fails.
    pub fn content(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.content.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// Ids of a segment, by where its text comes from.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when `tokenizers` fails.
    pub fn segment(&self, segment: &Segment) -> Result<Vec<u32>, TokenizerError> {
        match segment.source {
            Source::Template => self.template(&segment.text),
            Source::Content => self.content(&segment.text),
        }
    }

    /// The text of ids, control tokens included.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when an id is unknown.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.template.decode(ids, false).map_err(failed)
    }
}
