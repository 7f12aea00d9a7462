//! Reading runs back.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::id::{self, RunId, SessionId};
use super::records::{INTERRUPTED, NewRun, RunEnd, RunRecord, RunSummary, StepRecord};
use super::{Store, StoreError};

impl Store {
    /// The latest runs, latest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Damaged`] when they cannot be read.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.get(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, question, model_name, corpus, status, answer, started_unix_ms,
                        finished_unix_ms, (SELECT count(*) FROM steps WHERE run = id) AS steps
                 FROM runs ORDER BY id DESC LIMIT ?1",
            )?;
            statement.query_map([limit], summary)?.collect()
        })
    }

    /// A run with its steps, by its id or a beginning of it that no other run has.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::AmbiguousRun`], or [`StoreError::Unavailable`] or
    /// [`StoreError::Damaged`] when it cannot be read.
    pub fn run(&self, id_or_prefix: &str) -> Result<RunRecord, StoreError> {
        let id = self.find_run(id_or_prefix)?;
        let record = self.get(|connection| {
            // One transaction, so that the steps are those of the run as it was read.
            let transaction = connection.unchecked_transaction()?;
            let found = run_and_end(&transaction, &id)?;
            let steps = steps(&transaction, &id)?;
            Ok(found.map(|(run, end)| RunRecord { id: id.clone(), run, end, steps }))
        })?;
        record.ok_or_else(|| StoreError::UnknownRun { id: id.to_string() })
    }

    /// The id that `id_or_prefix` stands for.
    pub(super) fn find_run(&self, id_or_prefix: &str) -> Result<RunId, StoreError> {
        let prefix = id::normalise(id_or_prefix);
        let mut found: Vec<String> = self.get(|connection| {
            let mut statement =
                connection.prepare("SELECT id FROM runs WHERE substr(id, 1, length(?1)) = ?1")?;
            statement.query_map([&prefix], |row| row.get(0))?.collect()
        })?;
        match found.pop() {
            Some(only) if found.is_empty() && !prefix.is_empty() => Ok(RunId(only)),
            Some(_) if !prefix.is_empty() => {
                Err(StoreError::AmbiguousRun { prefix, count: found.len() + 1 })
            }
            _ => Err(StoreError::UnknownRun { id: id_or_prefix.to_owned() }),
        }
    }
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RunSummary> {
    Ok(RunSummary {
        id: RunId(row.get("id")?),
        question: row.get("question")?,
        model_name: row.get("model_name")?,
        corpus: row.get("corpus")?,
        status: row.get::<_, Option<String>>("status")?.unwrap_or_else(|| INTERRUPTED.to_owned()),
        answer: row.get("answer")?,
        started_unix_ms: time(row, "started_unix_ms")?,
        finished_unix_ms: row.get::<_, Option<i64>>("finished_unix_ms")?.map(unsigned),
        steps: row.get("steps")?,
    })
}

fn run_and_end(
    connection: &Connection,
    id: &RunId,
) -> rusqlite::Result<Option<(NewRun, Option<RunEnd>)>> {
    connection
        .query_row("SELECT * FROM runs WHERE id = ?1", [id.as_str()], |row| {
            Ok((new_run(row)?, run_end(row)?))
        })
        .optional()
}

fn new_run(row: &Row<'_>) -> rusqlite::Result<NewRun> {
    Ok(NewRun {
        session: row.get::<_, Option<String>>("session")?.map(SessionId),
        question: row.get("question")?,
        model_name: row.get("model_name")?,
        model_sha256: row.get("model_sha256")?,
        corpus: row.get("corpus")?,
        dialect: row.get("dialect")?,
        dialect_hash: row.get("dialect_hash")?,
        seed: row.get::<_, i64>("seed")?.cast_unsigned(),
        settings_json: json(row, "settings_json")?.unwrap_or_default(),
        started_unix_ms: time(row, "started_unix_ms")?,
    })
}

fn run_end(row: &Row<'_>) -> rusqlite::Result<Option<RunEnd>> {
    let Some(status) = row.get("status")? else { return Ok(None) };
    Ok(Some(RunEnd {
        status,
        answer: row.get("answer")?,
        answer_json: json(row, "answer_json")?,
        finished_unix_ms: time(row, "finished_unix_ms")?,
        usage_json: json(row, "usage_json")?.unwrap_or_default(),
        citations_json: json(row, "citations_json")?.unwrap_or_default(),
        detail_json: json(row, "detail_json")?.unwrap_or_default(),
    }))
}

fn steps(connection: &Connection, id: &RunId) -> rusqlite::Result<Vec<StepRecord>> {
    let mut statement =
        connection.prepare("SELECT * FROM steps WHERE run = ?1 ORDER BY position")?;
    let steps = statement.query_map([id.as_str()], |row| {
        Ok(StepRecord {
            index: row.get("position")?,
            prompt_sha256: row.get("prompt_sha256")?,
            prompt_tokens: row.get("prompt_tokens")?,
            reply: row.get("reply")?,
            candidates_json: json(row, "candidates_json")?.unwrap_or_default(),
            tool_calls_json: json(row, "tool_calls_json")?.unwrap_or_default(),
            outcome_json: json(row, "outcome_json")?.unwrap_or_default(),
            chosen: row.get("chosen")?,
        })
    })?;
    steps.collect()
}

/// The JSON in a column; text that is none is damage.
fn json(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Value>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text).map_err(|error| {
        let index = row.as_ref().column_index(column).unwrap_or_default();
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })?;
    Ok(Some(parsed))
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get(column).map(unsigned)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
