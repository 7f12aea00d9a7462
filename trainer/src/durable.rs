//! Files that are either the old one or the whole new one, whenever the power fails.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `path` by way of a file beside it: written, synced, renamed, and the folder synced.
///
/// # Errors
/// What the file system or `write` reported; `path` is then as it was before.
pub fn replace_file<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder_of(path);
    let beside = tempfile::NamedTempFile::new_in(folder)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, beside);
    write(&mut buffered)?;
    let beside = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    beside.as_file().sync_all()?;
    beside.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()?;
    Ok(())
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
}
