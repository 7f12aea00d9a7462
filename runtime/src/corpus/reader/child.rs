//! The reader process: takes a file's descriptor, gives its passages, forgets it.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::super::source::{self, Task};
use super::super::{CorpusError, Passage};
use super::contain;
use super::protocol::{PROTOCOL_VERSION, READER_ARGUMENT, Reply, Request, read_frame, write_frame};

/// Stack of the thread that parses: recursion of a library over a hostile file ends here.
const STACK_BYTES: usize = 64 << 20;
/// Bytes of text that are sent together.
const BATCH_BYTES: usize = 256 << 10;
/// Work without passages is told so often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Serves as the corpus's reader and ends the process, if it was started as one. Every binary
/// that indexes with [`Reader::Process`](super::Reader::Process) calls this first in `main`.
pub fn serve_if_reader() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == READER_ARGUMENT) {
        let code = i32::from(serve().is_err());
        std::process::exit(code);
    }
}

fn serve() -> io::Result<()> {
    let (requests, replies) = contain::descriptors()?;
    contain::limit_process()?;
    // A panic is caught and told to the parent; nobody reads this process's standard error.
    std::panic::set_hook(Box::new(|_| {}));
    let parsing = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        contain::refuse_system_calls()?;
        answer(requests, replies)
    })?;
    parsing.join().unwrap_or_else(|_| Err(io::Error::other("the parsing thread panicked")))
}

/// Reads file after file until the parent closes its end.
fn answer(requests: OwnedFd, replies: OwnedFd) -> io::Result<()> {
    let output = RefCell::new(Output::new(replies));
    output.borrow_mut().say(&Reply::Ready { version: PROTOCOL_VERSION })?;
    let mut requests = Requests { socket: requests, file: None };
    loop {
        let request: Request = match read_frame(&mut requests) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        };
        let file =
            requests.file.take().ok_or_else(|| io::Error::other("a request without file"))?;
        contain::limit_processor_time(file.metadata().map_or(0, |data| data.len()))?;
        read(File::from(OwnedFd::from(file)), &request.task, &output)?;
    }
}

fn read(file: File, task: &Task, output: &RefCell<Output>) -> io::Result<()> {
    let failed = RefCell::new(None);
    let note = |result: io::Result<()>| {
        if let Err(error) = result {
            failed.borrow_mut().get_or_insert(error);
        }
    };
    let advanced = |bytes| note(output.borrow_mut().advanced(bytes));
    let mut sink = |passage| {
        note(output.borrow_mut().passage(passage));
        // Without a parent there is nobody to read for.
        if failed.borrow().is_some() { Err(CorpusError::Cancelled) } else { Ok(()) }
    };
    let outcome = source::read(file, task, &advanced, &mut sink);
    match (failed.into_inner(), outcome) {
        (Some(error), _) => Err(error),
        (None, Ok(outcome)) => output.borrow_mut().done(outcome),
        (None, Err(error)) => Err(io::Error::other(error)),
    }
}

/// Takes frames from the socket, and the descriptor that comes with one.
struct Requests {
    socket: OwnedFd,
    file: Option<File>,
}

impl Read for Requests {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(self.socket.as_fd(), &mut parts, &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                self.file = descriptors.next().map(File::from).or(self.file.take());
            }
        }
        Ok(received.bytes)
    }
}

/// Says things to the parent, in batches.
struct Output {
    pipe: BufWriter<File>,
    passages: Vec<Passage>,
    batch_bytes: usize,
    advanced_bytes: u64,
    last_word: Instant,
}

impl Output {
    fn new(pipe: OwnedFd) -> Self {
        Self {
            pipe: BufWriter::with_capacity(BATCH_BYTES, File::from(pipe)),
            passages: Vec::new(),
            batch_bytes: 0,
            advanced_bytes: 0,
            last_word: Instant::now(),
        }
    }

    fn say(&mut self, reply: &Reply) -> io::Result<()> {
        self.last_word = Instant::now();
        write_frame(&mut self.pipe, reply)?;
        self.pipe.flush()
    }

    fn passage(&mut self, passage: Passage) -> io::Result<()> {
        self.batch_bytes += passage.text.len() + passage.title.len() + passage.document.len();
        self.batch_bytes += passage.heading.iter().map(String::len).sum::<usize>();
        self.passages.push(passage);
        if self.batch_bytes >= BATCH_BYTES { self.flush() } else { self.advanced(0) }
    }

    fn advanced(&mut self, bytes: u64) -> io::Result<()> {
        self.advanced_bytes += bytes;
        if self.last_word.elapsed() >= SIGN_OF_LIFE { self.flush() } else { Ok(()) }
    }

    /// Tells everything that is waiting.
    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.advanced_bytes);
        self.say(&Reply::Advanced(bytes))?;
        self.batch_bytes = 0;
        let passages = std::mem::take(&mut self.passages);
        if passages.is_empty() { Ok(()) } else { self.say(&Reply::Passages(passages)) }
    }

    fn done(&mut self, outcome: source::Outcome) -> io::Result<()> {
        self.flush()?;
        self.say(&Reply::Done(outcome))
    }
}
