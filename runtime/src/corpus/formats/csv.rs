//! CSV and TSV: a header row, then one document per row.

use std::ops::Range;

use csv::{ReaderBuilder, StringRecord};

use super::super::language::Language;
use super::passages::{Bytes, Document, Passages, Place};
use super::{Opened, Stop, TEXT_BYTES_MAX, encoding, read_all};

/// Delimiters that are tried.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Rows that are looked at to find the delimiter and the language.
const SAMPLE_ROWS: usize = 20;
/// Bytes that are looked at to find the delimiter.
const SAMPLE_BYTES: usize = 64 << 10;
/// Columns whose value is a row's title, in this order of preference.
const TITLE_COLUMNS: [&str; 3] = ["title", "name", "id"];
/// The column that is a row's running text.
const TEXT_COLUMN: &str = "text";
/// Said of a row that would take the rest of the file with it.
const UNCLOSED: &str =
    "a quote that opens in this row is never closed: quotes from here on are read as text";

/// Reads the file; without a delimiter the likeliest one is found.
pub(super) fn read(
    opened: Opened<'_>,
    delimiter: Option<u8>,
    out: &mut Passages<'_>,
) -> Result<(), Stop> {
    let bytes = read_all(opened.bytes, TEXT_BYTES_MAX)?;
    let decoded = encoding::decode(&bytes)?;
    let delimiter = delimiter.unwrap_or_else(|| sniff(&decoded.text));
    let mut rows = rows(&decoded.text, delimiter);
    let header = rows.headers().map_err(|error| error.to_string())?.clone();
    let table = Table {
        columns: Columns::of(&header),
        language: language(&decoded.text, delimiter),
        document: opened.document,
        mark_bytes: decoded.mark_bytes as u64,
    };
    let (mut number, mut offset, mut row) = (0, 0, StringRecord::new());
    loop {
        let (start, line) = (offset + rows.position().byte(), rows.position().line());
        number += 1;
        match rows.read_record(&mut row) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let bytes = start..offset + rows.position().byte();
                if let Some(rest) = unclosed(&decoded.text, &bytes) {
                    out.skip(Some(line), UNCLOSED);
                    // The same row again, and what it swallowed.
                    let mut unquoted = reader(delimiter);
                    rows = unquoted.has_headers(false).quoting(false).from_reader(rest.as_bytes());
                    (number, offset) = (number - 1, start);
                } else {
                    table.send(&row, number, bytes, out)?;
                }
            }
            Err(error) => out.skip(Some(rows.position().line()), error),
        }
    }
}

/// The rest of the text, where its last row has swallowed it by a quote that is not closed.
fn unclosed<'a>(text: &'a str, row: &Range<u64>) -> Option<&'a str> {
    let at = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
    let rest = text.get(at(row.start)..).filter(|_| at(row.end) >= text.len())?;
    let is_open = rest.bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
    (is_open && rest.trim_end().contains('\n')).then_some(rest)
}

fn rows(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    reader(delimiter).from_reader(text.as_bytes())
}

fn reader(delimiter: u8) -> ReaderBuilder {
    let mut reader = ReaderBuilder::new();
    reader.delimiter(delimiter).flexible(true);
    reader
}

/// The delimiter that cuts the first rows into the same number of fields most often.
fn sniff(text: &str) -> u8 {
    let sample = text.get(..text.floor_char_boundary(SAMPLE_BYTES)).unwrap_or(text);
    let score = |delimiter: u8| {
        let mut rows = rows(sample, delimiter);
        let columns = rows.headers().map_or(0, StringRecord::len);
        let alike = rows
            .records()
            .take(SAMPLE_ROWS)
            .filter(|row| row.as_ref().is_ok_and(|row| row.len() == columns))
            .count();
        if columns > 1 { (alike + 1, columns) } else { (0, columns) }
    };
    // Of equals the first one wins: `max_by_key` takes the last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| score(*delimiter)).unwrap_or(b',')
}

/// What the values of the first rows look like; the names of the columns do not count.
fn language(text: &str, delimiter: u8) -> Language {
    let mut rows = rows(text, delimiter);
    let values: Vec<String> = rows
        .records()
        .take(SAMPLE_ROWS)
        .filter_map(Result::ok)
        .flat_map(|row| row.iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    Language::detect(&values.join(" ")).unwrap_or_default()
}

/// Which columns mean something.
struct Columns {
    names: Vec<String>,
    title: usize,
    text: Option<usize>,
}

impl Columns {
    fn of(header: &StringRecord) -> Self {
        let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let find = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let title = TITLE_COLUMNS.into_iter().find_map(find).unwrap_or_default();
        let text = find(TEXT_COLUMN);
        Self { names, title, text }
    }

    /// `column: value; column: value`, without empty values and the running text.
    fn fields(&self, row: &StringRecord) -> String {
        let fields = row.iter().enumerate().filter_map(|(index, value)| {
            let value = value.trim();
            let name = self.names.get(index).map_or("", String::as_str);
            match (Some(index) == self.text || value.is_empty(), name) {
                (true, _) => None,
                (false, "") => Some(value.to_owned()),
                (false, name) => Some(format!("{name}: {value}")),
            }
        });
        fields.collect::<Vec<_>>().join("; ")
    }
}

struct Table<'a> {
    columns: Columns,
    language: Language,
    document: &'a str,
    mark_bytes: u64,
}

impl Table<'_> {
    fn send(
        &self,
        row: &StringRecord,
        number: u64,
        bytes: Range<u64>,
        out: &mut Passages<'_>,
    ) -> Result<(), Stop> {
        let title = row.get(self.columns.title).unwrap_or_default();
        let name = format!("{}#{number}", self.document);
        let mut document = Document::new(name, title, self.language);
        let bytes = bytes.start + self.mark_bytes..bytes.end + self.mark_bytes;
        let place = Place { bytes: Bytes::Within(bytes), ..Place::default() };
        let mut text = self.columns.fields(row);
        if let Some(running) = self.columns.text.and_then(|index| row.get(index)) {
            text.push_str("\n\n");
            text.push_str(running);
        }
        out.add_row(&mut document, &place, &text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Kind;
    use super::super::passages::tests::passages;
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_swallows_no_rows() {
        let text = "name,text\nfirst,\"one, two\"\nsecond,\"open\nthird,three\nfourth,four\n";
        let (passages, outcome) = passages(Kind::Csv, text.as_bytes());
        let titles: Vec<&str> = passages.iter().map(|passage| &*passage.title).collect();
        assert_eq!(titles, ["first", "second", "third", "fourth"]);
        let third = &passages[2];
        assert_eq!((&*third.document, third.text.contains("three")), ("d/f#3", true));
        assert_eq!(outcome.skips.total, 1);
    }

    #[test]
    fn a_row_is_a_document_with_its_column_names() {
        let text = "id,name,built\n1,Heahi Bridge,1931\n2,\"Old, long\nbridge\",\n";
        let (passages, outcome) = passages(Kind::Csv, text.as_bytes());
        assert_eq!(outcome.documents, 2);
        assert_eq!(passages[0].text, "id: 1; name: Heahi Bridge; built: 1931");
        assert_eq!((&*passages[0].document, &*passages[0].title), ("d/f#1", "Heahi Bridge"));
        assert_eq!(passages[1].text, "id: 2; name: Old, long\nbridge");
        let range = passages[1].byte_range.start as usize..passages[1].byte_range.end as usize;
        assert_eq!(&text[range], "2,\"Old, long\nbridge\",\n");
    }

    #[test]
    fn a_text_column_is_the_body() {
        let (passages, _) = passages(Kind::Tsv, b"title\tText\tyear\nA, b\tIt is long.\t7\n");
        assert_eq!(passages[0].text, "title: A, b; year: 7\n\nIt is long.");
    }

    #[test]
    fn delimiters_are_found() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2\n1;2,5\n", b';'),
            ("a\tb\n1, 2\t3\n", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("\"a;b\",c\n\"1;2\",3\n", b','),
            ("alone\n1\n", b','),
        ] {
            assert_eq!(sniff(text), delimiter, "{text}");
        }
    }
}
