//! How many requests are under way at each server, and how often one begins: over all tasks of a
//! collection.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pace::Pace;

/// A waiting request looks again at least so often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Lets requests begin, each at the server that has most room.
pub struct RequestGate {
    concurrent_max: usize,
    /// Time between the beginnings of two requests at a server.
    spacing: Duration,
    doors: Mutex<Vec<Door>>,
    left: Condvar,
}

/// A server's door.
#[derive(Clone, Copy, Default)]
struct Door {
    running: usize,
    /// No request begins before.
    next: Duration,
    /// The server is not to be asked before, if another can be.
    closed_until: Duration,
    /// Requests that failed since one was answered.
    failures: u32,
}

/// A request under way; dropped when it is over.
pub struct Pass<'a> {
    gate: &'a RequestGate,
    /// Index of the server.
    pub server: usize,
}

impl RequestGate {
    /// A gate before so many servers, for so many requests at once and a minute at each of them.
    pub fn new(servers: usize, concurrent_max: usize, requests_per_minute: Option<u32>) -> Self {
        let spacing = requests_per_minute
            .map_or(Duration::ZERO, |requests| Duration::from_secs(60) / requests.max(1));
        let doors = Mutex::new(vec![Door::default(); servers.max(1)]);
        Self { concurrent_max: concurrent_max.max(1), spacing, doors, left: Condvar::new() }
    }

    /// Waits until a request may begin.
    pub fn enter<'a>(&'a self, pace: &dyn Pace) -> Pass<'a> {
        let mut doors = self.doors();
        let (server, begins, now) = loop {
            let now = pace.now();
            if let Some((server, door)) = self.choose(&mut doors, now) {
                let begins = door.next.max(door.closed_until).max(now);
                door.running += 1;
                door.next = begins + self.spacing;
                break (server, begins, now);
            }
            // Until a request is over, or a closed door opens.
            let closed = doors.iter().map(|door| door.closed_until).filter(|until| *until > now);
            let opens = closed.min().map_or(Duration::MAX, |until| until - now);
            let left = self.left.wait_timeout(doors, opens.min(LONGEST_WAIT));
            doors = left.unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(doors);
        if begins > now {
            pace.wait(begins - now);
        }
        Pass { gate: self, server }
    }

    /// The open door with room where a request begins first; while none is open, the one that opens
    /// first. `None` when there is no room.
    fn choose<'d>(&self, doors: &'d mut [Door], now: Duration) -> Option<(usize, &'d mut Door)> {
        let opens = doors.iter().map(|door| door.closed_until).min()?.max(now);
        let with_room = doors
            .iter_mut()
            .enumerate()
            .filter(|(_, door)| door.running < self.concurrent_max && door.closed_until <= opens);
        with_room.min_by_key(|(_, door)| (door.next.max(door.closed_until).max(now), door.running))
    }

    /// No request begins for so long at a server while another can be asked.
    pub fn close_for(&self, server: usize, time: Duration, pace: &dyn Pace) {
        if let Some(door) = self.doors().get_mut(server) {
            door.closed_until = door.closed_until.max(pace.now() + time);
        }
    }

    /// A request was answered at a server.
    pub fn answered(&self, server: usize) {
        if let Some(door) = self.doors().get_mut(server) {
            door.failures = 0;
        }
    }

    /// A request failed at a server: it is passed over for the time that follows from how many
    /// failed there one after the other. Those that were under way with the first count as one.
    pub fn failed(&self, server: usize, pace: &dyn Pace, time: impl FnOnce(u32) -> Duration) {
        let now = pace.now();
        if let Some(door) = self.doors().get_mut(server) {
            door.failures += u32::from(door.closed_until <= now);
            door.closed_until = door.closed_until.max(now + time(door.failures.max(1)));
        }
    }

    fn doors(&self) -> MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some(door) = self.gate.doors().get_mut(self.server) {
            door.running = door.running.saturating_sub(1);
        }
        self.gate.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::pace::still::StillPace;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn requests_begin_no_more_often_than_allowed() {
        let (gate, pace) = (RequestGate::new(1, 4, Some(30)), StillPace::default());
        for _ in 0..3 {
            drop(gate.enter(&pace));
        }
        assert_eq!(pace.waits(), [Duration::from_secs(2); 2]);
        gate.close_for(0, Duration::from_secs(9), &pace);
        drop(gate.enter(&pace));
        assert_eq!(pace.now(), Duration::from_secs(13));
    }

    #[test]
    fn no_more_are_under_way_than_allowed() {
        let (gate, pace) = (RequestGate::new(1, 2, None), StillPace::default());
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

    #[test]
    fn a_request_goes_where_there_is_most_room() {
        let (gate, pace) = (RequestGate::new(3, 2, None), StillPace::default());
        let passes: Vec<Pass<'_>> = (0..4).map(|_| gate.enter(&pace)).collect();
        let servers: Vec<usize> = passes.iter().map(|pass| pass.server).collect();
        assert_eq!(servers, [0, 1, 2, 0]);
        gate.close_for(1, Duration::from_secs(9), &pace);
        assert_eq!(gate.enter(&pace).server, 2);
        drop(passes);
        // While one is open, nobody waits for the others; then the first that opens is asked.
        gate.close_for(0, Duration::from_secs(5), &pace);
        assert_eq!(gate.enter(&pace).server, 2);
        gate.close_for(2, Duration::from_secs(7), &pace);
        assert!(pace.waits().is_empty());
        assert_eq!(gate.enter(&pace).server, 0);
        assert_eq!(pace.waits(), [Duration::from_secs(5)]);
    }

    #[test]
    fn what_fails_together_counts_once_and_an_answer_forgives() {
        let (gate, pace) = (RequestGate::new(2, 8, None), StillPace::default());
        let seconds = |failures: u32| Duration::from_secs(u64::from(failures));
        for _ in 0..5 {
            gate.failed(0, &pace, seconds);
        }
        gate.close_for(1, Duration::from_secs(100), &pace);
        drop(gate.enter(&pace));
        gate.failed(0, &pace, seconds);
        drop(gate.enter(&pace));
        gate.answered(0);
        gate.failed(0, &pace, seconds);
        assert_eq!(gate.enter(&pace).server, 0);
        assert_eq!(pace.waits(), [1, 2, 1].map(Duration::from_secs));
    }
}
