//! Searches a corpus.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, IndexReader, ReloadPolicy, Searcher, TantivyDocument, Term};

use super::analyse::{ANALYSER, QuestionAnalyser};
use super::language::Language;
use super::index::{self, PassageIndex};
use super::ledger::{Ledger, Totals};
use super::{CorpusError, ingest};

/// Hits a search returns at most.
pub const HITS_MAX: usize = 1_000;

/// BM25 score that maps to 0.5. With it the best hits of the four measured sets map to 0.49 to 0.87
/// (5th to 95th percentile).
const SCORE_HALF: f32 = 10.0;
/// Mapped scores are rounded to this: processors differ in the last bits of a sum, and the order
/// of hits must not.
const SCORE_STEPS: f32 = 10_000.0;
/// Cache of a corpus that is opened without saying how much it may have.
const CACHE_BYTES: u64 = 4 << 20;
/// A block of the index's stored passages.
const BLOCK_BYTES: u64 = 16 << 10;
/// Passages fetched beyond the limit at first, to see whether a tie crosses it.
const TIE_ROOM: usize = 8;
/// Passages looked at for a tie at most.
const TIE_MAX: usize = 4 * HITS_MAX;
/// An index up to this size is compared with its checksums whenever it is opened (4 MiB: 2 ms
/// with all of opening); a larger one after an unclean stop and by [`Corpus::check`].
const CHECKED_BYTES_MAX: u64 = 16 << 20;

/// A corpus open for searching. It shows the corpus as it was when it was opened.
#[derive(Clone)]
pub struct Corpus {
    dir: PathBuf,
    index: PassageIndex,
    reader: IndexReader,
    analyser: QuestionAnalyser,
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
    /// Similarity in `0..1`: `s / (s + 10)` for a BM25 score `s`, rounded to four places. It grows
    /// with `s`, and is the same for the same question, passage and corpus on every machine.
    pub score: f32,
    /// Absolute path of the file.
    pub source: String,
    /// Headings above the passage, outermost first.
    pub heading: Vec<String>,
    /// Bytes of the (decompressed) file: the passage itself, or the line of a JSON Lines file.
    pub byte_range: Range<u64>,
    /// Title of the page whose link brought the hit; `None` when its own words did.
    pub via: Option<String>,
}

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

    fn open_with(dir: &Path, thorough: bool, cache_bytes: u64) -> Result<Self, CorpusError> {
        let ledger = Ledger::open(dir)?;
        let totals = ledger.totals()?;
        if totals.generation == 0 {
            return Err(CorpusError::Empty { path: dir.to_path_buf() });
        }
        let ingesting = ingest::is_running(dir);
        let index = PassageIndex::open(dir)?;
        let index_bytes = folder_bytes(&index::folder(dir));
        let unclean = !totals.clean && !ingesting;
        if thorough || unclean {
            ledger.quick_check()?;
        }
        if thorough || unclean || (index_bytes <= CHECKED_BYTES_MAX && !ingesting) {
            index.validate(dir)?;
        }
        let reader = open_reader(&index, cache_bytes);
        let reader = reader.map_err(|error| CorpusError::damaged(dir, error))?;
        let settled = totals.clean && !ingesting;
        check_agreement(dir, &totals, &index, reader.searcher().num_docs(), settled)?;
        let languages = languages(&reader.searcher(), &index);
        let languages = languages.map_err(|error| CorpusError::damaged(dir, error))?;
        let analyser = QuestionAnalyser::new(languages);
        let stats = stats(&totals, index_bytes);
        Ok(Self { dir: dir.to_path_buf(), index, reader, analyser, stats })
    }

    /// What the corpus holds.
    #[must_use]
    pub fn stats(&self) -> &CorpusStats {
        &self.stats
    }

    /// The passages nearest to a question, best first; equal scores in the order of document,
    /// file and place. The question is text, never a query language; its first 64 distinct terms
    /// count ([`QUERY_TERMS_MAX`](super::QUERY_TERMS_MAX)). `limit` is at most [`HITS_MAX`].
    ///
    /// # Errors
    /// [`CorpusError::Index`] when the index cannot be read.
    pub fn search(&self, question: &str, limit: usize) -> Result<Vec<Hit>, CorpusError> {
        let limit = limit.min(HITS_MAX);
        let terms = self.analyser.terms(question);
        if terms.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let hits = self.hits(&self.query(&terms), limit);
        hits.map_err(|error| CorpusError::index(&self.dir, error))
    }

    /// An OR of the terms.
    fn query(&self, terms: &[String]) -> BooleanQuery {
        let clause = |term: &String| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.index.fields.search, term);
            (Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)))
        };
        BooleanQuery::new(terms.iter().map(clause).collect())
    }

    fn hits(&self, query: &dyn Query, limit: usize) -> tantivy::Result<Vec<Hit>> {
        let searcher = self.reader.searcher();
        let best = best_with_ties(&searcher, query, limit)?;
        let mut found = Vec::with_capacity(best.len());
        for (score, address) in best {
            let stored: TantivyDocument = searcher.doc(address)?;
            let (source, passage) = self.index.fields.read_document(&stored);
            found.push((score, source, passage));
        }
        found.sort_by(|(a_score, a_source, a), (b_score, b_source, b)| {
            let by_place =
                (&a.document, a_source, a.ordinal).cmp(&(&b.document, b_source, b.ordinal));
            b_score.total_cmp(a_score).then(by_place)
        });
        found.truncate(limit);
        Ok(found.into_iter().map(|(score, source, passage)| hit(score, source, passage)).collect())
    }
}

/// A reader whose segments share the cache.
fn open_reader(index: &PassageIndex, cache_bytes: u64) -> tantivy::Result<IndexReader> {
    let segments = index.index.searchable_segment_ids()?.len().max(1);
    let blocks = usize::try_from(cache_bytes / BLOCK_BYTES).unwrap_or(usize::MAX) / segments;
    let builder = index.index.reader_builder().reload_policy(ReloadPolicy::Manual);
    builder.doc_store_cache_num_blocks(blocks.max(1)).try_into()
}

/// The languages of an index's passages.
fn languages(searcher: &Searcher, index: &PassageIndex) -> tantivy::Result<BTreeSet<Language>> {
    let mut languages = BTreeSet::new();
    for segment in searcher.segment_readers() {
        let codes = segment.inverted_index(index.fields.language)?;
        let mut codes = codes.terms().stream()?;
        while codes.advance() {
            let code = std::str::from_utf8(codes.key()).unwrap_or_default();
            languages.extend(Language::of_code(code));
        }
    }
    Ok(languages)
}

fn hit(score: f32, source: String, passage: super::Passage) -> Hit {
    let named = !passage.title.is_empty();
    Hit {
        title: if named { passage.title } else { passage.document.clone() },
        document: passage.document,
        passage: passage.text,
        score,
        source,
        heading: passage.heading,
        byte_range: passage.byte_range,
        via: None,
    }
}

/// The best passages with their mapped scores: `limit` of them, and all that tie with the last.
/// Which of equals the index returns first depends on how it was built, so all are needed.
fn best_with_ties(
    searcher: &Searcher,
    query: &dyn Query,
    limit: usize,
) -> tantivy::Result<Vec<(f32, DocAddress)>> {
    let mut room = limit + TIE_ROOM;
    loop {
        let best = searcher.search(query, &TopDocs::with_limit(room).order_by_score())?;
        let mut best: Vec<_> =
            best.into_iter().map(|(score, address)| (similarity(score), address)).collect();
        let cut = best.get(limit - 1).map_or(0.0, |(score, _)| *score);
        let crossed = best.len() == room && best.last().is_some_and(|(score, _)| *score >= cut);
        if !crossed || room >= TIE_MAX {
            best.retain(|(score, _)| *score >= cut);
            return Ok(best);
        }
        room *= 4;
    }
}

/// Maps a BM25 score into `0..1`.
fn similarity(score: f32) -> f32 {
    let score = score.max(0.0);
    (score / (score + SCORE_HALF) * SCORE_STEPS).round() / SCORE_STEPS
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
