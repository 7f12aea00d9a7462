//! How the weights of a tensor are stored: F32, F16, Q8_0.

use serde::{Deserialize, Serialize};

/// How matrices are stored. Gains and biases are always F32: a look-back head's biases are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weights {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Blocks of 32 signed bytes with one 16-bit scale.
    #[serde(rename = "Q8_0")]
    Q8_0,
}

/// Values of a Q8_0 block.
const BLOCK: usize = 32;

impl Weights {
    /// ggml's number of the tensor type.
    pub(super) fn tensor_type(self) -> u32 {
        match self {
            Weights::F32 => 0,
            Weights::F16 => 1,
            Weights::Q8_0 => 8,
        }
    }

    /// Value of `general.file_type`.
    pub(super) fn file_type(self) -> u32 {
        match self {
            Weights::F32 => 0,
            Weights::F16 => 1,
            Weights::Q8_0 => 7,
        }
    }

    /// The type a matrix with rows of `columns` values gets: rows that are no multiple of a block
    /// fall back to F16.
    pub(super) fn for_rows_of(self, columns: usize) -> Self {
        if self == Weights::Q8_0 && !columns.is_multiple_of(BLOCK) { Weights::F16 } else { self }
    }

    /// Bytes of `count` values.
    pub(super) fn bytes(self, count: usize) -> usize {
        match self {
            Weights::F32 => count * 4,
            Weights::F16 => count * 2,
            Weights::Q8_0 => count / BLOCK * (BLOCK + 2),
        }
    }

    /// Appends `values` as stored.
    pub(super) fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Weights::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Weights::F16 => out.extend(values.iter().flat_map(|value| half(*value).to_le_bytes())),
            Weights::Q8_0 => values.chunks_exact(BLOCK).for_each(|block| q8_0(block, out)),
        }
    }
}

fn q8_0(block: &[f32], out: &mut Vec<u8>) {
    let most = block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = most / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    out.extend(half(scale).to_le_bytes());
    out.extend(block.iter().map(|value| ((value * inverse).round() as i8).to_le_bytes()[0]));
}

/// The nearest 16-bit float (ties to even) as its bits.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    // From 65,520 on the nearest is infinity; NaN stays NaN.
    if magnitude >= 0x477f_f000 {
        return sign | if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    }
    // Below 2^-14 the result is a multiple of 2^-24: adding 0.5 rounds there.
    if magnitude < 0x3880_0000 {
        let rounded = f32::from_bits(magnitude) + 0.5;
        return sign | (rounded.to_bits() - 0.5_f32.to_bits()) as u16;
    }
    let odd = (magnitude >> 13) & 1;
    sign | ((magnitude - (112 << 23) + 0xfff + odd) >> 13) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of 16-bit float bits.
    fn value(bits: u16) -> f32 {
        let fraction = f32::from(bits & 0x3ff);
        let exponent = i32::from((bits >> 10) & 0x1f);
        let size = match exponent {
            0 => fraction * 2.0_f32.powi(-24),
            31 => {
                return if fraction > 0.0 { f32::NAN } else { f32::INFINITY };
            }
            _ => (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
        };
        if bits & 0x8000 == 0 { size } else { -size }
    }

    #[test]
    fn halves_are_exact_and_midpoints_go_to_even() {
        for bits in 0..0x7c00_u16 {
            assert_eq!(half(value(bits)), bits);
            assert_eq!(half(-value(bits)), bits | 0x8000);
            if bits < 0x7bff {
                let middle = (value(bits) + value(bits + 1)) / 2.0;
                assert_eq!(half(middle), bits + (bits & 1));
            }
        }
        assert_eq!([half(1e9), half(-1e9), half(65_519.0)], [0x7c00, 0xfc00, 0x7bff]);
        assert!(value(half(f32::NAN)).is_nan());
    }

    #[test]
    fn q8_0_is_within_half_a_step() {
        let values: Vec<f32> =
            (0..64).map(|i| (i as f32 * 0.7).sin() * (i / 32 + 1) as f32).collect();
        let mut out = Vec::new();
        Weights::Q8_0.encode(&values, &mut out);
        assert_eq!(out.len(), Weights::Q8_0.bytes(64));
        for (block, values) in out.chunks(34).zip(values.chunks(32)) {
            let scale = value(u16::from_le_bytes([block[0], block[1]]));
            for (byte, expected) in block[2..].iter().zip(values) {
                let got = f32::from(i8::from_le_bytes([*byte])) * scale;
                assert!((got - expected).abs() < scale * 0.56);
            }
        }
        let mut zero = Vec::new();
        Weights::Q8_0.encode(&[0.0; 32], &mut zero);
        assert_eq!(zero, [0; 34]);
    }
}
