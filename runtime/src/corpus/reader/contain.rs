//! What the reader process gives up before it sees a file.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Address space of the reader: a PDF of 256 MiB, decompressed and taken apart, and the program
/// itself (0.2 GiB).
const ADDRESS_BYTES_MAX: u64 = 3 << 30;
/// Processor time for any file, ...
const PROCESSOR_SECONDS: u64 = 120;
/// ... and a second more for each so many bytes of it: a fiftieth of the speed at which HTML is
/// read.
const PROCESSOR_BYTES_PER_SECOND: u64 = 200 << 10;
/// Open files: three pipes, the file and its double, with room to spare.
const FILES_MAX: u64 = 16;

/// Takes the two pipes from standard input and output, and closes all that was inherited beside
/// them. What a library prints goes nowhere.
pub(super) fn descriptors() -> io::Result<(OwnedFd, OwnedFd)> {
    close_inherited()?;
    let requests = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let replies = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok((requests, replies))
}

/// Closes descriptors from 3 up that the parent's own parent left open across exec.
#[allow(unsafe_code)]
fn close_inherited() -> io::Result<()> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: this runs first in `main`, before any Rust value owns a descriptor; the one
        // that listed the folder is closed already, and closing it again is only refused.
        unsafe { rustix::io::close(number) };
    }
    Ok(())
}

/// Limits that hold for the process's whole life.
pub(super) fn limit_process() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // When memory is short, this process goes before any other. Not everywhere allowed.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, 0)?;
    lower(Resource::Nofile, FILES_MAX)?;
    lower(Resource::As, ADDRESS_BYTES_MAX)
}

/// A limit may be lowered, never raised.
fn lower(resource: Resource, to: u64) -> io::Result<()> {
    let now = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let to = Some(to.min(now));
    Ok(setrlimit(resource, Rlimit { current: to, maximum: to })?)
}

/// From now on, a file of so many bytes may cost so much; then the kernel ends the process.
pub(super) fn limit_processor_time(file_bytes: u64) -> io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
    let seconds = used + PROCESSOR_SECONDS + file_bytes / PROCESSOR_BYTES_PER_SECOND;
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = Some(maximum.map_or(seconds, |most| seconds.min(most)));
    Ok(setrlimit(Resource::Cpu, Rlimit { current, maximum })?)
}

/// System calls that parsing needs: memory, the open descriptors, clocks and locks. Everything
/// else (opening, sockets, starting, tracing, signals to others) fails from here on.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
];

/// A rule that holds where the first argument is this number.
fn when_first_is(value: u64) -> io::Result<Vec<SeccompRule>> {
    let (length, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    let condition = SeccompCondition::new(0, length, equal, value).map_err(io::Error::other)?;
    Ok(vec![SeccompRule::new(vec![condition]).map_err(io::Error::other)?])
}

/// Lets the kernel refuse every other system call of this process. A kernel (or an emulator)
/// without such filters leaves the other limits.
pub(super) fn refuse_system_calls() -> io::Result<()> {
    let Ok(architecture) = std::env::consts::ARCH.try_into() else {
        return Ok(());
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    // Signals (an abort is one) and limits for this process alone.
    rules.insert(libc::SYS_tgkill, when_first_is(u64::from(std::process::id()))?);
    rules.insert(libc::SYS_prlimit64, when_first_is(0)?);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)
        .map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    match seccompiler::apply_filter_all_threads(&program) {
        Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
        {
            Ok(())
        }
        other => other.map_err(io::Error::other),
    }
}
