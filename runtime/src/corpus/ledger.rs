//! `corpus.db`: which files a corpus holds, and how far their passages are durable.
//!
//! The order that survives a power cut: the files of a batch are marked as pending here, the
//! index commits them, its folder is synced, and then they are marked as indexed here together
//! with the number of that commit. A pending file is read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use super::CorpusError;
use super::analyse::ANALYSER;
use super::report::{FileSkip, FileSkips};
use super::source::Outcome;
use super::stamp::Stamp;

/// Version of the folder's layout, of this schema and of the index's fields.
pub(super) const FORMAT: i64 = 2;
/// `Rtco`: tells the file from any other SQLite file.
const APPLICATION_ID: i64 = 0x5274_636f;
/// How long a reader waits for a writer's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        analyser TEXT NOT NULL,
        generation INTEGER NOT NULL,
        clean INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE sources (
        path TEXT PRIMARY KEY,
        sha256 TEXT,
        bytes INTEGER NOT NULL,
        documents INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        skips INTEGER NOT NULL,
        -- The path below the folder that was indexed.
        document TEXT,
        -- What the file looked like when it was read, to tell it unchanged without reading it:
        -- all three or none.
        stamp_bytes INTEGER,
        stamp_modified_ns INTEGER,
        stamp_inode INTEGER
    ) STRICT;
    CREATE TABLE skips (
        path TEXT NOT NULL REFERENCES sources (path) ON DELETE CASCADE,
        line INTEGER,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX skips_by_path ON skips (path);
";

/// The open file.
#[derive(Debug)]
pub(super) struct Ledger {
    connection: Connection,
    corpus: PathBuf,
}

/// A file whose passages are in the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Hash of its bytes.
    pub sha256: String,
    /// What it looked like then, when every later change of it shows.
    pub stamp: Option<Stamp>,
}

/// A file that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexed {
    /// What it held.
    pub outcome: Outcome,
    /// Its path below the folder that was indexed; `None` where an older version did not say.
    pub document: Option<String>,
    /// As in [`Known`].
    pub stamp: Option<Stamp>,
}

/// What can be read of a ledger whose corpus is rebuilt.
#[derive(Clone, Debug, Default)]
pub(super) struct Salvaged {
    /// As in [`Totals`].
    pub generation: u64,
    /// The files by their paths.
    pub files: BTreeMap<String, Indexed>,
}

/// What the ledger says about the corpus as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Number of the last index commit known to be durable.
    pub generation: u64,
    /// The last ingest ended in good order.
    pub clean: bool,
    /// Files; one that is pending does not count.
    pub sources: u64,
    /// Bytes of the files on disk.
    pub bytes: u64,
    /// Documents.
    pub documents: u64,
    /// Passages.
    pub passages: u64,
}

/// The ledger's path inside a corpus folder.
pub(super) fn path(corpus: &Path) -> PathBuf {
    corpus.join("corpus.db")
}

/// SQLite's logs beside the ledger, which are there while it is written and after a cut.
pub(super) fn logs(corpus: &Path) -> [PathBuf; 3] {
    ["corpus.db-wal", "corpus.db-shm", "corpus.db-journal"].map(|name| corpus.join(name))
}

impl Ledger {
    /// Opens the ledger for writing; makes it when there is none.
    pub(super) fn open_or_create(corpus: &Path) -> Result<Self, CorpusError> {
        let opened = Connection::open(path(corpus)).and_then(|connection| {
            connection.execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
            )?;
            Ok(connection)
        });
        let mut ledger = Self::guard(corpus, opened)?;
        if ledger.get(|connection| pragma(connection, "application_id"))? == 0 {
            ledger.create()?;
        }
        ledger.check_version()?;
        Ok(ledger)
    }

    /// Opens the ledger for reading.
    pub(super) fn open(corpus: &Path) -> Result<Self, CorpusError> {
        if !path(corpus).is_file() {
            return Err(CorpusError::Missing { path: corpus.to_path_buf() });
        }
        let opened = Connection::open_with_flags(path(corpus), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let ledger = Self::guard(corpus, opened)?;
        // One that is being made, or whose making was cut off, has nothing yet.
        let tables = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 =
            ledger.get(|connection| connection.query_row(tables, [], |row| row.get(0)))?;
        if tables == 0 && ledger.get(|connection| pragma(connection, "application_id"))? == 0 {
            return Err(CorpusError::Missing { path: corpus.to_path_buf() });
        }
        ledger.check_version()?;
        Ok(ledger)
    }

    fn guard(corpus: &Path, opened: rusqlite::Result<Connection>) -> Result<Self, CorpusError> {
        let guarded = opened.and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection
                .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
            Ok(connection)
        });
        match guarded {
            Ok(connection) => Ok(Self { connection, corpus: corpus.to_path_buf() }),
            Err(error) => Err(failure(corpus, &error)),
        }
    }

    fn create(&mut self) -> Result<(), CorpusError> {
        self.change(|transaction| {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            transaction.execute("INSERT INTO state VALUES (1, ?1, 0, 0)", [ANALYSER])?;
            Ok(())
        })
    }

    fn check_version(&self) -> Result<(), CorpusError> {
        if self.get(|connection| pragma(connection, "application_id"))? != APPLICATION_ID {
            return Err(CorpusError::damaged(&self.corpus, "corpus.db is not a corpus's ledger"));
        }
        let format = self.get(|connection| pragma(connection, "user_version"))?;
        if format > FORMAT {
            let path = self.corpus.clone();
            return Err(CorpusError::Newer { path, format });
        }
        if format != FORMAT {
            return Err(self.incompatible(format!("format {format}"), format!("format {FORMAT}")));
        }
        let analyser: String = self.get(|connection| {
            connection.query_row("SELECT analyser FROM state", [], |row| row.get(0))
        })?;
        if analyser != ANALYSER {
            let expected = format!("analyser {ANALYSER}");
            return Err(self.incompatible(format!("analyser {analyser}"), expected));
        }
        Ok(())
    }

    fn incompatible(&self, found: String, expected: String) -> CorpusError {
        CorpusError::Incompatible { path: self.corpus.clone(), found, expected }
    }

    /// SQLite's own check of the file, for use after an unclean stop.
    pub(super) fn quick_check(&self) -> Result<(), CorpusError> {
        let verdict: String = self.get(|connection| {
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        })?;
        if verdict == "ok" {
            return Ok(());
        }
        Err(CorpusError::damaged(&self.corpus, format!("corpus.db: {verdict}")))
    }

    /// The state and the sums over all files.
    pub(super) fn totals(&self) -> Result<Totals, CorpusError> {
        self.get(|connection| {
            connection.query_row(
                "SELECT generation, clean, count(sha256), ifnull(sum(bytes), 0),
                        ifnull(sum(documents), 0), ifnull(sum(passages), 0)
                 FROM state LEFT JOIN sources",
                [],
                |row| {
                    Ok(Totals {
                        generation: unsigned(row.get(0)?),
                        clean: row.get(1)?,
                        sources: unsigned(row.get(2)?),
                        bytes: unsigned(row.get(3)?),
                        documents: unsigned(row.get(4)?),
                        passages: unsigned(row.get(5)?),
                    })
                },
            )
        })
    }

    /// Paths of all files, those pending too.
    pub(super) fn paths(&self) -> Result<Vec<String>, CorpusError> {
        self.get(|connection| {
            let mut statement = connection.prepare("SELECT path FROM sources ORDER BY path")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// A file whose passages are durable.
    pub(super) fn known(&self, path: &str) -> Result<Option<Known>, CorpusError> {
        self.get(|connection| {
            let found = connection
                .prepare_cached(
                    "SELECT sha256, stamp_bytes, stamp_modified_ns, stamp_inode
                     FROM sources WHERE path = ?1 AND sha256 IS NOT NULL",
                )?
                .query_row([path], |row| {
                    let stamp = (row.get(1)?, row.get(2)?, row.get(3)?);
                    Ok(Known { sha256: row.get(0)?, stamp: stamp_of(stamp) })
                })
                .optional()?;
            Ok(found)
        })
    }

    /// Remembers what unchanged files look like now.
    pub(super) fn restamp(&mut self, files: &[(String, Stamp)]) -> Result<(), CorpusError> {
        self.change(|transaction| {
            let mut statement = transaction.prepare(
                "UPDATE sources SET stamp_bytes = ?2, stamp_modified_ns = ?3, stamp_inode = ?4
                 WHERE path = ?1",
            )?;
            files.iter().try_for_each(|(path, stamp)| {
                let (bytes, inode) = (signed(stamp.bytes), stamp.inode.cast_signed());
                statement.execute(params![path, bytes, stamp.modified_ns, inode]).map(drop)
            })
        })
    }

    /// Whether a known file gave any passage.
    pub(super) fn holds_passages(&self, path: &str) -> Result<bool, CorpusError> {
        self.get(|connection| {
            connection
                .prepare_cached("SELECT passages > 0 FROM sources WHERE path = ?1")?
                .query_row([path], |row| row.get(0))
        })
    }

    /// What was passed over when the file was read.
    pub(super) fn skips(&self, path: &str) -> Result<FileSkips, CorpusError> {
        self.get(|connection| {
            let total = connection
                .prepare_cached("SELECT skips FROM sources WHERE path = ?1")?
                .query_row([path], |row| row.get(0))?;
            let mut statement = connection
                .prepare_cached("SELECT line, reason FROM skips WHERE path = ?1 ORDER BY rowid")?;
            let listed = statement.query_map([path], |row| {
                let line: Option<i64> = row.get(0)?;
                Ok(FileSkip { line: line.map(unsigned), reason: row.get(1)? })
            })?;
            Ok(FileSkips {
                listed: listed.collect::<rusqlite::Result<_>>()?,
                total: unsigned(total),
            })
        })
    }

    /// Marks the start or the good end of an ingest.
    pub(super) fn set_clean(&mut self, clean: bool) -> Result<(), CorpusError> {
        self.change(|transaction| {
            transaction.execute("UPDATE state SET clean = ?1", [clean]).map(drop)
        })
    }

    /// Before the index commits: these files may be in the index, wholly or in part.
    pub(super) fn mark_pending<'a>(
        &mut self,
        paths: impl Iterator<Item = &'a str>,
    ) -> Result<(), CorpusError> {
        self.change(|transaction| {
            let mut statement = transaction.prepare(
                "INSERT INTO sources VALUES (?1, NULL, 0, 0, 0, 0, NULL, NULL, NULL, NULL)
                 ON CONFLICT (path) DO UPDATE SET sha256 = NULL",
            )?;
            paths.into_iter().try_for_each(|path| statement.execute([path]).map(drop))
        })
    }

    /// After the index's commit `generation` is durable: `None` for a file that left.
    pub(super) fn record(
        &mut self,
        generation: u64,
        batch: &[(String, Option<Indexed>)],
    ) -> Result<(), CorpusError> {
        self.change(|transaction| {
            for (path, indexed) in batch {
                transaction
                    .prepare_cached("DELETE FROM sources WHERE path = ?1")?
                    .execute([path])?;
                if let Some(indexed) = indexed {
                    insert_source(transaction, path, indexed)?;
                }
            }
            transaction.execute("UPDATE state SET generation = ?1", [signed(generation)])?;
            Ok(())
        })
    }

    /// What the ledger of a damaged corpus, or of one of an older format, says.
    pub(super) fn salvage(corpus: &Path) -> Result<Salvaged, CorpusError> {
        let opened = Connection::open_with_flags(path(corpus), OpenFlags::SQLITE_OPEN_READ_ONLY);
        let ledger = Self::guard(corpus, opened)?;
        ledger.quick_check()?;
        // Format 1 had no documents.
        let known = ledger.get(|connection| pragma(connection, "user_version"))?;
        let document = if known == 1 { "NULL" } else { "document" };
        let rows =
            format!("SELECT path, sha256, bytes, documents, passages, {document} FROM sources");
        let rows: Vec<(String, Indexed)> = ledger.get(|connection| {
            let mut statement = connection.prepare(&rows)?;
            let rows = statement.query_map([], |row| {
                let outcome = Outcome {
                    sha256: row.get(1)?,
                    bytes: unsigned(row.get(2)?),
                    documents: unsigned(row.get(3)?),
                    passages: unsigned(row.get(4)?),
                    skips: FileSkips::default(),
                };
                Ok((row.get(0)?, Indexed { outcome, document: row.get(5)?, stamp: None }))
            })?;
            rows.collect()
        })?;
        let mut files = BTreeMap::new();
        for (path, mut indexed) in rows {
            indexed.outcome.skips = ledger.skips(&path)?;
            files.insert(path, indexed);
        }
        Ok(Salvaged { generation: ledger.totals()?.generation, files })
    }

    /// Leaves one plain file behind, which a read-only medium can hold. Another reader may be in
    /// the way; then the write-ahead log stays, which is as sound.
    pub(super) fn close(self) {
        let plain = self.connection.pragma_update(None, "journal_mode", "DELETE");
        if let Err(error) = plain {
            tracing::debug!(%error, "corpus.db keeps its write-ahead log");
        }
    }

    fn get<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, CorpusError> {
        read(&self.connection).map_err(|error| failure(&self.corpus, &error))
    }

    fn change(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), CorpusError> {
        let changed = self.connection.transaction().and_then(|transaction| {
            write(&transaction)?;
            transaction.commit()
        });
        changed.map_err(|error| failure(&self.corpus, &error))
    }
}

fn insert_source(
    transaction: &Transaction<'_>,
    path: &str,
    Indexed { outcome, document, stamp }: &Indexed,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO sources VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            path,
            outcome.sha256,
            signed(outcome.bytes),
            signed(outcome.documents),
            signed(outcome.passages),
            signed(outcome.skips.total),
            document,
            stamp.map(|stamp| signed(stamp.bytes)),
            stamp.map(|stamp| stamp.modified_ns),
            stamp.map(|stamp| stamp.inode.cast_signed()),
        ])?;
    let mut statement = transaction.prepare_cached("INSERT INTO skips VALUES (?1, ?2, ?3)")?;
    for skip in &outcome.skips.listed {
        statement.execute(params![path, skip.line.map(signed), skip.reason])?;
    }
    Ok(())
}

fn stamp_of(columns: (Option<i64>, Option<i64>, Option<i64>)) -> Option<Stamp> {
    let (bytes, modified_ns, inode) = columns;
    let (bytes, inode) = (unsigned(bytes?), inode?.cast_unsigned());
    Some(Stamp { bytes, modified_ns: modified_ns?, inode })
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// SQLite keeps signed numbers; counts never come near the limit.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

/// Tells a damaged file from one that cannot be reached now.
fn failure(corpus: &Path, error: &rusqlite::Error) -> CorpusError {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly,
        SystemIoFailure,
    };
    let reason = format!("corpus.db: {error}");
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => CorpusError::Busy { path: corpus.to_path_buf() },
        Some(CannotOpen | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure) => {
            CorpusError::index(corpus, reason)
        }
        _ => CorpusError::damaged(corpus, reason),
    }
}
