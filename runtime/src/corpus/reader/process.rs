//! The parent's side: starts the reader, hands it a file, listens, and ends it.

use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::super::CorpusError;
use super::super::formats::{EXPANSION_FREE_BYTES, EXPANSION_MAX, Sink};
use super::super::source::{Outcome, Task};
use super::ReaderSettings;
use super::protocol::{PROTOCOL_VERSION, READER_ARGUMENT, Reply, Request, read_frame, write_frame};
use crate::cancel::Cancel;

/// How often a waiting parent looks at the cancel token.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// How long a new process may take to say that it is ready.
const READY_MAX: Duration = Duration::from_secs(20);

/// What a reader may say of a file: so many times its bytes, twice what its formats let a file
/// grow to, ...
const REPLY_SHARE_MAX: u64 = 2 * EXPANSION_MAX;
/// ... and so much of any file.
const REPLY_FREE_BYTES: u64 = 2 * EXPANSION_FREE_BYTES;

/// A live reader.
pub(super) struct Process {
    child: Child,
    requests: UnixStream,
    replies: Replies,
    silence_max: Duration,
}

/// Why a file was not read to its end.
pub(super) enum Ended {
    /// The sink's error.
    Sink(CorpusError),
    /// The cancel token was set.
    Cancelled,
    /// The reader is gone.
    Died {
        /// What happened to it, to be put after "the reader".
        how: String,
        /// The file did it, as far as one can tell: no signal from outside.
        by_itself: bool,
    },
}

impl Process {
    /// Starts a reader and waits until it is ready.
    pub(super) fn start(settings: &ReaderSettings) -> Result<Self, CorpusError> {
        let (program, arguments) = command(settings)?;
        let failed = |reason: String| CorpusError::Reader { program: program.clone(), reason };
        let mut process = Self::spawn(&program, &arguments, settings.silence_max)
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        process.replies.deadline = Instant::now() + READY_MAX;
        process.replies.left = REPLY_FREE_BYTES;
        match read_frame(&mut process.replies) {
            Ok(Reply::Ready { version: PROTOCOL_VERSION }) => {
                tracing::debug!(process = process.child.id(), "the reader has started");
                Ok(process)
            }
            Ok(Reply::Ready { version }) => {
                Err(failed(format!("speaks version {version}, this program {PROTOCOL_VERSION}")))
            }
            _ => Err(failed(
                "did not answer as a reader; its `main` must begin with \
                 `retort::corpus::serve_if_reader()`"
                    .to_owned(),
            )),
        }
    }

    fn spawn(program: &PathBuf, arguments: &[PathBuf], silence_max: Duration) -> io::Result<Self> {
        let (requests, theirs) = UnixStream::pair()?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(READER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C on the terminal is the parent's to handle.
            .process_group(0)
            .spawn()?;
        let pipe = child.stdout.take().ok_or_else(|| io::Error::other("a pipe is missing"))?;
        let replies = Replies { pipe, left: 0, deadline: Instant::now(), cancel: None };
        Ok(Self { child, requests, replies, silence_max })
    }

    /// Whether it can take a file: nothing ended it since the last one.
    pub(super) fn is_ready(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Lets it read a file.
    pub(super) fn read(
        &mut self,
        file: &File,
        task: &Task,
        cancel: &Cancel,
        advanced: &mut dyn FnMut(u64),
        sink: &mut Sink<'_>,
    ) -> Result<Outcome, Ended> {
        self.replies.cancel = Some(cancel.clone());
        let file_bytes = file.metadata().map_or(0, |data| data.len());
        self.replies.left = REPLY_FREE_BYTES.max(file_bytes.saturating_mul(REPLY_SHARE_MAX));
        if let Err(error) = self.send(file, task) {
            return Err(self.died(&error));
        }
        let mut given = 0;
        loop {
            self.replies.deadline = Instant::now() + self.silence_max;
            match read_frame(&mut self.replies) {
                Ok(Reply::Advanced(bytes)) => advanced(bytes),
                Ok(Reply::Passages(passages)) => {
                    given += passages.len() as u64;
                    passages.into_iter().try_for_each(&mut *sink).map_err(Ended::Sink)?;
                }
                // What the ledger keeps is what came, whatever the reader says.
                Ok(Reply::Done(outcome)) => return Ok(Outcome { passages: given, ..outcome }),
                Ok(Reply::Ready { .. }) => return Err(self.died(&unexpected())),
                Err(_) if cancel.is_cancelled() => return Err(Ended::Cancelled),
                Err(error) => return Err(self.died(&error)),
            }
        }
    }

    fn send(&mut self, file: &File, task: &Task) -> io::Result<()> {
        let mut frame = Vec::new();
        write_frame(&mut frame, &Request { task: task.clone() })?;
        let descriptors = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts = [IoSlice::new(&frame)];
        let sent = sendmsg(&self.requests, &parts, &mut control, SendFlags::NOSIGNAL)?;
        match frame.get(sent..) {
            None | Some([]) => Ok(()),
            Some(rest) => io::Write::write_all(&mut self.requests, rest),
        }
    }

    /// Ends what is left of it and says how it ended.
    fn died(&mut self, error: &io::Error) -> Ended {
        let is_silent = error.kind() == io::ErrorKind::TimedOut;
        let is_gone = matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
        );
        if !is_gone {
            let _ = self.child.kill();
        }
        let status = self.child.wait().ok();
        let how = match status {
            _ if is_silent => format!("was silent for {:?} and was ended", self.silence_max),
            Some(status) if is_gone => format!("stopped ({})", in_words(status)),
            _ => format!("was ended because it answered nonsense ({error})"),
        };
        let by_itself = !is_gone || !status.is_some_and(is_outside_signal);
        Ended::Died { how, by_itself }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(settings: &ReaderSettings) -> Result<(PathBuf, Vec<PathBuf>), CorpusError> {
    if let Some((program, arguments)) = settings.command.split_first() {
        return Ok((program.clone(), arguments.to_vec()));
    }
    let program = std::env::current_exe().map_err(|error| CorpusError::Reader {
        program: PathBuf::from("/proc/self/exe"),
        reason: format!("cannot be started: {error}"),
    })?;
    Ok((program, Vec::new()))
}

fn in_words(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(24), _) => "signal 24, out of processor time".to_owned(),
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

fn is_outside_signal(status: ExitStatus) -> bool {
    const HANGUP_INTERRUPT_KILL_TERMINATE: [i32; 4] = [1, 2, 9, 15];
    status.signal().is_some_and(|signal| HANGUP_INTERRUPT_KILL_TERMINATE.contains(&signal))
}

fn unexpected() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer to no question")
}

/// The reader's words, with a deadline for its silence.
struct Replies {
    pipe: ChildStdout,
    /// Bytes it may still say.
    left: u64,
    deadline: Instant,
    cancel: Option<Cancel>,
}

impl Replies {
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.pipe.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "more than the file can hold")
        })?;
        Ok(read)
    }
}

impl Read for Replies {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let pause = Timespec::try_from(left.min(CANCEL_POLL)).map_err(io::Error::other)?;
            let mut waiting = [PollFd::new(&self.pipe, PollFlags::IN)];
            match poll(&mut waiting, Some(&pause)) {
                Ok(0) if left.is_zero() => return Err(io::ErrorKind::TimedOut.into()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.take(buffer),
                Err(error) => return Err(error.into()),
            }
            if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                return Err(io::Error::other("cancelled"));
            }
        }
    }
}
