//! PDF: the text of each page, as far as the page holds text and not pictures of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Dictionary, Document as Pdf, Object, PlainTextOutput};

use super::super::language::Language;
use super::passages::{Document, Passages, Place};
use super::{BINARY_BYTES_MAX, Opened, Stop, read_all, stem};

/// Text of the first pages that the language is told by, in bytes.
const LANGUAGE_BYTES: usize = 4_000;

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    let bytes = read_all(opened.bytes, BINARY_BYTES_MAX)?;
    let pdf = guard(|| load(&bytes))?;
    drop(bytes);
    out.alive();
    let pages: Vec<u32> = guard(|| Ok(pdf.get_pages().into_keys().collect()))?;
    let declared = declared_language(&pdf);
    let title = title(&pdf).unwrap_or_else(|| stem(opened.name).to_owned());
    let mut document = None;
    let mut first = String::new();
    for number in pages {
        let text = match guard(|| page_text(&pdf, number)) {
            Ok(text) => text,
            Err(reason) => {
                out.skip(None, format!("page {number}: {reason}"));
                continue;
            }
        };
        out.alive();
        if first.len() < LANGUAGE_BYTES {
            first.push_str(&text);
        }
        let language = || declared.or_else(|| Language::detect(first.trim())).unwrap_or_default();
        if text.trim().is_empty() {
            continue;
        }
        let document =
            document.get_or_insert_with(|| Document::new(opened.document, &title, language()));
        let place = Place { page: Some(number.into()), ..Place::default() };
        out.add(document, &place, &text)?;
    }
    if document.is_none() && out.outcome.skips.total == 0 {
        out.skip(None, "no page holds text; a scanned document must go through OCR first");
    }
    Ok(())
}

/// Calls into the PDF library, which panics on some broken files.
fn guard<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("the PDF library gave up");
        Err(format!("broken PDF ({})", message.lines().next().unwrap_or_default()))
    })
}

fn load(bytes: &[u8]) -> Result<Pdf, String> {
    let pdf = Pdf::load_mem(bytes).map_err(|error| format!("broken PDF ({error})"))?;
    // What the empty password opens was decrypted on the way and says no more that it was.
    if pdf.trailer.get(b"Encrypt").is_ok() {
        return Err("encrypted; remove the password first".to_owned());
    }
    Ok(pdf)
}

fn page_text(pdf: &Pdf, number: u32) -> Result<String, String> {
    let mut text = String::new();
    let mut output = PlainTextOutput::new(&mut text);
    pdf_extract::output_doc_page(pdf, &mut output, number)
        .map_err(|error| format!("broken PDF ({error})"))?;
    Ok(joined(&text))
}

/// The text without the hyphens that only a line's end put into words: those before a line that
/// goes on in small letters.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut lines = text.lines().map(str::trim_end).peekable();
    while let Some(line) = lines.next() {
        let goes_on = lines.peek().is_some_and(|next| next.starts_with(char::is_lowercase));
        let word = line.strip_suffix('-').filter(|word| word.ends_with(char::is_alphabetic));
        match word {
            Some(word) if goes_on => joined.push_str(word),
            _ => {
                joined.push_str(line);
                joined.push('\n');
            }
        }
    }
    joined
}

/// The title of the document's information, when it is one.
fn title(pdf: &Pdf) -> Option<String> {
    let info = dictionary(pdf, pdf.trailer.get(b"Info").ok()?)?;
    let title = text(pdf, info.get(b"Title").ok()?)?;
    Some(title).filter(|title| !title.trim().is_empty())
}

fn declared_language(pdf: &Pdf) -> Option<Language> {
    Language::declared(&text(pdf, pdf.catalog().ok()?.get(b"Lang").ok()?)?)
}

fn dictionary<'a>(pdf: &'a Pdf, object: &'a Object) -> Option<&'a Dictionary> {
    pdf.dereference(object).ok()?.1.as_dict().ok()
}

/// A text string: UTF-16 with a mark, UTF-8 with a mark, or bytes that are Latin-1 where it counts.
fn text(pdf: &Pdf, object: &Object) -> Option<String> {
    let bytes = pdf.dereference(object).ok()?.1.as_str().ok()?;
    Some(match bytes {
        [0xfe | 0xff, ..] | [0xef, 0xbb, 0xbf, ..] => {
            super::encoding::decode(bytes).ok()?.text.into_owned()
        }
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cut_by_a_line_are_whole_again() {
        assert_eq!(
            joined("The draw-\nbridge of Baden-\nBaden -\nis 5-\nold"),
            "The drawbridge of Baden-\nBaden -\nis 5-\nold\n"
        );
    }
}
