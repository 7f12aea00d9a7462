//! Text to token ids, with the vocabulary and merges that stand in the GGUF, or with the
//! `tokenizer.json` beside it.
//!
//! Control tokens are found in the dialect's own text only: a page that contains `<|im_end|>` is
//! text. The inner tokenizer therefore knows no special tokens at all.

use std::path::Path;

use retort_transcript::{Segment, Source};
use serde::{Deserialize, Serialize};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer as Bpe};

use super::gguf::{GgufError, Header, Value};
use super::turns::Turns;

/// ggml's token types of tokens that text never spells.
const CONTROL: i128 = 3;
const BEGIN_ID: &str = "tokenizer.ggml.bos_token_id";

/// Why text could not be tokenised.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("tokenizing failed: {0}")]
pub struct TokenizeError(pub String);

/// How text is cut into words before merging; the names are those of GGUF's `tokenizer.ggml.pre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreTokenizer {
    /// Digits in groups of up to three; a whole word that is a token is taken as it is
    /// (`ignore_merges`).
    #[serde(rename = "llama-bpe")]
    LlamaBpe,
    /// Single digits.
    #[serde(rename = "qwen2")]
    Qwen2,
}

impl PreTokenizer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::LlamaBpe, Self::Qwen2];

    /// The one that a GGUF file names.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "llama-bpe" | "llama3" => Some(Self::LlamaBpe),
            "qwen2" => Some(Self::Qwen2),
            _ => None,
        }
    }

    /// Value of `tokenizer.ggml.pre`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaBpe => "llama-bpe",
            Self::Qwen2 => "qwen2",
        }
    }

    /// The expression whose matches are the words, as llama.cpp and the published
    /// `tokenizer.json` files have it.
    #[must_use]
    pub fn pattern(self) -> String {
        let digits = match self {
            Self::LlamaBpe => r"\p{N}{1,3}",
            Self::Qwen2 => r"\p{N}",
        };
        [
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
            r"[^\r\n\p{L}\p{N}]?\p{L}+",
            digits,
            r" ?[^\s\p{L}\p{N}]+[\r\n]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
        .join("|")
    }

    /// Whether a word that is a token is taken as it is, whatever the merges say.
    #[must_use]
    pub fn ignores_merges(self) -> bool {
        self == Self::LlamaBpe
    }

    /// Cuts by that expression.
    ///
    /// # Errors
    /// When the `tokenizers` crate does not understand it.
    pub fn splitter(self) -> Result<Split, TokenizeError> {
        let pattern = SplitPattern::Regex(self.pattern());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| TokenizeError(error.to_string()))
    }

    /// Cuts by that expression, then writes bytes as GPT-2's characters.
    ///
    /// # Errors
    /// As [`PreTokenizer::splitter`].
    pub fn sequence(self) -> Result<Sequence, TokenizeError> {
        let bytes = ByteLevel::new(false, false, false);
        Ok(Sequence::new(vec![self.splitter()?.into(), bytes.into()]))
    }
}

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    bpe: Bpe,
    control: Vec<(String, u32)>,
    turns: Option<Turns>,
    begin: Option<u32>,
}

impl Tokenizer {
    /// From a checked header.
    ///
    /// # Errors
    /// Missing keys, or a pre-tokenizer that is not known.
    pub fn from_header(header: &Header) -> Result<Self, GgufError> {
        let name = header.text("tokenizer.ggml.pre")?;
        let pre = PreTokenizer::named(name).ok_or_else(|| {
            let expected = PreTokenizer::ALL.map(PreTokenizer::name).join(" or ");
            GgufError::Malformed(format!("tokenizer.ggml.pre is {name}, expected {expected}"))
        })?;
        let tokens = header.texts("tokenizer.ggml.tokens")?;
        let kinds = header.integers("tokenizer.ggml.token_type")?;
        let control = (0..).zip(tokens).zip(kinds).filter(|(_, kind)| **kind == CONTROL);
        let control = control.map(|((id, token), _)| (token.clone(), id)).collect();
        let merges = header.texts("tokenizer.ggml.merges")?.iter();
        let merges = merges.filter_map(|merge| merge.split_once(' '));
        let merges: Vec<_> =
            merges.map(|(left, right)| (left.to_owned(), right.to_owned())).collect();
        let begin = begin(header, pre)?;
        let own = Self::new(tokens, merges, control, pre);
        let own = own.map_err(|error| GgufError::Malformed(error.to_string()))?;
        Ok(Self { begin, ..own })
    }

    /// From a `tokenizer.json` as Hugging Face writes it. Its special tokens become control tokens,
    /// its other added tokens are spelt out, and of what it puts around a text only the token
    /// before it stays: dialects do the rest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn from_json(path: &Path) -> Result<Self, TokenizeError> {
        let failed = |error| TokenizeError(format!("{}: {error}", path.display()));
        let mut read = Bpe::from_file(path).map_err(failed)?;
        // What some files were last used with.
        read.with_padding(None).with_truncation(None).map_err(failed)?;
        let special =
            read.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special);
        let control = special.map(|(id, token)| (token.content, id)).collect();
        let framed = read.encode("a", true).map_err(failed)?;
        let first = framed.get_ids().iter().zip(framed.get_special_tokens_mask()).next();
        let begin = first.filter(|(_, special)| **special == 1).map(|(id, _)| *id);
        let mut bpe = Bpe::new(read.get_model().clone());
        bpe.with_pre_tokenizer(read.get_pre_tokenizer().cloned());
        Ok(Self::from_parts(bpe, control, begin))
    }

    /// From a vocabulary (id = position), merges in order of rank, and control tokens; no token
    /// begins a conversation.
    ///
    /// # Errors
    /// When merges and vocabulary do not fit together.
    pub fn new(
        tokens: &[String],
        merges: Vec<(String, String)>,
        control: Vec<(String, u32)>,
        pre: PreTokenizer,
    ) -> Result<Self, TokenizeError> {
        let failed = |error: tokenizers::Error| TokenizeError(error.to_string());
        let vocabulary: tokenizers::models::bpe::Vocab = tokens.iter().cloned().zip(0..).collect();
        let model = BPE::builder()
            .vocab_and_merges(vocabulary, merges)
            .ignore_merges(pre.ignores_merges())
            .build()
            .map_err(failed)?;
        let mut bpe = Bpe::new(model);
        bpe.with_pre_tokenizer(Some(pre.sequence()?));
        Ok(Self::from_parts(bpe, control, None))
    }

    /// The longest control token first, so that none hides another that starts like it.
    fn from_parts(bpe: Bpe, mut control: Vec<(String, u32)>, begin: Option<u32>) -> Self {
        control.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(&b.0)));
        Self { bpe, turns: Turns::of(&control), control, begin }
    }

    /// The token with which the model read every text begin, as Llama 3 did.
    #[must_use]
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// The text of [`Tokenizer::begin`].
    #[must_use]
    pub fn begin_text(&self) -> Option<&str> {
        let named = self.control.iter().find(|(_, id)| Some(*id) == self.begin);
        named.map(|(token, _)| token.as_str())
    }

    /// The marks of turns that it has; none, and the marks of dialects are text to the model.
    #[must_use]
    pub fn turns(&self) -> Option<Turns> {
        self.turns
    }

    /// A segment of a dialect's own text as the model reads it.
    #[must_use]
    pub fn spell<'a>(&self, text: &'a str) -> &'a str {
        self.turns.map_or(text, |turns| turns.spell(text))
    }

    /// Whether text spells a control token. In content it stays text.
    #[must_use]
    pub fn spells_control(&self, text: &str) -> bool {
        self.next_control(text).is_some()
    }

    /// Token ids of a conversation: [`Tokenizer::begin`], then its segments, each tokenised alone.
    ///
    /// # Errors
    /// When the inner tokenizer fails.
    pub fn encode(&self, segments: &[Segment]) -> Result<Vec<u32>, TokenizeError> {
        let mut ids = Vec::from_iter(self.begin);
        for segment in segments {
            ids.extend(self.encode_segment(segment)?);
        }
        Ok(ids)
    }

    /// Token ids of a segment.
    ///
    /// # Errors
    /// When the inner tokenizer fails.
    pub fn encode_segment(&self, segment: &Segment) -> Result<Vec<u32>, TokenizeError> {
        match segment.source {
            Source::Content => self.encode_content(&segment.text),
            Source::Template => self.encode_template(self.spell(&segment.text)),
        }
    }

    /// Token ids of text in which no control token is recognised.
    ///
    /// # Errors
    /// When the inner tokenizer fails.
    pub fn encode_content(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.bpe.encode_fast(text, false);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| TokenizeError(error.to_string()))
    }

    fn encode_template(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let (mut ids, mut rest) = (Vec::new(), text);
        while let Some((at, token, id)) = self.next_control(rest) {
            let (before, from) = rest.split_at(at);
            ids.extend(self.encode_content(before)?);
            ids.push(id);
            rest = from.strip_prefix(token).unwrap_or_default();
        }
        ids.extend(self.encode_content(rest)?);
        Ok(ids)
    }

    fn next_control<'a>(&'a self, text: &str) -> Option<(usize, &'a str, u32)> {
        let found = self.control.iter().filter_map(|(token, id)| {
            text.find(token.as_str()).map(|at| (at, token.as_str(), *id))
        });
        found.min_by_key(|(at, token, _)| (*at, usize::MAX - token.len()))
    }
}

/// What a file says of the token before a text. Files that do not say so are read as llama.cpp
/// reads them: Llama 3 has one, Qwen none.
fn begin(header: &Header, pre: PreTokenizer) -> Result<Option<u32>, GgufError> {
    let begins = match header.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(Value::Bool(begins)) => *begins,
        _ => pre == PreTokenizer::LlamaBpe && header.metadata.contains_key(BEGIN_ID),
    };
    if !begins {
        return Ok(None);
    }
    let id = header.integer(BEGIN_ID)?;
    u32::try_from(id).map(Some).map_err(|_| GgufError::Malformed(format!("{BEGIN_ID} is {id}")))
}
