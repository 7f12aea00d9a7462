//! Files that are either the old one or the whole new one, whenever the power fails.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

/// Writes `path` by way of a file beside it: written, synced, renamed, and the folder synced.
///
/// # Errors
/// What the file system or `write` reported; `path` is then as it was before.
pub fn replace_file<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffered = BufWriter::with_capacity(1 << 20, beside(path)?);
    write(&mut buffered)?;
    let written = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(keep_file(written.into_temp_path(), path)?)
}

/// An empty file beside `path`, gone when it is dropped; who may read it is as for any new file.
///
/// # Errors
/// What the file system reported.
pub fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let anyone = Permissions::from_mode(0o666);
    tempfile::Builder::new().permissions(anyone).tempfile_in(folder_of(path))
}

/// Makes a finished file beside `path` the one at `path`.
///
/// # Errors
/// What the file system reported; `path` is then as it was before.
pub fn keep_file(finished: TempPath, path: &Path) -> io::Result<()> {
    File::open(&finished)?.sync_all()?;
    finished.persist(path).map_err(|error| error.error)?;
    File::open(folder_of(path))?.sync_all()
}

/// As [`replace_file`], of a text.
///
/// # Errors
/// What the file system reported.
pub fn replace_text(path: &Path, text: &str) -> io::Result<()> {
    replace_file(path, |file| file.write_all(text.as_bytes()))
}

/// The folder that `path` stands in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace_file(&path, |out| out.write_all(b"old")).unwrap();
        let failed = replace_file(&path, |out| {
            out.write_all(b"new")?;
            Err(io::Error::other("full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn whoever_may_read_new_files_may_read_these() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (folder.path().join("ours"), folder.path().join("other"));
        replace_text(&ours, "text").unwrap();
        std::fs::write(&other, "text").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(other));
    }
}
