//! How the weights of a tensor are stored: F32, F16, BF16, Q8_0, Q4_0.

use half::{bf16, f16};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::packed::read_q4_0;
use crate::model::{Layout, Role, Tensor};

/// How matrices are stored. Gains and biases are always F32: a look-back head's biases are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weights {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper halves of 32-bit floats.
    BF16,
    /// Blocks of 32 signed bytes with one 16-bit scale.
    #[serde(rename = "Q8_0")]
    Q8_0,
    /// Blocks of 32 numbers of four bits with one 16-bit scale; embeddings are Q8_0.
    #[serde(rename = "Q4_0")]
    Q4_0,
}

/// Values of a Q8_0 or Q4_0 block.
const BLOCK: usize = 32;

impl Weights {
    /// ggml's number of the tensor type.
    pub(super) fn tensor_type(self) -> u32 {
        match self {
            Weights::F32 => 0,
            Weights::F16 => 1,
            Weights::Q4_0 => 2,
            Weights::Q8_0 => 8,
            Weights::BF16 => 30,
        }
    }

    /// Whether every value stands for itself.
    #[must_use]
    pub fn is_whole(self) -> bool {
        matches!(self, Weights::F32 | Weights::F16 | Weights::BF16)
    }

    /// The type of ggml's number.
    #[must_use]
    pub fn of_tensor_type(number: u32) -> Option<Self> {
        let all = [Weights::F32, Weights::F16, Weights::Q4_0, Weights::Q8_0, Weights::BF16];
        all.into_iter().find(|weights| weights.tensor_type() == number)
    }

    /// Value of `general.file_type`.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Weights::F32 => 0,
            Weights::F16 => 1,
            Weights::Q4_0 => 2,
            Weights::Q8_0 => 7,
            Weights::BF16 => 32,
        }
    }

    /// The type a matrix with rows of `columns` values gets: rows that are no multiple of a block
    /// fall back to F16.
    pub(super) fn for_rows_of(self, columns: usize) -> Self {
        let in_blocks = matches!(self, Weights::Q8_0 | Weights::Q4_0);
        if in_blocks && !columns.is_multiple_of(BLOCK) { Weights::F16 } else { self }
    }

    /// The type that `tensor` gets in a file of this one.
    pub(super) fn of(self, tensor: &Tensor) -> Self {
        match (tensor.role, self) {
            (Role::Gain | Role::Bias, _) => Weights::F32,
            // The output head of small models: four bits would be too few.
            (Role::Embedding, Weights::Q4_0) => Weights::Q8_0.for_rows_of(tensor.columns),
            (Role::Matrix | Role::Embedding, _) => self.for_rows_of(tensor.columns),
        }
    }

    /// Rounds parameters to what a file of this type holds of them.
    pub fn round(self, layout: &Layout, parameters: &mut [f32]) {
        for tensor in &layout.tensors {
            let stored = self.of(tensor);
            let rows = parameters.get_mut(tensor.range()).unwrap_or_default();
            let rows = rows.par_chunks_mut(tensor.columns);
            rows.for_each_init(Vec::new, |bytes, row| {
                bytes.clear();
                stored.encode(row, bytes);
                stored.decode(bytes, row);
            });
        }
    }

    /// The furthest from 0 that a value may lie: blocks have 16-bit scales.
    pub(super) fn value_max(self) -> f32 {
        match self {
            Weights::F32 => f32::MAX,
            Weights::BF16 => bf16::MAX.to_f32(),
            Weights::F16 => f16::MAX.to_f32(),
            Weights::Q8_0 => f16::MAX.to_f32() * 127.0,
            Weights::Q4_0 => f16::MAX.to_f32() * 8.0,
        }
    }

    /// Bytes of `count` values.
    pub(crate) fn bytes(self, count: usize) -> usize {
        match self {
            Weights::F32 => count * 4,
            Weights::F16 | Weights::BF16 => count * 2,
            Weights::Q8_0 => count / BLOCK * (BLOCK + 2),
            Weights::Q4_0 => count / BLOCK * (BLOCK / 2 + 2),
        }
    }

    /// Appends `values` as stored.
    pub(crate) fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        let each = values.iter().copied();
        match self {
            Weights::F32 => out.extend(each.flat_map(f32::to_le_bytes)),
            Weights::F16 => out.extend(each.map(f16::from_f32).flat_map(f16::to_le_bytes)),
            Weights::BF16 => out.extend(each.map(bf16::from_f32).flat_map(bf16::to_le_bytes)),
            Weights::Q8_0 => values.chunks_exact(BLOCK).for_each(|block| q8_0(block, out)),
            Weights::Q4_0 => values.chunks_exact(BLOCK).for_each(|block| q4_0(block, out)),
        }
    }
}

impl Weights {
    /// The values of what [`Weights::encode`] wrote, into as many `values`.
    pub(crate) fn decode(self, bytes: &[u8], values: &mut [f32]) {
        let all = values.iter_mut();
        let pairs = bytes.as_chunks::<2>().0.iter().copied();
        match self {
            Weights::F32 => {
                let fours = bytes.as_chunks::<4>().0.iter();
                all.zip(fours).for_each(|(value, four)| *value = f32::from_le_bytes(*four));
            }
            Weights::F16 => {
                all.zip(pairs).for_each(|(value, pair)| *value = f16::from_le_bytes(pair).to_f32());
            }
            Weights::BF16 => {
                all.zip(pairs)
                    .for_each(|(value, pair)| *value = bf16::from_le_bytes(pair).to_f32());
            }
            Weights::Q8_0 => {
                let blocks = bytes.as_chunks::<{ BLOCK + 2 }>().0.iter();
                for (values, [low, high, rest @ ..]) in values.chunks_exact_mut(BLOCK).zip(blocks) {
                    let scale = f16::from_le_bytes([*low, *high]).to_f32();
                    let each = values.iter_mut().zip(rest);
                    each.for_each(|(value, byte)| *value = f32::from(byte.cast_signed()) * scale);
                }
            }
            Weights::Q4_0 => {
                let blocks = bytes.as_chunks::<{ BLOCK / 2 + 2 }>().0.iter();
                for (values, block) in values.chunks_exact_mut(BLOCK).zip(blocks) {
                    read_q4_0(block, values);
                }
            }
        }
    }
}

/// The value that lies furthest from 0 becomes -8, so that its sign has the extra number.
fn q4_0(block: &[f32], out: &mut Vec<u8>) {
    let further = |a: f32, b: f32| if b.abs() > a.abs() { b } else { a };
    let scale = block.iter().copied().fold(0.0, further) / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    out.extend(f16::from_f32(scale).to_le_bytes());
    let four = |value: &f32| ((value * inverse + 8.5) as u8).min(15);
    let (low, high) = block.split_at(BLOCK / 2);
    out.extend(low.iter().zip(high).map(|(low, high)| four(low) | (four(high) << 4)));
}

fn q8_0(block: &[f32], out: &mut Vec<u8>) {
    let most = block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = most / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    out.extend(f16::from_f32(scale).to_le_bytes());
    out.extend(block.iter().map(|value| ((value * inverse).round() as i8).to_le_bytes()[0]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_0_is_within_half_a_step() {
        let values: Vec<f32> =
            (0..64).map(|i| (i as f32 * 0.7).sin() * (i / 32 + 1) as f32).collect();
        let mut out = Vec::new();
        Weights::Q8_0.encode(&values, &mut out);
        assert_eq!(out.len(), Weights::Q8_0.bytes(64));
        let mut back = [0.0; 64];
        Weights::Q8_0.decode(&out, &mut back);
        for (index, (back, value)) in back.iter().zip(&values).enumerate() {
            // The largest value of the second block is twice that of the first.
            let scale = (index / 32 + 1) as f32 / 127.0;
            assert!((back - value).abs() < scale * 0.56);
        }
        let mut zero = Vec::new();
        Weights::Q8_0.encode(&[0.0; 32], &mut zero);
        assert_eq!(zero, [0; 34]);
    }

    #[test]
    fn q4_0_is_within_half_a_step_and_rounds_once() {
        let values: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin() * 3.0 - 0.5).collect();
        let mut out = Vec::new();
        Weights::Q4_0.encode(&values, &mut out);
        assert_eq!(out.len(), Weights::Q4_0.bytes(64));
        let mut back = [0.0; 64];
        Weights::Q4_0.decode(&out, &mut back);
        for (block, values) in back.chunks(32).zip(values.chunks(32)) {
            let most = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (back, value) in block.iter().zip(values) {
                // On the side that lacks the eighth number a whole step is lost.
                assert!((back - value).abs() < most / 8.0 * 1.01, "{back} {value}");
            }
        }
        let mut again = Vec::new();
        Weights::Q4_0.encode(&back, &mut again);
        assert_eq!(again, out);
        let mut zero = Vec::new();
        Weights::Q4_0.encode(&[0.0; 32], &mut zero);
        assert_eq!((zero.len(), &zero[..3]), (18, &[0, 0x80, 0x88][..]));
    }
}
