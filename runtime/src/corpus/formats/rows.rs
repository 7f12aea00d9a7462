//! Reads JSON Lines: one `{"id", "title", "text"}` a line, other fields ignored.

use std::io::{self, BufRead, Read};

use serde::Deserialize;
use serde_json::Value;

use super::super::language::Language;
use super::Stop;
use super::passages::{Bytes, Document, Passages, Place};

/// Bytes of a line at most; a longer one is passed over without being held in memory.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of an id at most: it is stored with every passage.
const ID_BYTES_MAX: usize = 1 << 10;

/// What a line must be.
const FIELDS: &str = "expected an object {\"id\", \"title\", \"text\"}";
/// What an id must be.
const ID: &str = "expected a string or a whole number below 2^64";

/// A line as it is written.
#[derive(Deserialize)]
struct RawRow {
    id: Option<RawId>,
    title: Option<String>,
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawId {
    Number(serde_json::Number),
    Text(String),
}

/// A line as it is used.
struct Row {
    document: String,
    title: String,
    text: String,
}

/// Reads all lines.
pub(super) fn read(
    reader: &mut dyn BufRead,
    file_name: &str,
    out: &mut Passages<'_>,
) -> Result<(), Stop> {
    let (mut number, mut start, mut line) = (0, 0, Vec::new());
    let mut language = Language::default();
    loop {
        let bytes = match read_line(reader, &mut line) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) => {
                out.skip(Some(number + 1), format!("only a part was read: {error}"));
                break;
            }
        };
        number += 1;
        match parse(&line, bytes, file_name, number) {
            Ok(None) => {}
            Err(reason) => out.skip(Some(number), reason),
            Ok(Some(row)) => {
                language = Language::next_of(language, &row.text);
                send(row, language, start..start + bytes, out)?;
            }
        }
        start += bytes;
    }
    if out.is_empty() {
        if out.outcome.skips.total == 0 {
            out.skip(None, "the file holds no documents");
        }
        out.outcome.skips.collapse(number);
    }
    Ok(())
}

/// Reads a line with its end into `line` and returns its length. Of a line that is too long,
/// `line` gets the start and the rest is passed over.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut limited = Read::take(&mut *reader, LINE_BYTES_MAX);
    let mut bytes = limited.read_until(b'\n', line)? as u64;
    if bytes == LINE_BYTES_MAX && !line.ends_with(b"\n") {
        bytes += pass_over_line(reader)?;
    }
    Ok(bytes)
}

fn pass_over_line(reader: &mut dyn BufRead) -> io::Result<u64> {
    let mut passed = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let bytes = end.unwrap_or(buffer.len());
        let last = end.is_some() || bytes == 0;
        reader.consume(bytes);
        passed += bytes as u64;
        if last {
            return Ok(passed);
        }
    }
}

/// The row of a line; `None` for a blank line.
fn parse(line: &[u8], bytes: u64, file_name: &str, number: u64) -> Result<Option<Row>, String> {
    if bytes > line.len() as u64 {
        return Err(format!("longer than {} MiB", LINE_BYTES_MAX >> 20));
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // serde takes a list of three for a row too.
    let is_object = line.trim_ascii_start().starts_with(b"{");
    let row: Result<RawRow, _> = serde_json::from_slice(line);
    let row = match row {
        Ok(row) if is_object => row,
        Ok(_) => return Err(FIELDS.to_owned()),
        Err(error) => return Err(field_reason(line).unwrap_or_else(|| json_reason(&error))),
    };
    let text = row.text.ok_or_else(|| format!("the field `text` is missing; {FIELDS}"))?;
    if text.trim().is_empty() {
        return Err("the field `text` is empty".to_owned());
    }
    let document = match row.id {
        // A number that is rounded could be another document's.
        Some(RawId::Number(id)) if id.is_f64() => {
            return Err(format!("the field `id` is {id}; {ID}"));
        }
        Some(RawId::Number(id)) => id.to_string(),
        Some(RawId::Text(id)) => id,
        None => format!("{file_name}:{number}"),
    };
    if document.len() > ID_BYTES_MAX {
        return Err(format!("the field `id` is longer than {ID_BYTES_MAX} bytes"));
    }
    Ok(Some(Row { document, title: row.title.unwrap_or_default(), text }))
}

/// Which field is of another type than expected, if the line is JSON.
fn field_reason(line: &[u8]) -> Option<String> {
    let row: Value = serde_json::from_slice(line).ok()?;
    let Some(row) = row.as_object() else { return Some(FIELDS.to_owned()) };
    let is_text = |value: &Value| value.is_string() || value.is_null();
    let texts = ["title", "text"].into_iter().find_map(|field| {
        let value = row.get(field).filter(|value| !is_text(value))?;
        Some(format!("the field `{field}` is {}; expected a string", kind(value)))
    });
    texts.or_else(|| {
        let id = row.get("id").filter(|value| !is_text(value) && !value.is_number())?;
        Some(format!("the field `id` is {}; {ID}", kind(id)))
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The parser's words without its line, which is always 1.
fn json_reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    format!("column {}: {message}", error.column())
}

fn send(
    row: Row,
    language: Language,
    line: std::ops::Range<u64>,
    out: &mut Passages<'_>,
) -> Result<(), Stop> {
    let mut document = Document::new(row.document, &row.title, language);
    let place = Place { bytes: Bytes::Within(line), ..Place::default() };
    out.add_row(&mut document, &place, &row.text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::Passage;
    use super::super::super::source::Outcome;
    use super::super::Kind;
    use super::*;

    fn rows(bytes: &[u8]) -> (Vec<Passage>, Outcome) {
        let mut passages = Vec::new();
        let mut sink = |passage| {
            passages.push(passage);
            Ok(())
        };
        let mut out = Passages::new(Kind::JsonLines, &mut sink, &|| ());
        read(&mut io::Cursor::new(bytes), "d.jsonl", &mut out).unwrap();
        let outcome = out.outcome;
        (passages, outcome)
    }

    #[test]
    fn ids_are_numbers_or_texts_or_the_line() {
        let text = "\u{feff}{\"id\": 7, \"title\": \" A\\n b\", \"text\": \"x\", \"more\": [1]}\r\n\n\
                    {\"id\": \"q\", \"text\": \"y\"}\n{\"text\": \"z\"}";
        let (passages, outcome) = rows(text.as_bytes());
        let documents: Vec<&str> = passages.iter().map(|p| p.document.as_str()).collect();
        assert_eq!(documents, ["7", "q", "d.jsonl:4"]);
        assert_eq!(passages[0].title, "A b");
        let last = &passages[2].byte_range;
        assert_eq!(&text[last.start as usize..last.end as usize], "{\"text\": \"z\"}");
        assert_eq!((outcome.documents, outcome.skips.total), (3, 0));
    }

    #[test]
    fn bad_lines_are_told_with_number_and_reason() {
        let (passages, outcome) =
            rows(b"{\"id\": 1, \"text\": \"x\"}\nnot json\n{\"id\": 2}\n\xff\n{\"text\": \" \"}\n");
        assert_eq!(passages.len(), 1);
        let lines: Vec<_> = outcome.skips.listed.iter().map(|skip| skip.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4), Some(5)]);
        assert_eq!(outcome.skips.listed[0].reason, "column 2: expected ident");
        assert!(outcome.skips.listed[1].reason.contains("`text` is missing"));
    }

    #[test]
    fn a_field_of_another_type_is_told_by_its_name() {
        let lines = [
            ("[\"a\", \"t\", \"x\"]", "expected an object"),
            ("{\"title\": 3, \"text\": \"x\"}", "the field `title` is a number; expected a string"),
            ("{\"text\": [\"x\"]}", "the field `text` is a list; expected a string"),
            ("{\"id\": {}, \"text\": \"x\"}", "the field `id` is an object; expected a string or"),
            ("{\"id\": 123456789012345678901234567890, \"text\": \"x\"}", "the field `id` is 1.23"),
        ];
        for (line, expected) in lines {
            let whole = format!("{{\"text\": \"y\"}}\n{line}\n");
            let (passages, outcome) = rows(whole.as_bytes());
            assert_eq!(passages.len(), 1, "{line}");
            let reason = &outcome.skips.listed[0].reason;
            assert!(reason.contains(expected), "{line}: {reason}");
        }
    }

    #[test]
    fn a_file_without_documents_is_one_skip() {
        let (_, outcome) = rows(b"{}\n{}\n{}\n");
        assert_eq!(outcome.skips.total, 1);
        assert!(
            outcome.skips.listed[0].reason.starts_with("none of its 3 lines is a document; line 1")
        );
    }

    #[test]
    fn a_long_row_becomes_passages_of_one_document() {
        let text =
            format!("{{\"id\": 1, \"text\": \"{}\"}}", "One more sentence here. ".repeat(200));
        let (passages, outcome) = rows(text.as_bytes());
        assert_eq!(outcome.documents, 1);
        assert!(passages.len() >= 6);
        assert_eq!(passages[3].ordinal, 3);
    }

    #[test]
    fn a_line_that_never_ends_is_passed_over() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX as usize + 10];
        bytes.extend_from_slice(b"\n{\"id\": 1, \"text\": \"y\"}\n");
        let (passages, outcome) = rows(&bytes);
        assert_eq!(passages.len(), 1);
        assert!(outcome.skips.listed[0].reason.contains("16 MiB"));
    }
}
