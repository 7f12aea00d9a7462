//! How many requests are under way, and how often one begins: over all tasks of a collection.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::pace::Pace;

/// Lets requests begin.
pub struct Gate {
    concurrent_max: usize,
    /// Time between the beginnings of two requests.
    spacing: Duration,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    /// No request begins before.
    next: Duration,
}

/// A request under way; dropped when it is over.
pub struct Pass<'a>(&'a Gate);

impl Gate {
    /// A gate for so many requests at once and a minute.
    pub fn new(concurrent_max: usize, requests_per_minute: Option<u32>) -> Self {
        let spacing = requests_per_minute
            .map_or(Duration::ZERO, |requests| Duration::from_secs(60) / requests.max(1));
        let (state, left) = (Mutex::default(), Condvar::new());
        Self { concurrent_max: concurrent_max.max(1), spacing, state, left }
    }

    /// Waits until a request may begin.
    pub fn enter<'a>(&'a self, pace: &dyn Pace) -> Pass<'a> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.running >= self.concurrent_max {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running += 1;
        let now = pace.now();
        let begins = state.next.max(now);
        state.next = begins + self.spacing;
        drop(state);
        if begins > now {
            pace.wait(begins - now);
        }
        Pass(self)
    }

    /// No request begins for so long: the server said so.
    pub fn close_for(&self, time: Duration, pace: &dyn Pace) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next = state.next.max(pace.now() + time);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = state.running.saturating_sub(1);
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::pace::still::StillPace;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn requests_begin_no_more_often_than_allowed() {
        let (gate, pace) = (Gate::new(4, Some(30)), StillPace::default());
        for _ in 0..3 {
            drop(gate.enter(&pace));
        }
        assert_eq!(pace.waits(), [Duration::from_secs(2); 2]);
        gate.close_for(Duration::from_secs(9), &pace);
        drop(gate.enter(&pace));
        assert_eq!(pace.now(), Duration::from_secs(13));
    }

    #[test]
    fn no_more_are_under_way_than_allowed() {
        let (gate, pace) = (Gate::new(2, None), StillPace::default());
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _pass = gate.enter(&pace);
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
    }
}
