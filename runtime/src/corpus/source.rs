//! Reads one file as passages, and its hash on the way.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::language::Language;
use super::report::FileSkips;
use super::walk::Found;
use super::{CorpusError, Passage, markdown, rows, split};

/// Bytes of a text or Markdown file, decompressed, at most: it is held in memory whole.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Bytes read from a file at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    kind: Kind,
    compressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    JsonLines,
    Text,
    Markdown,
}

impl Format {
    /// What the name says: `.jsonl`, `.txt` or `.md`, also with `.zst` after it.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        let (name, compressed) = match name.strip_suffix(".zst") {
            Some(inner) => (inner, true),
            None => (name.as_str(), false),
        };
        let kind = match name.rsplit_once('.')?.1 {
            "jsonl" => Kind::JsonLines,
            "txt" => Kind::Text,
            "md" => Kind::Markdown,
            _ => return None,
        };
        Some(Self { kind, compressed })
    }
}

/// Takes passages; an error ends the reading.
pub(super) type Sink<'a> = dyn FnMut(Passage) -> Result<(), CorpusError> + 'a;

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// SHA-256 of the file as it lies on disk; `None` when it was not read to its end, so that
    /// the next ingest tries again.
    pub sha256: Option<String>,
    /// Bytes on disk that were read.
    pub bytes: u64,
    /// Documents with at least one passage.
    pub documents: u64,
    /// Passages.
    pub passages: u64,
    /// Lines, or the file, passed over.
    pub skips: FileSkips,
}

/// Hash of a file's bytes.
pub(super) fn hash(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Reads `file`, from its start, into `sink`. What is wrong with the file becomes a skip; the
/// only errors are the sink's.
pub(super) fn read(
    file: File,
    path: &Path,
    found: &Found,
    advanced: &mut dyn FnMut(u64),
    sink: &mut Sink<'_>,
) -> Result<Outcome, CorpusError> {
    let mut tap = Tap { file, hash: Sha256::new(), bytes: 0, failed: false, advanced };
    let mut outcome = Outcome::default();
    if found.format.compressed {
        match zstd::Decoder::new(&mut tap) {
            Ok(decoder) => parse(decoder, path, found, &mut outcome, sink)?,
            Err(error) => outcome.skips.push(None, error),
        }
    } else {
        parse(&mut tap, path, found, &mut outcome, sink)?;
    }
    let drained = io::copy(&mut tap, &mut io::sink());
    outcome.bytes = tap.bytes;
    let whole = drained.is_ok() && !tap.failed;
    outcome.sha256 = whole.then(|| hex::encode(tap.hash.finalize()));
    Ok(outcome)
}

fn parse(
    reader: impl Read,
    path: &Path,
    found: &Found,
    outcome: &mut Outcome,
    sink: &mut Sink<'_>,
) -> Result<(), CorpusError> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match found.format.kind {
        Kind::JsonLines => rows::read(&mut reader, file_name, outcome, sink),
        Kind::Text | Kind::Markdown => match read_text(&mut reader) {
            Err(reason) => {
                outcome.skips.push(None, reason);
                Ok(())
            }
            Ok(text) => text_passages(&text, file_name, found, outcome, sink),
        },
    }
}

fn read_text(reader: &mut dyn Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    reader.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(format!("longer than {} MiB; split the file", TEXT_BYTES_MAX >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("not UTF-8 at byte {}; expected UTF-8 text", error.utf8_error().valid_up_to())
    })
}

fn text_passages(
    text: &str,
    file_name: &str,
    found: &Found,
    outcome: &mut Outcome,
    sink: &mut Sink<'_>,
) -> Result<(), CorpusError> {
    // A byte order mark is white space to nobody else.
    let skipped_bytes = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let text = text.get(skipped_bytes..).unwrap_or_default();
    let outline = match found.format.kind {
        Kind::Markdown => markdown::outline(text),
        _ => markdown::Outline { title: None, sections: vec![markdown::Section::all(text)] },
    };
    let language = Language::detect(text).unwrap_or_default();
    let title = outline.title.unwrap_or_else(|| stem(file_name).to_owned());
    for section in &outline.sections {
        let body = text.get(section.range.clone()).unwrap_or_default();
        for range in split::split(body) {
            let start = (skipped_bytes + section.range.start + range.start) as u64;
            sink(Passage {
                document: found.document.clone(),
                title: title.clone(),
                heading: section.heading.clone(),
                page: None,
                language,
                byte_range: start..start + range.len() as u64,
                ordinal: outcome.passages,
                text: body.get(range).unwrap_or_default().to_owned(),
            })?;
            outcome.passages += 1;
        }
    }
    if outcome.passages == 0 {
        outcome.skips.push(None, "the file holds no text");
    } else {
        outcome.documents = 1;
    }
    Ok(())
}

/// The name without `.zst` and the extension before it.
fn stem(file_name: &str) -> &str {
    let name = file_name.strip_suffix(".zst").unwrap_or(file_name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Passes a file's bytes on, hashes and counts them.
struct Tap<'a> {
    file: File,
    hash: Sha256,
    bytes: u64,
    /// The file itself failed, not what decodes it.
    failed: bool,
    advanced: &'a mut dyn FnMut(u64),
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer).inspect_err(|_| self.failed = true)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        (self.advanced)(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Reads `bytes` as a file called `name`.
    fn passages(name: &str, bytes: &[u8]) -> (Vec<Passage>, Outcome) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let format = Format::of(&path).unwrap();
        let found = Found { document: format!("below/{name}"), format, bytes: 0 };
        let mut passages = Vec::new();
        let outcome =
            read(File::open(&path).unwrap(), &path, &found, &mut |_| {}, &mut |passage| {
                passages.push(passage);
                Ok(())
            })
            .unwrap();
        assert_eq!(outcome.passages, passages.len() as u64);
        assert_eq!(outcome.sha256, Some(hash(&mut File::open(&path).unwrap()).unwrap()));
        (passages, outcome)
    }

    #[test]
    fn markdown_carries_headings_and_byte_ranges() {
        let text = "\u{feff}# Bridge\n\n## Span\nIt is lóng.\n";
        let (passages, outcome) = passages("a.md", text.as_bytes());
        let passage = &passages[0];
        assert_eq!(passage.document, "below/a.md");
        assert_eq!(passage.title, "Bridge");
        assert_eq!(passage.heading, ["Bridge", "Span"]);
        let range = passage.byte_range.start as usize..passage.byte_range.end as usize;
        assert_eq!(&text[range], "It is lóng.");
        assert_eq!(outcome.documents, 1);
    }

    #[test]
    fn text_is_titled_by_its_name() {
        let (passages, _) = passages("old notes.v2.txt", b"One. Two.");
        assert_eq!(passages[0].title, "old notes.v2");
        assert_eq!(passages[0].text, "One. Two.");
    }

    #[test]
    fn compressed_text_is_read_and_broken_compression_is_reported() {
        let whole = zstd::encode_all("A line. ".repeat(9_000).as_bytes(), 1).unwrap();
        assert!(passages("a.txt.zst", &whole).1.passages > 100);
        let (passages, outcome) = passages("a.txt.zst", &whole[..whole.len() / 2]);
        assert!(passages.is_empty());
        assert_eq!(outcome.skips.total, 1);
    }

    #[test]
    fn what_is_no_text_is_reported() {
        assert!(passages("a.txt", b"ab\xff").1.skips.listed[0].reason.contains("byte 2"));
        assert!(
            passages("a.md", b"# Only a heading\n").1.skips.listed[0].reason.contains("no text")
        );
    }

    #[test]
    fn formats_are_told_by_name() {
        assert!(Format::of(Path::new("a/B.JSONL.ZST")).is_some_and(|format| format.compressed));
        assert!(Format::of(Path::new("a/b.pdf")).is_none());
        assert!(Format::of(Path::new("jsonl")).is_none());
    }
}
