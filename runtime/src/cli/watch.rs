//! Waits until something below some files and folders has changed and come to rest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::cancel::Cancel;

/// So long nothing must change before work begins: editors and copies write in steps.
const QUIET: Duration = Duration::from_millis(300);
/// A folder that never comes to rest is looked at this often.
const UNREST_MAX: Duration = Duration::from_secs(10);
/// How often a waiting program looks at the cancel token.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Hears of changes from the moment it is made.
pub struct Watch {
    changes: Receiver<()>,
    watcher: RecommendedWatcher,
    /// The folders among the inputs.
    folders: Vec<PathBuf>,
    /// Something happened to one of them itself: another one may stand in its place.
    is_replaced: Arc<AtomicBool>,
}

impl Watch {
    /// Listens for changes of `inputs`, except those inside `own`.
    pub fn new(inputs: &[PathBuf], own: &Path) -> Result<Self> {
        let roots = inputs.iter().map(|input| {
            input.canonicalize().with_context(|| format!("{} cannot be watched", input.display()))
        });
        let roots = roots.collect::<Result<Vec<_>>>()?;
        // What is not there has no true name, and the first ingest would look like a change.
        std::fs::create_dir_all(own).with_context(|| own.display().to_string())?;
        let own = own.canonicalize().unwrap_or_else(|_| own.to_path_buf());
        let (tell, changes) = sync_channel(1);
        let is_replaced = Arc::new(AtomicBool::new(false));
        let filter = Filter { roots: roots.clone(), own, is_replaced: Arc::clone(&is_replaced) };
        let mut watcher = notify::recommended_watcher(move |event| filter.hear(event, &tell))?;
        for root in roots.iter().filter(|root| root.is_dir()) {
            listen(&mut watcher, root, RecursiveMode::Recursive)?;
        }
        // The folder above tells when a file or folder is replaced by another of its name.
        for root in &roots {
            let Some(above) = root.parent() else { continue };
            let heard = listen(&mut watcher, above, RecursiveMode::NonRecursive);
            match (root.is_dir(), heard) {
                (false, heard) => heard?,
                (true, Err(error)) => tracing::debug!("{error:#}"),
                (true, Ok(())) => {}
            }
        }
        let folders = roots.into_iter().filter(|root| root.is_dir()).collect();
        Ok(Self { changes, watcher, folders, is_replaced })
    }

    /// Listens anew to folders that may stand where others did.
    fn follow_replaced(&mut self) {
        if !self.is_replaced.swap(false, Ordering::AcqRel) {
            return;
        }
        for folder in self.folders.iter().filter(|folder| folder.is_dir()) {
            let _ = self.watcher.unwatch(folder); // what stood there may be gone
            if let Err(error) = listen(&mut self.watcher, folder, RecursiveMode::Recursive) {
                tracing::warn!("{error:#}");
            }
        }
    }

    /// Waits for a change and the rest after it, and where something is left to do no longer than
    /// `again`; false when the work was cancelled first.
    pub fn wait(&mut self, again: Option<Duration>, cancel: &Cancel) -> bool {
        let begun = Instant::now();
        while self.changes.recv_timeout(CANCEL_POLL) == Err(RecvTimeoutError::Timeout) {
            if cancel.is_cancelled() {
                return false;
            }
            if again.is_some_and(|again| begun.elapsed() >= again) {
                return true;
            }
        }
        let begun = Instant::now();
        while self.changes.recv_timeout(QUIET).is_ok() && begun.elapsed() < UNREST_MAX {}
        self.follow_replaced();
        !cancel.is_cancelled()
    }
}

fn listen(watcher: &mut RecommendedWatcher, folder: &Path, mode: RecursiveMode) -> Result<()> {
    watcher.watch(folder, mode).with_context(|| {
        format!(
            "{} cannot be watched; a large tree needs a larger fs.inotify.max_user_watches (sysctl)",
            folder.display()
        )
    })
}

/// Which events are changes of what is watched.
struct Filter {
    roots: Vec<PathBuf>,
    own: PathBuf,
    is_replaced: Arc<AtomicBool>,
}

impl Filter {
    fn hear(&self, event: notify::Result<Event>, tell: &SyncSender<()>) {
        // After an error (events were lost) a look around is due as well.
        let counts = event.map_or(true, |event| self.counts(&event));
        if counts {
            // One note that something changed is enough.
            let _ = tell.try_send(());
        }
    }

    fn counts(&self, event: &Event) -> bool {
        let is_change = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        };
        let is_ours = |path: &PathBuf| {
            self.roots.iter().any(|root| path.starts_with(root)) && !path.starts_with(&self.own)
        };
        let is_root = |path: &PathBuf| self.roots.contains(path);
        let comes_or_goes = matches!(
            event.kind,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
        );
        if comes_or_goes && event.paths.iter().any(is_root) {
            self.is_replaced.store(true, Ordering::Release);
        }
        event.need_rescan() || (is_change && event.paths.iter().any(is_ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_what_is_watched_count() {
        let is_replaced = Arc::new(AtomicBool::new(false));
        let own = "/a/corpus".into();
        let filter = Filter { roots: vec!["/a".into()], own, is_replaced };
        let counts = |kind, path: &str| filter.counts(&Event::new(kind).add_path(path.into()));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(counts(written, "/a/b.txt"));
        assert!(counts(EventKind::Any, "/a"));
        assert!(!counts(EventKind::Access(AccessKind::Read), "/a/b.txt"));
        assert!(!counts(written, "/ab/b.txt"));
        assert!(!counts(written, "/a/corpus/index/x"));
    }
}
