//! Time that can be waited for. Passed in, so that tests wait for nothing.

use std::time::Duration;

use retort::agent::{Clock as _, SystemClock};

/// A clock that can also wait.
pub trait Pace: Send + Sync {
    /// Time since a fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Seconds since 1970.
    fn unix_seconds(&self) -> i64;
    /// Returns after `time`.
    fn wait(&self, time: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemPace(SystemClock);

impl Pace for SystemPace {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn unix_seconds(&self) -> i64 {
        self.0.unix_seconds()
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

#[cfg(test)]
pub(crate) mod still {
    use super::*;
    use std::sync::Mutex;

    /// Passes only while somebody waits, and remembers each wait.
    #[derive(Debug, Default)]
    pub struct StillPace(Mutex<(Duration, Vec<Duration>)>);

    impl StillPace {
        /// Every wait so far.
        pub fn waits(&self) -> Vec<Duration> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1.clone()
        }
    }

    impl Pace for StillPace {
        fn now(&self) -> Duration {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0
        }

        fn unix_seconds(&self) -> i64 {
            1_767_225_600
        }

        fn wait(&self, time: Duration) {
            let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            state.0 += time;
            state.1.push(time);
        }
    }
}
