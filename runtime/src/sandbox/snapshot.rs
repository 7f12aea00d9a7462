//! The interpreter at rest: its memory and one stack pointer.
//!
//! [`Snapshot`] is the freshly initialised interpreter. It is made once, stored in the caller's
//! cache folder and bound to the image it was made from. [`State`] is a session at rest, held as
//! the blocks in which it differs from the snapshot, so that a fork shares everything.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Granularity of [`State`] and of the holes in a stored snapshot.
const BLOCK_BYTES: usize = 4096;
/// A page of WebAssembly memory.
pub const PAGE_BYTES: usize = 65_536;
/// First bytes of a stored snapshot; the last one is the format's version.
const MAGIC: [u8; 8] = *b"RTSNAP\0\x01";
const HEADER_BYTES: usize = 8 + 32 + 4 + 8 + 32;
/// More memory than any snapshot has, so that a damaged length cannot ask for it.
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// SHA-256 over everything a snapshot depends on.
pub type Key = [u8; 32];

/// The initialised interpreter.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Value of the guest's `__stack_pointer`.
    pub stack_pointer: i32,
    /// The whole linear memory.
    pub memory: Vec<u8>,
}

impl Snapshot {
    /// Reads the snapshot of `key`. `None` if there is none, or it is damaged, or another's.
    pub fn load(path: &Path, key: &Key) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).ok()?;
        let (magic, rest) = header.split_first_chunk::<8>()?;
        let (stored_key, rest) = rest.split_first_chunk::<32>()?;
        let (stack_pointer, rest) = rest.split_first_chunk::<4>()?;
        let (length, digest) = rest.split_first_chunk::<8>()?;
        let length = u64::from_le_bytes(*length);
        if *magic != MAGIC || stored_key != key || length > MEMORY_BYTES_MAX {
            return None;
        }
        let mut memory = Vec::with_capacity(usize::try_from(length).ok()?);
        file.take(length + 1).read_to_end(&mut memory).ok()?;
        let snapshot = Self { stack_pointer: i32::from_le_bytes(*stack_pointer), memory };
        let whole = u64::try_from(snapshot.memory.len()).ok()? == length;
        (whole && snapshot.digest(key) == digest).then_some(snapshot)
    }

    /// Stores the snapshot at `path`: written beside, synced, renamed, the folder synced.
    pub fn store(&self, path: &Path, key: &Key) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let target = file.as_file_mut();
        target.write_all(&MAGIC)?;
        target.write_all(key)?;
        target.write_all(&self.stack_pointer.to_le_bytes())?;
        target.write_all(&length(&self.memory).to_le_bytes())?;
        target.write_all(&self.digest(key))?;
        write_sparse(target, &self.memory)?;
        target.sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    fn digest(&self, key: &Key) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(key);
        digest.update(self.stack_pointer.to_le_bytes());
        digest.update(&self.memory);
        digest.finalize().into()
    }
}

/// A session at rest.
#[derive(Debug)]
pub struct State {
    stack_pointer: i32,
    memory_bytes: usize,
    /// Number and content of every block that differs from the snapshot, in order.
    changed: Vec<(usize, Box<[u8]>)>,
}

impl State {
    /// Notes where `memory` differs from `snapshot`.
    pub fn save(snapshot: &Snapshot, memory: &[u8], stack_pointer: i32) -> Self {
        let zeros = [0; BLOCK_BYTES];
        let originals = snapshot.memory.chunks(BLOCK_BYTES).chain(std::iter::repeat(&zeros[..]));
        let changed = memory
            .chunks(BLOCK_BYTES)
            .zip(originals)
            .enumerate()
            .filter(|(_, (block, original))| block != original)
            .map(|(number, (block, _))| (number, block.into()))
            .collect();
        Self { stack_pointer, memory_bytes: memory.len(), changed }
    }

    /// The snapshot itself, as a state.
    pub fn unchanged(snapshot: &Snapshot) -> Self {
        let memory_bytes = snapshot.memory.len();
        Self { stack_pointer: snapshot.stack_pointer, memory_bytes, changed: Vec::new() }
    }

    /// Writes the state over `memory`, which is [`State::memory_bytes`] long.
    pub fn restore(&self, snapshot: &Snapshot, memory: &mut [u8]) {
        let shared = memory.len().min(snapshot.memory.len());
        let (start, tail) = memory.split_at_mut(shared);
        if let Some(original) = snapshot.memory.get(..shared) {
            start.copy_from_slice(original);
        }
        tail.fill(0);
        for (number, block) in &self.changed {
            let at = number * BLOCK_BYTES;
            if let Some(target) = memory.get_mut(at..at + block.len()) {
                target.copy_from_slice(block);
            }
        }
    }

    /// Size of the linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Value of the guest's `__stack_pointer`.
    pub fn stack_pointer(&self) -> i32 {
        self.stack_pointer
    }
}

/// Writes `memory` with a hole for every block of zeros.
fn write_sparse(file: &mut File, memory: &[u8]) -> std::io::Result<()> {
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
        let memory = (0..3 * BLOCK_BYTES).map(|at| u8::from(at / BLOCK_BYTES != 1)).collect();
        Snapshot { stack_pointer: 7, memory }
    }

    #[test]
    fn a_stored_snapshot_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("a.snapshot");
        snapshot().store(&path, &[1; 32]).unwrap();
        assert_eq!(Snapshot::load(&path, &[1; 32]), Some(snapshot()));
        assert_eq!(Snapshot::load(&path, &[2; 32]), None);
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.snapshot");
        snapshot().store(&path, &[1; 32]).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in [0, 8, 40, 44, 52, HEADER_BYTES, HEADER_BYTES + 5000, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 64;
            fs::write(&path, damaged).unwrap();
            assert_eq!(Snapshot::load(&path, &[1; 32]), None, "byte {at}");
        }
        for length in [0, HEADER_BYTES, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(Snapshot::load(&path, &[1; 32]), None, "{length} bytes");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert_eq!(Snapshot::load(&path, &[1; 32]), None, "one byte more");
    }

    #[test]
    fn a_state_keeps_only_what_differs() {
        let snapshot = snapshot();
        let mut memory = snapshot.memory.clone();
        memory.extend([0; 2 * BLOCK_BYTES]);
        memory[BLOCK_BYTES + 1] = 9;
        memory[4 * BLOCK_BYTES] = 8;
        let state = State::save(&snapshot, &memory, 5);
        assert_eq!(state.changed.len(), 2);
        assert_eq!(state.stack_pointer(), 5);
        let mut restored = vec![3; state.memory_bytes()];
        state.restore(&snapshot, &mut restored);
        assert!(restored == memory);
    }
}
