//! Learning a vocabulary from texts in which made-up names must stay syllables.
//!
//! Merges that spell syllables come first, so a name falls into its syllables before anything
//! else can happen, whatever stands before it. Every other merge is kept only if it cannot join
//! two syllables of a name, or a name's first syllable with what precedes it. Frequent words are
//! tokens of their own: the pre-tokeniser takes a word that is a token whole. What then remains is
//! learnt by the trainer of `tokenizers` over the pieces that the syllable merges leave.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use retort::engine::PreTokenizer;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::{
    Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, Trainer,
};

use super::bytes::{byte_level, byte_level_alphabet};
use super::{CONTROL, TokenizerError, Vocabulary, failed};

/// Decades that are one token each: years are copied and compared by them.
const DECADES: std::ops::RangeInclusive<u16> = 170..=209;
/// A word occurring less often is left to merges.
const WORD_OCCURRENCES_MIN: u64 = 2;
/// Occurrences of one word that the trainer hears of: the order of merges among more frequent
/// words does not matter.
const TRAINER_OCCURRENCES_MAX: u64 = 1000;
/// First of the private characters that stand for pieces while merges are learnt.
const PRIVATE_FIRST: u32 = 0xF_0000;

/// Trains a vocabulary of at most `vocabulary_max` tokens on `texts`.
///
/// Each of `syllables` (lower-case ASCII) becomes one token, so does its capitalised form, and
/// neither ever merges with what stands before it in a name. The decades 170 to 209 and the
/// control tokens exist. Texts are segments: text that is tokenised alone at run time belongs into
/// a string of its own; control tokens in them are skipped.
///
/// # Errors
/// [`TokenizerError`] names a bad syllable or a `vocabulary_max` that is too small.
pub fn train_tokenizer<S: AsRef<str>>(
    texts: impl IntoIterator<Item = S>,
    syllables: &[String],
    vocabulary_max: usize,
) -> Result<Vocabulary, TokenizerError> {
    let mut builder = VocabularyBuilder::new(syllables)?;
    let needed = builder.vocabulary.len();
    if needed > vocabulary_max {
        return Err(TokenizerError::TooSmall { needed, max: vocabulary_max });
    }
    let words = builder.count_words(texts)?;
    let pieces = builder.pieces(words)?;
    let rest = builder.add_frequent(pieces, vocabulary_max - needed);
    let room = vocabulary_max - builder.vocabulary.len();
    builder.add_merges(&rest, room)?;
    Ok(builder.vocabulary)
}

/// A word, how often it occurs, and what the syllable merges leave of it.
struct Word {
    text: String,
    count: u64,
    pieces: Vec<String>,
}

struct VocabularyBuilder {
    vocabulary: Vocabulary,
    known: BTreeSet<String>,
    lower: BTreeSet<String>,
    capital: BTreeSet<String>,
}

impl VocabularyBuilder {
    fn new(syllables: &[String]) -> Result<Self, TokenizerError> {
        for syllable in syllables {
            if syllable.is_empty() || !syllable.bytes().all(|byte| byte.is_ascii_lowercase()) {
                return Err(TokenizerError::Syllable(syllable.clone()));
            }
        }
        let mut builder = VocabularyBuilder {
            vocabulary: Vocabulary {
                tokens: Vec::new(),
                control: CONTROL.map(str::to_owned).to_vec(),
                merges: Vec::new(),
                pre_tokenizer: PreTokenizer::LlamaBpe,
            },
            known: BTreeSet::new(),
            lower: syllables.iter().cloned().collect(),
            capital: syllables.iter().map(|syllable| capitalised(syllable)).collect(),
        };
        for byte in byte_level_alphabet() {
            builder.add(byte.to_string());
        }
        // Short syllables first: longer ones are built from them.
        let mut all: Vec<String> = builder.lower.iter().chain(&builder.capital).cloned().collect();
        all.sort_by_key(|syllable| (syllable.len(), syllable.clone()));
        for syllable in all {
            builder.add_syllable(&syllable);
        }
        for decade in DECADES {
            builder.add(decade.to_string());
        }
        Ok(builder)
    }

    fn add(&mut self, token: String) -> bool {
        let new = self.known.insert(token.clone());
        if new {
            self.vocabulary.tokens.push(token);
        }
        new
    }

    fn merge(&mut self, left: &str, right: &str) {
        if self.add(format!("{left}{right}")) {
            self.vocabulary.merges.push((left.to_owned(), right.to_owned()));
        }
    }

    fn add_syllable(&mut self, syllable: &str) {
        let halves = (1..syllable.len()).map(|middle| syllable.split_at(middle));
        let known = |half: &&str| self.known.contains(*half);
        let split = halves.rev().find(|(left, right)| known(left) && known(right));
        if let Some((left, right)) = split {
            self.merge(left, right);
            return;
        }
        for end in 2..=syllable.len() {
            let (left, right) = syllable[..end].split_at(end - 1);
            self.merge(left, right);
        }
    }

    fn count_words<S: AsRef<str>>(
        &self,
        texts: impl IntoIterator<Item = S>,
    ) -> Result<BTreeMap<String, u64>, TokenizerError> {
        let splitter = self.vocabulary.pre_tokenizer.splitter()?;
        let mut words = BTreeMap::new();
        for text in texts {
            for part in without_control(text.as_ref()) {
                let mut cut = PreTokenizedString::from(part);
                splitter.pre_tokenize(&mut cut).map_err(failed)?;
                for (word, _, _) in cut.get_splits(OffsetReferential::Original, OffsetType::None) {
                    match words.get_mut(word) {
                        Some(count) => *count += 1,
                        None => {
                            words.insert(word.to_owned(), 1);
                        }
                    }
                }
            }
        }
        Ok(words)
    }

    /// Words other than names and numbers, cut by the syllable merges.
    fn pieces(&self, words: BTreeMap<String, u64>) -> Result<Vec<Word>, TokenizerError> {
        let model = self.vocabulary.model(self.vocabulary.merges.clone())?;
        let mut pieces = Vec::new();
        for (word, count) in words {
            if word.contains(char::is_numeric) || self.is_name(&word) {
                continue;
            }
            let text = byte_level(&word);
            let tokens = model.tokenize(&text).map_err(failed)?;
            let pieces_of = tokens.into_iter().map(|token| token.value).collect();
            pieces.push(Word { text, count, pieces: pieces_of });
        }
        Ok(pieces)
    }

    /// A capitalised word made of syllables, whatever single character stands before it.
    fn is_name(&self, word: &str) -> bool {
        let letters = word.trim_start_matches(|first: char| !first.is_alphabetic());
        let mut rest = match self.capital.iter().find(|syllable| letters.starts_with(*syllable)) {
            Some(first) => &letters[first.len()..],
            None => return false,
        };
        while !rest.is_empty() {
            match self.lower.iter().rev().find(|syllable| rest.starts_with(*syllable)) {
                Some(next) => rest = &rest[next.len()..],
                None => return false,
            }
        }
        true
    }

    /// Makes tokens of the words that save most, and gives back the others.
    fn add_frequent(&mut self, mut words: Vec<Word>, room: usize) -> Vec<Word> {
        words.sort_by_key(|word| {
            let saved = word.count * word.pieces.len().saturating_sub(1) as u64;
            (std::cmp::Reverse(saved), word.text.clone())
        });
        let mut rest = Vec::new();
        let mut left = room;
        for word in words {
            if word.pieces.len() < 2 {
                continue;
            }
            if left > 0 && word.count >= WORD_OCCURRENCES_MIN {
                left -= usize::from(self.add(word.text));
            } else {
                rest.push(word);
            }
        }
        rest
    }

    /// Learns up to `room` merges from the words that did not become tokens.
    fn add_merges(&mut self, words: &[Word], room: usize) -> Result<(), TokenizerError> {
        if room == 0 || words.is_empty() {
            return Ok(());
        }
        let pieces: BTreeSet<&String> = words.iter().flat_map(|word| &word.pieces).collect();
        let private: HashMap<&String, char> =
            pieces.into_iter().zip((PRIVATE_FIRST..).filter_map(char::from_u32)).collect();
        let spelled: HashMap<char, &String> =
            private.iter().map(|(piece, character)| (*character, *piece)).collect();
        let spell = |token: &str| -> String {
            token
                .chars()
                .filter_map(|character| spelled.get(&character))
                .map(|p| p.as_str())
                .collect()
        };
        let coded = words.iter().map(|word| {
            let code: String = word.pieces.iter().filter_map(|piece| private.get(piece)).collect();
            format!("{} {code}", word.count.min(TRAINER_OCCURRENCES_MAX))
        });
        for (left, right) in learn_merges(coded, private.len() + room)? {
            let (left, right) = (spell(&left), spell(&right));
            let parts_known = self.known.contains(&left) && self.known.contains(&right);
            if parts_known && !self.cuts_names(&left, &right) {
                self.merge(&left, &right);
            }
        }
        Ok(())
    }

    /// Whether a merge could join pieces of a name.
    fn cuts_names(&self, left: &str, right: &str) -> bool {
        let syllable = |piece: &str| self.lower.contains(piece) || self.capital.contains(piece);
        self.capital.contains(right) || (syllable(left) && syllable(right))
    }
}

/// Merges that the trainer of `tokenizers` finds in lines of `COUNT WORD`.
fn learn_merges(
    lines: impl Iterator<Item = String>,
    tokens_max: usize,
) -> Result<Vec<(String, String)>, TokenizerError> {
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .min_frequency(WORD_OCCURRENCES_MIN)
        .vocab_size(tokens_max)
        .build();
    let lines: Vec<String> = lines.collect();
    let repeat = |line: &str| {
        let (count, word) = line.split_once(' ').unwrap_or(("1", line));
        Ok(vec![word.to_owned(); count.parse()?])
    };
    trainer.feed(lines.into_iter(), repeat).map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    let json = serde_json::to_value(&model).map_err(|error| failed(error.into()))?;
    let merges = json.get("merges").cloned().unwrap_or_default();
    serde_json::from_value(merges).map_err(|error| failed(error.into()))
}

fn capitalised(syllable: &str) -> String {
    let mut letters = syllable.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn without_control(text: &str) -> Vec<&str> {
    CONTROL.iter().fold(vec![text], |parts, control| {
        parts.into_iter().flat_map(|part| part.split(control)).collect()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use retort_transcript::{Segment, Source};

    use super::*;

    fn syllables() -> Vec<String> {
        let consonants = ["b", "d", "h", "k", "l", "m", "n", "r", "s", "t"];
        let pairs =
            consonants.iter().flat_map(|c| ["a", "e", "i", "o", "u"].map(|v| format!("{c}{v}")));
        pairs.collect()
    }

    fn trained(vocabulary_max: usize) -> Vocabulary {
        let texts = [
            "<|im_start|>assistant\nThought: Heahi [2] was born in 1836. I need more.<|im_end|>\n",
            " Bokaru was named after a latent manor. The manor was named in 1902.",
            "Thought: search(\"Bokaru\") was named. unlatent unlatents relatent",
        ];
        train_tokenizer(texts, &syllables(), vocabulary_max).unwrap()
    }

    fn pieces(vocabulary: &Vocabulary, text: &str) -> Vec<String> {
        let ids = vocabulary.words().unwrap().encode_content(text).unwrap();
        let all: Vec<&String> = vocabulary.tokens.iter().chain(&vocabulary.control).collect();
        ids.iter().map(|id| all[*id as usize].clone()).collect()
    }

    #[test]
    fn names_are_syllables_after_anything() {
        let vocabulary = trained(460);
        for (before, first) in [("", ""), (" ", "Ġ"), ("\"", "\""), ("(", "(")] {
            for name in ["Bokaru", "Hahi", "Manare", "Sabolanite"] {
                let syllables = name.as_bytes().chunks(2).map(|s| String::from_utf8(s.to_vec()));
                let mut expected: Vec<String> = syllables.map(Result::unwrap).collect();
                if !first.is_empty() {
                    expected.insert(0, first.to_owned());
                }
                assert_eq!(pieces(&vocabulary, &format!("{before}{name}")), expected);
            }
        }
    }

    #[test]
    fn frequent_words_and_decades_are_one_token() {
        let vocabulary = trained(460);
        let words = vocabulary.words().unwrap();
        assert_eq!(
            pieces(&vocabulary, "Thought: was named in 1902."),
            ["Thought", ":", "Ġwas", "Ġnamed", "Ġin", "Ġ", "190", "2", "."]
        );
        for decade in DECADES {
            assert_eq!(words.encode_content(&decade.to_string()).unwrap().len(), 1);
        }
        assert!(pieces(&vocabulary, "<|im_end|>").len() > 1);
        let end = vocabulary.id("<|im_end|>").unwrap();
        assert_eq!(end as usize, vocabulary.len() - 1);
        let source = Source::Template;
        let segment = Segment { text: "<|im_end|>".to_owned(), source, learned: false };
        assert_eq!(words.encode(&[segment]).unwrap(), [end]);
    }

    #[test]
    fn text_survives_a_round_trip_and_training_is_repeatable() {
        let vocabulary = trained(460);
        assert_eq!(vocabulary, trained(460));
        let text = "Ünknown  wörds\n\n\t1234567 of \u{1F600} Bokaru's <|im_start|>";
        let ids = vocabulary.words().unwrap().encode_content(text).unwrap();
        assert_eq!(vocabulary.tokenizer().unwrap().decode(&ids, false).unwrap(), text);
    }

    #[test]
    fn says_what_is_wrong() {
        let small = train_tokenizer(["a"], &syllables(), 300).unwrap_err().to_string();
        assert!(small.contains("vocabulary_max is 300"), "{small}");
        let bad = train_tokenizer(["a"], &["Ba".to_owned()], 900).unwrap_err().to_string();
        assert_eq!(bad, "syllable \"Ba\": expected lower-case ASCII letters");
    }
}
