//! A cluster of a ZIM file: blobs behind one another, compressed together.

use std::io::Read;

use lzma_rust2::XzReader;

use super::archive::{cut_off, u32_at, u64_at};

/// Bytes of a cluster at most, compressed and decompressed; writers make them of 2 MiB or, of one
/// large blob, of its size.
pub(super) const CLUSTER_BYTES_MAX: u64 = 256 << 20;
/// Memory of the xz decoder at most, in KiB.
const XZ_MEMORY_KIB: u32 = 128 << 10;
/// Set in a cluster's first byte when its offsets have eight bytes.
const WIDE: u8 = 0x10;

/// The blobs of a cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    bytes: Vec<u8>,
    wide: bool,
}

impl Cluster {
    /// Decompresses a cluster.
    pub(super) fn of(raw: &[u8]) -> Result<Self, String> {
        let (information, body) = raw.split_first().ok_or_else(cut_off)?;
        let bytes = match information & 0x0f {
            0 | 1 => body.to_vec(),
            4 => read_all(XzReader::new_mem_limit(body, false, XZ_MEMORY_KIB))?,
            5 => {
                let decoder = zstd::Decoder::new(body).map_err(|error| error.to_string())?;
                read_all(decoder.single_frame())?
            }
            other => return Err(format!("compression {other}; expected none, xz or zstd")),
        };
        Ok(Self { bytes, wide: information & WIDE != 0 })
    }

    /// The bytes of a blob.
    pub(super) fn blob(&self, number: u32) -> Option<&[u8]> {
        let number = usize::try_from(number).ok()?;
        let blobs = self.offset(0)? / self.width();
        if number.checked_add(1)? >= blobs {
            return None;
        }
        self.bytes.get(self.offset(number)?..self.offset(number + 1)?)
    }

    fn width(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    fn offset(&self, number: usize) -> Option<usize> {
        let at = number.checked_mul(self.width())?;
        let offset = if self.wide {
            u64_at(&self.bytes, at).ok()?
        } else {
            u64::from(u32_at(&self.bytes, at).ok()?)
        };
        usize::try_from(offset).ok()
    }
}

fn read_all(reader: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader
        .take(CLUSTER_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > CLUSTER_BYTES_MAX {
        return Err(format!("more than {} MiB when decompressed", CLUSTER_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Two blobs behind their offsets.
    fn blobs() -> Vec<u8> {
        let offsets = [12_u32, 15, 17];
        let mut bytes: Vec<u8> = offsets.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.extend(b"onetw");
        bytes
    }

    fn check(compression: u8, body: &[u8]) {
        let raw: Vec<u8> = [compression].into_iter().chain(body.iter().copied()).collect();
        let cluster = Cluster::of(&raw).unwrap();
        assert_eq!(cluster.blob(0), Some(&b"one"[..]));
        assert_eq!(cluster.blob(1), Some(&b"tw"[..]));
        assert_eq!(cluster.blob(2), None);
        assert_eq!(cluster.blob(u32::MAX), None);
    }

    #[test]
    fn blobs_are_found_in_every_compression() {
        check(1, &blobs());
        check(5, &zstd::encode_all(&blobs()[..], 1).unwrap());
        let mut trailing = zstd::encode_all(&blobs()[..], 1).unwrap();
        trailing.extend(b"the next cluster's bytes");
        check(5, &trailing);
    }

    #[test]
    fn broken_clusters_are_told() {
        assert!(Cluster::of(&[]).is_err());
        assert!(Cluster::of(&[5, 1, 2]).is_err());
        assert!(Cluster::of(&[4, 1, 2]).is_err());
        assert!(Cluster::of(&[2, 1, 2]).unwrap_err().contains("compression 2"));
        assert_eq!(Cluster::of(&[1, 255, 255, 255, 255]).unwrap().blob(0), None);
    }
}
