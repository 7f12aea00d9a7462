//! GPT-2's alphabet: one printable character per byte.

/// The character of each byte: printable Latin-1 stands for itself, the others follow from U+0100.
#[must_use]
pub fn byte_level_alphabet() -> Vec<char> {
    let printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256_u32;
    let character = |byte: u8| {
        if printable(byte) {
            return char::from(byte);
        }
        let character = char::from_u32(next).unwrap_or(char::REPLACEMENT_CHARACTER);
        next += 1;
        character
    };
    (0..=255).map(character).collect()
}

/// A text with each byte written as one character.
#[must_use]
pub fn byte_level(text: &str) -> String {
    let alphabet = byte_level_alphabet();
    text.bytes().filter_map(|byte| alphabet.get(usize::from(byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_bytes_as_gpt2_does() {
        assert_eq!(byte_level(" a\né"), "ĠaĊÃ©");
        let alphabet = byte_level_alphabet();
        assert_eq!(alphabet.iter().collect::<std::collections::BTreeSet<_>>().len(), 256);
    }
}
