//! A flag that ends long work from another thread.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag shared by whoever may cancel and whoever does the work. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the work to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the work should have ended; the next may begin. For a conversation, in which one
    /// piece of work follows another: nothing may be going on at the time.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }

    /// Whether the work should end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// `inner`, which fails to be read as soon as the work should end.
    pub fn watch<R>(&self, inner: R) -> Watched<R> {
        Watched { inner, cancel: self.clone() }
    }
}

/// Why work ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// A reader that heeds a flag: see [`Cancel::watch`].
#[derive(Debug)]
pub struct Watched<R> {
    inner: R,
    cancel: Cancel,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // Not `Interrupted`: a copy would try that again.
        if self.cancel.is_cancelled() {
            Err(io::Error::other(Cancelled))
        } else {
            self.inner.read(into)
        }
    }
}
