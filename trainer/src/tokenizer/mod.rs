//! Byte-level BPE vocabularies: trained on texts and syllables, saved, and turned into tokenizers.
//!
//! A [`Vocabulary`] is plain data: the GGUF file gets its tokens and merges, and
//! [`Vocabulary::words`] is the tokenizer of the runtime over them, which llama.cpp's equals.

mod bytes;
mod learn;

pub use bytes::{byte_level, byte_level_alphabet};
pub use learn::train_tokenizer;

use std::path::Path;

use anyhow::bail;
use retort::engine::{PreTokenizer, TokenizeError, Tokenizer, Turns};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer as Pipeline};

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

/// A model's `tokenizer.json`, for training on conversations.
///
/// # Errors
/// When it cannot be read, or has no control tokens for turns: a student would not learn to end its
/// replies.
pub fn conversational(path: &Path) -> anyhow::Result<Tokenizer> {
    let words = Tokenizer::from_json(path)?;
    if words.turns().is_none() {
        let known = Turns::known();
        bail!(
            "{}: no special tokens for the turns of a conversation, expected {known}. Add them with \
             transformers (tokenizer.add_special_tokens, model.resize_token_embeddings)",
            path.display()
        );
    }
    Ok(words)
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

    /// What encodes with this vocabulary, on the device as well.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when merges name unknown tokens.
    pub fn words(&self) -> Result<Tokenizer, TokenizerError> {
        let tokens = [self.tokens.as_slice(), &self.control].concat();
        let control = self.control.iter().filter_map(|own| Some((own.clone(), self.id(own)?)));
        Ok(Tokenizer::new(&tokens, self.merges.clone(), control.collect(), self.pre_tokenizer)?)
    }

    /// The `tokenizers` pipeline, as Hugging Face's libraries read it.
    ///
    /// # Errors
    /// [`TokenizerError::Failed`] when merges name unknown tokens.
    pub fn tokenizer(&self) -> Result<Pipeline, TokenizerError> {
        let mut tokenizer = Pipeline::new(self.model(self.merges.clone())?);
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
