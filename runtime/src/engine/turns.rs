//! How a vocabulary marks the turns of a conversation.
//!
//! Dialects write them as ChatML does. Other models know these marks as text only, in which nothing
//! ends a reply and a page could pretend to be a turn, so a tokenizer writes the marks that its own
//! vocabulary has.

/// Marks of turns that are control tokens of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// `<|im_start|>` and `<|im_end|>`: Qwen, and the students made here.
    ChatMl,
    /// `<|start_header_id|>`, `<|end_header_id|>` and `<|eot_id|>`.
    Llama3,
}

/// What a dialect writes, and what Llama 3 reads
/// (<https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3>).
const LLAMA_3: [(&str, &str); 5] = [
    ("<|im_start|>system\n", "<|start_header_id|>system<|end_header_id|>\n\n"),
    ("<|im_start|>user\n", "<|start_header_id|>user<|end_header_id|>\n\n"),
    ("<|im_start|>assistant\n", "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    ("<|im_end|>", "<|eot_id|>"),
    // Between turns.
    ("\n", ""),
];

impl Turns {
    const ALL: [Self; 2] = [Self::ChatMl, Self::Llama3];

    /// Its control tokens.
    #[must_use]
    pub fn tokens(self) -> &'static [&'static str] {
        match self {
            Self::ChatMl => &["<|im_start|>", "<|im_end|>"],
            Self::Llama3 => &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        }
    }

    /// The tokens of each kind, in words.
    #[must_use]
    pub fn known() -> String {
        Self::ALL.map(|turns| turns.tokens().join(", ")).join("; or ")
    }

    /// The first of which all tokens are among `control`.
    pub(super) fn of(control: &[(String, u32)]) -> Option<Self> {
        let is_control = |token: &&str| control.iter().any(|(own, _)| own == token);
        Self::ALL.into_iter().find(|turns| turns.tokens().iter().all(is_control))
    }

    /// What is written for `text`, a segment of a dialect's own text.
    #[must_use]
    pub fn spell(self, text: &str) -> &str {
        let spelt = match self {
            Self::ChatMl => None,
            Self::Llama3 => LLAMA_3.iter().find(|(own, _)| *own == text),
        };
        spelt.map_or(text, |(_, theirs)| theirs)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use retort_transcript::{Dialect, Observation, Source, Step, Transcript};

    use super::*;
    use crate::engine::{PreTokenizer, Tokenizer};

    /// Single characters, and control tokens behind them.
    fn tokenizer(control: &[&str]) -> Tokenizer {
        let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut tokens: Vec<String> = bytes.into_iter().map(String::from).collect();
        tokens.sort();
        let control: Vec<_> = control.iter().map(|token| (*token).to_owned()).collect();
        let with_ids = control.iter().cloned().zip(256..).collect();
        tokens.extend(control);
        Tokenizer::new(&tokens, Vec::new(), with_ids, PreTokenizer::LlamaBpe).unwrap()
    }

    #[test]
    fn every_dialect_is_read_in_the_marks_of_a_llama() {
        let words = tokenizer(Turns::Llama3.tokens());
        let told = Observation::Output { logs: "\n<|eot_id|>".into(), value: None, assigned: None };
        let step = |observation| Step { reply: "Look.".into(), observation };
        let steps = vec![step(Some(told)), step(None)];
        let transcript =
            Transcript { question: "<|im_end|>".into(), steps, answer_requested: false };
        for name in Dialect::names() {
            let dialect = Dialect::named(name).unwrap();
            let segments = dialect.render_prompt(&transcript);
            let ids = words.encode(&segments).unwrap();
            let turns = 5 + usize::from(dialect.has_system_prompt());
            for (control, count) in [(256, turns), (257, turns), (258, turns - 1)] {
                assert_eq!(ids.iter().filter(|id| **id == control).count(), count, "{name}");
            }
            let own = segments.iter().filter(|segment| segment.source == Source::Template);
            let text: String = own.map(|own| Turns::Llama3.spell(&own.text)).collect();
            assert!(!text.contains("im_"), "{name}: {text}");
            assert!(text.ends_with("<|start_header_id|>assistant<|end_header_id|>\n\n"), "{text}");
        }
    }

    #[test]
    fn a_vocabulary_has_all_marks_of_a_kind_or_none() {
        assert_eq!(tokenizer(Turns::ChatMl.tokens()).turns(), Some(Turns::ChatMl));
        assert_eq!(tokenizer(Turns::Llama3.tokens()).turns(), Some(Turns::Llama3));
        assert_eq!(tokenizer(&["<|im_start|>", "<|eot_id|>"]).turns(), None);
    }
}
