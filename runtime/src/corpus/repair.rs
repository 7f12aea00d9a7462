//! Makes a damaged corpus, or one of an older format, anew: from the passages that its index
//! stores, else from the files that its ledger names.
//!
//! The new corpus grows beside the old one, inside its folder, and takes its place when it is
//! whole. An old ledger is believed as far as it agrees with the passages found.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tantivy::directory::MmapDirectory;
use tantivy::fastfield::AliveBitSet;
use tantivy::index::SegmentComponent;
use tantivy::store::StoreReader;
use tantivy::{Index, Segment, TantivyDocument};

use super::formats::Format;
use super::index::{self, StoredFields};
use super::ingest::{Job, ingest_files, lock};
use super::language::Language;
use super::ledger::{self, Indexed, Ledger, Salvaged};
use super::report::{IngestOptions, IngestProgress};
use super::search::{Corpus, CorpusStats};
use super::source::{Outcome, Task};
use super::stamp::Stamp;
use super::walk::Found;
use super::{CorpusError, Passage};

/// Start of the name of the folder in which the new corpus grows.
const STAGED_PREFIX: &str = "repair-";
/// Blocks of stored passages kept while they are read once, in order.
const CACHED_BLOCKS: usize = 1;

/// Rebuilds the corpus at `dir`.
///
/// # Errors
/// [`CorpusError::Missing`] when there is no ledger file; [`CorpusError::Busy`] while an ingest runs;
/// [`CorpusError::Damaged`] when neither the passages nor the list of files can be read.
pub fn repair(
    dir: &Path,
    options: &IngestOptions,
    progress: &mut dyn IngestProgress,
) -> Result<CorpusStats, CorpusError> {
    if !ledger::path(dir).is_file() {
        return Err(CorpusError::Missing { path: dir.to_path_buf() });
    }
    let _lock = lock(dir)?;
    tidy(dir).map_err(|error| CorpusError::io(dir, error))?;
    let staged = tempfile::Builder::new().prefix(STAGED_PREFIX).tempdir_in(dir);
    let staged = staged.map_err(|error| CorpusError::io(dir, error))?;
    let [passages, files] = ["passages", "files"].map(|name| staged.path().join(name));
    let known = Ledger::salvage(dir).unwrap_or_default();
    let fresh = match from_passages(dir, &passages, &known, options) {
        Ok(()) => passages,
        Err(lost @ CorpusError::Damaged { .. }) => {
            tracing::warn!("{lost}: reading the files again");
            from_files(dir, &files, &known.files, options, progress)?;
            files
        }
        // What keeps the new corpus from being written says nothing of the old one.
        Err(other) => return Err(other),
    };
    let stats = Corpus::check(&fresh)?;
    replace(dir, &fresh).map_err(|error| CorpusError::io(dir, error))?;
    Ok(stats)
}

/// Clears what a repair that was cut off left behind.
fn tidy(dir: &Path) -> io::Result<()> {
    let (folder, aside) = (index::folder(dir), aside(dir));
    if aside.exists() && !folder.exists() {
        std::fs::rename(&aside, &folder)?;
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGED_PREFIX) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Where the old index waits while the new one takes its place.
fn aside(dir: &Path) -> PathBuf {
    dir.join("index.damaged")
}

/// Copies the passages of the old index into a new corpus.
fn from_passages(
    old: &Path,
    new: &Path,
    known: &Salvaged,
    options: &IngestOptions,
) -> Result<(), CorpusError> {
    let stores = Stores::open(old)?;
    std::fs::create_dir(new).map_err(|error| CorpusError::io(new, error))?;
    let mut job = Job::open(new, options)?;
    let mut counted: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut usual = Language::default();
    stores.each(&mut |source, mut passage| {
        if !stores.fields.has_language() {
            usual = Language::next_of(usual, &passage.text);
            passage.language = usual;
        }
        job.add(&source, &passage)?;
        let outcome = counted.entry(source).or_default();
        outcome.passages += 1;
        outcome.documents += u64::from(passage.ordinal == 0);
        Ok(())
    })?;
    if counted.is_empty() {
        return Err(CorpusError::damaged(old, "the index holds no passage"));
    }
    // An index older than its ledger holds passages of files as they were before.
    let is_current = stores.generation >= known.generation;
    for (path, outcome) in counted {
        let known = known.files.get(&path).filter(|_| is_current);
        job.done(path, Some(believed(outcome, known)))?;
    }
    job.finish(Ok(()))
}

/// What the old ledger says of a file, if it counted the same passages; else the file counts as
/// unread, and the next ingest reads it.
fn believed(counted: Outcome, known: Option<&Indexed>) -> Indexed {
    let same = known.filter(|known| known.outcome.passages == counted.passages);
    same.cloned().unwrap_or(Indexed { outcome: counted, ..Indexed::default() })
}

/// The stored passages of an index, whatever else of it is damaged.
struct Stores<'a> {
    corpus: &'a Path,
    /// Number of the index's last commit.
    generation: u64,
    segments: Vec<Segment>,
    fields: StoredFields,
}

impl<'a> Stores<'a> {
    /// Opens an index none of whose stores is damaged.
    fn open(corpus: &'a Path) -> Result<Self, CorpusError> {
        Self::validated(corpus).map_err(|error| CorpusError::unreadable(corpus, error))
    }

    fn validated(corpus: &'a Path) -> tantivy::Result<Self> {
        let index = Index::open(MmapDirectory::open(index::folder(corpus))?)?;
        let segments = index.searchable_segments()?;
        for segment in &segments {
            let deletes = segment.meta().has_deletes().then_some(SegmentComponent::Delete);
            for component in [Some(SegmentComponent::Store), deletes].into_iter().flatten() {
                let file = segment.relative_path(component);
                if !index.directory().validate_checksum(&file)? {
                    let reason = format!("index/{} does not match its checksum", file.display());
                    return Err(tantivy::TantivyError::InternalError(reason));
                }
            }
        }
        let fields = StoredFields::of(&index.schema())?;
        let payload = index.load_metas()?.payload;
        let generation = payload.and_then(|payload| payload.parse().ok()).unwrap_or_default();
        Ok(Self { corpus, generation, segments, fields })
    }

    /// Hands on each passage that was not deleted, with its file, until the taker fails.
    fn each(
        &self,
        take: &mut dyn FnMut(String, Passage) -> Result<(), CorpusError>,
    ) -> Result<(), CorpusError> {
        let lost = |error| CorpusError::unreadable(self.corpus, error);
        for segment in &self.segments {
            let (store, alive) = opened(segment).map_err(lost)?;
            for stored in store.iter::<TantivyDocument>(alive.as_ref()) {
                let (source, passage) = self.fields.read_document(&stored.map_err(lost)?);
                take(source, passage)?;
            }
        }
        Ok(())
    }
}

/// A segment's stored documents, and which of them were not deleted where any was.
fn opened(segment: &Segment) -> tantivy::Result<(StoreReader, Option<AliveBitSet>)> {
    let store = StoreReader::open(segment.open_read(SegmentComponent::Store)?, CACHED_BLOCKS)?;
    let alive = match segment.meta().has_deletes() {
        true => Some(segment.open_read(SegmentComponent::Delete)?.read_bytes()?),
        false => None,
    };
    Ok((store, alive.map(AliveBitSet::open)))
}

/// Reads the files of the old ledger, as they are now, into a new corpus.
fn from_files(
    old: &Path,
    new: &Path,
    known: &BTreeMap<String, Indexed>,
    options: &IngestOptions,
    progress: &mut dyn IngestProgress,
) -> Result<(), CorpusError> {
    let files = known.iter().filter_map(|(path, indexed)| found(Path::new(path), indexed));
    let files: BTreeMap<PathBuf, Found> = files.collect();
    if files.is_empty() {
        let reason = "its passages cannot be read, and none of the files it was made from is known \
                      and there";
        return Err(CorpusError::damaged(old, reason));
    }
    let absent = known.len() - files.len();
    if absent > 0 {
        tracing::warn!("{absent} files of the corpus are not there any more: it goes on without");
    }
    std::fs::create_dir(new).map_err(|error| CorpusError::io(new, error))?;
    let report = ingest_files(new, &files, options, progress)?;
    for skip in &report.skipped {
        tracing::warn!("skipped {}: {}", skip.path.display(), skip.reason);
    }
    if report.cancelled { Err(CorpusError::Cancelled) } else { Ok(()) }
}

/// A file of the old ledger that is still there.
fn found(path: &Path, indexed: &Indexed) -> Option<(PathBuf, Found)> {
    let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let stamp = Stamp::of(&data);
    let format = Format::of(path)?;
    let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let document = indexed.document.clone().unwrap_or_else(name);
    Some((path.to_path_buf(), Found { task: Task { document, format }, stamp }))
}

/// Puts the new corpus into the place of the old one. Cut off in between, it leaves an index
/// that does not agree with its ledger, which is damage to be repaired.
fn replace(dir: &Path, staged: &Path) -> io::Result<()> {
    let (folder, aside) = (index::folder(dir), aside(dir));
    if folder.exists() {
        if aside.exists() {
            std::fs::remove_dir_all(&aside)?;
        }
        std::fs::rename(&folder, &aside)?;
    }
    std::fs::rename(index::folder(staged), &folder)?;
    // A log of the old ledger must not be taken for one of the new.
    for log in ledger::logs(dir) {
        match std::fs::remove_file(log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(ledger::path(staged), ledger::path(dir))?;
    std::fs::File::open(dir)?.sync_all()?;
    if aside.exists() { std::fs::remove_dir_all(&aside) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::tests::{BRIDGES, World, copy_folder};
    use super::*;

    fn repaired(world: &World) -> Result<CorpusStats, CorpusError> {
        repair(&world.corpus(), &IngestOptions::default(), &mut ())
    }

    fn world() -> World {
        let world =
            World::new(&[("b.jsonl", BRIDGES), ("sub/n.md", "# Notes\n## Tide\nThe tide rose.")]);
        world.ingest();
        world
    }

    fn damage(world: &World, end: &str) {
        let path = world.index_file(end);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_corpus_of_format_1_is_brought_up_to_date() {
        let world = World::new(&[]);
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/corpus/fixtures/format-1");
        copy_folder(&fixture, &world.corpus());
        let refused = Corpus::open(&world.corpus()).map(|_| ()).unwrap_err();
        assert!(matches!(refused, CorpusError::Incompatible { .. }), "{refused}");
        assert!(refused.to_string().contains("corpus check notes --repair"));
        let stats = repaired(&world).unwrap();
        assert_eq!((stats.documents, stats.passages, stats.sources), (3, 3, 2));
        let tide = &world.hits("tide")[0];
        assert_eq!((tide.document.as_str(), &tide.byte_range), ("tide.md", &(16..43)));
        // The files are as they were when it was made: nothing would be read again.
        let known = Ledger::salvage(&world.corpus()).unwrap();
        assert!(known.files.values().all(|indexed| indexed.outcome.sha256.is_some()));
    }

    #[test]
    fn damage_beside_the_passages_costs_nothing() {
        for end in [".term", ".idx", ".fieldnorm"] {
            let world = world();
            let before = world.hits("who designed the bridge in the tide");
            // The files are gone: only the index can say what stood in them.
            std::fs::remove_dir_all(world.files()).unwrap();
            damage(&world, end);
            assert!(matches!(Corpus::open(&world.corpus()), Err(CorpusError::Damaged { .. })));
            assert_eq!(repaired(&world).unwrap().passages, 3);
            assert_eq!(before.len(), 3);
            let shown = |hits: Vec<super::super::Hit>| -> Vec<(String, f32)> {
                hits.into_iter().map(|hit| (hit.passage, hit.score)).collect()
            };
            assert_eq!(shown(world.hits("who designed the bridge in the tide")), shown(before));
        }
    }

    #[test]
    fn damaged_passages_are_read_from_the_files_again() {
        for end in [".store", "meta.json"] {
            let world = world();
            damage(&world, end);
            assert_eq!(repaired(&world).unwrap().passages, 3, "{end}");
            assert_eq!(world.documents("tide"), ["sub/n.md"]);
            assert_eq!(world.ingest().unchanged, 2);
        }
    }

    #[test]
    fn a_lost_ledger_is_made_from_the_passages() {
        let world = world();
        std::fs::write(ledger::path(&world.corpus()), "x".repeat(200)).unwrap();
        assert_eq!(repaired(&world).unwrap().passages, 3);
        // Nothing is known of the files: they are read again.
        assert_eq!(world.ingest().indexed, 2);
        assert_eq!(world.documents("tide"), ["sub/n.md"]);
    }

    #[test]
    fn what_is_lost_altogether_is_said() {
        let world = world();
        damage(&world, ".store");
        std::fs::remove_dir_all(world.files()).unwrap();
        let error = repaired(&world).unwrap_err();
        assert!(error.to_string().contains("none of the files it was made from"), "{error}");
        let nothing = World::new(&[]);
        assert!(matches!(repaired(&nothing), Err(CorpusError::Missing { .. })));
    }
}
