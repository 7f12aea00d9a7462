//! What ends long work from another thread, or at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Since when deadlines are counted.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

/// A flag and a deadline, shared by whoever may cancel and whoever does the work. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    is_set: AtomicBool,
    /// Milliseconds after [`BEGUN`].
    deadline: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self { is_set: AtomicBool::new(false), deadline: AtomicU64::new(NEVER) }
    }
}

impl Cancel {
    /// Asks the work to end.
    pub fn cancel(&self) {
        self.0.is_set.store(true, Ordering::Release);
    }

    /// Has the work end by itself after so long, or, with `None`, no longer.
    pub fn end_after(&self, time: Option<Duration>) {
        let deadline = time.map_or(NEVER, |time| {
            let at = BEGUN.elapsed().saturating_add(time).as_millis();
            u64::try_from(at).unwrap_or(NEVER)
        });
        self.0.deadline.store(deadline, Ordering::Release);
    }

    /// Whether the work should have ended; the next may begin. For a conversation, in which one
    /// piece of work follows another: nothing may be going on at the time.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.is_set.swap(false, Ordering::AcqRel)
    }

    /// Whether the work should end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        if self.0.is_set.load(Ordering::Acquire) {
            return true;
        }
        let deadline = self.0.deadline.load(Ordering::Acquire);
        deadline != NEVER && BEGUN.elapsed().as_millis() >= u128::from(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_when_it_is_asked_to_or_its_time_is_over() {
        let cancel = Cancel::default();
        cancel.end_after(Some(Duration::from_secs(3600)));
        assert!(!cancel.is_cancelled());
        cancel.end_after(Some(Duration::ZERO));
        assert!(cancel.clone().is_cancelled() && !cancel.take());
        cancel.end_after(None);
        assert!(!cancel.is_cancelled());
        cancel.cancel();
        assert!(cancel.is_cancelled() && cancel.take() && !cancel.is_cancelled());
    }
}
