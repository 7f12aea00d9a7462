//! Models of random weights in the shape of published ones: what they say is noise, but sizes,
//! speed and the way through a run are theirs.

use std::path::Path;

use retort::engine::PreTokenizer;

use super::{GgufError, Labels, Weights, describe, write};
use crate::model::{Role, Shape};
use crate::tokenizer::{CONTROL, Vocabulary, byte_level_alphabet};

/// Deviation of the weights, Qwen2's initial one.
const DEVIATION: f32 = 0.02;

/// Writes a model of random weights and a synthetic vocabulary with merges, as long as
/// `shape.vocabulary`, cut as qwen2's.
///
/// # Errors
/// [`GgufError`] when the shape is impossible or the file cannot be written.
pub fn random_model(
    path: &Path,
    shape: &Shape,
    seed: u64,
    weights: Weights,
) -> Result<(), GgufError> {
    let vocabulary = synthetic_vocabulary(shape.vocabulary)?;
    let labels = Labels { name: "random weights".to_owned(), ..Labels::default() };
    let (layout, metadata) = describe(shape, &vocabulary, &labels, weights)?;
    let mut random = SplitMix(seed);
    write(path, &metadata, &layout.tensors, weights, |index, _, values| {
        match layout.tensors.get(index).map(|tensor| tensor.role) {
            Some(Role::Gain) => values.fill(1.0),
            _ => values.fill_with(|| random.normal() * DEVIATION),
        }
        Ok(())
    })
}

/// The generator of Steele, Lea and Flood (2014): fast, for half a billion values.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Nearly normal: four uniform values added, deviation 1.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u32 = (0..4).map(|part| (bits >> (16 * part)) as u32 & 0xffff).sum();
        (sum as f32 / 65_536.0 - 2.0) * 3.0_f32.sqrt()
    }
}

/// Bytes, then words of growing length over a to z, with and without a space before them, each
/// made by one merge; control tokens last.
fn synthetic_vocabulary(size: usize) -> Result<Vocabulary, GgufError> {
    let mut tokens: Vec<String> = byte_level_alphabet().iter().map(char::to_string).collect();
    let ordinary = size.saturating_sub(CONTROL.len());
    if ordinary < tokens.len() {
        return Err(GgufError::Vocabulary { found: size, expected: tokens.len() + CONTROL.len() });
    }
    let mut merges = Vec::with_capacity(ordinary);
    let mut parents: std::collections::VecDeque<String> = ('a'..='z').map(String::from).collect();
    parents.push_back("Ġ".to_owned());
    while tokens.len() < ordinary {
        let Some(parent) = parents.pop_front() else {
            break;
        };
        for letter in ('a'..='z').take(ordinary - tokens.len()) {
            let token = format!("{parent}{letter}");
            merges.push((parent.clone(), letter.to_string()));
            parents.push_back(token.clone());
            tokens.push(token);
        }
    }
    Ok(Vocabulary {
        tokens,
        merges,
        control: CONTROL.map(str::to_owned).to_vec(),
        pre_tokenizer: PreTokenizer::Qwen2,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_synthetic_vocabulary_has_the_size_of_qwen2_and_encodes() {
        let size = Shape::qwen2_half_billion().vocabulary;
        let vocabulary = synthetic_vocabulary(size).unwrap();
        assert_eq!(vocabulary.len(), size);
        let unique: std::collections::BTreeSet<&String> = vocabulary.tokens.iter().collect();
        assert_eq!(unique.len(), vocabulary.tokens.len());
        let text = "the quick fox 12 Ünder";
        let ids = vocabulary.words().unwrap().encode_content(text).unwrap();
        assert_eq!(vocabulary.tokenizer().unwrap().decode(&ids, false).unwrap(), text);
        assert!(ids.len() < 18, "{}", ids.len());
    }

    #[test]
    fn random_values_are_centred_with_deviation_one() {
        let mut random = SplitMix(7);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
