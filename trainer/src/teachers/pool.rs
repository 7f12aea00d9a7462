//! Tasks side by side, each row durable before its thread takes the next task.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::seat::{Seat, Teacher};
use crate::trajectory::Journal;

/// Works on items with one teacher.
pub struct Pool<'a> {
    /// The teacher.
    pub teacher: &'a Teacher,
    /// Items that may fail one after the other before the work stops.
    pub failures_max: usize,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Done {
    /// Items that gave a row.
    pub rows: usize,
    /// What failed, with the item: the first twenty.
    pub failures: Vec<(String, String)>,
    /// How many failed.
    pub failed: usize,
    /// Why the work stopped before its end.
    pub halt: Option<Halt>,
}

/// Why the work stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The teacher answers no further request: the budget, the key or the model.
    #[error("{0}")]
    Teacher(String),
    /// Too many failures one after the other.
    #[error("{count} failures one after the other, the last: {last}")]
    Failing {
        /// How many.
        count: usize,
        /// The last.
        last: String,
    },
    /// Rows cannot be written.
    #[error("{0}")]
    Unwritable(String),
}

/// Failures listed at most.
const FAILURES_LISTED_MAX: usize = 20;

struct State<'j> {
    journal: &'j mut Journal,
    done: Done,
    in_a_row: usize,
}

impl Pool<'_> {
    /// Works on every item and appends its rows to `journal`. `finished` is called after each item.
    ///
    /// # Errors
    /// When no thread finds a place at the teacher's, as when a model file is refused.
    pub fn run<I: Sync, R: Serialize>(
        &self,
        items: &[I],
        journal: &mut Journal,
        work: &(dyn Fn(&mut Seat<'_>, &I) -> Result<R> + Sync),
        name: &(dyn Fn(&I) -> String + Sync),
        finished: &(dyn Fn(&Done) + Sync),
    ) -> Result<Done> {
        let next = AtomicUsize::new(0);
        let state = Mutex::new(State { journal, done: Done::default(), in_a_row: 0 });
        let threads = self.teacher.concurrent_max().clamp(1, items.len().max(1));
        let seated: Vec<Result<()>> = std::thread::scope(|scope| {
            let spawn = |_| {
                scope.spawn(|| -> Result<()> {
                    let mut seat = self.teacher.seat()?;
                    while let Some(item) = self.next(items, &next, &state) {
                        let outcome = work(&mut seat, item);
                        self.note(&state, || name(item), outcome, finished);
                    }
                    Ok(())
                })
            };
            let threads: Vec<_> = (0..threads).map(spawn).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
                .collect()
        });
        let mut seated = seated.into_iter().filter_map(Result::err);
        let done = state.into_inner().unwrap_or_else(PoisonError::into_inner).done;
        match seated.next() {
            // Some threads may have had a place where others found none.
            Some(error) if done.rows + done.failed < items.len() && done.halt.is_none() => {
                Err(error)
            }
            _ => Ok(done),
        }
    }

    /// As [`run`](Self::run), behind a bar on standard error: `doing` what with which `items`, and
    /// how many there are with those that earlier runs did.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_shown<I: Sync, R: Serialize>(
        &self,
        (doing, kind, all): (&str, &str, usize),
        items: &[I],
        journal: &mut Journal,
        work: &(dyn Fn(&mut Seat<'_>, &I) -> Result<R> + Sync),
        name: &(dyn Fn(&I) -> String + Sync),
    ) -> Result<Done> {
        let template = format!("{doing} {{bar:30}} {{pos}}/{{len}} {kind} {{msg}} {{eta}}");
        let style = ProgressStyle::with_template(&template)?;
        let bar = ProgressBar::new(all as u64).with_style(style);
        bar.inc(all.saturating_sub(items.len()) as u64);
        let done = self.run(items, journal, work, name, &|done| {
            bar.inc(1);
            let spent = self.teacher.spent().unwrap_or_default();
            let (tokens, cost) = (spent.tokens(), spent.cost);
            bar.set_message(format!("{} failed, {tokens} tokens, cost {cost:.4}", done.failed));
        });
        bar.finish_and_clear();
        done
    }

    fn next<'i, I>(
        &self,
        items: &'i [I],
        next: &AtomicUsize,
        state: &Mutex<State<'_>>,
    ) -> Option<&'i I> {
        let halted = state.lock().unwrap_or_else(PoisonError::into_inner).done.halt.is_some();
        if halted { None } else { items.get(next.fetch_add(1, Ordering::Relaxed)) }
    }

    fn note<R: Serialize>(
        &self,
        state: &Mutex<State<'_>>,
        name: impl Fn() -> String,
        outcome: Result<R>,
        finished: &(dyn Fn(&Done) + Sync),
    ) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(row) => match state.journal.append(&row) {
                Ok(()) => {
                    state.done.rows += 1;
                    state.in_a_row = 0;
                }
                Err(error) => state.done.halt = Some(Halt::Unwritable(format!("{error:#}"))),
            },
            Err(error) => {
                let reason = format!("{error:#}");
                state.in_a_row += 1;
                state.done.failed += 1;
                let halt = match self.teacher.halted() {
                    Some(reason) => Some(Halt::Teacher(reason)),
                    None => (state.in_a_row >= self.failures_max.max(1))
                        .then(|| Halt::Failing { count: state.in_a_row, last: reason.clone() }),
                };
                if state.done.failures.len() < FAILURES_LISTED_MAX {
                    state.done.failures.push((name(), reason));
                }
                if state.done.halt.is_none() {
                    state.done.halt = halt;
                }
            }
        }
        finished(&state.done);
    }
}
