//! Searches a corpus.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::{DocAddress, IndexReader, ReloadPolicy, Searcher, TantivyError};

use super::analyse::{ANALYSER, QuestionAnalyser};
use super::index::{self, Fields, PassageIndex};
use super::keys::Keys;
use super::language::Language;
use super::ledger::{Ledger, Totals};
use super::rank::{Found, Ranking};
use super::{CorpusError, Passage, ingest};

/// Hits a search returns at most.
pub const HITS_MAX: usize = 1_000;

/// Cache of a corpus that is opened without saying how much it may have.
const CACHE_BYTES: u64 = 4 << 20;
/// An index up to this size is compared with its checksums whenever it is opened (4 MiB: 2 ms
/// with all of opening); a larger one after an unclean stop and by [`Corpus::check`].
const CHECKED_BYTES_MAX: u64 = 16 << 20;

/// How often a corpus is opened that changes meanwhile.
const ATTEMPTS: usize = 5;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// A corpus open for searching. It shows the corpus as it was when it was opened.
#[derive(Clone)]
pub struct Corpus {
    dir: PathBuf,
    index: PassageIndex,
    reader: IndexReader,
    analyser: QuestionAnalyser,
    keys: Arc<Keys>,
    stats: CorpusStats,
}

/// What a corpus holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorpusStats {
    /// Documents: rows of JSON Lines files, and text files.
    pub documents: u64,
    /// Passages.
    pub passages: u64,
    /// Files they came from.
    pub sources: u64,
    /// Bytes of those files on disk.
    pub source_bytes: u64,
    /// Bytes of the index on disk.
    pub index_bytes: u64,
    /// Name and version of the analyser.
    pub analyser: String,
}

/// A passage that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The line's id, or the file's path below the indexed folder.
    pub document: String,
    /// The document's title, or its id where it has none.
    pub title: String,
    /// The text.
    pub passage: String,
    /// Similarity in `0..1`: `s / (s + 10)` for a BM25 score `s`, or for the score that is worth as
    /// much as the passage's words and a mention of its page together; rounded to four places. It is the same for the same question, passage and corpus on every machine.
    pub score: f32,
    /// Absolute path of the file.
    pub source: String,
    /// Headings above the passage, outermost first.
    pub heading: Vec<String>,
    /// Page of a paged document, counted from 1, on which the passage starts.
    pub page: Option<u64>,
    /// Bytes of the (decompressed) file: the passage itself, or the line of a JSON Lines file.
    pub byte_range: Range<u64>,
    /// Place among the passages of its document, from 0.
    pub ordinal: u64,
    /// Title of the page whose link brought the hit; `None` when its own words did.
    pub via: Option<String>,
    /// Where the open corpus has it.
    pub(super) place: Place,
}

/// An address in an open corpus, of no meaning outside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub DocAddress);

impl Corpus {
    /// Opens the corpus at `dir`. Nothing is written, so a read-only folder will do.
    ///
    /// # Errors
    /// [`CorpusError::Missing`], [`CorpusError::Empty`], [`CorpusError::Incompatible`] or
    /// [`CorpusError::Damaged`]; after an unclean stop the whole index is compared with its
    /// checksums first.
    pub fn open(dir: &Path) -> Result<Self, CorpusError> {
        Self::open_with(dir, false, CACHE_BYTES)
    }

    /// Opens the corpus at `dir` with at most `cache_bytes` of memory for passages that were read.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub fn open_cached(dir: &Path, cache_bytes: u64) -> Result<Self, CorpusError> {
        Self::open_with(dir, false, cache_bytes)
    }

    /// Opens the corpus at `dir` and compares everything in it with its checksums.
    ///
    /// # Errors
    /// As [`Corpus::open`]; [`CorpusError::Damaged`] names the first fault.
    pub fn check(dir: &Path) -> Result<CorpusStats, CorpusError> {
        Ok(Self::open_with(dir, true, CACHE_BYTES)?.stats)
    }

    /// As [`Corpus::check`], for a caller that keeps other processes away.
    pub(super) fn check_alone(dir: &Path) -> Result<CorpusStats, CorpusError> {
        Ok(Self::open_while(dir, true, CACHE_BYTES, false)?.stats)
    }

    fn open_with(dir: &Path, thorough: bool, cache_bytes: u64) -> Result<Self, CorpusError> {
        for _ in 1..ATTEMPTS {
            let before = index::contents(dir);
            let opened = Self::open_while(dir, thorough, cache_bytes, ingest::is_running(dir));
            // What an ingest puts in the place of what was being read is no damage.
            let is_moving = || ingest::is_running(dir) || index::contents(dir) != before;
            if !matches!(opened, Err(CorpusError::Damaged { .. })) || !is_moving() {
                return opened;
            }
        }
        Self::open_while(dir, thorough, cache_bytes, ingest::is_running(dir))
    }

    fn open_while(
        dir: &Path,
        thorough: bool,
        cache_bytes: u64,
        ingesting: bool,
    ) -> Result<Self, CorpusError> {
        let ledger = Ledger::open(dir)?;
        let totals = ledger.totals()?;
        if totals.generation == 0 {
            return Err(CorpusError::Empty { path: dir.to_path_buf() });
        }
        let index = PassageIndex::open(dir)?;
        let index_bytes = folder_bytes(&index::folder(dir));
        let unclean = !totals.clean && !ingesting;
        if thorough || unclean {
            ledger.quick_check()?;
        }
        if thorough || unclean || (index_bytes <= CHECKED_BYTES_MAX && !ingesting) {
            index.validate(dir)?;
        }
        let reader = guarded(|| open_reader(&index, cache_bytes));
        let reader = reader.map_err(|error| CorpusError::unreadable(dir, error))?;
        let settled = totals.clean && !ingesting;
        check_agreement(dir, &totals, &index, reader.searcher().num_docs(), settled)?;
        let searcher = reader.searcher();
        let languages = guarded(|| languages(&searcher, &index));
        let languages = languages.map_err(|error| CorpusError::unreadable(dir, error))?;
        let analyser = QuestionAnalyser::new(&languages);
        let keys = guarded(|| Keys::of(&searcher, index.fields.key));
        let keys = Arc::new(keys.map_err(|error| CorpusError::unreadable(dir, error))?);
        let stats = stats(&totals, index_bytes);
        Ok(Self { dir: dir.to_path_buf(), index, reader, analyser, keys, stats })
    }

    pub(super) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    pub(super) fn fields(&self) -> Fields {
        self.index.fields
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the corpus holds.
    #[must_use]
    pub fn stats(&self) -> &CorpusStats {
        &self.stats
    }

    /// The passages nearest to a question, best first: those that share its words, and those of
    /// pages that the question or one of the first hits mentions by title. Equal scores stand in
    /// the order of document, file and place. The question is text, never a query language; its first 64 distinct terms
    /// count ([`QUERY_TERMS_MAX`](super::QUERY_TERMS_MAX)). `limit` is at most [`HITS_MAX`].
    ///
    /// # Errors
    /// [`CorpusError::Index`] when the index cannot be read.
    pub fn search(&self, question: &str, limit: usize) -> Result<Vec<Hit>, CorpusError> {
        let searcher = self.reader.searcher();
        let ranking = Ranking {
            searcher: &searcher,
            fields: self.index.fields,
            analyser: &self.analyser,
            keys: &self.keys,
        };
        let found = guarded(|| ranking.rank(question, limit.min(HITS_MAX)));
        let found = found.map_err(|error| {
            let damage = self.index.validate(&self.dir).err();
            damage.unwrap_or_else(|| CorpusError::index(&self.dir, error))
        })?;
        let shown = |Found { score, source, passage, via, address, .. }: Found| {
            hit(score, source, passage, via, address)
        };
        Ok(found.into_iter().map(shown).collect())
    }
}

/// What `read` gives; an error where it panicked, as tantivy does on some faults in its files.
fn guarded<T>(read: impl FnOnce() -> tantivy::Result<T>) -> tantivy::Result<T> {
    IS_GUARDED.set(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    IS_GUARDED.set(false);
    let told = "a block of the index cannot be read";
    read.unwrap_or_else(|_| Err(TantivyError::InternalError(told.to_owned())))
}

/// Whether a panic of this thread is caught and told as damage.
#[must_use]
pub fn is_guarded() -> bool {
    IS_GUARDED.get()
}

/// A reader whose segments share the cache.
fn open_reader(index: &PassageIndex, cache_bytes: u64) -> tantivy::Result<IndexReader> {
    let segments = index.index.searchable_segment_ids()?.len().max(1);
    let blocks = usize::try_from(cache_bytes / index::STORE_BLOCK_BYTES as u64)
        .unwrap_or(usize::MAX)
        / segments;
    let builder = index.index.reader_builder().reload_policy(ReloadPolicy::Manual);
    builder.doc_store_cache_num_blocks(blocks.max(1)).try_into()
}

/// How many passages are in each language.
fn languages(
    searcher: &Searcher,
    index: &PassageIndex,
) -> tantivy::Result<BTreeMap<Language, u64>> {
    let mut languages = BTreeMap::new();
    for segment in searcher.segment_readers() {
        let codes = segment.inverted_index(index.fields.language)?;
        let mut codes = codes.terms().stream()?;
        while codes.advance() {
            let code = std::str::from_utf8(codes.key()).unwrap_or_default();
            if let Some(language) = Language::of_code(code) {
                *languages.entry(language).or_default() += u64::from(codes.value().doc_freq);
            }
        }
    }
    Ok(languages)
}

/// A passage as it is shown.
pub(super) fn hit(
    score: f32,
    source: String,
    passage: Passage,
    via: Option<String>,
    address: DocAddress,
) -> Hit {
    let named = !passage.title.is_empty();
    Hit {
        title: if named { passage.title } else { passage.document.clone() },
        document: passage.document,
        passage: passage.text,
        score,
        source,
        heading: passage.heading,
        page: passage.page,
        byte_range: passage.byte_range,
        ordinal: passage.ordinal,
        via,
        place: Place(address),
    }
}

/// Compares what the ledger says with what the index holds.
fn check_agreement(
    dir: &Path,
    totals: &Totals,
    index: &PassageIndex,
    passages: u64,
    settled: bool,
) -> Result<(), CorpusError> {
    if index.generation(dir)? < totals.generation {
        return Err(CorpusError::damaged(dir, "the index is older than corpus.db"));
    }
    if settled && passages != totals.passages {
        let reason = format!("{} passages expected, {passages} found", totals.passages);
        return Err(CorpusError::damaged(dir, reason));
    }
    if passages == 0 {
        return Err(CorpusError::Empty { path: dir.to_path_buf() });
    }
    Ok(())
}

fn stats(totals: &Totals, index_bytes: u64) -> CorpusStats {
    CorpusStats {
        documents: totals.documents,
        passages: totals.passages,
        sources: totals.sources,
        source_bytes: totals.bytes,
        index_bytes,
        analyser: ANALYSER.to_owned(),
    }
}

/// What the ledger alone says, for lists.
pub(super) fn stats_of(dir: &Path) -> Result<(CorpusStats, bool), CorpusError> {
    let totals = Ledger::open(dir)?.totals()?;
    Ok((stats(&totals, folder_bytes(&index::folder(dir))), totals.clean))
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}
