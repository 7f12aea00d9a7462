//! An initialised interpreter, made once and kept in the caller's cache folder.
//!
//! The file is a header of one 64-KiB page and the raw linear memory, so that the memory can be
//! mapped by any system whose pages are not larger. It is bound to the image it was made from and
//! never written in place: a mapping would show the change.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use memmap2::Mmap;

use super::region;
use super::state::BLOCK_BYTES;

/// A page of WebAssembly memory.
pub const PAGE_BYTES: usize = 65_536;
/// Where the memory begins in the file.
const MEMORY_AT: u64 = 65_536;
/// First bytes of a stored snapshot; the last one is the format's version.
const MAGIC: [u8; 8] = *b"RTSNAP\0\x02";
const HEADER_BYTES: usize = 8 + 32 + 4 + 8 + 4;
/// More memory than any snapshot has, so that a damaged length cannot ask for it.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// SHA-256 over everything a snapshot depends on.
pub type Key = [u8; 32];

/// The initialised interpreter.
#[derive(Debug)]
pub struct Snapshot {
    /// Value of the guest's `__stack_pointer`.
    stack_pointer: i32,
    content: Content,
}

/// How a snapshot's memory reaches the instances.
#[derive(Debug)]
enum Content {
    /// They copy it.
    Copied(Vec<u8>),
    /// They map it copy-on-write.
    Mapped { file: File, whole: Mmap },
}

impl Snapshot {
    /// A snapshot to copy from.
    pub fn copied(stack_pointer: i32, memory: Vec<u8>) -> Self {
        Self { stack_pointer, content: Content::Copied(memory) }
    }

    /// Reads the snapshot of `key`. `None` if there is none, or it is damaged, or another's.
    pub fn load(path: &Path, key: &Key, copies: bool) -> Option<Self> {
        Self::open(File::open(path).ok()?, key, copies)
    }

    /// The same snapshot, kept at `path` where that works, else in the system's memory.
    pub fn kept(self, path: Option<&Path>, key: &Key, copies: bool) -> Self {
        let stored = path.and_then(|path| match self.store(path, key) {
            Ok(()) => Self::load(path, key, copies),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a snapshot of Python is not kept");
                None
            }
        });
        if stored.is_some() || copies {
            return stored.unwrap_or(self);
        }
        let in_memory = memory_file().ok().and_then(|mut file| {
            self.write_to(&mut file, key).ok()?;
            file.rewind().ok()?;
            Self::open(file, key, copies)
        });
        in_memory.unwrap_or(self)
    }

    /// The whole linear memory.
    pub fn memory(&self) -> &[u8] {
        match &self.content {
            Content::Copied(memory) => memory,
            Content::Mapped { whole, .. } => memory_part(whole),
        }
    }

    /// Value of the guest's `__stack_pointer`.
    pub fn stack_pointer(&self) -> i32 {
        self.stack_pointer
    }

    /// The file to map, and where in it the memory begins. `None` if it must be copied.
    pub fn file(&self) -> Option<(&File, u64)> {
        match &self.content {
            Content::Copied(_) => None,
            Content::Mapped { file, .. } => Some((file, MEMORY_AT)),
        }
    }

    fn open(mut file: File, key: &Key, copies: bool) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).ok()?;
        let (magic, rest) = header.split_first_chunk::<8>()?;
        let (stored_key, rest) = rest.split_first_chunk::<32>()?;
        let (stack_pointer, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (checksum, _) = rest.split_first_chunk::<4>()?;
        let length = u64::from_le_bytes(*length);
        let whole = file.metadata().ok()?.len() == MEMORY_AT.checked_add(length)?;
        if *magic != MAGIC || stored_key != key || length > MEMORY_BYTES_MAX || !whole {
            return None;
        }
        let content = if copies { None } else { mapped(&file) };
        let content = content.or_else(|| read_memory(file, length).map(Content::Copied))?;
        let snapshot = Self { stack_pointer: i32::from_le_bytes(*stack_pointer), content };
        (snapshot.checksum() == u32::from_le_bytes(*checksum)).then_some(snapshot)
    }

    /// Written beside, synced, renamed, the folder synced.
    fn store(&self, path: &Path, key: &Key) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        self.write_to(file.as_file_mut(), key)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    fn write_to(&self, file: &mut File, key: &Key) -> io::Result<()> {
        file.write_all(&MAGIC)?;
        file.write_all(key)?;
        file.write_all(&self.stack_pointer.to_le_bytes())?;
        file.write_all(&length(self.memory()).to_le_bytes())?;
        file.write_all(&self.checksum().to_le_bytes())?;
        file.seek(SeekFrom::Start(MEMORY_AT))?;
        write_sparse(file, self.memory())
    }

    /// Against accidents of the disk. Who may write the cache folder is the user.
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.stack_pointer.to_le_bytes());
        hasher.update(self.memory());
        hasher.finalize()
    }
}

/// Maps the whole file, where instances can map it too.
fn mapped(file: &File) -> Option<Content> {
    let whole = region::map_file(file).ok()?;
    Some(Content::Mapped { file: file.try_clone().ok()?, whole })
}

/// A file that exists only in memory.
fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("retort-python", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

fn memory_part(whole: &[u8]) -> &[u8] {
    usize::try_from(MEMORY_AT).ok().and_then(|at| whole.get(at..)).unwrap_or_default()
}

fn read_memory(mut file: File, length: u64) -> Option<Vec<u8>> {
    let mut memory = Vec::with_capacity(usize::try_from(length).ok()?);
    file.seek(SeekFrom::Start(MEMORY_AT)).ok()?;
    file.take(length).read_to_end(&mut memory).ok()?;
    (u64::try_from(memory.len()) == Ok(length)).then_some(memory)
}

/// Writes `memory` with a hole for every block of zeros.
fn write_sparse(file: &mut File, memory: &[u8]) -> io::Result<()> {
    let start = file.stream_position()?;
    for block in memory.chunks(BLOCK_BYTES) {
        if block.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(i64::try_from(block.len()).unwrap_or_default()))?;
        } else {
            file.write_all(block)?;
        }
    }
    file.set_len(start + length(memory))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let memory = (0..3 * PAGE_BYTES).map(|at| u8::from(at / PAGE_BYTES != 1)).collect();
        Snapshot::copied(7, memory)
    }

    #[test]
    fn a_stored_snapshot_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("a.snapshot");
        let stored = snapshot().kept(Some(&path), &[1; 32], false);
        for read in [Some(stored), Snapshot::load(&path, &[1; 32], true)].map(Option::unwrap) {
            assert_eq!(read.stack_pointer(), 7);
            assert!(read.memory() == snapshot().memory());
        }
        assert!(Snapshot::load(&path, &[2; 32], false).is_none());
    }

    #[test]
    fn a_snapshot_without_a_place_stays_in_memory() {
        let path = Path::new("/dev/null/a.snapshot");
        for copies in [false, true] {
            let kept = snapshot().kept(Some(path), &[1; 32], copies);
            assert!(kept.memory() == snapshot().memory());
            assert!(kept.file().is_none() || !copies);
        }
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.snapshot");
        drop(snapshot().kept(Some(&path), &[1; 32], true));
        let whole = fs::read(&path).unwrap();
        let check = |bytes: &[u8], what: &str| {
            fs::write(&path, bytes).unwrap();
            for copies in [false, true] {
                assert!(Snapshot::load(&path, &[1; 32], copies).is_none(), "{what}");
            }
        };
        for at in [0, 8, 40, 44, 52, 65_536 + 5000, 2 * 65_536 + 9, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 64;
            check(&damaged, &format!("byte {at}"));
        }
        for length in [0, HEADER_BYTES, 65_536, whole.len() - 1] {
            check(&whole[..length], &format!("{length} bytes"));
        }
        check(&[&whole[..], &[0]].concat(), "one byte more");
    }
}
