//! GGUF files: [`export`] writes a trained model with its vocabulary (architecture qwen2), [`read()`]
//! reads it again,
//! [`random_model`] one of random weights, [`write()`] any tensors whose values come row by row.

mod encode;
mod file;
mod packed;
mod random;
mod read;

pub use encode::Weights;
pub use file::{Metadata, Value, write};
pub use random::random_model;
pub use read::{ReadError, Tensors, read};

use std::path::Path;

use retort_transcript::{Dialect, TRANSCRIPT_ROW_VERSION};

use crate::model::{Architecture, Layout, Model, Shape, ShapeError};
use crate::tokenizer::{END_OF_TEXT, MESSAGE_END, Vocabulary};

/// What a file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// `general.name`.
    pub name: String,
    /// `general.license`, an SPDX expression.
    pub license: Option<String>,
    /// `retort.dialect`: in whose words the student was trained.
    pub dialect: Option<String>,
    /// `retort.dialect_hash`: hash of that dialect's texts.
    pub dialect_hash: Option<String>,
    /// `retort.transcript_version`.
    pub transcript_version: Option<u32>,
    /// `tokenizer.chat_template` of a student made here, Jinja: its dialect in ChatML.
    pub chat_template: Option<String>,
}

impl Labels {
    /// Of a student of this name that speaks `dialect`, in the transcripts of today.
    #[must_use]
    pub fn of(name: String, license: Option<String>, dialect: Option<&Dialect>) -> Self {
        Labels {
            name,
            license,
            dialect: dialect.map(|dialect| dialect.name().to_owned()),
            dialect_hash: dialect.map(Dialect::hash),
            transcript_version: dialect.is_some().then_some(TRANSCRIPT_ROW_VERSION),
            chat_template: dialect.map(chat_template),
        }
    }
}

/// Without transformers' tags around what is learnt: other runtimes do not know them.
fn chat_template(dialect: &Dialect) -> String {
    let template = dialect.chat_template("", str::to_owned);
    ["{% generation %}", "{% endgeneration %}"]
        .iter()
        .fold(template, |own, tag| own.replace(tag, ""))
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The vocabulary does not fit the model.
    #[error("the model has {found} tokens, expected {expected} as in the vocabulary")]
    Vocabulary {
        /// Tokens of the model.
        found: usize,
        /// Tokens of the vocabulary.
        expected: usize,
    },
    /// The vocabulary lacks a token every model needs.
    #[error("the vocabulary lacks the control token {0}")]
    Control(&'static str),
    /// The shape is impossible.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The file could not be written.
    #[error("writing the model: {0}")]
    Io(#[from] std::io::Error),
}

/// Writes a model. Matrices get the type `weights`, gains and biases F32.
///
/// # Errors
/// [`GgufError`] when model and vocabulary disagree or the file cannot be written; `path` is then
/// as it was before.
pub fn export(
    path: &Path,
    model: &Model,
    vocabulary: &Vocabulary,
    labels: &Labels,
    weights: Weights,
) -> Result<(), GgufError> {
    let (layout, metadata) = describe(&model.shape, vocabulary, labels, weights)?;
    write(path, &metadata, &layout.tensors, weights, |index, rows, values| {
        let tensor = layout.tensors.get(index);
        let start = tensor.map_or(0, |tensor| tensor.offset + rows.start * tensor.columns);
        if let Some(source) = model.parameters.get(start..start + values.len()) {
            values.copy_from_slice(source);
        }
        Ok(())
    })
}

fn describe(
    shape: &Shape,
    vocabulary: &Vocabulary,
    labels: &Labels,
    weights: Weights,
) -> Result<(Layout, Metadata), GgufError> {
    shape.check()?;
    if (shape.architecture, shape.tied) != (Architecture::Qwen2, true) {
        let found = format!("{}, tied: {}", shape.architecture.name(), shape.tied);
        let expected = "qwen2, tied: true; others are written as checkpoints".to_owned();
        return Err(ShapeError { field: "architecture", found, expected }.into());
    }
    if shape.vocabulary != vocabulary.len() {
        let (found, expected) = (shape.vocabulary, vocabulary.len());
        return Err(GgufError::Vocabulary { found, expected });
    }
    let mut metadata = general(shape, labels, weights);
    metadata.extend(tokens(vocabulary, labels)?);
    Ok((Layout::new(shape), metadata))
}

/// What a file says of itself and of its sizes.
pub fn general(shape: &Shape, labels: &Labels, weights: Weights) -> Metadata {
    let architecture = shape.architecture.name();
    let number = |value: usize| Some(Value::U32(u32::try_from(value).unwrap_or(u32::MAX)));
    let text = |value: &String| Some(Value::Text(value.clone()));
    let about = [
        ("general.architecture", text(&architecture.to_owned())),
        ("general.type", text(&"model".to_owned())),
        ("general.name", text(&labels.name)),
        ("general.license", labels.license.as_ref().and_then(text)),
        ("general.file_type", Some(Value::U32(weights.file_type()))),
        ("general.quantization_version", Some(Value::U32(2))),
    ];
    let sizes = [
        ("context_length", number(shape.context_tokens)),
        ("embedding_length", number(shape.width)),
        ("block_count", number(shape.layers)),
        ("feed_forward_length", number(shape.feed_forward)),
        ("attention.head_count", number(shape.heads)),
        ("attention.head_count_kv", number(shape.kv_heads)),
        ("attention.layer_norm_rms_epsilon", Some(Value::F32(shape.epsilon))),
        ("rope.freq_base", Some(Value::F32(shape.rope_base))),
    ];
    let trained = [
        ("retort.dialect", labels.dialect.as_ref().and_then(text)),
        ("retort.dialect_hash", labels.dialect_hash.as_ref().and_then(text)),
        ("retort.transcript_version", labels.transcript_version.map(Value::U32)),
    ];
    let sizes = sizes.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value));
    let own = |(key, value): (&str, Option<Value>)| (key.to_owned(), value);
    let all = about.into_iter().map(own).chain(sizes).chain(trained.into_iter().map(own));
    all.filter_map(|(key, value)| Some((key, value?))).collect()
}

fn tokens(vocabulary: &Vocabulary, labels: &Labels) -> Result<Metadata, GgufError> {
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    let id = |token| vocabulary.id(token).map(Value::U32).ok_or(GgufError::Control(token));
    let texts: Vec<String> = vocabulary.tokens.iter().chain(&vocabulary.control).cloned().collect();
    let mut kinds = vec![NORMAL; vocabulary.tokens.len()];
    kinds.resize(texts.len(), CONTROL);
    let merges = vocabulary.merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
    let mut metadata = vec![
        ("model", Value::Text("gpt2".to_owned())),
        ("pre", Value::Text(vocabulary.pre_tokenizer.name().to_owned())),
        ("tokens", Value::Texts(texts)),
        ("token_type", Value::I32s(kinds)),
        ("merges", Value::Texts(merges)),
        ("eos_token_id", id(MESSAGE_END)?),
        ("padding_token_id", id(END_OF_TEXT)?),
        ("bos_token_id", id(END_OF_TEXT)?),
        ("add_bos_token", Value::Bool(false)),
    ]
    .into_iter()
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .collect::<Metadata>();
    if let Some(template) = &labels.chat_template {
        metadata.push(("tokenizer.chat_template".to_owned(), Value::Text(template.clone())));
    }
    Ok(metadata)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Start;
    use crate::tokenizer::train_tokenizer;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn writes_a_file_whose_parts_stand_where_the_header_says() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = train_tokenizer(["some text, some text"], &[], 310).unwrap();
        let shape = Shape { layers: 1, ..Shape::small(vocabulary.len()) };
        let model = Model::initialised(shape, Start::Plain, 1).unwrap();
        let dialect = Dialect::named("retort").unwrap();
        let labels = Labels::of("test".to_owned(), None, Some(&dialect));
        let mut sizes = Vec::new();
        for weights in [Weights::F32, Weights::F16, Weights::Q8_0] {
            let path = folder.path().join("model.gguf");
            export(&path, &model, &vocabulary, &labels, weights).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((&bytes[..4], u32_at(&bytes, 4)), (&b"GGUF"[..], 3));
            assert_eq!(u32_at(&bytes, 8) as usize, model.layout.tensors.len());
            // The gain before the head is the last tensor: 128 times 1.0, without padding.
            let tail: Vec<u8> = 1.0_f32.to_le_bytes().repeat(128);
            assert!(bytes.ends_with(&tail));
            assert_eq!(bytes.len() % 32, 0);
            let header = retort::engine::ModelFile::open(&path).unwrap().header;
            let template = header.text("tokenizer.chat_template").unwrap();
            assert!(template.contains("<|im_start|>assistant") && !template.contains("{% gen"));
            sizes.push(bytes.len());
        }
        let matrices = vocabulary.len() * 128 + 4 * 128 * 128 + 3 * 128 * 256;
        // Each tensor may be padded by up to 31 bytes; only the embedding needs it here.
        assert!((sizes[0] - sizes[1]).abs_diff(matrices * 2) < 32);
        assert!((sizes[0] - sizes[2]).abs_diff(matrices * 4 - matrices / 32 * 34) < 32);
    }

    #[test]
    fn refuses_a_vocabulary_of_another_size() {
        let vocabulary = train_tokenizer(["text"], &[], 310).unwrap();
        let model = Model::zeroed(Shape::small(1000)).unwrap();
        let path = Path::new("unwritten.gguf");
        let error =
            export(path, &model, &vocabulary, &Labels::default(), Weights::F16).unwrap_err();
        assert!(
            error.to_string().starts_with("the model has 1000 tokens, expected 299"),
            "{error}"
        );
    }
}
