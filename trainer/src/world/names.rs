//! Names made of syllables, and the hash that decides which split a name belongs to.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Which questions an entity may be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Names a student may meet in training.
    Train,
    /// Names that no training text holds.
    Test,
}

/// One word in this many belongs to the test split.
const TEST_ONE_IN: u32 = 8;
const CONSONANTS: &str = "bcdfghjklmnpqrstvwxz";
const VOWELS: &str = "aeiou";

/// English words of consonant-vowel form: a name that is one of them would match ordinary text.
const ENGLISH: &[&str] = &[
    "before", "came", "care", "cave", "code", "date", "face", "fire", "five", "gave", "give",
    "have", "here", "hole", "home", "hope", "lake", "late", "life", "like", "line", "live", "love",
    "made", "make", "male", "many", "mile", "mine", "more", "move", "name", "nine", "none", "note",
    "page", "real", "rise", "role", "rule", "safe", "same", "side", "site", "size", "some", "take",
    "tale", "time", "tone", "wave", "were", "wide", "wife", "wine", "wise",
];

/// Every syllable of which names are made, in lower case: a consonant and a vowel. A name is two
/// or three of them, the first capitalised: 1,010,000 words.
pub fn syllables() -> Vec<String> {
    let with_vowels = |consonant| VOWELS.chars().map(move |vowel| format!("{consonant}{vowel}"));
    CONSONANTS.chars().flat_map(with_vowels).collect()
}

/// The split of a single word of a name (FNV-1a, 32 bits, of its bytes).
pub fn split_of(word: &str) -> Split {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = word.bytes().fold(0x811c_9dc5, mix);
    if hash % TEST_ONE_IN == 0 { Split::Test } else { Split::Train }
}

/// Draws words no two of which are equal.
pub struct NameSource {
    syllables: Vec<String>,
    used: BTreeSet<String>,
}

impl Default for NameSource {
    fn default() -> Self {
        Self { syllables: syllables(), used: BTreeSet::new() }
    }
}

impl NameSource {
    /// A new word of `split`.
    pub fn draw(&mut self, split: Split, rng: &mut ChaCha8Rng) -> String {
        loop {
            let word = self.word(rng);
            let is_name = split_of(&word) == split
                && !ENGLISH.contains(&word.to_lowercase().as_str())
                && self.used.insert(word.clone());
            if is_name {
                return word;
            }
        }
    }

    fn word(&self, rng: &mut ChaCha8Rng) -> String {
        let count = rng.random_range(2..=3);
        let lower: String = (0..count).filter_map(|_| self.syllable(rng)).collect();
        capitalised(&lower)
    }

    fn syllable(&self, rng: &mut ChaCha8Rng) -> Option<&str> {
        self.syllables.get(rng.random_range(0..self.syllables.len())).map(String::as_str)
    }
}

/// A new fault code of `split`: a letter and three digits.
pub fn fault_code(names: &mut NameSource, split: Split, rng: &mut ChaCha8Rng) -> String {
    loop {
        let letter = char::from(rng.random_range(b'A'..=b'Z'));
        let code = format!("{letter}{}", rng.random_range(100..=999));
        if split_of(&code) == split && names.used.insert(code.clone()) {
            return code;
        }
    }
}

/// `text` with its first letter in upper case.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn syllables_make_a_million_names() {
        let count = syllables().len();
        assert!(count * count + count * count * count > 1_000_000);
        assert_eq!(syllables().into_iter().collect::<BTreeSet<_>>().len(), count);
    }

    #[test]
    fn words_are_of_their_split_and_never_repeated() {
        let (mut names, mut rng) = (NameSource::default(), ChaCha8Rng::seed_from_u64(1));
        let mut seen = BTreeSet::new();
        for split in [Split::Train, Split::Test].repeat(500) {
            let word = names.draw(split, &mut rng);
            assert_eq!(split_of(&word), split);
            assert!(word.starts_with(char::is_uppercase));
            assert!(seen.insert(word));
        }
    }

    #[test]
    fn one_word_in_eight_is_of_the_test_split() {
        let words = (0..100_u32).flat_map(|a| (0..100).map(move |b| (a, b)));
        let all = syllables();
        let is_test = |(a, b): &(u32, u32)| {
            let pick = |index: u32| all.get(index as usize).map_or("", String::as_str);
            split_of(&capitalised(&format!("{}{}", pick(*a), pick(*b)))) == Split::Test
        };
        let share = words.filter(is_test).count();
        assert!((1050..1450).contains(&share), "{share} of 10000");
    }
}
