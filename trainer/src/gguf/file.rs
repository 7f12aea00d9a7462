//! The bytes of a GGUF file, version 3.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::Weights;
use crate::durable::replace_file;
use crate::model::{Role, Tensor};

/// Alignment of the data section and of each tensor.
const ALIGNMENT: usize = 32;
/// Values asked for and written at once.
const CHUNK: usize = 1 << 20;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// 32-bit number.
    U32(u32),
    /// 32-bit float.
    F32(f32),
    /// Truth value.
    Bool(bool),
    /// Text.
    Text(String),
    /// List of texts.
    Texts(Vec<String>),
    /// List of signed 32-bit numbers.
    I32s(Vec<i32>),
}

/// Metadata in the order of the file.
pub type Metadata = Vec<(String, Value)>;

/// Writes a file. `fill` is asked for the values of some rows of the tensor at an index at a time,
/// in order.
///
/// # Errors
/// What the file system or `fill` reported, or a value that `weights` cannot hold; `path` is then as
/// it was before.
pub fn write<E: From<io::Error>>(
    path: &Path,
    metadata: &Metadata,
    tensors: &[Tensor],
    weights: Weights,
    mut fill: impl FnMut(usize, Range<usize>, &mut [f32]) -> Result<(), E>,
) -> Result<(), E> {
    replace_file(path, |out| {
        out.write_all(&header(metadata, tensors, weights))?;
        let mut values = Vec::new();
        let mut bytes = Vec::new();
        for (index, tensor) in tensors.iter().enumerate() {
            let stored = weights.of(tensor);
            let rows_max = (CHUNK / tensor.columns).max(1);
            for first in (0..tensor.rows).step_by(rows_max) {
                let rows = first..(first + rows_max).min(tensor.rows);
                values.resize(rows.len() * tensor.columns, 0.0);
                fill(index, rows, &mut values)?;
                check(tensor, stored, first, &values)?;
                bytes.clear();
                stored.encode(&values, &mut bytes);
                out.write_all(&bytes)?;
            }
            let size = stored.bytes(tensor.rows * tensor.columns);
            out.write_all(&[0; ALIGNMENT][..padding(size)])?;
        }
        Ok(())
    })
}

/// Refuses a value that would be stored as infinite.
fn check(tensor: &Tensor, stored: Weights, first_row: usize, values: &[f32]) -> io::Result<()> {
    let most = stored.value_max();
    // What is no number is not within either.
    let Some(at) = values.iter().position(|value| !(-most..=most).contains(value)) else {
        return Ok(());
    };
    let (name, row) = (&tensor.name, first_row + at / tensor.columns);
    let value = values.get(at).copied().unwrap_or_default();
    let reason = format!(
        "{name}: row {row} holds {value}, {stored:?} holds numbers up to {most}: take BF16 or F32, \
         or weights that have not gone astray"
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn padding(size: usize) -> usize {
    size.next_multiple_of(ALIGNMENT) - size
}

fn header(metadata: &Metadata, tensors: &[Tensor], weights: Weights) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(b"GGUF");
    out.extend(3_u32.to_le_bytes());
    length(&mut out, tensors.len());
    length(&mut out, metadata.len());
    for (key, value) in metadata {
        text(&mut out, key);
        put(&mut out, value);
    }
    let mut offset = 0;
    for tensor in tensors {
        text(&mut out, &tensor.name);
        let vector = matches!(tensor.role, Role::Gain | Role::Bias);
        // The fastest dimension comes first.
        let sizes = if vector { vec![tensor.columns] } else { vec![tensor.columns, tensor.rows] };
        out.extend((sizes.len() as u32).to_le_bytes());
        sizes.iter().for_each(|size| length(&mut out, *size));
        let stored = weights.of(tensor);
        out.extend(stored.tensor_type().to_le_bytes());
        length(&mut out, offset);
        offset += stored.bytes(tensor.rows * tensor.columns).next_multiple_of(ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend((length as u64).to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len());
    out.extend(text.as_bytes());
}

fn put(out: &mut Vec<u8>, value: &Value) {
    let mut kind = |number: u32| out.extend(number.to_le_bytes());
    match value {
        Value::U32(number) => {
            kind(4);
            out.extend(number.to_le_bytes());
        }
        Value::F32(number) => {
            kind(6);
            out.extend(number.to_le_bytes());
        }
        Value::Bool(truth) => {
            kind(7);
            out.push(u8::from(*truth));
        }
        Value::Text(words) => {
            kind(8);
            text(out, words);
        }
        Value::Texts(list) => {
            kind(9);
            kind(8);
            length(out, list.len());
            list.iter().for_each(|words| text(out, words));
        }
        Value::I32s(list) => {
            kind(9);
            kind(5);
            length(out, list.len());
            list.iter().for_each(|number| out.extend(number.to_le_bytes()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_cannot_hold_is_refused_by_tensor_and_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let (name, role) = ("blk.0.ffn_up.weight".to_owned(), Role::Matrix);
        let tensors = [Tensor { name, rows: 4, columns: 32, offset: 0, role }];
        let written = |weights, value: f32| {
            write(&path, &Vec::new(), &tensors, weights, |_, _, values| {
                values[70] = value;
                Ok::<(), io::Error>(())
            })
        };
        for weights in [Weights::F16, Weights::Q8_0, Weights::Q4_0, Weights::BF16] {
            let most = weights.value_max();
            written(weights, most).unwrap();
            let mut bytes = Vec::new();
            weights.encode(&[most; 32], &mut bytes);
            let mut back = [0.0; 32];
            weights.decode(&bytes, &mut back);
            assert!(back.iter().all(|value| value.is_finite()), "{weights:?}: {back:?}");
        }
        let told = written(Weights::F16, 1e5).unwrap_err().to_string();
        assert!(told.starts_with("blk.0.ffn_up.weight: row 2 holds 100000, F16 holds"), "{told}");
        assert!(written(Weights::F32, f32::NAN).is_err());
    }
}
