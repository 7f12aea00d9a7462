//! The state of a training run on disk: parameters, optimiser, and how far the data was read.
//!
//! A file is replaced whole and durably; a run that goes on from it computes the same bits as one
//! that was never interrupted. Layout: magic, version, length of a JSON header, the header, three
//! vectors of 32-bit floats (parameters, first and second moments), SHA-256 of all before.

use std::io::{self, Write};
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
            for chunk in vector.chunks(1 << 16) {
                let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
                out.write_all(&bytes)?;
            }
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
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(CheckpointError::Io { path: path.display().to_string(), error });
        }
    };
    decode(&bytes, parameters)
        .map(Some)
        .map_err(|reason| CheckpointError::Damaged { path: path.display().to_string(), reason })
}

fn decode(bytes: &[u8], parameters: usize) -> Result<Checkpoint, String> {
    let end = bytes.len().checked_sub(HASH_BYTES).ok_or("it is too short")?;
    let (mut body, hash) = bytes.split_at(end);
    if Sha256::digest(body).as_slice() != hash {
        return Err("its hash does not fit its content".to_owned());
    }
    if take(&mut body, MAGIC.len())? != MAGIC {
        return Err("it is no checkpoint".to_owned());
    }
    if take(&mut body, 4)? != VERSION.to_le_bytes() {
        return Err(format!("its version is not {VERSION}"));
    }
    let length = take(&mut body, 8)?.try_into().map_err(|_| "it is too short")?;
    let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| "it is too long")?;
    let header = serde_json::from_slice(take(&mut body, length)?)
        .map_err(|error| format!("its header: {error}"))?;
    let mut vector = || -> Result<Vec<f32>, String> {
        let values = take(&mut body, parameters * 4)?.as_chunks::<4>().0;
        Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    };
    let (parameters, first, second) = (vector()?, vector()?, vector()?);
    if !body.is_empty() {
        return Err("it belongs to a larger model".to_owned());
    }
    Ok(Checkpoint { header, parameters, first, second })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(length).ok_or("it belongs to a smaller model")?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
            assert!(decode(&damaged, 2).is_err(), "byte {at}");
            assert!(decode(&bytes[..at], 2).is_err());
        }
    }
}
