//! Rows appended one by one, each durable before the next: a run that is cut off loses none.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::durable::{lock, refuse_device};

/// A row that is found again by its key.
pub trait Keyed {
    /// Unique in its file.
    fn key(&self) -> &str;
}

/// A file of rows, held by one process at a time.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole rows.
    length: u64,
}

impl Journal {
    /// Opens or makes the file and reads the rows of earlier runs. Of a last line without an end,
    /// the beginning of an object is taken away: it was cut off. A whole row stays.
    ///
    /// # Errors
    /// When another process writes it, or a line is no row; nothing is changed then.
    pub fn open<T: DeserializeOwned>(
        path: &Path,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<(Self, Vec<T>)> {
        let file = hold_file(path)?;
        let (rows, length, is_ended) = whole_rows(&file, path, read)?;
        let mut journal = Self { path: path.to_path_buf(), file, length };
        journal.back_to_whole_rows().with_context(|| format!("{}", path.display()))?;
        if !is_ended {
            journal.write(b"\n")?;
        }
        Ok((journal, rows))
    }

    /// Appends a row; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written, as on a full disk; the rows before it are as they were.
    pub fn append<T: Serialize>(&mut self, row: &T) -> Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.write(&line)
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a row is none.
            let _ = self.back_to_whole_rows();
            return Err(error).with_context(|| {
                format!("{} cannot be written; what it holds is kept", self.path.display())
            });
        }
        self.length += line.len() as u64;
        Ok(())
    }

    fn back_to_whole_rows(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl Journal {
    /// A file on a full disk.
    pub fn full() -> Self {
        // Reading it gives zeros without end, so it is not opened as a journal is.
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        Self { path: PathBuf::from("/dev/full"), file, length: 0 }
    }
}

/// Opens or makes a file of rows, which this process alone writes until it is dropped.
///
/// # Errors
/// When another process holds it, or it is no file.
pub fn hold_file(path: &Path) -> Result<File> {
    let named = || format!("{} cannot be opened", path.display());
    refuse_device(path).with_context(named)?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    loop {
        let file = options.open(path).with_context(named)?;
        lock(&file, path)?;
        // Who held it before may have put another file in its place.
        let place =
            |found: io::Result<Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
        if place(file.metadata()) == place(fs::metadata(path)) {
            return Ok(file);
        }
    }
}

/// The rows, their bytes, and whether the last has its end of line.
fn whole_rows<T>(
    file: &File,
    path: &Path,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<(Vec<T>, u64, bool)> {
    let (mut rows, mut length, mut is_ended) = (Vec::new(), 0, true);
    let mut source = BufReader::new(file);
    for number in 1.. {
        let mut line = Vec::new();
        let bytes = source.read_until(b'\n', &mut line)?;
        if bytes == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        is_ended = line.ends_with(b"\n");
        let is_object = || serde_json::from_str::<IgnoredAny>(&text).is_ok();
        // After a power cut there may be room without anything written to it.
        let is_begun = text.starts_with('{') || text.bytes().all(|byte| byte == 0);
        let is_cut = !is_ended && is_begun && !is_object();
        if is_cut {
            is_ended = true;
            break;
        }
        if !text.trim().is_empty() {
            let row = read(&text).map_err(|reason| {
                anyhow::anyhow!(
                    "{}:{number}: {reason}; mend it or name another file",
                    path.display()
                )
            })?;
            rows.push(row);
        }
        length += bytes as u64;
    }
    Ok((rows, length, is_ended))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn open(path: &Path) -> Result<(Journal, Vec<BTreeMap<String, u32>>)> {
        Journal::open(path, |text| serde_json::from_str(text).map_err(|error| error.to_string()))
    }

    fn row(number: u32) -> BTreeMap<String, u32> {
        BTreeMap::from([("n".to_owned(), number)])
    }

    #[test]
    fn rows_of_earlier_runs_are_there_and_half_a_row_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let (mut journal, rows) = open(&path).unwrap();
        assert!(rows.is_empty());
        journal.append(&row(1)).unwrap();
        journal.append(&row(2)).unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.clone() + "{\"n\": 3").unwrap();
        let (mut journal, rows) = open(&path).unwrap();
        assert_eq!(rows, [row(1), row(2)]);
        journal.append(&row(4)).unwrap();
        drop(journal);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n{\"n\":4}\n"));
        std::fs::write(&path, text.clone() + "\0\0\0").unwrap();
        assert_eq!(open(&path).unwrap().1.len(), 2);
        std::fs::write(&path, text.clone() + "{\"n\":4}\n").unwrap();
        let longer = text + "{\"n\":4}\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), longer);
        // A row that only lacks its end of line is one.
        std::fs::write(&path, longer.trim_end()).unwrap();
        let (_, rows) = open(&path).unwrap();
        assert_eq!(rows.last(), Some(&row(4)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), longer);
    }

    #[test]
    fn a_second_writer_and_a_broken_row_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let first = open(&path).unwrap();
        let told = open(&path).err().unwrap().to_string();
        assert!(told.contains("another process"), "{told}");
        drop(first);
        // What is no row, ended or not, is somebody's, and stays.
        for text in ["{\"n\": 1}\nx\n", "{\"n\": 1}\nmy notes", "{\"n\": 1}\n[1, 2]"] {
            std::fs::write(&path, text).unwrap();
            let told = open(&path).err().unwrap().to_string();
            assert!(told.contains("rows.jsonl:2: "), "{told}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let told = format!("{:#}", open(Path::new("/dev/full")).err().unwrap());
        assert!(told.contains("no regular file"), "{told}");
    }

    #[test]
    fn a_full_disk_costs_no_row() {
        let mut journal = Journal::full();
        let told = format!("{:#}", journal.append(&1).unwrap_err());
        assert!(told.contains("what it holds is kept") && told.contains("space"), "{told}");
        assert_eq!(journal.length, 0);
    }
}
