//! Zip archives as containers of documents (EPUB, DOCX), with caps on what they grow to.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::encoding;
use super::{EXPANSION_FREE_BYTES, EXPANSION_MAX, Stop};

/// Entries at most.
const ENTRIES_MAX: usize = 65_536;
/// Bytes of one entry at most, decompressed.
const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// An archive in memory.
pub(super) struct Archive {
    zip: ZipArchive<Cursor<Vec<u8>>>,
    /// Decompressed bytes that are left to come from the whole archive.
    left: u64,
}

impl Archive {
    /// Opens an archive.
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, Stop> {
        let left = EXPANSION_FREE_BYTES.max((bytes.len() as u64).saturating_mul(EXPANSION_MAX));
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| format!("no sound zip archive: {error}"))?;
        if zip.len() > ENTRIES_MAX {
            return Err(format!("more than {ENTRIES_MAX} files in the archive").into());
        }
        Ok(Self { zip, left })
    }

    /// An entry as text; `None` when there is none of this name.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Stop> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        let decoded =
            encoding::decode_markup(&bytes).map_err(|reason| format!("{name}: {reason}"))?;
        Ok(Some(decoded.text.into_owned()))
    }

    /// An entry as text that must be there.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<String, Stop> {
        self.text(name)?.ok_or_else(|| format!("{name} is missing in the archive").into())
    }

    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, Stop> {
        let entry = match self.zip.by_name(name) {
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(format!("{name}: {error}").into()),
            Ok(entry) => entry,
        };
        let limit = ENTRY_BYTES_MAX.min(self.left);
        let mut bytes = Vec::new();
        entry
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() as u64 > limit {
            return Err(format!("{name}: more than {limit} bytes when decompressed").into());
        }
        self.left -= bytes.len() as u64;
        Ok(Some(bytes))
    }
}
