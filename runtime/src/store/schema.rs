//! The tables, and how older files become current ones.

use rusqlite::{Connection, TransactionBehavior};

use super::{Store, StoreError, failure};

/// `Rtru`: tells the file from any other SQLite file.
const APPLICATION_ID: i64 = 0x5274_7275;

/// What turns version `n` into `n + 1`, from an empty file on. An entry is never edited once
/// released: a file that exists was made by it. Each has a fixture in `fixtures/`.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE migrations (version INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL,
        started_unix_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        session TEXT REFERENCES sessions (id) ON DELETE CASCADE,
        question TEXT NOT NULL,
        model_name TEXT NOT NULL,
        model_sha256 TEXT NOT NULL,
        corpus TEXT,
        dialect TEXT NOT NULL,
        dialect_hash TEXT NOT NULL,
        seed INTEGER NOT NULL,
        settings_json TEXT NOT NULL,
        started_unix_ms INTEGER NOT NULL,
        status TEXT,
        answer TEXT,
        answer_json TEXT,
        finished_unix_ms INTEGER,
        usage_json TEXT,
        citations_json TEXT,
        detail_json TEXT
    ) STRICT;
    CREATE INDEX runs_by_session ON runs (session);
    CREATE TABLE steps (
        run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        prompt_sha256 TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        reply TEXT NOT NULL,
        candidates_json TEXT NOT NULL,
        tool_calls_json TEXT NOT NULL,
        outcome_json TEXT NOT NULL,
        chosen INTEGER NOT NULL,
        PRIMARY KEY (run, position)
    ) STRICT, WITHOUT ROWID;
"];

/// Brings the file up to date. Two processes may open a new file at once: the second one waits
/// and finds it made.
pub(super) fn migrate(store: &mut Store) -> Result<(), StoreError> {
    let path = store.path.clone();
    let outcome = store
        .connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .and_then(|transaction| {
            let found = version(&transaction)?;
            if let Found::Version(version) = found {
                apply(&transaction, version)?;
                transaction.commit()?;
            }
            Ok(found)
        })
        .map_err(|error| failure(&path, &error))?;
    let expected = latest();
    match outcome {
        Found::Version(_) => Ok(()),
        Found::Newer(found) => Err(StoreError::Newer { path, found, expected }),
        Found::Foreign => {
            let reason = "a database of something else".to_owned();
            Err(StoreError::Damaged { path, reason })
        }
    }
}

enum Found {
    Version(usize),
    Newer(i64),
    Foreign,
}

fn latest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn version(connection: &Connection) -> rusqlite::Result<Found> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    Ok(match usize::try_from(version) {
        _ if application == 0 && tables == 0 => Found::Version(0),
        _ if application != APPLICATION_ID => Found::Foreign,
        Ok(known @ 1..) if known <= MIGRATIONS.len() => Found::Version(known),
        _ if version > latest() => Found::Newer(version),
        _ => Found::Foreign,
    })
}

fn apply(connection: &Connection, from: usize) -> rusqlite::Result<()> {
    for (version, statements) in (1..).zip(MIGRATIONS).skip(from) {
        connection.execute_batch(statements)?;
        connection.execute("INSERT INTO migrations VALUES (?1)", [version])?;
        connection.pragma_update(None, "user_version", version)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(())
}
