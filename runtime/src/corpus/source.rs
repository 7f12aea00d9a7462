//! Reads one file as passages, and its hash on the way.

use std::fs::File;
use std::io::{self, Read, Seek};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CorpusError;
use super::formats::{self, Expanding, Format, Kind, Opened, Passages, Sink, Stop};
use super::report::FileSkips;

/// Bytes read from a file at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// A file to take apart, without its path: that is not the reader's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    /// The path below the indexed folder, or the name.
    pub document: String,
    /// How to read it.
    pub format: Format,
}

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Hash of a file's bytes, from where it stands.
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
/// only errors are the sink's. `advanced` hears of the bytes read and, with 0, of other work.
pub(super) fn read(
    mut file: File,
    task: &Task,
    advanced: &dyn Fn(u64),
    sink: &mut Sink<'_>,
) -> Result<Outcome, CorpusError> {
    let Format { kind, compressed } = task.format;
    let alive = || advanced(0);
    let mut out = Passages::new(kind, sink, &alive);
    let before = stamp(&file);
    let mut tap = match file.rewind().and_then(|()| file.try_clone()) {
        Ok(file) => Tap { file, hash: Sha256::new(), bytes: 0, failed: false, advanced },
        Err(error) => {
            out.outcome.skips.push(None, error);
            return Ok(out.outcome);
        }
    };
    let parsed = if compressed {
        let bytes = file.metadata().map_or(0, |data| data.len());
        match zstd::Decoder::new(&mut tap) {
            Ok(decoder) => parse(&mut Expanding::new(decoder, bytes), &file, task, &mut out),
            Err(error) => Err(error.into()),
        }
    } else {
        parse(&mut tap, &file, task, &mut out)
    };
    match parsed {
        Ok(()) => {}
        Err(Stop::Sink(error)) => return Err(error),
        Err(Stop::Refused(reason)) => refuse(reason, &mut out.outcome),
    }
    let mut outcome = out.outcome;
    if outcome.passages == 0 && outcome.skips.total == 0 {
        outcome.skips.push(None, "the file holds no text");
    }
    let drained = io::copy(&mut tap, &mut io::sink());
    outcome.bytes = tap.bytes;
    let changed = kind == Kind::Zim && stamp(&file) != before;
    if changed {
        outcome.skips.push(None, "it changed while it was read; index it again");
    }
    let whole = drained.is_ok() && !tap.failed && !changed;
    outcome.sha256 = whole.then(|| hex::encode(tap.hash.finalize()));
    Ok(outcome)
}

/// What came before the break stays: half a book is more than none.
fn refuse(reason: String, outcome: &mut Outcome) {
    if outcome.passages == 0 {
        outcome.skips.push(None, reason);
    } else {
        outcome.skips.push(None, format!("only a part was read: {reason}"));
    }
}

fn parse(
    bytes: &mut dyn Read,
    file: &File,
    task: &Task,
    out: &mut Passages<'_>,
) -> Result<(), Stop> {
    let document = &task.document;
    let name = document.rsplit('/').next().unwrap_or_default();
    formats::read(task.format.kind, Opened { bytes, file, name, document }, out)
}

/// Length and time of the last change: a ZIM file's hash is made before it is read.
fn stamp(file: &File) -> Option<(u64, Option<std::time::SystemTime>)> {
    file.metadata().ok().map(|data| (data.len(), data.modified().ok()))
}

/// Passes a file's bytes on, hashes and counts them.
struct Tap<'a> {
    file: File,
    hash: Sha256,
    bytes: u64,
    /// The file itself failed, not what decodes it.
    failed: bool,
    advanced: &'a dyn Fn(u64),
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
    use super::super::Passage;
    use super::*;
    use std::path::Path;

    /// Reads `bytes` as a file called `name`.
    fn passages(name: &str, bytes: &[u8]) -> (Vec<Passage>, Outcome) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let format = Format::of(Path::new(name)).unwrap();
        let task = Task { document: format!("below/{name}"), format };
        let mut passages = Vec::new();
        let outcome = read(File::open(&path).unwrap(), &task, &|_| {}, &mut |passage| {
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
        let reason = |name: &str, bytes: &[u8]| {
            let outcome = passages(name, bytes).1;
            assert_eq!((outcome.passages, outcome.skips.total), (0, 1));
            outcome.skips.listed[0].reason.clone()
        };
        assert!(reason("a.txt", b"ab\0").contains("zero byte at 2"));
        assert!(reason("a.md", b"# Only a heading\n").contains("no text"));
        assert!(reason("a.html", b"<script>x</script>").contains("no text"));
        let bomb = zstd::encode_all(&vec![b' '; 32 << 20][..], 3).unwrap();
        assert!(reason("a.jsonl.zst", &bomb).contains("200 times its size"));
    }

    #[test]
    fn a_book_that_breaks_off_keeps_its_start() {
        let mut outcome = Outcome { passages: 3, ..Outcome::default() };
        refuse("torn".to_owned(), &mut outcome);
        assert_eq!(outcome.skips.listed[0].reason, "only a part was read: torn");
    }
}
