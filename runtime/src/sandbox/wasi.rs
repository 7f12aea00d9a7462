//! The operating system the guest sees: none. Every call is refused, but for the few without
//! which CPython does not start, the clock, which stands, and random bytes, which follow from the
//! session's seed.

/// `errno` of a call that is not there.
const NOT_SUPPORTED: i32 = 52;
/// `errno` of a call on a file that is not open.
const BAD_FILE: i32 = 8;
/// `errno` of a seek on a stream.
const NOT_SEEKABLE: i32 = 70;
/// `errno` of a pointer outside the guest's memory.
const FAULT: i32 = 21;
/// The file type of a terminal. CPython refuses to start unless its three streams look like one.
const CHARACTER_DEVICE: u8 = 2;
const NANOSECONDS: u64 = 1_000_000_000;

/// What the guest may learn of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// Where the clock stands.
    pub unix_seconds: i64,
    /// What the next random bytes follow from. Part of a session's state: every draw moves it.
    pub random: u64,
}

impl World {
    /// The next eight random bytes: SplitMix64, which passes the usual tests from any seed.
    fn draw(&mut self) -> [u8; 8] {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    }
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It returns this `errno`; 0 is success.
    Errno(i32),
    /// The guest ends itself with this status.
    Exit(i32),
}

/// Answers the call `name` of `wasi_snapshot_preview1`.
pub fn answer(name: &str, arguments: &[u64], memory: &mut [u8], world: &mut World) -> Reply {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let pointer = |index: usize| usize::try_from(argument(index)).unwrap_or(usize::MAX);
    let is_stream = argument(0) <= 2;
    let done = match name {
        "proc_exit" => return Reply::Exit(i32::try_from(argument(0)).unwrap_or(i32::MAX)),
        "environ_sizes_get" | "args_sizes_get" => {
            write(memory, pointer(0), &[0; 4]).and_then(|()| write(memory, pointer(1), &[0; 4]))
        }
        "environ_get" | "args_get" | "sched_yield" => Some(()),
        "clock_res_get" => write(memory, pointer(1), &NANOSECONDS.to_le_bytes()),
        "clock_time_get" => {
            let seconds = u64::try_from(world.unix_seconds).unwrap_or_default();
            let time = seconds.saturating_mul(NANOSECONDS);
            write(memory, pointer(2), &time.to_le_bytes())
        }
        "random_get" => fill(memory, pointer(0), pointer(1), world),
        "fd_fdstat_get" if is_stream => stat(memory, pointer(1), 24, 0),
        "fd_filestat_get" if is_stream => stat(memory, pointer(1), 64, 16),
        "fd_seek" | "fd_tell" if is_stream => return Reply::Errno(NOT_SEEKABLE),
        "poll_oneoff" => sleep(memory, pointer(0), pointer(1), argument(2), pointer(3)),
        _ if name.starts_with("fd_") => return Reply::Errno(BAD_FILE),
        _ => return Reply::Errno(NOT_SUPPORTED),
    };
    Reply::Errno(if done.is_some() { 0 } else { FAULT })
}

/// A zeroed record of `length` bytes that says "character device" at `kind_at`.
fn stat(memory: &mut [u8], at: usize, length: usize, kind_at: usize) -> Option<()> {
    let record = memory.get_mut(at..at.checked_add(length)?)?;
    record.fill(0);
    *record.get_mut(kind_at)? = CHARACTER_DEVICE;
    Some(())
}

/// Sleeping ends at once: the clock stands, and nothing else could happen meanwhile.
fn sleep(
    memory: &mut [u8],
    subscriptions: usize,
    events: usize,
    count: u64,
    count_at: usize,
) -> Option<()> {
    const SUBSCRIPTION_BYTES: usize = 48;
    const EVENT_BYTES: usize = 32;
    let count = usize::try_from(count).ok()?.min(16);
    for index in 0..count {
        let from = subscriptions.checked_add(index.checked_mul(SUBSCRIPTION_BYTES)?)?;
        let mut event = [0; EVENT_BYTES];
        // The caller's mark comes first in both records; the kind stands 8 and 10 bytes in.
        event.get_mut(..8)?.copy_from_slice(memory.get(from..from.checked_add(8)?)?);
        *event.get_mut(10)? = *memory.get(from.checked_add(8)?)?;
        write(memory, events.checked_add(index.checked_mul(EVENT_BYTES)?)?, &event)?;
    }
    write(memory, count_at, &u32::try_from(count).ok()?.to_le_bytes())
}

fn fill(memory: &mut [u8], at: usize, length: usize, world: &mut World) -> Option<()> {
    for bytes in memory.get_mut(at..at.checked_add(length)?)?.chunks_mut(8) {
        bytes.copy_from_slice(world.draw().get(..bytes.len())?);
    }
    Some(())
}

fn write(memory: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    memory.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: World = World { unix_seconds: 1_767_225_600, random: 1 };

    #[test]
    fn what_is_not_there_is_refused() {
        let mut memory = [0; 16];
        assert_eq!(
            answer("path_open", &[3], &mut memory, &mut { WORLD }),
            Reply::Errno(NOT_SUPPORTED)
        );
        assert_eq!(answer("fd_read", &[7], &mut memory, &mut { WORLD }), Reply::Errno(BAD_FILE));
        assert_eq!(answer("proc_exit", &[3], &mut memory, &mut { WORLD }), Reply::Exit(3));
    }

    #[test]
    fn the_clock_stands() {
        let mut memory = [0; 16];
        assert_eq!(
            answer("clock_time_get", &[0, 0, 8], &mut memory, &mut { WORLD }),
            Reply::Errno(0)
        );
        assert_eq!(memory[8..], (1_767_225_600 * NANOSECONDS).to_le_bytes());
    }

    #[test]
    fn random_bytes_go_on_and_differ_by_seed() {
        let draw = |world: &mut World| {
            let mut memory = [0; 16];
            assert_eq!(answer("random_get", &[3, 11], &mut memory, world), Reply::Errno(0));
            assert_eq!((memory[2], memory[14]), (0, 0));
            memory
        };
        let mut world = WORLD;
        let (first, second) = (draw(&mut world), draw(&mut world));
        assert_ne!(first, second);
        assert_eq!(draw(&mut { WORLD }), first);
        assert_ne!(draw(&mut World { random: 2, ..WORLD }), first);
    }

    #[test]
    fn pointers_outside_memory_are_refused() {
        let mut memory = [0; 16];
        for name in ["clock_time_get", "random_get", "fd_fdstat_get", "poll_oneoff"] {
            let reply = answer(name, &[1, u64::MAX, u64::MAX, 12], &mut memory, &mut { WORLD });
            assert_eq!(reply, Reply::Errno(FAULT), "{name}");
        }
    }
}
