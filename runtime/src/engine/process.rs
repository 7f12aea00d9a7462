//! A child process with framed pipes, a deadline for silence, and the tail of what it logged.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::{Builder, Runtime};

use super::protocol::{
    Failure, PROTOCOL_VERSION, Reply, Request, WORKER_ARGUMENT, decode_frame, encode_frame,
    frame_length,
};
use super::{EngineError, WorkerSettings};
use crate::cancel::Cancel;

/// Bytes of the worker's log that an error message may quote.
const LOG_TAIL_BYTES: usize = 2048;

/// How often a waiting parent looks at the cancel token.
const CANCEL_POLL: Duration = Duration::from_millis(20);

type LogTail = Arc<Mutex<heapless::HistoryBuf<u8, LOG_TAIL_BYTES>>>;

/// A live worker.
pub struct Process {
    runtime: Runtime,
    child: Child,
    requests: ChildStdin,
    replies: ChildStdout,
    log: LogTail,
    silence_max: Duration,
}

/// How a worker ended.
#[derive(Debug)]
pub struct Death {
    how: String,
    log: String,
    /// A signal that a program does not raise itself (SIGKILL, SIGTERM, SIGINT, SIGHUP).
    pub by_outside_signal: bool,
    /// It never ran.
    pub cannot_start: bool,
}

/// What can go wrong with an operation.
pub enum Trouble {
    Engine(EngineError),
    Died(Death),
}

impl fmt::Display for Death {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.how)?;
        if !self.log.is_empty() {
            write!(formatter, "; its last words: {}", self.log)?;
        }
        Ok(())
    }
}

impl Process {
    /// Starts a worker.
    ///
    /// # Errors
    /// When the command cannot be run.
    pub fn start(settings: &WorkerSettings) -> Result<Self, Death> {
        Self::spawn(settings).map_err(|error| Death {
            how: format!("the worker {:?} cannot be started: {error}", settings.command),
            log: String::new(),
            by_outside_signal: false,
            cannot_start: true,
        })
    }

    fn spawn(settings: &WorkerSettings) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let _guard = runtime.enter();
        let (program, arguments) = settings
            .command
            .split_first()
            .ok_or_else(|| io::Error::other("the setting `command` is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(WORKER_ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal is the parent's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let no_pipe = || io::Error::other("a pipe is missing");
        let requests = child.stdin.take().ok_or_else(no_pipe)?;
        let replies = child.stdout.take().ok_or_else(no_pipe)?;
        let stderr = child.stderr.take().ok_or_else(no_pipe)?;
        let log = LogTail::default();
        runtime.spawn(keep_tail(stderr, Arc::clone(&log)));
        drop(_guard);
        let silence_max = settings.silence_max;
        Ok(Self { runtime, child, requests, replies, log, silence_max })
    }

    /// Process id, while it lives.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a request and waits for the answer that is not a sign of life. A set cancel token is
    /// passed on to the worker.
    pub fn ask(&mut self, request: &Request, cancel: &Cancel) -> Result<Reply, Trouble> {
        let frame = encode_frame(request)
            .map_err(|error| Trouble::Engine(EngineError::WorkerFailed(error.to_string())))?;
        let exchanged = {
            let Self { runtime, requests, replies, silence_max, .. } = self;
            runtime.block_on(exchange(requests, replies, &frame, cancel, *silence_max))
        };
        match exchanged {
            Ok(Reply::Failed(Failure::Cancelled)) => Err(Trouble::Engine(EngineError::Cancelled)),
            Ok(reply @ Reply::Failed(_)) => Err(unexpected(&reply)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(Trouble::Died(self.death(&error))),
        }
    }

    /// Ends what is left of the child and says how it ended.
    fn death(&mut self, error: &io::Error) -> Death {
        let is_silent = error.kind() == io::ErrorKind::TimedOut;
        let status = self.runtime.block_on(async {
            if is_silent {
                let _ = self.child.start_kill();
            }
            tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await
        });
        let status = status.ok().and_then(Result::ok);
        let how = match status {
            _ if is_silent => format!("it was silent for {:?} and was ended", self.silence_max),
            Some(status) => format!("{status}"),
            None => error.to_string(),
        };
        let tail = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.oldest_ordered().copied().collect();
        let log = String::from_utf8_lossy(&bytes).trim().to_owned();
        let by_outside_signal = !is_silent && status.is_some_and(is_outside_signal);
        Death { how, log, by_outside_signal, cannot_start: false }
    }
}

/// An answer that does not fit the request, as trouble.
pub fn unexpected(reply: &Reply) -> Trouble {
    Trouble::Engine(match reply {
        Reply::Failed(Failure::Cancelled) => EngineError::Cancelled,
        Reply::Failed(Failure::Version(theirs)) => EngineError::WorkerFailed(format!(
            "the worker speaks version {theirs}, this program {PROTOCOL_VERSION}"
        )),
        Reply::Failed(Failure::Llama(words)) => EngineError::WorkerFailed(words.clone()),
        other => EngineError::WorkerFailed(format!("unexpected answer {other:?}")),
    })
}

fn is_outside_signal(status: ExitStatus) -> bool {
    const HANGUP_INTERRUPT_KILL_TERMINATE: [i32; 4] = [1, 2, 9, 15];
    status.signal().is_some_and(|signal| HANGUP_INTERRUPT_KILL_TERMINATE.contains(&signal))
}

async fn exchange(
    requests: &mut ChildStdin,
    replies: &mut ChildStdout,
    frame: &[u8],
    cancel: &Cancel,
    silence_max: Duration,
) -> io::Result<Reply> {
    requests.write_all(frame).await?;
    requests.flush().await?;
    let mut told = false;
    loop {
        let mut reading = std::pin::pin!(read_reply(replies));
        let deadline = tokio::time::sleep(silence_max);
        let mut deadline = std::pin::pin!(deadline);
        let reply = loop {
            tokio::select! {
                reply = &mut reading => break reply?,
                () = &mut deadline => return Err(io::ErrorKind::TimedOut.into()),
                () = tokio::time::sleep(CANCEL_POLL), if !told => {
                    if cancel.is_cancelled() {
                        told = true;
                        requests.write_all(&encode_frame(&Request::Cancel)?).await?;
                    }
                }
            }
        };
        if reply != Reply::Working {
            return Ok(reply);
        }
    }
}

async fn read_reply(replies: &mut ChildStdout) -> io::Result<Reply> {
    let mut field = [0; 4];
    replies.read_exact(&mut field).await?;
    let mut body = vec![0; frame_length(field)?];
    replies.read_exact(&mut body).await?;
    decode_frame(&body)
}

async fn keep_tail(mut stderr: ChildStderr, log: LogTail) {
    let mut buffer = [0; 512];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let mut tail = log.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(buffer.iter().take(count));
    }
}
