//! Corpora as one file: a zstd-compressed tar archive whose first entry says what follows.
//!
//! `corpus.json` lists the files with their lengths and SHA-256; then come `corpus.db` and the files
//! of `index/`. It opens on every machine. The paths of the documents on the machine that made it
//! stand in it, and so may text of documents that were removed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::formats::Expanding;
use super::index::sync_folder;
use super::ledger::{self, FORMAT, Ledger};
use super::search::{Corpus, CorpusStats};
use super::{CorpusError, index, ingest};
use crate::cancel::Cancel;

/// Version of the archive's layout.
const ARCHIVE_FORMAT: u32 = 1;
/// How the folders of imports under way begin.
const STAGED_PREFIX: &str = ".import-";
/// Name of the archive's first entry.
const CONTENTS: &str = "corpus.json";
/// Bytes of that entry at most: 10,000 files.
const CONTENTS_BYTES_MAX: u64 = 2 << 20;
/// Mode of an archive, as far as the user's mask allows.
const READABLE: u32 = 0o666;
/// Compression level: the index is mostly compressed already.
const COMPRESSION: i32 = 3;

/// The first entry of an archive.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    archive_format: u32,
    /// Format of the corpus in it.
    corpus_format: i64,
    passages: u64,
    /// Files by their path inside the corpus.
    files: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Writes the corpus at `dir` into the file `archive`, which must not exist.
///
/// # Errors
/// As [`Corpus::check`]; [`CorpusError::Busy`] while an ingest runs; [`CorpusError::Io`] when the file
/// cannot be written; [`CorpusError::Cancelled`].
pub fn export(dir: &Path, archive: &Path, cancel: &Cancel) -> Result<CorpusStats, CorpusError> {
    if !ledger::path(dir).is_file() {
        return Err(CorpusError::Missing { path: dir.to_path_buf() });
    }
    let _lock = ingest::lock(dir)?;
    if ledger::logs(dir).iter().any(|log| log.exists()) {
        // Folds what an ingest that was cut off left into the file.
        Ledger::open_or_create(dir)?.close();
    }
    let stats = Corpus::check_alone(dir)?;
    let paths = files(dir)?;
    match write(archive, &paths, stats.passages, cancel) {
        Ok(()) => {
            tracing::debug!(corpus = %dir.display(), archive = %archive.display(), "exported");
            Ok(stats)
        }
        Err(_) if cancel.is_cancelled() => Err(CorpusError::Cancelled),
        Err(error) => Err(CorpusError::io(archive, error)),
    }
}

/// The files of a corpus that travel, by their path inside it.
fn files(dir: &Path) -> Result<BTreeMap<String, PathBuf>, CorpusError> {
    let mut files = BTreeMap::from([("corpus.db".to_owned(), ledger::path(dir))]);
    let folder = index::folder(dir);
    let entries = std::fs::read_dir(&folder).map_err(|error| CorpusError::io(&folder, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".lock") {
            files.insert(format!("index/{name}"), entry.path());
        }
    }
    Ok(files)
}

fn write(
    archive: &Path,
    paths: &BTreeMap<String, PathBuf>,
    passages: u64,
    cancel: &Cancel,
) -> io::Result<()> {
    let beside = archive.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(PermissionsExt::from_mode(READABLE))
        .tempfile_in(beside.unwrap_or(Path::new(".")))?;
    let mut files = BTreeMap::new();
    for (name, path) in paths {
        files.insert(name.clone(), entry_of(cancel.watch(File::open(path)?))?);
    }
    let contents =
        Contents { archive_format: ARCHIVE_FORMAT, corpus_format: FORMAT, passages, files };
    let contents = serde_json::to_vec_pretty(&contents)?;
    let compressed = zstd::Encoder::new(BufWriter::new(file.as_file_mut()), COMPRESSION)?;
    let mut tar = tar::Builder::new(compressed);
    let mut header = plain_header(contents.len() as u64);
    tar.append_data(&mut header, CONTENTS, contents.as_slice())?;
    for (name, path) in paths {
        let file = File::open(path)?;
        let mut header = plain_header(file.metadata()?.len());
        tar.append_data(&mut header, name, BufReader::new(cancel.watch(file)))?;
    }
    tar.into_inner()?.finish()?.flush()?;
    file.as_file().sync_all()?;
    file.persist_noclobber(archive).map_err(|error| error.error)?;
    Ok(())
}

/// A header without owner and time: equal corpora make equal archives.
fn plain_header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header
}

fn entry_of(mut file: impl Read) -> io::Result<Entry> {
    let mut hash = Hashing { inner: io::sink(), hash: Sha256::new(), bytes: 0 };
    io::copy(&mut file, &mut hash)?;
    Ok(hash.entry())
}

/// Counts and hashes what is written through it.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn entry(self) -> Entry {
        Entry { bytes: self.bytes, sha256: hex::encode(self.hash.finalize()) }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Makes the corpus `dir`, which must not exist, from an archive. It is there whole or not at all.
///
/// # Errors
/// [`CorpusError::Exists`] when there is one already; [`CorpusError::Archive`] when the file is no
/// archive, is cut short, was changed, or holds a corpus of another format;
/// [`CorpusError::Cancelled`]; the rest as [`Corpus::check`].
pub fn import(archive: &Path, dir: &Path, cancel: &Cancel) -> Result<CorpusStats, CorpusError> {
    if dir.exists() {
        return Err(CorpusError::Exists { path: dir.to_path_buf() });
    }
    let parent = dir.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| CorpusError::io(parent, error))?;
    let staged = stage(parent).map_err(|error| CorpusError::io(parent, error))?;
    let corpus = staged.folder.path().join("corpus");
    std::fs::create_dir(&corpus).map_err(|error| CorpusError::io(&corpus, error))?;
    let file = File::open(archive).map_err(|error| CorpusError::io(archive, error))?;
    let refused = |reason| CorpusError::Archive { path: archive.to_path_buf(), reason };
    unpack(file, &corpus, cancel).map_err(|reason| match cancel.is_cancelled() {
        true => CorpusError::Cancelled,
        false => refused(reason),
    })?;
    let stats = Corpus::check(&corpus).map_err(|error| {
        refused(format!(
            "what it holds is no sound corpus of this version ({error}); export it again"
        ))
    })?;
    sync_folder(&corpus)?;
    let synced = File::open(&corpus).and_then(|folder| folder.sync_all());
    synced.map_err(|error| CorpusError::io(&corpus, error))?;
    std::fs::rename(&corpus, dir).map_err(|error| CorpusError::io(dir, error))?;
    let synced = File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|error| CorpusError::io(parent, error))?;
    Ok(stats)
}

/// A folder for an import, held by a lock that ends with the process. Those of imports that were
/// killed are removed.
fn stage(parent: &Path) -> io::Result<Staged> {
    // No other import looks for left ones between the making of a folder and its lock.
    let alone = File::open(parent)?;
    alone.lock()?;
    for entry in std::fs::read_dir(parent)?.flatten() {
        let is_staged = entry.file_name().to_string_lossy().starts_with(STAGED_PREFIX);
        let is_left = || File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok());
        if is_staged && is_left() {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let folder = tempfile::Builder::new().prefix(STAGED_PREFIX).tempdir_in(parent)?;
    let held = File::open(folder.path())?;
    held.lock()?;
    Ok(Staged { folder, _held: held })
}

/// An import's own folder.
struct Staged {
    folder: tempfile::TempDir,
    _held: File,
}

/// Unpacks what the archive's first entry lists into `dir`, and nothing else.
fn unpack(file: File, dir: &Path, cancel: &Cancel) -> Result<(), String> {
    let bytes = file.metadata().map_or(0, |data| data.len());
    let decompressed = zstd::Decoder::new(cancel.watch(file)).map_err(|error| error.to_string())?;
    let mut tar = tar::Archive::new(Expanding::new(decompressed, bytes));
    let unreadable =
        |error: io::Error| format!("it is cut short or no archive of a corpus: {error}");
    // Raw: an entry that gives the next a long name is not read into memory, but is unlisted.
    let mut entries = tar.entries().map_err(unreadable)?.raw(true);
    let first = entries.next().ok_or("it is empty")?.map_err(unreadable)?;
    let mut contents = contents(first)?;
    std::fs::create_dir(dir.join("index")).map_err(|error| error.to_string())?;
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        let name = path.to_string_lossy().into_owned();
        let listed = contents.files.remove(&name).filter(|_| is_inside(&path));
        let listed = listed.ok_or_else(|| format!("it holds {name:?}, which its list does not"))?;
        let file = File::create_new(dir.join(&path)).map_err(|error| format!("{name}: {error}"))?;
        let mut hashing = Hashing { inner: file, hash: Sha256::new(), bytes: 0 };
        // One byte more than listed tells a longer entry; a header may lie about it.
        io::copy(&mut (&mut entry).take(listed.bytes.saturating_add(1)), &mut hashing)
            .map_err(unreadable)?;
        let synced = hashing.inner.sync_all();
        synced.map_err(|error| format!("{name}: {error}"))?;
        if hashing.entry() != listed {
            return Err(format!(
                "{name} is not the file that was exported; copy the archive again"
            ));
        }
    }
    match contents.files.into_keys().next() {
        Some(name) => Err(format!("it is cut short: {name} is missing; copy the archive again")),
        None => Ok(()),
    }
}

fn contents<R: Read>(entry: tar::Entry<'_, R>) -> Result<Contents, String> {
    let is_first = entry.path().is_ok_and(|path| path == Path::new(CONTENTS));
    if !is_first {
        return Err(format!("it is no archive of a corpus: {CONTENTS} does not come first"));
    }
    let contents: Contents = serde_json::from_reader(entry.take(CONTENTS_BYTES_MAX))
        .map_err(|error| format!("{CONTENTS}: {error}"))?;
    let (archive, corpus) = (contents.archive_format, contents.corpus_format);
    if archive != ARCHIVE_FORMAT || corpus != FORMAT {
        return Err(format!(
            "it is an archive of version {archive} with a corpus of format {corpus}, this version reads \
             {ARCHIVE_FORMAT} and {FORMAT}; export it with the version of retort that reads it, \
             or index the documents again"
        ));
    }
    Ok(contents)
}

/// `corpus.db`, or a file right below `index/`.
fn is_inside(path: &Path) -> bool {
    let parts: Vec<Component<'_>> = path.components().collect();
    match parts.as_slice() {
        [Component::Normal(name)] => *name == "corpus.db",
        [Component::Normal(folder), Component::Normal(_)] => *folder == "index",
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{BRIDGES, World};
    use super::*;

    fn world() -> World {
        let world = World::new(&[("b.jsonl", BRIDGES)]);
        world.ingest();
        world
    }

    /// Exports a corpus and returns the archive's path.
    fn exported(world: &World) -> PathBuf {
        let archive = world.files().join("corpus.tar.zst");
        export(&world.corpus(), &archive, &Cancel::default()).unwrap();
        archive
    }

    fn imported(archive: &Path, name: &str) -> Result<Corpus, CorpusError> {
        let dir = archive.with_file_name(name);
        import(archive, &dir, &Cancel::default())?;
        Corpus::open(&dir)
    }

    #[test]
    fn a_corpus_travels_whole() {
        let world = world();
        let archive = exported(&world);
        let copy = imported(&archive, "copy").unwrap();
        let shown = |hits: Vec<super::super::Hit>| -> Vec<(String, f32)> {
            hits.into_iter().map(|hit| (hit.document, hit.score)).collect()
        };
        let question = "who designed the bridge";
        assert_eq!(shown(copy.search(question, 5).unwrap()), shown(world.hits(question)));
        let again = archive.with_file_name("again");
        export(&world.corpus(), &again, &Cancel::default()).unwrap();
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&archive).unwrap());
    }

    #[test]
    fn nothing_is_overwritten() {
        let world = world();
        let archive = exported(&world);
        let cancel = Cancel::default();
        let again = export(&world.corpus(), &archive, &cancel);
        assert!(matches!(again, Err(CorpusError::Io { .. })));
        let there = import(&archive, &world.corpus(), &cancel);
        assert!(matches!(there, Err(CorpusError::Exists { .. })));
        let nothing = World::new(&[]);
        let missing = export(&nothing.corpus(), &archive.with_file_name("x"), &cancel);
        assert!(matches!(missing, Err(CorpusError::Missing { .. })));
        assert!(!nothing.corpus().exists());
    }

    #[test]
    fn what_is_cancelled_leaves_nothing_behind() {
        let world = world();
        let archive = exported(&world);
        let names = || -> BTreeSet<String> {
            let entries = std::fs::read_dir(world.files()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let before = names();
        let cancel = Cancel::default();
        cancel.cancel();
        let exported = export(&world.corpus(), &archive.with_file_name("again"), &cancel);
        assert!(matches!(exported, Err(CorpusError::Cancelled)), "{exported:?}");
        let imported = import(&archive, &archive.with_file_name("copy"), &cancel);
        assert!(matches!(imported, Err(CorpusError::Cancelled)), "{imported:?}");
        assert_eq!(names(), before);
    }

    #[test]
    fn a_damaged_archive_leaves_nothing_behind() {
        let world = world();
        let archive = exported(&world);
        let whole = std::fs::read(&archive).unwrap();
        let broken = archive.with_file_name("broken");
        for length in [0, 3, whole.len() / 2, whole.len() - 5] {
            std::fs::write(&broken, whole.get(..length).unwrap()).unwrap();
            let error = imported(&broken, "copy").map(|_| ()).unwrap_err();
            assert!(matches!(error, CorpusError::Archive { .. }), "{length}: {error}");
        }
        assert!(!archive.with_file_name("copy").exists());
        let left = std::fs::read_dir(world.files()).unwrap().count();
        assert_eq!(left, 3, "the document, the archive and its broken copy");
    }

    /// Packs an archive of one file with this list and entry.
    fn packed(list: &serde_json::Value, entry: &str, bytes: &[u8], to: &Path) {
        let compressed = zstd::Encoder::new(File::create(to).unwrap(), 1).unwrap();
        let mut tar = tar::Builder::new(compressed);
        let list = list.to_string();
        for (name, bytes) in [(CONTENTS, list.as_bytes()), (entry, bytes)] {
            let mut header = plain_header(bytes.len() as u64);
            // Written by hand: the library refuses names that lead outside.
            let field = header.as_mut_bytes().get_mut(..name.len()).unwrap();
            field.copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn an_archive_writes_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tar.zst");
        let entry = Entry { bytes: 1, sha256: hex::encode(Sha256::digest(b"x")) };
        for name in ["../evil", "/tmp/evil", "index/../../evil", "index/a/b", "other"] {
            let list = serde_json::json!({"archive_format": ARCHIVE_FORMAT, "corpus_format": FORMAT,
                "passages": 1, "files": {name: entry}});
            packed(&list, name, b"x", &archive);
            let error = imported(&archive, "copy").map(|_| ()).unwrap_err();
            assert!(matches!(error, CorpusError::Archive { .. }), "{name}: {error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let list = serde_json::json!({"archive_format": ARCHIVE_FORMAT, "corpus_format": 99,
            "passages": 1, "files": {}});
        packed(&list, "other", b"x", &archive);
        let error = imported(&archive, "copy").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("format 99"), "{error}");
    }
}
