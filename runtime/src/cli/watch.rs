//! Waits until something below some files and folders has changed and come to rest.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use notify::event::{AccessKind, AccessMode};
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
    /// The folders among the inputs, each as it was when it was last listened to.
    folders: Vec<(PathBuf, Option<u64>)>,
}

/// Which folder stands at a path, as long as it is there.
fn inode(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(folder).ok().map(|data| data.ino())
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
        let filter = Filter { roots: roots.clone(), own };
        let mut watcher = notify::recommended_watcher(move |event| filter.hear(event, &tell))?;
        // The folder above tells when a file or folder is replaced by another one of its name.
        let above =
            roots.iter().filter_map(|root| Some((root.parent()?, RecursiveMode::NonRecursive)));
        let within = roots.iter().filter(|root| root.is_dir());
        let within = within.map(|root| (root.as_path(), RecursiveMode::Recursive));
        for (folder, mode) in above.chain(within) {
            watcher.watch(folder, mode).with_context(|| {
                format!(
                    "{} cannot be watched; a large tree needs a larger \
                     fs.inotify.max_user_watches (sysctl)",
                    folder.display()
                )
            })?;
        }
        let folders = roots.into_iter().filter(|root| root.is_dir());
        let folders = folders.map(|root| {
            let inode = inode(&root);
            (root, inode)
        });
        Ok(Self { changes, watcher, folders: folders.collect() })
    }

    /// Listens to folders that stand where others did.
    fn follow_replaced(&mut self) {
        for (folder, known) in &mut self.folders {
            let now = inode(folder);
            if now == *known {
                continue;
            }
            let _ = self.watcher.unwatch(folder); // what stood there is gone
            if now.is_some()
                && let Err(error) = self.watcher.watch(folder, RecursiveMode::Recursive)
            {
                tracing::warn!("{} is no longer watched: {error}", folder.display());
            }
            *known = now;
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

/// Which events are changes of what is watched.
struct Filter {
    roots: Vec<PathBuf>,
    own: PathBuf,
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
        event.need_rescan() || (is_change && event.paths.iter().any(is_ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_of_what_is_watched_count() {
        let filter = Filter { roots: vec!["/a".into()], own: "/a/corpus".into() };
        let counts = |kind, path: &str| filter.counts(&Event::new(kind).add_path(path.into()));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(counts(written, "/a/b.txt"));
        assert!(counts(EventKind::Any, "/a"));
        assert!(!counts(EventKind::Access(AccessKind::Read), "/a/b.txt"));
        assert!(!counts(written, "/ab/b.txt"));
        assert!(!counts(written, "/a/corpus/index/x"));
    }
}
