//! Address space for the memory of one instance, with a snapshot mapped copy-on-write at its start.
//!
//! The only unsafe code of the sandbox. A platform without it copies snapshots instead.
#![allow(unsafe_code)] // Mapping memory has no safe interface.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

use memmap2::Mmap;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};

/// Address space of a region, and so the most memory an instance can have. Untouched, it costs
/// nothing; a 32-bit process has only so much of it.
pub const REGION_BYTES: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 256 << 20 };

/// Bits of an entry of `/proc/self/pagemap`: in memory, swapped out, shared with a file.
const PAGE_PRESENT: u64 = 1 << 63;
const PAGE_SWAPPED: u64 = 1 << 62;
const PAGE_OF_FILE: u64 = 1 << 61;
const ENTRY_BYTES: usize = 8;

/// One reserved range of addresses. Unmapped when dropped.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
}

// SAFETY: the region owns its mapping alone; nothing in it belongs to a thread.
unsafe impl Send for Region {}
// SAFETY: methods that change the mapping take `&mut self`; those on `&self` read page tables only.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves the address space; all zeros.
    pub fn reserve() -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: without a fixed address, a new mapping touches no memory in use.
        let start = unsafe { mm::mmap_anonymous(null_mut(), REGION_BYTES, protection, flags) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start })
    }

    /// The region's memory, for the one store that will use it.
    ///
    /// The caller keeps the region until that store is dropped (`Instance` declares its store
    /// first), and lends it once.
    pub fn lend(&mut self) -> &'static mut [u8] {
        // SAFETY: `start` is REGION_BYTES of readable and writable memory that no one else has;
        // it stays mapped until `self` is dropped, which the caller delays as described.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), REGION_BYTES) }
    }

    /// Shows `bytes` of `file` from `at` on at the start of the region. What is written there
    /// stays in this process. The caller holds no reference into the region.
    pub fn show(&mut self, file: &File, at: u64, bytes: usize) -> io::Result<()> {
        if bytes > REGION_BYTES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the range lies inside this region's own mapping (checked above), and the caller
        // holds no reference into it.
        unsafe { mm::mmap(self.start.as_ptr().cast(), bytes, protection, flags, file, at) }?;
        Ok(())
    }

    /// Drops everything that was written: the file shows again where one is shown, zeros
    /// elsewhere. The caller holds no reference into the region.
    pub fn forget_changes(&mut self) -> io::Result<()> {
        let start = self.start.as_ptr().cast();
        // SAFETY: the range is this region's own private mapping; its pages may change their
        // content because the caller holds no reference into it.
        unsafe { mm::madvise(start, REGION_BYTES, Advice::LinuxDontNeed) }?;
        Ok(())
    }

    /// Ranges of the first `bytes` that may have been written, `None` if that cannot be known.
    pub fn written(&self, bytes: usize) -> Option<Vec<Range<usize>>> {
        self.written_by(pagemap()?, bytes)
    }

    fn written_by(&self, pagemap: &File, bytes: usize) -> Option<Vec<Range<usize>>> {
        let page_bytes = rustix::param::page_size();
        let mut entries = vec![0; bytes.div_ceil(page_bytes) * ENTRY_BYTES];
        let first = self.start.as_ptr().addr() / page_bytes * ENTRY_BYTES;
        pagemap.read_exact_at(&mut entries, u64::try_from(first).ok()?).ok()?;
        let (entries, _) = entries.as_chunks::<ENTRY_BYTES>();
        let mut written: Vec<Range<usize>> = Vec::new();
        for (page, entry) in entries.iter().enumerate() {
            if is_own(u64::from_ne_bytes(*entry)) {
                let start = page * page_bytes;
                match written.last_mut() {
                    Some(last) if last.end == start => last.end += page_bytes,
                    _ => written.push(start..start + page_bytes),
                }
            }
        }
        Some(written)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: whoever was lent the memory is gone (see `lend`). An error leaves it mapped.
        let _ = unsafe { mm::munmap(self.start.as_ptr().cast(), REGION_BYTES) };
    }
}

/// The whole of `file`, read-only.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: snapshot files are written beside and renamed, never changed in place, so the bytes
    // stay as they are while they are mapped.
    unsafe { Mmap::map(file) }
}

/// Whether a page is the process's own copy.
fn is_own(entry: u64) -> bool {
    entry & (PAGE_PRESENT | PAGE_SWAPPED) != 0 && entry & PAGE_OF_FILE == 0
}

/// The page tables, where the system shows them and they are this process's: an emulator may show
/// those of its own addresses, and a state saved by them would lack what was written.
fn pagemap() -> Option<&'static File> {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok().filter(shows_writes)).as_ref()
}

/// Whether pages that were just written are shown as written.
fn shows_writes(pagemap: &File) -> bool {
    let Ok(mut region) = Region::reserve() else { return false };
    let places = [0, 1 << 20, 5 << 20];
    let memory = region.lend();
    for place in places {
        if let Some(byte) = memory.get_mut(place) {
            *byte = 1;
        }
    }
    let written = region.written_by(pagemap, 6 << 20).unwrap_or_default();
    places.iter().all(|place| written.iter().any(|range| range.contains(place)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_found_and_forgotten() {
        let page = rustix::param::page_size();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &vec![7; 4 * page]).unwrap();
        let mut region = Region::reserve().unwrap();
        region.show(&file, 0, 4 * page).unwrap();
        let memory = region.lend();
        assert_eq!(memory[..4 * page], vec![7; 4 * page]);
        memory[page] = 1;
        memory[2 * page] = 1;
        memory[5 * page] = 1;
        if let Some(written) = region.written(8 * page) {
            assert_eq!(written, [page..3 * page, 5 * page..6 * page]);
        }
        region.forget_changes().unwrap();
        let memory = region.lend();
        assert_eq!((memory[page], memory[2 * page], memory[5 * page]), (7, 7, 0));
    }

    #[test]
    fn more_than_the_region_cannot_be_shown() {
        let file = tempfile::tempfile().unwrap();
        assert!(Region::reserve().unwrap().show(&file, 0, REGION_BYTES + 1).is_err());
    }
}
