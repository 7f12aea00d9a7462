//! Reads JSON Lines: one `{"id", "title", "text"}` a line, other fields ignored.

use std::io::{self, BufRead, Read};

use serde::Deserialize;

use super::language::Language;
use super::source::{Outcome, Sink};
use super::{CorpusError, Passage, split};

/// Bytes of a line at most; a longer one is passed over without being held in memory.
const LINE_BYTES_MAX: u64 = 16 << 20;

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

/// Reads all lines into `sink` and counts into `outcome`.
pub(super) fn read(
    reader: &mut dyn BufRead,
    file_name: &str,
    outcome: &mut Outcome,
    sink: &mut Sink<'_>,
) -> Result<(), CorpusError> {
    let (mut number, mut start, mut line) = (0, 0, Vec::new());
    let mut language = Language::default();
    loop {
        let bytes = match read_line(reader, &mut line) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) => {
                outcome.skips.push(Some(number + 1), format!("the rest is unreadable: {error}"));
                break;
            }
        };
        number += 1;
        match parse(&line, bytes, file_name, number) {
            Ok(None) => {}
            Err(reason) => outcome.skips.push(Some(number), reason),
            Ok(Some(row)) => {
                language = Language::next_of(language, &row.text);
                send(&row, language, start..start + bytes, outcome, sink)?;
            }
        }
        start += bytes;
    }
    if outcome.passages == 0 {
        if outcome.skips.total == 0 {
            outcome.skips.push(None, "the file holds no documents");
        }
        outcome.skips.collapse(number);
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
    let row: RawRow = serde_json::from_slice(line).map_err(|error| json_reason(&error))?;
    let text =
        row.text.ok_or("the field `text` is missing; expected {\"id\", \"title\", \"text\"}")?;
    if text.trim().is_empty() {
        return Err("the field `text` is empty".to_owned());
    }
    let document = match row.id {
        Some(RawId::Number(id)) => id.to_string(),
        Some(RawId::Text(id)) => id,
        None => format!("{file_name}:{number}"),
    };
    let title = row.title.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Some(Row { document, title, text }))
}

/// The parser's words without its line, which is always 1.
fn json_reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    format!("column {}: {message}", error.column())
}

fn send(
    row: &Row,
    language: Language,
    byte_range: std::ops::Range<u64>,
    outcome: &mut Outcome,
    sink: &mut Sink<'_>,
) -> Result<(), CorpusError> {
    for (ordinal, range) in (0..).zip(split::split_row(&row.text)) {
        sink(Passage {
            document: row.document.clone(),
            title: row.title.clone(),
            heading: Vec::new(),
            page: None,
            language,
            byte_range: byte_range.clone(),
            ordinal,
            text: row.text.get(range).unwrap_or_default().to_owned(),
        })?;
        outcome.passages += 1;
    }
    outcome.documents += 1;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> (Vec<Passage>, Outcome) {
        let (mut outcome, mut passages) = (Outcome::default(), Vec::new());
        read(&mut io::Cursor::new(bytes), "d.jsonl", &mut outcome, &mut |passage| {
            passages.push(passage);
            Ok(())
        })
        .unwrap();
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
