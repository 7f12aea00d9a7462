//! Formats: the bytes of a file in, passages out. One file per format; what they share is
//! [`passages`] (where passages go, and the caps), [`page`] (headings and their text),
//! [`encoding`] (bytes to text), [`xml`] and [`archive`].
//!
//! A format knows nothing about the index, the ledger or the process it runs in. Files are
//! written by anybody: nothing here recurses over what a file nests, and whatever grows with a
//! file has a cap.

mod archive;
mod csv;
mod docx;
pub(super) mod encoding;
mod epub;
mod html;
mod markdown;
mod page;
mod passages;
mod pdf;
mod rows;
mod text;
mod xml;
mod zim;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CorpusError;
pub(super) use passages::{Passages, Sink};

/// Bytes of a text, Markdown, HTML or CSV file, decompressed, at most: it is held in memory whole.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a PDF, EPUB or DOCX file at most: it is held in memory whole.
const BINARY_BYTES_MAX: u64 = 256 << 20;
/// Bytes read from a file at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Compressed text may grow to so many times its size, ...
pub(super) const EXPANSION_MAX: u64 = 200;
/// ... and to this size whatever its ratio.
pub(super) const EXPANSION_FREE_BYTES: u64 = 16 << 20;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) kind: Kind,
    /// Compressed with zstd.
    pub(super) compressed: bool,
}

/// What a file's name says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    JsonLines,
    Text,
    Markdown,
    Html,
    Xhtml,
    Pdf,
    Epub,
    Docx,
    Csv,
    Tsv,
    Zim,
}

/// Extensions, and whether a file may be compressed as a whole.
const EXTENSIONS: [(&str, Kind, bool); 12] = [
    ("jsonl", Kind::JsonLines, true),
    ("txt", Kind::Text, true),
    ("md", Kind::Markdown, true),
    ("html", Kind::Html, true),
    ("htm", Kind::Html, true),
    ("xhtml", Kind::Xhtml, true),
    ("csv", Kind::Csv, true),
    ("tsv", Kind::Tsv, true),
    ("pdf", Kind::Pdf, false),
    ("epub", Kind::Epub, false),
    ("docx", Kind::Docx, false),
    ("zim", Kind::Zim, false),
];

/// What a file may be, for messages.
pub(super) const EXPECTED: &str = "expected a .txt, .md, .html, .xhtml, .csv, .tsv or .jsonl \
                                   file (or one of them .zst), or a .pdf, .epub, .docx or .zim \
                                   file";

impl Format {
    /// What the name says.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let (name, compressed) = match name.strip_suffix(".zst") {
            Some(inner) => (inner, true),
            None => (name.as_str(), false),
        };
        let (_, extension) = name.rsplit_once('.')?;
        let (_, kind, compressible) = EXTENSIONS.iter().find(|(known, ..)| *known == extension)?;
        (*compressible || !compressed).then_some(Self { kind: *kind, compressed })
    }
}

/// A file on its way through its format.
pub(super) struct Opened<'a> {
    /// The bytes.
    pub bytes: &'a mut dyn Read,
    /// The file itself, for a format that is read here and there.
    pub file: &'a File,
    /// Its name without folders.
    pub name: &'a str,
    /// What its passages' documents are called, or begin with.
    pub document: &'a str,
}

/// Why a file is not read to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Whoever takes the passages failed.
    Sink(CorpusError),
    /// What is wrong with the file, or the cap it reached.
    Refused(String),
}

impl Stop {
    /// Goes on without a part that only describes the file; only the sink's failures end it.
    fn tolerated<T: Default>(part: Result<T, Self>, out: &mut Passages<'_>) -> Result<T, Self> {
        match part {
            Err(Self::Refused(reason)) => {
                out.skip(None, reason);
                Ok(T::default())
            }
            other => other,
        }
    }
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Self {
        Self::Refused(reason.to_owned())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Reads a file of `kind`.
pub(super) fn read(kind: Kind, opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    match kind {
        Kind::JsonLines => {
            rows::read(&mut BufReader::with_capacity(BUFFER_BYTES, opened.bytes), opened.name, out)
        }
        Kind::Text => text::read(opened, out),
        Kind::Markdown => markdown::read(opened, out),
        Kind::Html => html::read(opened, html::Syntax::Html, out),
        Kind::Xhtml => html::read(opened, html::Syntax::Xml, out),
        Kind::Csv => csv::read(opened, None, out),
        Kind::Tsv => csv::read(opened, Some(b'\t'), out),
        Kind::Pdf => pdf::read(opened, out),
        Kind::Epub => epub::read(opened, out),
        Kind::Docx => docx::read(opened, out),
        Kind::Zim => zim::read(opened, out),
    }
}

/// All bytes, when they are not more than `bytes_max`.
fn read_all(reader: &mut dyn Read, bytes_max: u64) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    reader.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("longer than {} MiB; split the file", bytes_max >> 20).into());
    }
    Ok(bytes)
}

/// The name without `.zst` and the extension before it.
fn stem(file_name: &str) -> &str {
    let name = file_name.strip_suffix(".zst").unwrap_or(file_name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Ends a decompressor that turns little into very much.
pub(super) struct Expanding<R> {
    inner: R,
    /// Bytes that are left to come.
    left: u64,
}

impl<R: Read> Expanding<R> {
    /// Of compressed bytes of this length.
    pub(super) fn new(inner: R, compressed_bytes: u64) -> Self {
        let left = EXPANSION_FREE_BYTES.max(compressed_bytes.saturating_mul(EXPANSION_MAX));
        Self { inner, left }
    }
}

impl<R: Read> Read for Expanding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!(
                "it grows to more than {EXPANSION_MAX} times its size when decompressed"
            ))
        })?;
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod own_tests {
    use super::*;

    #[test]
    fn formats_are_told_by_name() {
        assert!(Format::of(Path::new("a/B.JSONL.ZST")).is_some_and(|format| format.compressed));
        assert_eq!(Format::of(Path::new("a/b.HTM")).unwrap().kind, Kind::Html);
        assert!(Format::of(Path::new("a/b.pdf.zst")).is_none());
        assert!(Format::of(Path::new("a/b.doc")).is_none());
        assert!(Format::of(Path::new("jsonl")).is_none());
    }

    #[test]
    fn what_expands_too_far_is_ended() {
        let mut small = Expanding::new(io::repeat(0).take(EXPANSION_FREE_BYTES), 10);
        assert_eq!(io::copy(&mut small, &mut io::sink()).unwrap(), EXPANSION_FREE_BYTES);
        let mut large = Expanding::new(io::repeat(0).take(EXPANSION_FREE_BYTES + 1), 10);
        assert!(io::copy(&mut large, &mut io::sink()).unwrap_err().to_string().contains("200"));
    }
}
