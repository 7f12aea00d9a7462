//! The operating system the guest sees: none. Every call is refused, but for the few without
//! which CPython does not start, and the clock, which stands.

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
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Where the clock stands.
    pub unix_seconds: i64,
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
pub fn answer(name: &str, arguments: &[u64], memory: &mut [u8], world: World) -> Reply {
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
        "random_get" => fill(memory, pointer(0), pointer(1)),
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

/// Fixed bytes: what should differ between runs is seeded by the host.
fn fill(memory: &mut [u8], at: usize, length: usize) -> Option<()> {
    let target = memory.get_mut(at..at.checked_add(length)?)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in target {
        // Knuth's linear congruential step; its high bits are the well mixed ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = state.to_be_bytes()[0];
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

    const WORLD: World = World { unix_seconds: 1_767_225_600 };

    #[test]
    fn what_is_not_there_is_refused() {
        let mut memory = [0; 16];
        assert_eq!(answer("path_open", &[3], &mut memory, WORLD), Reply::Errno(NOT_SUPPORTED));
        assert_eq!(answer("fd_read", &[7], &mut memory, WORLD), Reply::Errno(BAD_FILE));
        assert_eq!(answer("proc_exit", &[3], &mut memory, WORLD), Reply::Exit(3));
    }

    #[test]
    fn the_clock_stands() {
        let mut memory = [0; 16];
        assert_eq!(answer("clock_time_get", &[0, 0, 8], &mut memory, WORLD), Reply::Errno(0));
        assert_eq!(memory[8..], (1_767_225_600 * NANOSECONDS).to_le_bytes());
    }

    #[test]
    fn pointers_outside_memory_are_refused() {
        let mut memory = [0; 16];
        for name in ["clock_time_get", "random_get", "fd_fdstat_get", "poll_oneoff"] {
            let reply = answer(name, &[1, u64::MAX, u64::MAX, 12], &mut memory, WORLD);
            assert_eq!(reply, Reply::Errno(FAULT), "{name}");
        }
    }
}
