//! What parent and reader say to each other: `postcard` messages in frames of a 4-byte
//! little-endian length and that many bytes. The file travels beside its request as a descriptor.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::Passage;
use super::super::source::{Outcome, Task};

/// Both sides must have the same; it changes with every change of a message.
pub(super) const PROTOCOL_VERSION: u32 = 1;
/// The hidden first argument that makes a program the reader.
pub(super) const READER_ARGUMENT: &str = "__corpus-reader";
/// A frame is at most this long: a batch of passages, and one more.
const FRAME_BYTES_MAX: usize = 4 << 20;

/// What the parent asks; a descriptor comes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub task: Task,
}

/// What the reader says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is ready: the first words of a reader.
    Ready {
        /// [`PROTOCOL_VERSION`] of the reader.
        version: u32,
    },
    /// So many more bytes were read.
    Advanced(u64),
    /// Passages of the file, in order.
    Passages(Vec<Passage>),
    /// The file is done.
    Done(Outcome),
}

/// Writes one frame.
pub(super) fn write_frame(writer: &mut dyn Write, message: &impl Serialize) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::other("message too long for a frame"))?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(&body)?;
    writer.flush()
}

/// Reads one frame.
pub(super) fn read_frame<M: DeserializeOwned>(reader: &mut dyn Read) -> io::Result<M> {
    let mut field = [0; 4];
    reader.read_exact(&mut field)?;
    let length = u32::from_le_bytes(field) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame longer than the limit"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    postcard::from_bytes(&body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_pipe() {
        let passage =
            Passage { text: "It is long.".to_owned(), page: Some(3), ..Passage::default() };
        let reply = Reply::Passages(vec![passage]);
        let mut pipe = Vec::new();
        write_frame(&mut pipe, &reply).unwrap();
        assert_eq!(read_frame::<Reply>(&mut pipe.as_slice()).unwrap(), reply);
        assert!(read_frame::<Reply>(&mut &pipe[..pipe.len() - 1]).is_err());
        assert!(read_frame::<Reply>(&mut &[255, 255, 255, 255, 0][..]).is_err());
    }
}
