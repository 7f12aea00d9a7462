//! Brings a corpus up to date with files on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tantivy::indexer::{IndexWriterOptions, NoMergePolicy};
use tantivy::{IndexWriter, Term};

use super::index::{Fields, PassageIndex, sync_folder};
use super::ledger::{Indexed, Ledger};
use super::reader::Readings;
use super::report::{IngestOptions, IngestProgress, IngestReport};
use super::source::{self, Outcome};
use super::stamp::Stamp;
use super::walk::{self, Fate, Found, Root};
use super::{CorpusError, Passage};
use crate::cancel::Cancel;

/// Bytes the writer may hold before it writes a segment: 15 MB cost 58 % more processor time,
/// 143-170 MB of memory at a million passages with this.
const WRITER_HEAP_BYTES: usize = 64 << 20;
/// Bytes of files between two commits; an ingest that is cut off repeats at most so much, or one
/// file.
const BATCH_BYTES: u64 = 256 << 20;
/// Files between two commits.
const BATCH_FILES: usize = 10_000;
/// A segment up to this size is rewritten when it holds deleted passages, so that scores are
/// those of a fresh index; a larger one when a tenth of it is deleted.
const REWRITE_PASSAGES_MAX: u32 = 100_000;

/// Indexes files and the files in folders into the corpus at `dir`, which is made when missing.
///
/// Files that are as they were are left alone: by size, time of the last change and inode, and
/// where those differ or are too fresh to tell, by SHA-256. Changed ones are read again, and
/// those that are gone from below `inputs` leave; where a whole folder is gone or empty, only with
/// [`IngestOptions::forget`]. An ingest that was cut off goes on where its last commit was. Lines
/// and files that cannot be indexed are passed over and reported.
///
/// # Errors
/// [`CorpusError::Busy`] while another ingest runs; [`CorpusError::Damaged`] and
/// [`CorpusError::Incompatible`] when the corpus there cannot be added to;
/// [`CorpusError::Reader`] when [`IngestOptions::reader`] cannot be started; the rest when the
/// folder cannot be written.
pub fn ingest(
    dir: &Path,
    inputs: &[PathBuf],
    options: &IngestOptions,
    progress: &mut dyn IngestProgress,
) -> Result<IngestReport, CorpusError> {
    let mut report = IngestReport::default();
    let finds = walk::find(inputs, dir, options.forget, &mut report);
    let is_any = inputs.is_empty() || finds.roots.iter().any(|root| root.path.exists());
    if !is_any && !dir.exists() {
        return Ok(report);
    }
    let _lock = lock(dir)?;
    let mut job = Job::open(dir, options)?;
    let done = job
        .deleted(&finds.roots, &mut report)
        .and_then(|()| job.files(&finds.files, progress, &mut report));
    job.finish(done)?;
    Ok(report)
}

/// Indexes these files into the corpus at `dir`, for a caller that keeps others away.
pub(super) fn ingest_files(
    dir: &Path,
    files: &BTreeMap<PathBuf, Found>,
    options: &IngestOptions,
    progress: &mut dyn IngestProgress,
) -> Result<IngestReport, CorpusError> {
    let mut report = IngestReport::default();
    let mut job = Job::open(dir, options)?;
    let done = job.files(files, progress, &mut report);
    job.finish(done)?;
    Ok(report)
}

/// A file of so many bytes takes long enough to be interrupted in.
const LARGE_BYTES: u64 = 16 << 20;
/// Name of the file whose lock an ingest holds.
const LOCK_FILE: &str = "ingest.lock";

/// Keeps other processes from changing the corpus until it is dropped.
pub(super) fn lock(dir: &Path) -> Result<File, CorpusError> {
    std::fs::create_dir_all(dir).map_err(|error| CorpusError::io(dir, error))?;
    let path = dir.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| CorpusError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(CorpusError::Busy { path: dir.to_path_buf() })
        }
        Err(std::fs::TryLockError::Error(error)) => Err(CorpusError::io(&path, error)),
    }
}

/// Whether an ingest runs at this moment.
pub(super) fn is_running(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(LOCK_FILE)) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

/// Where passages go.
struct Added<'a> {
    dir: &'a Path,
    fields: Fields,
    writer: &'a IndexWriter,
    cancel: &'a Cancel,
}

impl Added<'_> {
    fn add(&self, source: &str, passage: &Passage) -> Result<(), CorpusError> {
        if self.cancel.is_cancelled() {
            return Err(CorpusError::Cancelled);
        }
        let added = self.writer.add_document(self.fields.to_document(source, passage));
        added.map(drop).map_err(|error| CorpusError::index(self.dir, error))
    }
}

/// One ingest under way.
pub(super) struct Job<'a> {
    dir: &'a Path,
    options: &'a IngestOptions,
    index: PassageIndex,
    writer: IndexWriter,
    ledger: Ledger,
    readings: Readings<'a>,
    generation: u64,
    /// Files done since the last commit; `None` for those that leave.
    batch: Vec<(String, Option<Indexed>)>,
    batch_bytes: u64,
    /// The ingest before did not come to its end, and may have left files of no segment.
    was_cut_off: bool,
    /// Unchanged files that were hashed for want of a stamp, and now have one.
    restamped: Vec<(String, Stamp)>,
}

impl<'a> Job<'a> {
    pub(super) fn open(dir: &'a Path, options: &'a IngestOptions) -> Result<Self, CorpusError> {
        let mut ledger = Ledger::open_or_create(dir)?;
        let totals = ledger.totals()?;
        let index = PassageIndex::open_or_create(dir)?;
        let generation = index.generation(dir)?;
        if generation < totals.generation {
            return Err(CorpusError::damaged(dir, "the index is older than corpus.db"));
        }
        if !totals.clean {
            ledger.quick_check()?;
        }
        // A merge would copy a fault into new files, under checksums that fit.
        index.validate(dir)?;
        ledger.set_clean(false)?;
        let writer = writer(&index, dir)?;
        Ok(Self {
            dir,
            options,
            index,
            writer,
            ledger,
            readings: Readings::new(&options.reader, &options.cancel),
            generation,
            batch: Vec::new(),
            batch_bytes: 0,
            was_cut_off: !totals.clean,
            restamped: Vec::new(),
        })
    }

    /// Indexes files until all are done or the ingest is cancelled.
    fn files(
        &mut self,
        files: &BTreeMap<PathBuf, Found>,
        progress: &mut dyn IngestProgress,
        report: &mut IngestReport,
    ) -> Result<(), CorpusError> {
        let bytes = files.values().map(|found| found.stamp.bytes).sum();
        progress.planned(files.len() as u64, bytes);
        for (path, found) in files {
            progress.started(path);
            if self.options.cancel.is_cancelled() {
                break;
            }
            self.file(path, found, progress, report)?;
        }
        report.cancelled |= self.options.cancel.is_cancelled();
        Ok(())
    }

    /// Lets those files leave that were deleted.
    fn deleted(&mut self, roots: &[Root], report: &mut IngestReport) -> Result<(), CorpusError> {
        let mut doubtful = vec![0_u64; roots.len()];
        for path in self.ledger.paths()? {
            match walk::fate(Path::new(&path), roots) {
                Fate::Stays => {}
                Fate::WithRoot(root) if !self.options.forget => doubtful[root] += 1,
                Fate::WithRoot(_) | Fate::Deleted => {
                    self.remove(path)?;
                    report.removed += 1;
                }
            }
        }
        for (root, files) in roots.iter().zip(doubtful).filter(|(_, files)| *files > 0) {
            let reason = format!(
                "nothing is there now; the files that were below it ({files}) stay in the corpus \
                 (is the disk mounted?), --forget removes them"
            );
            report.skip(&root.path, reason);
        }
        Ok(())
    }

    fn remove(&mut self, path: String) -> Result<(), CorpusError> {
        self.delete_passages(&path);
        self.done(path, None)
    }

    /// Indexes a file unless it is as it was. What cannot be opened keeps its passages.
    fn file(
        &mut self,
        path: &Path,
        found: &Found,
        progress: &mut dyn IngestProgress,
        report: &mut IngestReport,
    ) -> Result<(), CorpusError> {
        let Some(name) = path.to_str() else {
            return Ok(());
        };
        let known = self.ledger.known(name)?;
        let looks_same = known.as_ref().is_some_and(|known| known.stamp == Some(found.stamp));
        if looks_same && !self.options.rehash {
            return self.unchanged_file(path, name, found, progress, report);
        }
        let opened = File::open(path).and_then(|mut file| {
            let now = SystemTime::now();
            let stamp = Stamp::of(&file.metadata()?).settled(now);
            let same = match known {
                Some(known) => source::hash(&mut file)? == known.sha256,
                None => false,
            };
            file.rewind()?;
            Ok((same, stamp, file))
        });
        match opened {
            Err(error) => report.skip(path, error),
            Ok((true, stamp, _)) => {
                self.restamped.extend(stamp.map(|stamp| (name.to_owned(), stamp)));
                self.unchanged_file(path, name, found, progress, report)?;
            }
            Ok((false, stamp, file)) => {
                let Some(indexed) = self.changed_file(file, name, found, progress)? else {
                    return self.abandon(report);
                };
                report.indexed += u64::from(indexed.passages > 0);
                report.passages += indexed.passages;
                report.skip_lines(path, &indexed.skips);
                let document = Some(found.task.document.clone());
                self.done(name.to_owned(), Some(Indexed { outcome: indexed, document, stamp }))?;
            }
        }
        Ok(())
    }

    fn unchanged_file(
        &self,
        path: &Path,
        name: &str,
        found: &Found,
        progress: &mut dyn IngestProgress,
        report: &mut IngestReport,
    ) -> Result<(), CorpusError> {
        progress.advanced(found.stamp.bytes);
        let skips = self.ledger.skips(name)?;
        report.unchanged += u64::from(self.ledger.holds_passages(name)?);
        report.skip_lines(path, &skips);
        Ok(())
    }

    /// Puts a file's passages in the place of those it gave before; `None` when it was cancelled
    /// half-way.
    fn changed_file(
        &mut self,
        file: File,
        name: &str,
        found: &Found,
        progress: &mut dyn IngestProgress,
    ) -> Result<Option<Outcome>, CorpusError> {
        if found.stamp.bytes >= LARGE_BYTES {
            // To be cut off within it costs nothing else.
            self.commit()?;
        }
        self.delete_passages(name);
        let (dir, fields, writer) = (self.dir, self.index.fields, &self.writer);
        let passages = Added { dir, fields, writer, cancel: &self.options.cancel };
        let mut sink = |passage: Passage| passages.add(name, &passage);
        let mut advanced = |bytes| progress.advanced(bytes);
        let read = self.readings.read(file, &found.task, &mut advanced, &mut sink);
        let outcome = match read {
            Err(CorpusError::Cancelled) => return Ok(None),
            other => other?,
        };
        if outcome.passages == 0 {
            // Its reader died over it: nothing of it stays.
            self.delete_passages(name);
        }
        Ok(Some(outcome))
    }

    /// Goes back to the last commit: the file that was cut off keeps the passages it had, and the
    /// small ones that were done since are done again by the next ingest.
    fn abandon(&mut self, report: &mut IngestReport) -> Result<(), CorpusError> {
        self.writer.rollback().map_err(|error| CorpusError::index(self.dir, error))?;
        for (_, done) in self.batch.drain(..) {
            match done {
                Some(Indexed { outcome, .. }) => {
                    report.indexed = report.indexed.saturating_sub(u64::from(outcome.passages > 0));
                    report.passages = report.passages.saturating_sub(outcome.passages);
                }
                None => report.removed = report.removed.saturating_sub(1),
            }
        }
        self.batch_bytes = 0;
        Ok(())
    }

    fn delete_passages(&mut self, path: &str) {
        self.writer.delete_term(Term::from_field_text(self.index.fields.source, path));
    }

    /// Adds a passage of a file that is told as [`done`](Self::done) when all of its are added.
    pub(super) fn add(&self, source: &str, passage: &Passage) -> Result<(), CorpusError> {
        let (dir, fields, writer) = (self.dir, self.index.fields, &self.writer);
        Added { dir, fields, writer, cancel: &self.options.cancel }.add(source, passage)
    }

    pub(super) fn done(
        &mut self,
        path: String,
        indexed: Option<Indexed>,
    ) -> Result<(), CorpusError> {
        self.batch_bytes += indexed.as_ref().map_or(0, |indexed| indexed.outcome.bytes);
        self.batch.push((path, indexed));
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES {
            self.commit()?;
        }
        Ok(())
    }

    /// Makes the batch durable, in the order that a power cut cannot turn into a loss.
    fn commit(&mut self) -> Result<(), CorpusError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.ledger.mark_pending(self.batch.iter().map(|(path, _)| path.as_str()))?;
        self.generation += 1;
        let prepared = self.writer.prepare_commit();
        let committed = prepared.and_then(|mut prepared| {
            prepared.set_payload(&self.generation.to_string());
            prepared.commit()
        });
        committed.map_err(|error| CorpusError::index(self.dir, error))?;
        sync_folder(self.dir)?;
        self.ledger.record(self.generation, &self.batch)?;
        tracing::debug!(files = self.batch.len(), "a batch of files is durable");
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }

    /// Brings to its end what is `done`; what was begun and failed leaves nothing behind.
    pub(super) fn finish(mut self, done: Result<(), CorpusError>) -> Result<(), CorpusError> {
        if let Err(error) = done.and_then(|()| self.commit()) {
            // As far as a full disk lets it.
            let _ = self.writer.rollback();
            let _ = self.writer.garbage_collect_files().wait();
            return Err(error);
        }
        if self.was_cut_off {
            let collected = self.writer.garbage_collect_files().wait();
            collected.map_err(|error| CorpusError::index(self.dir, error))?;
        }
        self.ledger.restamp(&self.restamped)?;
        let failed = |error| CorpusError::index(self.dir, error);
        self.writer.wait_merging_threads().map_err(failed)?;
        rewrite(&self.index, self.dir)?;
        sync_folder(self.dir)?;
        self.ledger.set_clean(true)?;
        self.ledger.close();
        Ok(())
    }
}

fn writer(index: &PassageIndex, dir: &Path) -> Result<IndexWriter, CorpusError> {
    let options = IndexWriterOptions::builder()
        .memory_budget_per_thread(WRITER_HEAP_BYTES)
        .num_worker_threads(1)
        .num_merge_threads(1)
        .build();
    index.index.writer_with_options(options).map_err(|error| CorpusError::index(dir, error))
}

/// Writes segments anew without their deleted passages, which would still count in the scores.
fn rewrite(index: &PassageIndex, dir: &Path) -> Result<(), CorpusError> {
    let failed = |error| CorpusError::index(dir, error);
    let mut segments = index.index.searchable_segment_metas().map_err(failed)?;
    segments.retain(|segment| {
        let (deleted, all) = (segment.num_deleted_docs(), segment.max_doc());
        deleted > 0 && (all <= REWRITE_PASSAGES_MAX || deleted > all / 10)
    });
    if segments.is_empty() {
        return Ok(());
    }
    let mut writer = writer(index, dir)?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    for segment in segments {
        writer.merge(&[segment.id()]).wait().map_err(failed)?;
    }
    writer.garbage_collect_files().wait().map_err(failed)?;
    writer.wait_merging_threads().map_err(failed)
}
