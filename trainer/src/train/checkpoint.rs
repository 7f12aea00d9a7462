//! The state of a training run on disk: parameters, optimiser, and how far the data was read.
//!
//! A file is replaced whole and durably; a run that goes on from it computes the same bits as one
//! that was never interrupted. Layout: magic, version, length of a JSON header, the header, three
//! vectors of 32-bit floats (parameters, first and second moments), SHA-256 of all before.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::MixtureState;
use crate::durable::replace_file;

const MAGIC: &[u8; 8] = b"RTRTCKPT";
const VERSION: u32 = 1;
const HASH_BYTES: usize = 32;

/// What is known of a run besides its vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Hash of settings and data: only the same run may go on.
    pub fingerprint: String,
    /// Tokens trained on.
    pub tokens: u64,
    /// Steps of the loop.
    pub steps: u64,
    /// Steps the optimiser took.
    pub optimiser_steps: u64,
    /// How far the data was read.
    pub mixture: MixtureState,
}

/// The vectors of a run; all have the length of the parameters.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// Parameters of the model.
    pub parameters: &'a [f32],
    /// First moments of the optimiser.
    pub first: &'a [f32],
    /// Second moments of the optimiser.
    pub second: &'a [f32],
}

/// A checkpoint that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What is known of the run.
    pub header: Header,
    /// Parameters of the model.
    pub parameters: Vec<f32>,
    /// First moments of the optimiser.
    pub first: Vec<f32>,
    /// Second moments of the optimiser.
    pub second: Vec<f32>,
}

/// Why a checkpoint was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("checkpoint {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What it said.
        error: io::Error,
    },
    /// The bytes are not those of a checkpoint of this version.
    #[error("checkpoint {path}: {reason}; delete it to train from the start")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

struct Hashing<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Replaces the checkpoint at `path`.
///
/// # Errors
/// [`CheckpointError::Io`]; the old file is then still there.
pub fn save(path: &Path, header: &Header, vectors: Vectors<'_>) -> Result<(), CheckpointError> {
    replace_file(path, |out| {
        let mut out = Hashing { out, hash: Sha256::new() };
        let header = serde_json::to_vec(header)?;
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        for vector in [vectors.parameters, vectors.first, vectors.second] {
            out.write_all(bytemuck::cast_slice(vector))?;
        }
        let hash = out.hash.finalize();
        out.out.write_all(&hash)
    })
    .map_err(|error| CheckpointError::Io { path: path.display().to_string(), error })
}

/// Reads the checkpoint at `path`, if there is one, for a model of `parameters` parameters.
///
/// # Errors
/// [`CheckpointError`] when it cannot be read, is damaged, or belongs to a model of another size.
pub fn load(path: &Path, parameters: usize) -> Result<Option<Checkpoint>, CheckpointError> {
    let path_text = || path.display().to_string();
    let read = match File::open(path) {
        Ok(file) => decode(file, parameters),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error.into()),
    };
    read.map(Some).map_err(|fault| match fault {
        Fault::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            CheckpointError::Io { path: path_text(), error }
        }
        Fault::Io(_) => {
            let reason = "it belongs to a smaller model".to_owned();
            CheckpointError::Damaged { path: path_text(), reason }
        }
        Fault::Damaged(reason) => CheckpointError::Damaged { path: path_text(), reason },
    })
}

/// What a checkpoint that cannot be used suffers from.
#[derive(Debug)]
enum Fault {
    /// Its end came too early, or the file system refused.
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads it twice, so that it never stands in memory beside its vectors.
fn decode(mut file: impl Read + Seek, parameters: usize) -> Result<Checkpoint, Fault> {
    let damaged = |reason: &str| Fault::Damaged(reason.to_owned());
    let body = file.seek(SeekFrom::End(0))?.checked_sub(HASH_BYTES as u64);
    let body = body.ok_or_else(|| damaged("it is too short"))?;
    file.rewind()?;
    let (mut nowhere, mut stored) = (io::sink(), [0; HASH_BYTES]);
    let mut hashing = Hashing { out: &mut nowhere, hash: Sha256::new() };
    io::copy(&mut file.by_ref().take(body), &mut hashing)?;
    file.read_exact(&mut stored)?;
    if hashing.hash.finalize().as_slice() != stored {
        return Err(damaged("its hash does not fit its content"));
    }
    file.rewind()?;
    let mut file = file.take(body);
    let (mut magic, mut version, mut length) = ([0; 8], [0; 4], [0; 8]);
    file.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(damaged("it is no checkpoint"));
    }
    file.read_exact(&mut version)?;
    if version != VERSION.to_le_bytes() {
        return Err(Fault::Damaged(format!("its version is not {VERSION}")));
    }
    file.read_exact(&mut length)?;
    let mut header = Vec::new();
    file.by_ref().take(u64::from_le_bytes(length)).read_to_end(&mut header)?;
    let header = serde_json::from_slice(&header)
        .map_err(|error| Fault::Damaged(format!("its header: {error}")))?;
    let mut vector = || -> io::Result<Vec<f32>> {
        let mut values = vec![0.0; parameters];
        file.read_exact(bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    };
    let (parameters, first, second) = (vector()?, vector()?, vector()?);
    if file.limit() > 0 {
        return Err(damaged("it belongs to a larger model"));
    }
    Ok(Checkpoint { header, parameters, first, second })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn every_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert!(load(&path, 2).unwrap().is_none());
        let header = Header {
            fingerprint: "a".into(),
            tokens: 5,
            steps: 2,
            optimiser_steps: 2,
            mixture: MixtureState::default(),
        };
        let vectors =
            Vectors { parameters: &[1.0, -0.0], first: &[2.0; 2], second: &[f32::MIN; 2] };
        save(&path, &header, vectors).unwrap();
        let read = load(&path, 2).unwrap().unwrap();
        assert_eq!((&read.header, read.parameters[1].to_bits()), (&header, (-0.0_f32).to_bits()));
        assert!(load(&path, 1).is_err() && load(&path, 3).is_err());
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(decode(Cursor::new(damaged), 2).is_err(), "byte {at}");
            assert!(decode(Cursor::new(&bytes[..at]), 2).is_err());
        }
    }
}
