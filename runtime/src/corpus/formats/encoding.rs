//! Bytes to text: what the byte order mark says, then what markup declares, then UTF-8 when it is
//! valid, then what the bytes look like.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes at the start of a file in which a declaration stands.
const DECLARATION_BYTES: usize = 1024;
/// Bytes that are looked at to tell binary data and to guess an encoding.
const LOOKED_AT_BYTES: usize = 64 << 10;
/// Control characters in text: at most one byte in so many.
const CONTROL_BYTES_SHARE: usize = 20;
/// Characters that an encoding has no meaning for: at most one in so many.
const UNREADABLE_SHARE: usize = 20;

/// A decoded file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::corpus) struct Decoded<'a> {
    /// The text without a byte order mark.
    pub text: Cow<'a, str>,
    /// Bytes of the byte order mark before it. The text's own bytes are the file's, after these,
    /// when the file is UTF-8; else they are those of the text as UTF-8.
    pub mark_bytes: usize,
}

/// Decodes a text file.
///
/// # Errors
/// What is wrong: the bytes are no text.
pub(in crate::corpus) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, String> {
    decode_declared(bytes, |_| None)
}

/// Decodes HTML or XML, which may declare its encoding. In other text, what looks like a
/// declaration is text about markup.
///
/// # Errors
/// As [`decode`].
pub(in crate::corpus) fn decode_markup(bytes: &[u8]) -> Result<Decoded<'_>, String> {
    decode_declared(bytes, declared)
}

fn decode_declared(
    bytes: &[u8],
    declared: fn(&[u8]) -> Option<&'static Encoding>,
) -> Result<Decoded<'_>, String> {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(bytes) {
        let body = bytes.get(mark_bytes..).unwrap_or_default();
        return decode_as(encoding, body, mark_bytes);
    }
    refuse_binary(bytes)?;
    match declared(bytes.get(..DECLARATION_BYTES).unwrap_or(bytes)) {
        // UTF-16 would have shown a mark or zero bytes: the declaration was copied from elsewhere.
        Some(encoding) if encoding != UTF_16LE && encoding != UTF_16BE && encoding != UTF_8 => {
            decode_as(encoding, bytes, 0)
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Decoded { text: Cow::Borrowed(text), mark_bytes: 0 }),
            Err(_) if is_damaged_utf8(bytes) => decode_as(UTF_8, bytes, 0),
            Err(_) => decode_as(guess(bytes), bytes, 0),
        },
    }
}

/// Whether nearly all that is not ASCII is UTF-8: a download that broke off, a stray byte.
fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (sound, broken) = bytes.utf8_chunks().fold((0, 0), |(sound, broken), chunk| {
        let beyond_ascii = chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        (sound + beyond_ascii, broken + usize::from(!chunk.invalid().is_empty()))
    });
    broken * UNREADABLE_SHARE <= sound
}

fn decode_as<'a>(
    encoding: &'static Encoding,
    bytes: &'a [u8],
    mark_bytes: usize,
) -> Result<Decoded<'a>, String> {
    let (text, had_errors) = encoding.decode_without_bom_handling(bytes);
    if had_errors {
        let (bad, all) = text.chars().fold((0, 0), |(bad, all), character| {
            (bad + usize::from(character == char::REPLACEMENT_CHARACTER), all + 1)
        });
        if bad * UNREADABLE_SHARE > all {
            return Err(format!(
                "{bad} of {all} characters have no meaning in {}; expected text",
                encoding.name()
            ));
        }
    }
    if let Some(at) = text.find('\0') {
        return Err(format!("binary data (a zero character at {at}); expected text"));
    }
    Ok(Decoded { text, mark_bytes })
}

/// Text holds no zero bytes and few control characters.
fn refuse_binary(bytes: &[u8]) -> Result<(), String> {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!(
            "binary data, or UTF-16 without a byte order mark (a zero byte at {at}); expected text"
        ));
    }
    let start = bytes.get(..LOOKED_AT_BYTES).unwrap_or(bytes);
    let is_control = |byte: &&u8| {
        byte.is_ascii_control() && !matches!(byte, b'\n' | b'\r' | b'\t' | b'\x0c' | b'\x1b')
    };
    let controls = start.iter().filter(is_control).count();
    if controls * CONTROL_BYTES_SHARE > start.len() {
        return Err(format!(
            "binary data ({controls} of {} bytes are control characters); expected text",
            start.len()
        ));
    }
    Ok(())
}

/// The encoding that `<meta charset=…>` or `<?xml encoding=…?>` names.
fn declared(start: &[u8]) -> Option<&'static Encoding> {
    let start = String::from_utf8_lossy(start).to_ascii_lowercase();
    let in_markup = start.contains("<meta") || start.trim_start().starts_with("<?xml");
    let after = |name: &str| {
        let at = start.find(name)? + name.len();
        let value = start.get(at..)?.trim_start().strip_prefix('=')?.trim_start();
        let value = value.trim_start_matches(['"', '\'']);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '>' | '?' | '/');
        Encoding::for_label(value.split(ends).next()?.as_bytes())
    };
    in_markup.then(|| after("charset").or_else(|| after("encoding"))).flatten()
}

fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    // The first bytes that are not ASCII may come late.
    let first = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or_default();
    let start = first.saturating_sub(LOOKED_AT_BYTES / 2);
    let looked_at = bytes.get(start..).unwrap_or_default();
    detector.feed(looked_at.get(..LOOKED_AT_BYTES).unwrap_or(looked_at), true);
    detector.guess(None, Utf8Detection::Allow)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use encoding_rs::{GB18030, SHIFT_JIS, WINDOWS_1251, WINDOWS_1252};

    #[test]
    fn encodings_are_told() {
        let russian = "Мост был спроектирован архитектором и открыт для движения. ".repeat(3);
        let japanese = "この橋は一九三一年に開通した。設計者は建築家である。".repeat(3);
        let chinese = "这座桥于一九三一年通车，由一位建筑师设计。河流很长。".repeat(3);
        let french = "Le pont a été conçu par un architecte suédois, près de la forêt. ".repeat(3);
        for (encoding, text) in [
            (WINDOWS_1251, russian.as_str()),
            (SHIFT_JIS, &japanese),
            (GB18030, &chinese),
            (WINDOWS_1252, &french),
            (UTF_8, &russian),
        ] {
            let (bytes, _, _) = encoding.encode(text);
            assert_eq!(decode(&bytes).unwrap().text, text, "{}", encoding.name());
        }
    }

    #[test]
    fn a_mark_goes_before_a_declaration_before_a_guess() {
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("<meta charset=latin1> é".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        let decoded = decode_markup(&utf16).unwrap();
        assert_eq!((&*decoded.text, decoded.mark_bytes), ("<meta charset=latin1> é", 2));
        let (bytes, _, _) = WINDOWS_1251.encode("<meta charset=\"windows-1251\">Мост");
        assert!(decode_markup(&bytes).unwrap().text.ends_with("Мост"));
        let (bytes, _, _) = WINDOWS_1251.encode("<?xml version='1.0' encoding='cp1251'?>Мост");
        assert!(decode_markup(&bytes).unwrap().text.ends_with("Мост"));
        assert_eq!(decode(b"\xef\xbb\xbfab").unwrap().mark_bytes, 3);
    }

    #[test]
    fn a_stray_byte_makes_no_other_encoding() {
        let whole = "Москва является столицей. Größe und Übermut. ".repeat(50);
        let mut bytes = whole.clone().into_bytes();
        bytes.truncate(bytes.len() - 40);
        bytes.insert(0, 0xff);
        let text = decode(&bytes).unwrap().text.into_owned();
        assert!(text.starts_with("\u{fffd}Москва") && text.contains("Übermut"), "{text}");
    }

    #[test]
    fn text_about_markup_declares_nothing() {
        let note = "Write <meta charset=\"latin1\"> for the café.";
        assert_eq!(decode(note.as_bytes()).unwrap().text, note);
    }

    #[test]
    fn binary_data_is_refused() {
        assert!(decode(b"ab\0c").unwrap_err().contains("zero byte at 2"));
        let noise: Vec<u8> = (1..=255).collect();
        assert!(decode(&noise).unwrap_err().contains("control characters"));
        assert!(decode(b"\xff\xfeab\0\0").unwrap_err().contains("zero character"));
    }
}
