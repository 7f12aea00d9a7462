//! SHA-256 of texts and files, in lower-case hexadecimal; and what is drawn by it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};

/// Hash of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Hash of a file.
///
/// # Errors
/// When it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String> {
    let unreadable = || format!("{} cannot be read", path.display());
    let mut file = File::open(path).with_context(unreadable)?;
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut file, &mut hasher).with_context(unreadable)?;
    Ok(hex::encode(hasher.0.finalize()))
}

/// A number that follows from an id alone, evenly over all there are.
#[must_use]
pub fn drawn(id: &str) -> u32 {
    let first = Sha256::digest(id.as_bytes());
    first.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether an id is among a share of all, 0..=1: it stays on its side when others come.
#[must_use]
pub fn is_drawn(id: &str, share: f64) -> bool {
    f64::from(drawn(id)) < share * f64::from(u32::MAX)
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        // FIPS 180-4's example for "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(file_sha256(file.path()).unwrap(), abc);
        assert_eq!(drawn("abc"), 0xba78_16bf);
    }

    #[test]
    fn a_share_is_drawn_evenly() {
        let drawn = (0..1000).filter(|id| is_drawn(&id.to_string(), 0.2)).count();
        assert!((150..250).contains(&drawn), "{drawn}");
        assert!(!is_drawn("any", 0.0));
    }
}
