//! The way back: a model and its vocabulary from a file that [`export`](super::export) wrote.

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::Path;

use retort::engine::PreTokenizer;
use retort::engine::gguf::{self as format, Header};

use super::Weights;
use super::packed::Packed;
use crate::model::{Architecture, Layout, Model, Shape, ShapeError, Tensor};
use crate::tokenizer::Vocabulary;

/// Why a model cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read, or ends too early.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The header is damaged or lacks a key.
    #[error(transparent)]
    Header(#[from] format::GgufError),
    /// The sizes do not fit one another.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A model this trainer cannot train.
    #[error("{field} is {found}, expected {expected}")]
    Unfit {
        /// The key or the tensor.
        field: String,
        /// What the file says.
        found: String,
        /// What can be trained.
        expected: String,
    },
}

fn unfit(field: &str, found: impl ToString, expected: impl ToString) -> ReadError {
    let (found, expected) = (found.to_string(), expected.to_string());
    ReadError::Unfit { field: field.to_owned(), found, expected }
}

/// The tensors of a file, whatever the model.
pub struct Tensors {
    file: File,
    header: Header,
}

impl Tensors {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that cannot be read or has no sound header.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        let header = Header::read(BufReader::new(&file))?;
        Ok(Self { file, header })
    }

    /// `general.name`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.header.text("general.name").ok()
    }

    /// Reads the values of `tensor`, row by row.
    ///
    /// # Errors
    /// A tensor that is missing, of other sizes or of a type that is not read.
    pub fn read(&self, tensor: &Tensor, values: &mut [f32]) -> Result<(), ReadError> {
        let Some(found) = self.header.tensors.iter().find(|found| found.name == tensor.name) else {
            return Err(unfit(&tensor.name, "missing", "a tensor"));
        };
        let all = |all: u64, extent: &u64| all.checked_mul(*extent);
        let count = found.dimensions.iter().try_fold(1, all);
        let columns = tensor.columns as u64;
        if found.dimensions.first() != Some(&columns) || count != Some(values.len() as u64) {
            let expected = format!("{} by {}", tensor.columns, tensor.rows);
            return Err(unfit(&tensor.name, format!("{:?}", found.dimensions), expected));
        }
        let at = self.header.data_offset.saturating_add(found.offset);
        let read = |length| {
            let mut bytes = vec![0; length];
            self.file.read_exact_at(&mut bytes, at).map(|()| bytes)
        };
        let count = values.len();
        match (Weights::of_tensor_type(found.kind), Packed::of_tensor_type(found.kind)) {
            (Some(plain), _) => plain.decode(&read(plain.bytes(count))?, values),
            (None, Some(packed)) => packed.decode(&read(packed.bytes(count))?, values),
            (None, None) => {
                let found = format!("of ggml type {}", found.kind);
                let expected = "F32, F16, BF16, Q8_0, Q4_0, Q4_K_M, Q5_K_M or Q6_K";
                return Err(unfit(
                    &tensor.name,
                    found,
                    format!("one of a file of type {expected}"),
                ));
            }
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(unfit(&tensor.name, value, "numbers: its training went wrong")),
            None => Ok(()),
        }
    }
}

/// Reads a model of architecture qwen2 with a tied head. Rounded weights stay rounded.
///
/// # Errors
/// [`ReadError`] names the key or the tensor at fault.
pub fn read(path: &Path) -> Result<(Model, Vocabulary), ReadError> {
    let stored = Tensors::open(path)?;
    let Tensors { file, header } = &stored;
    let vocabulary = vocabulary(header)?;
    let shape = shape(header, vocabulary.len())?;
    shape.check()?;
    // Every type takes more than half a byte for a value: what the file cannot hold is not
    // allocated.
    let (parameters, bytes) = (Layout::new(&shape).parameters, file.metadata()?.len());
    if parameters as u64 / 2 > bytes {
        return Err(unfit(
            "the number of parameters",
            parameters,
            format!("what {bytes} bytes hold"),
        ));
    }
    let mut model = Model::zeroed(shape)?;
    let tensors = model.layout.tensors.clone();
    if let Some(other) =
        header.tensors.iter().find(|found| !tensors.iter().any(|t| t.name == found.name))
    {
        return Err(unfit(&other.name, "there", "only tensors of a qwen2 model with a tied head"));
    }
    for tensor in &tensors {
        stored.read(tensor, &mut model.parameters[tensor.range()])?;
    }
    Ok((model, vocabulary))
}

fn shape(header: &Header, vocabulary: usize) -> Result<Shape, ReadError> {
    let architecture = header.text("general.architecture")?;
    if architecture != "qwen2" {
        return Err(unfit("general.architecture", architecture, "qwen2"));
    }
    let size = |key: &str| -> Result<usize, ReadError> {
        let key = format!("qwen2.{key}");
        let value = header.integer(&key)?;
        usize::try_from(value).map_err(|_| unfit(&key, value, "a size"))
    };
    let float = |key: &str| header.float(&format!("qwen2.{key}"));
    let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
    Ok(Shape {
        architecture: Architecture::Qwen2,
        tied: true,
        llama3_rope: None,
        vocabulary,
        width,
        layers: size("block_count")?,
        heads,
        kv_heads: size("attention.head_count_kv")?,
        head_width: width / heads.max(1),
        feed_forward: size("feed_forward_length")?,
        rope_base: float("rope.freq_base")? as f32,
        epsilon: float("attention.layer_norm_rms_epsilon")? as f32,
        context_tokens: size("context_length")?,
    })
}

fn vocabulary(header: &Header) -> Result<Vocabulary, ReadError> {
    const CONTROL: i128 = 3;
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let pre = header.text(&key("pre"))?;
    let known = PreTokenizer::ALL.map(PreTokenizer::name).join(" or ");
    let pre_tokenizer = PreTokenizer::named(pre).ok_or_else(|| unfit(&key("pre"), pre, &known))?;
    let tokens = header.texts(&key("tokens"))?;
    let kinds = header.integers(&key("token_type"))?;
    let ordinary = kinds.iter().position(|kind| *kind == CONTROL).unwrap_or(kinds.len());
    if kinds.len() != tokens.len() || kinds.iter().skip(ordinary).any(|kind| *kind != CONTROL) {
        let expected = "one type for each token, control tokens last";
        return Err(unfit(&key("token_type"), "another order", expected));
    }
    let (tokens, control) = tokens.split_at(ordinary);
    let pair = |merge: &String| {
        let (left, right) = merge.split_once(' ')?;
        Some((left.to_owned(), right.to_owned()))
    };
    let merges = header.texts(&key("merges"))?.iter();
    let merges =
        merges.map(|merge| pair(merge).ok_or_else(|| unfit(&key("merges"), merge, "two tokens")));
    Ok(Vocabulary {
        tokens: tokens.to_vec(),
        control: control.to_vec(),
        merges: merges.collect::<Result<_, _>>()?,
        pre_tokenizer,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Labels, export};
    use super::*;
    use crate::model::Start;
    use crate::tokenizer::train_tokenizer;

    fn student() -> (Model, Vocabulary) {
        let vocabulary = train_tokenizer(["some text, some text"], &[], 310).unwrap();
        let shape = Shape { layers: 2, ..Shape::small(vocabulary.len()) };
        (Model::initialised(shape, Start::Structured, 1).unwrap(), vocabulary)
    }

    #[test]
    fn what_was_exported_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.gguf");
        let (model, vocabulary) = student();
        for (weights, error_max) in [
            (Weights::Q4_0, 0.13),
            (Weights::F32, 0.0),
            (Weights::F16, 1e-3),
            (Weights::BF16, 8e-3),
            (Weights::Q8_0, 5e-3),
        ] {
            export(&path, &model, &vocabulary, &Labels::default(), weights).unwrap();
            let (read, words) = read(&path).unwrap();
            assert_eq!((&read.shape, &words), (&model.shape, &vocabulary));
            // The largest values are below 8; rounding is relative to them.
            let pairs = read.parameters.iter().zip(&model.parameters);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let mut rounded = model.parameters.clone();
            weights.round(&model.layout, &mut rounded);
            assert_eq!(rounded, read.parameters, "{weights:?}");
            assert!(worst <= error_max * 8.0, "{weights:?}: {worst}");
        }
    }

    #[test]
    fn what_cannot_be_trained_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.gguf");
        let (model, vocabulary) = student();
        export(&path, &model, &vocabulary, &Labels::default(), Weights::F32).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).err().unwrap().to_string()
        };
        let replaced = |from: &[u8], to: &[u8]| {
            let at = whole.windows(from.len()).position(|window| window == from).unwrap();
            let mut bytes = whole.clone();
            bytes[at..at + from.len()].copy_from_slice(to);
            bytes
        };
        let architecture = replaced(b"\x05\0\0\0\0\0\0\0qwen2", b"\x05\0\0\0\0\0\0\0llama");
        assert_eq!(told(&architecture), "general.architecture is llama, expected qwen2");
        let renamed = replaced(b"blk.1.ffn_down", b"blk.7.ffn_down");
        assert!(told(&renamed).starts_with("blk.7.ffn_down.weight is there, expected only"));
        assert!(told(&whole[..whole.len() - 1000]).contains("fill whole buffer"));
        assert!(told(b"nothing").contains("not a GGUF file"));
        let count = whole.windows(17).position(|w| w == b"qwen2.block_count").unwrap() + 17 + 4;
        let mut huge = whole.clone();
        huge[count..count + 4].copy_from_slice(&1000_u32.to_le_bytes());
        assert!(told(&huge).contains("parameters"), "{}", told(&huge));
    }
}
