//! Header, media types, directory entries and clusters of a ZIM file, read where they lie.
//! The format: <https://wiki.openzim.org/wiki/ZIM_file_format>. Numbers are little-endian.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::Stop;
use super::cluster::{CLUSTER_BYTES_MAX, Cluster};

/// The first four bytes.
const MAGIC: u32 = 0x044d_495a;
/// Bytes of the header.
const HEADER_BYTES: usize = 80;
/// Major versions that are read: 5 has one cluster size, 6 two.
const VERSIONS: [u16; 2] = [5, 6];
/// Bytes of the list of media types at most.
const MEDIA_TYPES_BYTES_MAX: usize = 64 << 10;
/// Bytes of a directory entry at most: two texts, one of them a path.
const ENTRY_BYTES_MAX: usize = 8 << 10;
/// Media type numbers from here on are no content: redirects and others.
const NO_CONTENT: u16 = 0xfffd;

/// An open file.
pub(super) struct Archive<'a> {
    file: &'a File,
    bytes: u64,
    /// Directory entries.
    pub entries: u32,
    clusters: u32,
    entry_positions: u64,
    cluster_positions: u64,
    /// Where the clusters end at the latest.
    end: u64,
    media_types: Vec<String>,
}

/// A directory entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub media_type: u16,
    pub namespace: u8,
    /// Cluster and blob; `None` of a redirect.
    pub content: Option<(u32, u32)>,
    pub path: String,
    /// Empty when it is the path.
    pub title: String,
}

impl<'a> Archive<'a> {
    /// Reads the header.
    pub(super) fn open(file: &'a File) -> Result<Self, Stop> {
        let bytes = file.metadata()?.len();
        let header = read_at(file, 0, HEADER_BYTES)?;
        if header.len() < HEADER_BYTES || u32_at(&header, 0)? != MAGIC {
            return Err("no ZIM file; it does not begin with ZIM's mark".into());
        }
        let version = u16_at(&header, 4)?;
        if !VERSIONS.contains(&version) {
            return Err(format!("ZIM version {version}; expected 5 or 6").into());
        }
        let checksum = u64_at(&header, 72)?;
        let mut archive = Self {
            file,
            bytes,
            entries: u32_at(&header, 24)?,
            clusters: u32_at(&header, 28)?,
            entry_positions: u64_at(&header, 32)?,
            cluster_positions: u64_at(&header, 48)?,
            end: if checksum == 0 { bytes } else { checksum.min(bytes) },
            media_types: Vec::new(),
        };
        let media_types = read_at(file, u64_at(&header, 56)?, MEDIA_TYPES_BYTES_MAX)?;
        archive.media_types = parse_media_types(&media_types);
        archive.check()?;
        Ok(archive)
    }

    /// Both tables lie inside the file: no later count is larger than the file is long.
    fn check(&self) -> Result<(), Stop> {
        for (at, count) in
            [(self.entry_positions, self.entries), (self.cluster_positions, self.clusters)]
        {
            let end = at.checked_add(u64::from(count) * 8);
            if end.is_none_or(|end| end > self.bytes) {
                return Err("cut off: its directory lies behind its end".into());
            }
        }
        Ok(())
    }

    /// Whether entries of a media type are pages.
    pub(super) fn is_html(&self, media_type: u16) -> bool {
        let name = self.media_types.get(usize::from(media_type));
        name.is_some_and(|name| name.starts_with("text/html"))
    }

    /// Byte of a directory entry.
    pub(super) fn entry_position(&self, number: u32) -> Result<u64, Stop> {
        let bytes = read_at(self.file, self.entry_positions + u64::from(number) * 8, 8)?;
        Ok(u64_at(&bytes, 0)?)
    }

    /// The directory entry at a byte.
    pub(super) fn entry(&self, at: u64) -> Result<Entry, Stop> {
        let bytes = read_at(self.file, at, ENTRY_BYTES_MAX)?;
        let media_type = u16_at(&bytes, 0)?;
        let namespace = *bytes.get(3).ok_or_else(cut_off)?;
        let has_content = media_type < NO_CONTENT;
        let content =
            if has_content { Some((u32_at(&bytes, 8)?, u32_at(&bytes, 12)?)) } else { None };
        let mut texts = bytes
            .get(if has_content { 16 } else { 12 }..)
            .unwrap_or_default()
            .split(|byte| *byte == 0);
        let mut text = || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
        Ok(Entry { media_type, namespace, content, path: text(), title: text() })
    }

    /// Reads and decompresses a cluster.
    pub(super) fn cluster(&self, number: u32) -> Result<Cluster, String> {
        if number >= self.clusters {
            return Err(format!("it is not there; the file has {}", self.clusters));
        }
        let table = self.cluster_positions + u64::from(number) * 8;
        let both = read_at(self.file, table, 16)?;
        let start = u64_at(&both, 0)?;
        let is_last = number + 1 == self.clusters;
        let next = if is_last { self.end } else { u64_at(&both, 8)? };
        // Clusters lie one after another as a rule; where they do not, the end is the file's.
        let end = if next > start { next } else { self.end };
        let bytes = end.saturating_sub(start).min(CLUSTER_BYTES_MAX);
        let raw = read_at(self.file, start, usize::try_from(bytes).unwrap_or_default())?;
        Cluster::of(&raw)
    }
}

/// Bytes from a place on, fewer at the end of the file.
fn read_at(file: &File, at: u64, bytes: usize) -> Result<Vec<u8>, String> {
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let place = at.checked_add(filled as u64).ok_or_else(cut_off)?;
        match file.read_at(rest, place).map_err(|error| error.to_string())? {
            0 => break,
            read => filled += read,
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn parse_media_types(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|byte| *byte == 0)
        .take_while(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

pub(super) fn cut_off() -> String {
    "cut off: a part lies behind its end".to_owned()
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(cut_off)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
