//! What parent and worker say to each other: `postcard` messages in frames of a 4-byte
//! little-endian length and that many bytes.

use std::io::{self, Read, Write};

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Sampling, Stop};

/// Both sides must have the same; it changes with every change of a message.
pub const PROTOCOL_VERSION: u32 = 3;

/// The hidden first argument that makes a program the worker.
pub const WORKER_ARGUMENT: &str = "__engine-worker";

/// A message is at most this long: a full context of token ids, with room to spare.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// What the parent asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Loads the model; the first request of a worker that is to decode.
    Load {
        /// [`PROTOCOL_VERSION`] of the parent.
        version: u32,
        /// File to load, or `/proc/self/fd/N` of an inherited descriptor.
        path: String,
        /// LoRA adapter to lay over it.
        adapter: Option<String>,
        /// Tokens of the context, over all sequences.
        context_tokens: u32,
        /// Candidates at most.
        candidates_max: u8,
        /// Threads of decoding.
        threads: u16,
        /// Texts to tokenise as content, to compare the parent's tokenizer.
        probes: Vec<String>,
    },
    /// Keeps the first `keep` tokens of the context, drops the rest, decodes `tokens` behind.
    Extend {
        /// Tokens kept.
        keep: u32,
        /// Tokens to decode; at least one.
        tokens: Vec<u32>,
    },
    /// Draws replies.
    Sample {
        /// Replies.
        candidates: u8,
        /// Drawing.
        sampling: Sampling,
        /// Seed.
        seed: u64,
        /// Stop strings.
        stops: Vec<String>,
        /// Limit of a reply.
        reply_tokens_max: u32,
        /// Limit of all together.
        wall_max: Option<Duration>,
    },
    /// The answer to [`Reply::Finished`]: whether the other candidates go on.
    Proceed {
        /// False drops them.
        proceed: bool,
    },
    /// Makes a candidate the context.
    Keep {
        /// Its index.
        candidate: u8,
    },
    /// Ends the operation under way with [`Failure::Cancelled`]; no effect between operations.
    Cancel,
    /// Writes a quantised copy of a model file; needs no load.
    Quantise {
        /// [`PROTOCOL_VERSION`] of the parent.
        version: u32,
        /// File to read.
        from: String,
        /// File to write.
        to: String,
        /// `F16`, `Q8_0`, `Q4_0`, `Q4_K_M`, `Q5_K_M` or `Q6_K`.
        kind: String,
        /// How much each column of a matrix weighs, by the matrix' name; may be empty.
        importance: Vec<(String, Vec<f32>)>,
        /// Threads.
        threads: u16,
    },
}

/// What the worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// The model is ready.
    Loaded {
        /// [`PROTOCOL_VERSION`] of the worker.
        version: u32,
        /// Tokens in the vocabulary.
        vocabulary: u32,
        /// Token ids of each probe.
        probes: Vec<Vec<u32>>,
    },
    /// The context is as asked.
    Extended,
    /// Still at work: sent between batches, so that silence means a hang.
    Working,
    /// One candidate has ended; the worker waits for [`Request::Proceed`].
    Finished {
        /// Its index.
        candidate: u8,
        /// What it wrote.
        reply: SampledReply,
    },
    /// All candidates have ended: those that were dropped, in order.
    Sampled {
        /// Index and reply of each dropped candidate.
        dropped: Vec<(u8, SampledReply)>,
    },
    /// The candidate is the context.
    Kept,
    /// The file is written.
    Quantised,
    /// The operation failed; the worker goes on.
    Failed(Failure),
}

/// A reply as it was sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledReply {
    /// Text without stop string and end token.
    pub text: Vec<u8>,
    /// Tokens that lie in the context if it is kept.
    pub tokens: Vec<u32>,
    /// Tokens sampled, the ending one included.
    pub sampled: u32,
    /// Mean natural-log probability per sampled token at temperature 1.
    pub mean_logprob: f32,
    /// Why it ended.
    pub stop: Stop,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Asked by [`Request::Cancel`].
    Cancelled,
    /// Parent and worker are of different versions.
    Version(u32),
    /// llama.cpp refused, in its words.
    Llama(String),
}

/// Writes one frame and flushes.
///
/// # Errors
/// When the message is longer than [`FRAME_BYTES_MAX`] or the pipe is closed.
pub fn write_frame<M: Serialize>(writer: &mut impl Write, message: &M) -> io::Result<()> {
    writer.write_all(&encode_frame(message)?)?;
    writer.flush()
}

/// One frame: length, then message.
///
/// # Errors
/// When the message is longer than [`FRAME_BYTES_MAX`].
pub fn encode_frame<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::other("message too long for a frame"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

/// Checks a frame's length field.
///
/// # Errors
/// When it exceeds [`FRAME_BYTES_MAX`].
pub fn frame_length(field: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(field) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame longer than the limit"));
    }
    Ok(length)
}

/// Decodes the body of a frame.
///
/// # Errors
/// When it is no message of this version.
pub fn decode_frame<M: DeserializeOwned>(body: &[u8]) -> io::Result<M> {
    postcard::from_bytes(body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Reads one frame.
///
/// # Errors
/// At the end of the stream, or when the frame is too long or no message.
pub fn read_frame<M: DeserializeOwned>(reader: &mut impl Read) -> io::Result<M> {
    let mut field = [0; 4];
    reader.read_exact(&mut field)?;
    let mut body = vec![0; frame_length(field)?];
    reader.read_exact(&mut body)?;
    decode_frame(&body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_pipe() {
        let request = Request::Extend { keep: 3, tokens: vec![1, 70_000, 151_645] };
        let mut pipe = Vec::new();
        write_frame(&mut pipe, &request).unwrap();
        assert_eq!(read_frame::<Request>(&mut pipe.as_slice()).unwrap(), request);
    }

    #[test]
    fn an_absurd_length_is_refused_before_it_is_allocated() {
        let error = read_frame::<Request>(&mut [0xff; 8].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
