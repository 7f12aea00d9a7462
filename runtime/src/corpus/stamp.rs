//! Tells an unchanged file without reading it: by size, time of the last change, and inode.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file whose last change is younger than this when it is read may change once more without
/// its time showing it: file systems keep times in steps of up to two seconds (FAT).
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Bytes.
    pub bytes: u64,
    /// Nanoseconds since 1970, which 64 bits hold until 2262.
    pub modified_ns: i64,
    /// Number of the file in its file system.
    pub inode: u64,
}

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Self {
        let seconds_ns = data.mtime().saturating_mul(1_000_000_000);
        Self {
            bytes: data.len(),
            modified_ns: seconds_ns.saturating_add(data.mtime_nsec()),
            inode: data.ino(),
        }
    }

    /// Whether every later change of the file will show; `None` for a file too fresh, which is
    /// judged by its bytes the next time. A time in the future never shows anything.
    pub(super) fn settled(self, now: SystemTime) -> Option<Self> {
        let limit = now.checked_sub(SETTLED_AFTER)?.duration_since(UNIX_EPOCH).ok()?;
        (i128::from(self.modified_ns) < i128::try_from(limit.as_nanos()).ok()?).then_some(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_file_is_not_settled() {
        let modified = UNIX_EPOCH + Duration::from_secs(100);
        let stamp = Stamp { bytes: 1, modified_ns: 100_000_000_000, inode: 2 };
        assert_eq!(stamp.settled(modified + SETTLED_AFTER), None);
        let later = modified + SETTLED_AFTER + Duration::from_nanos(1);
        assert_eq!(stamp.settled(later), Some(stamp));
        assert_eq!(stamp.settled(UNIX_EPOCH), None);
    }
}
