//! What llama.cpp's quantiser writes, read back. Layouts of the blocks:
//! <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>.

use half::f16;

/// A type: ggml's number of it, the values of a block, its bytes, and how they are read.
pub(super) struct Packed {
    number: u32,
    values: usize,
    bytes: usize,
    read: fn(&[u8], &mut [f32]),
}

const TYPES: [Packed; 6] = [
    Packed { number: 3, values: 32, bytes: 20, read: q4_1 },
    Packed { number: 6, values: 32, bytes: 22, read: q5_0 },
    Packed { number: 7, values: 32, bytes: 24, read: q5_1 },
    Packed { number: 12, values: 256, bytes: 144, read: q4_k },
    Packed { number: 13, values: 256, bytes: 176, read: q5_k },
    Packed { number: 14, values: 256, bytes: 210, read: q6_k },
];

impl Packed {
    /// The type of ggml's number.
    pub fn of_tensor_type(number: u32) -> Option<&'static Self> {
        TYPES.iter().find(|own| own.number == number)
    }

    /// Bytes of `count` values, whole blocks of them.
    pub fn bytes(&self, count: usize) -> usize {
        count / self.values * self.bytes
    }

    /// Reads whole blocks.
    pub fn decode(&self, bytes: &[u8], values: &mut [f32]) {
        let blocks = bytes.chunks_exact(self.bytes);
        let values = values.chunks_exact_mut(self.values);
        values.zip(blocks).for_each(|(values, block)| (self.read)(block, values));
    }
}

/// The 16-bit float at the start of a block, and what follows.
fn scale(block: &[u8]) -> (f32, &[u8]) {
    let (first, rest) = block.split_first_chunk::<2>().unwrap_or((&[0; 2], &[]));
    (f16::from_le_bytes(*first).to_f32(), rest)
}

/// Low halves of bytes, then high halves, as the first and the second half of a block.
fn halves(bytes: &[u8], values: &mut [f32], value: impl Fn(usize, u8) -> f32) {
    let half = bytes.len();
    let both = bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4));
    let each = values.iter_mut().zip(both).enumerate().take(2 * half);
    each.for_each(|(index, (own, four))| *own = value(index, four));
}

pub(super) fn read_q4_0(block: &[u8], values: &mut [f32]) {
    let (scale, bytes) = scale(block);
    halves(bytes, values, |_, four| scale * (f32::from(four) - 8.0));
}

fn q4_1(block: &[u8], values: &mut [f32]) {
    let (factor, rest) = scale(block);
    let (least, bytes) = scale(rest);
    halves(bytes, values, |_, four| factor * f32::from(four) + least);
}

/// Four bits of each value, and the fifth of all of them before those.
fn five(rest: &[u8], values: &mut [f32], value: impl Fn(u8) -> f32) {
    let (fifth, bytes) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    let fifth = u32::from_le_bytes(*fifth);
    halves(bytes, values, |index, four| value(four | (((fifth >> index) & 1) << 4) as u8));
}

fn q5_0(block: &[u8], values: &mut [f32]) {
    let (scale, rest) = scale(block);
    five(rest, values, |five| scale * (f32::from(five) - 16.0));
}

fn q5_1(block: &[u8], values: &mut [f32]) {
    let (factor, rest) = scale(block);
    let (least, rest) = scale(rest);
    five(rest, values, |five| factor * f32::from(five) + least);
}

/// The factor and the minimum of each group of 32 values, at six bits each in twelve bytes.
fn sixes(packed: &[u8]) -> [(f32, f32); 8] {
    let byte = |index: usize| packed.get(index).copied().unwrap_or(0);
    std::array::from_fn(|group| {
        let (factor, least) = match group {
            0..4 => (byte(group) & 63, byte(group + 4) & 63),
            _ => {
                let both = byte(group + 4);
                let (factor, least) = (byte(group - 4) >> 6, byte(group) >> 6);
                ((both & 15) | (factor << 4), (both >> 4) | (least << 4))
            }
        };
        (f32::from(factor), f32::from(least))
    })
}

/// A block of eight groups: 64 values lie in 32 bytes, low halves first. `fifth` gives what a fifth
/// bit adds to the value at a place of a group.
fn groups(
    scales: &[u8],
    bytes: &[u8],
    (factor, least): (f32, f32),
    values: &mut [f32],
    fifth: impl Fn(usize, usize) -> u8,
) {
    let sixes = sixes(scales);
    let groups = values.chunks_exact_mut(32).zip(sixes).enumerate();
    for (group, (values, (own_factor, own_least))) in groups {
        let bytes = bytes.iter().skip(group / 2 * 32);
        for (place, (value, byte)) in values.iter_mut().zip(bytes).enumerate() {
            let four = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
            let number = f32::from(four + fifth(group, place));
            *value = factor * own_factor * number - least * own_least;
        }
    }
}

fn q4_k(block: &[u8], values: &mut [f32]) {
    let (factor, rest) = scale(block);
    let (least, rest) = scale(rest);
    let (scales, bytes) = rest.split_at(12);
    groups(scales, bytes, (factor, least), values, |_, _| 0);
}

fn q5_k(block: &[u8], values: &mut [f32]) {
    let (factor, rest) = scale(block);
    let (least, rest) = scale(rest);
    let (scales, rest) = rest.split_at(12);
    let (fifth, bytes) = rest.split_at(32);
    let bit = |group: usize, place: usize| fifth.get(place).map_or(0, |own| (own >> group) & 1);
    groups(scales, bytes, (factor, least), values, |group, place| bit(group, place) << 4);
}

/// Two halves of 128 values: 64 bytes of four bits, 32 bytes of two, eight factors.
fn q6_k(block: &[u8], values: &mut [f32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (factors, rest) = rest.split_at(16);
    let (all, _) = scale(rest);
    for (index, value) in values.iter_mut().enumerate() {
        let (half, quarter, place) = (index / 128, index % 128 / 32, index % 32);
        let at = |list: &[u8], index: usize| list.get(index).copied().unwrap_or(0);
        let byte = at(low, half * 64 + quarter % 2 * 32 + place);
        let four = if quarter < 2 { byte & 15 } else { byte >> 4 };
        let two = (at(high, half * 32 + place) >> (2 * quarter)) & 3;
        let factor = at(factors, half * 8 + quarter * 2 + place / 16).cast_signed();
        *value = all * f32::from(factor) * (f32::from(four | (two << 4)) - 32.0);
    }
}
