//! Writing: one durable transaction each.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::id::{self, RunId, SessionId};
use super::records::{NewRun, RunEnd, StepRecord};
use super::{Store, StoreError, failure};

impl Store {
    /// Begins a session, which groups runs.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be written.
    pub fn begin_session(
        &mut self,
        title: &str,
        started_unix_ms: u64,
    ) -> Result<SessionId, StoreError> {
        self.change(|transaction| {
            let id = free_name(transaction, "sessions", started_unix_ms)?;
            transaction.execute(
                "INSERT INTO sessions VALUES (?1, ?2, ?3)",
                params![id, title, signed(started_unix_ms)],
            )?;
            Ok(SessionId(id))
        })
    }

    /// Begins a run and names it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be written.
    pub fn begin_run(&mut self, run: &NewRun) -> Result<RunId, StoreError> {
        self.change(|transaction| {
            let id = free_name(transaction, "runs", run.started_unix_ms)?;
            transaction.execute(
                "INSERT INTO runs (id, session, question, model_name, model_sha256, corpus,
                                   dialect, dialect_hash, seed, settings_json, started_unix_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    id,
                    run.session.as_ref().map(SessionId::as_str),
                    run.question,
                    run.model_name,
                    run.model_sha256,
                    run.corpus,
                    run.dialect,
                    run.dialect_hash,
                    run.seed.cast_signed(),
                    run.settings_json.to_string(),
                    signed(run.started_unix_ms),
                ],
            )?;
            Ok(RunId(id))
        })
    }

    /// Adds the next step of a run. It is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Ended`] or [`StoreError::StepOrder`] when the
    /// step cannot follow; [`StoreError::Unavailable`] when it cannot be written.
    pub fn append_step(&mut self, run: &RunId, step: &StepRecord) -> Result<(), StoreError> {
        let state = self.change(|transaction| {
            let state = run_state(transaction, run)?;
            if matches!(state, Some(RunState { ended: false, next }) if next == step.index) {
                insert_step(transaction, run, step)?;
            }
            Ok(state)
        })?;
        match state {
            None => Err(StoreError::UnknownRun { id: run.to_string() }),
            Some(state) if state.ended => Err(StoreError::Ended { run: run.clone() }),
            Some(state) if state.next != step.index => Err(StoreError::StepOrder {
                run: run.clone(),
                expected: state.next,
                found: step.index,
            }),
            Some(_) => Ok(()),
        }
    }

    /// Gives a run its end.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::Ended`], or [`StoreError::Unavailable`] when it
    /// cannot be written.
    pub fn finish_run(&mut self, run: &RunId, end: &RunEnd) -> Result<(), StoreError> {
        let state = self.change(|transaction| {
            let state = run_state(transaction, run)?;
            if matches!(state, Some(RunState { ended: false, .. })) {
                update_end(transaction, run, end)?;
            }
            Ok(state)
        })?;
        match state {
            None => Err(StoreError::UnknownRun { id: run.to_string() }),
            Some(state) if state.ended => Err(StoreError::Ended { run: run.clone() }),
            Some(_) => Ok(()),
        }
    }

    /// Takes the end from a run that goes on. One without an end is left as it is.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], or [`StoreError::Unavailable`] when it cannot be written.
    pub fn reopen_run(&mut self, run: &RunId) -> Result<(), StoreError> {
        let changed = self.change(|transaction| {
            transaction.execute(
                "UPDATE runs SET status = NULL, answer = NULL, answer_json = NULL,
                                 finished_unix_ms = NULL, usage_json = NULL,
                                 citations_json = NULL, detail_json = NULL
                 WHERE id = ?1",
                [run.as_str()],
            )
        })?;
        if changed == 0 { Err(StoreError::UnknownRun { id: run.to_string() }) } else { Ok(()) }
    }

    /// Removes a run and its steps, by its id or a beginning of it that no other run has.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`], [`StoreError::AmbiguousRun`], or [`StoreError::Unavailable`]
    /// when it cannot be written.
    pub fn delete_run(&mut self, id_or_prefix: &str) -> Result<RunId, StoreError> {
        let run = self.find_run(id_or_prefix)?;
        self.change(|transaction| {
            transaction.execute("DELETE FROM runs WHERE id = ?1", [run.as_str()]).map(drop)
        })?;
        Ok(run)
    }

    fn change<T>(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let changed = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|transaction| {
                let value = write(&transaction)?;
                transaction.commit()?;
                Ok(value)
            });
        changed.map_err(|error| failure(&self.path, &error))
    }
}

/// The first name of that moment that no row of `table` has.
fn free_name(transaction: &Transaction<'_>, table: &str, unix_ms: u64) -> rusqlite::Result<String> {
    let taken = format!("SELECT 1 FROM {table} WHERE id = ?1");
    let mut statement = transaction.prepare(&taken)?;
    let mut count = 0;
    loop {
        let name = id::name(unix_ms, count);
        if !statement.exists([&name])? {
            return Ok(name);
        }
        count += 1;
    }
}

struct RunState {
    ended: bool,
    /// Index of the step that is due.
    next: u32,
}

fn run_state(transaction: &Transaction<'_>, run: &RunId) -> rusqlite::Result<Option<RunState>> {
    transaction
        .query_row(
            "SELECT status IS NOT NULL, (SELECT count(*) FROM steps WHERE run = id)
             FROM runs WHERE id = ?1",
            [run.as_str()],
            |row| Ok(RunState { ended: row.get(0)?, next: row.get(1)? }),
        )
        .optional()
}

fn insert_step(
    transaction: &Transaction<'_>,
    run: &RunId,
    step: &StepRecord,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            run.as_str(),
            step.index,
            step.prompt_sha256,
            step.prompt_tokens,
            step.reply,
            step.candidates_json.to_string(),
            step.tool_calls_json.to_string(),
            step.outcome_json.to_string(),
            step.chosen,
        ],
    )?;
    Ok(())
}

fn update_end(transaction: &Transaction<'_>, run: &RunId, end: &RunEnd) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE runs SET status = ?2, answer = ?3, answer_json = ?4, finished_unix_ms = ?5,
                         usage_json = ?6, citations_json = ?7, detail_json = ?8
         WHERE id = ?1",
        params![
            run.as_str(),
            end.status,
            end.answer,
            end.answer_json.as_ref().map(ToString::to_string),
            signed(end.finished_unix_ms),
            end.usage_json.to_string(),
            end.citations_json.to_string(),
            end.detail_json.to_string(),
        ],
    )?;
    Ok(())
}

/// SQLite keeps signed numbers; times never come near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
