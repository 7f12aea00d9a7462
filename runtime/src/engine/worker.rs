//! The child process: reads requests, drives llama.cpp, answers. It holds no state that the
//! parent could not replay.

use std::io::{self, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::Stop;
use super::generate::{self, Draw, Listener, Wish};
use super::llama::{self, Context, Model};
use super::protocol::{
    Failure, PROTOCOL_VERSION, Reply, Request, SampledReply, WORKER_ARGUMENT, read_frame,
    write_frame,
};

/// Serves as the engine's worker and ends the process, if it was started as one. Every binary
/// that uses the engine calls this first in `main`.
pub fn serve_if_worker() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == WORKER_ARGUMENT) {
        let code = match serve() {
            Ok(()) => 0,
            Err(error) => {
                // The parent keeps the tail of standard error for its message.
                let _ = writeln!(io::stderr(), "worker: {error}");
                1
            }
        };
        std::process::exit(code);
    }
}

/// The two pipes, and the flag that the reading thread sets on a cancel.
struct Pipes {
    requests: Receiver<Request>,
    replies: std::fs::File,
    cancelled: Arc<AtomicBool>,
}

/// Serves until the parent closes the pipe.
fn serve() -> io::Result<()> {
    log_to_stderr();
    let mut pipes = Pipes::open()?;
    while let Some(request) = pipes.next() {
        match request {
            Request::Quantise { version, from, to, kind, importance, threads } => {
                let done = check_version(version).and_then(|()| {
                    llama::quantise(&from, &to, &kind, &importance, threads).map_err(Failure::Llama)
                });
                pipes.answer(done.map(|()| Reply::Quantised))?;
            }
            Request::Load {
                version,
                path,
                adapter,
                context_tokens,
                candidates_max,
                threads,
                probes,
            } => {
                let loaded = check_version(version)
                    .and_then(|()| Model::load(&path, adapter.as_deref()).map_err(Failure::Llama));
                match loaded {
                    Ok(model) => {
                        return serve_model(
                            &model,
                            &mut pipes,
                            (context_tokens, candidates_max, threads),
                            &probes,
                        );
                    }
                    Err(failure) => pipes.answer(Err(failure))?,
                }
            }
            _ => pipes.answer(Err(Failure::Llama("no model is loaded".to_owned())))?,
        }
    }
    Ok(())
}

fn serve_model(
    model: &Model,
    pipes: &mut Pipes,
    (context_tokens, candidates_max, threads): (u32, u8, u16),
    probes: &[String],
) -> io::Result<()> {
    let mut context = match model.context(context_tokens, candidates_max, threads) {
        Ok(context) => context,
        Err(words) => return pipes.answer(Err(Failure::Llama(words))),
    };
    pipes.answer(Ok(Reply::Loaded {
        version: PROTOCOL_VERSION,
        vocabulary: model.vocabulary(),
        probes: probes.iter().map(|probe| model.tokenise(probe)).collect(),
    }))?;
    // Tokens that each candidate of the last sample added, for `Keep`.
    let mut added: Vec<u32> = Vec::new();
    while let Some(request) = pipes.next() {
        pipes.cancelled.store(false, Ordering::Release);
        let answer = match request {
            Request::Extend { keep, tokens } => extend(&mut context, keep, &tokens, pipes)?,
            Request::Sample { candidates, sampling, seed, stops, reply_tokens_max, wall_max } => {
                let draw = Draw {
                    candidates: candidates.min(candidates_max),
                    sampling,
                    seed,
                    stops: &stops,
                    reply_tokens_max,
                    wall_max,
                    room_tokens: context_tokens.saturating_sub(context.length()),
                };
                sample(model, &mut context, &draw, pipes, &mut added)
            }
            Request::Keep { candidate } => {
                let length =
                    context.length() + added.get(usize::from(candidate)).copied().unwrap_or(0);
                let candidates = u8::try_from(added.len()).unwrap_or(u8::MAX);
                let kept = context.keep(candidate, length, candidates);
                kept.map(|()| Reply::Kept).map_err(Failure::Llama)
            }
            Request::Cancel | Request::Proceed { .. } => continue,
            Request::Load { .. } | Request::Quantise { .. } => {
                Err(Failure::Llama("a model is loaded already".to_owned()))
            }
        };
        pipes.answer(answer)?;
    }
    Ok(())
}

fn extend(
    context: &mut Context<'_>,
    keep: u32,
    tokens: &[u32],
    pipes: &mut Pipes,
) -> io::Result<Result<Reply, Failure>> {
    let mut broken = None;
    let done = context.extend(keep, tokens, &mut || {
        if let Err(error) = write_frame(&mut pipes.replies, &Reply::Working) {
            broken = Some(error);
            return false;
        }
        !pipes.cancelled.load(Ordering::Acquire)
    });
    if let Some(error) = broken {
        return Err(error);
    }
    Ok(match done {
        Ok(()) => Ok(Reply::Extended),
        Err(None) => Err(Failure::Cancelled),
        Err(Some(words)) => Err(Failure::Llama(words)),
    })
}

fn sample(
    model: &Model,
    context: &mut Context<'_>,
    draw: &Draw<'_>,
    pipes: &mut Pipes,
    added: &mut Vec<u32>,
) -> Result<Reply, Failure> {
    let replies = generate::replies(model, context, draw, pipes).map_err(Failure::Llama)?;
    let replies = replies.ok_or(Failure::Cancelled)?;
    added.clear();
    added.extend(replies.iter().map(|reply| reply.tokens.len() as u32));
    let dropped = (0..).zip(replies).filter(|(_, reply)| reply.stop == Stop::Dropped).collect();
    Ok(Reply::Sampled { dropped })
}

fn check_version(version: u32) -> Result<(), Failure> {
    if version == PROTOCOL_VERSION { Ok(()) } else { Err(Failure::Version(PROTOCOL_VERSION)) }
}

impl Pipes {
    /// Takes over standard output for frames: whatever llama.cpp prints goes to standard error.
    fn open() -> io::Result<Self> {
        let replies = std::fs::File::from(rustix::io::dup(rustix::stdio::stdout())?);
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        let (sender, requests) = channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancelled);
        std::thread::spawn(move || read_requests(&sender, &flag));
        Ok(Self { requests, replies, cancelled })
    }

    fn next(&mut self) -> Option<Request> {
        self.requests.recv().ok()
    }

    fn answer(&mut self, answer: Result<Reply, Failure>) -> io::Result<()> {
        write_frame(&mut self.replies, &answer.unwrap_or_else(Reply::Failed))
    }

    fn wish(&self) -> Wish {
        if self.cancelled.load(Ordering::Acquire) { Wish::Cancel } else { Wish::GoOn }
    }
}

/// Passes requests on; a cancel only raises the flag, so that it overtakes the work.
fn read_requests(sender: &Sender<Request>, cancelled: &AtomicBool) {
    let mut stdin = BufReader::new(io::stdin());
    loop {
        match read_frame::<Request>(&mut stdin) {
            Ok(request) => {
                if request == Request::Cancel {
                    cancelled.store(true, Ordering::Release);
                }
                if sender.send(request).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => {
                tracing::error!("a request cannot be read: {error}");
                break;
            }
        }
    }
    // The parent is gone: an operation under way has nobody to answer.
    cancelled.store(true, Ordering::Release);
}

impl Listener for Pipes {
    fn batch(&mut self) -> Result<Wish, String> {
        write_frame(&mut self.replies, &Reply::Working).map_err(|error| error.to_string())?;
        Ok(self.wish())
    }

    fn finished(&mut self, candidate: u8, reply: &SampledReply) -> Result<Wish, String> {
        let message = Reply::Finished { candidate, reply: reply.clone() };
        write_frame(&mut self.replies, &message).map_err(|error| error.to_string())?;
        match self.next() {
            Some(Request::Proceed { proceed: true }) => Ok(self.wish()),
            Some(Request::Proceed { proceed: false }) => Ok(Wish::DropOthers),
            _ => Ok(Wish::Cancel),
        }
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RETORT_WORKER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(io::stderr)
        .try_init();
}
