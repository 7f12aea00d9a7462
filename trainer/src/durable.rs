//! Files that are either the old one or the whole new one, whenever the power fails.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process;

use anyhow::Context as _;
use tempfile::{NamedTempFile, TempPath};

/// Ends the name of a file that is not written to its end.
const UNFINISHED: &str = ".part";

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
/// What a process of this machine that was killed left there is taken away.
///
/// # Errors
/// What the file system reported.
pub fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let begin = format!(".{}.", path.file_name().unwrap_or_default().display());
    for entry in fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        if process_of(&entry.file_name(), &begin).is_some_and(is_gone) {
            // Another run may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .prefix(&format!("{begin}{}.", process::id()))
        .suffix(UNFINISHED)
        .tempfile_in(folder_of(path))
}

/// The process that an unfinished file is named after.
fn process_of(name: &OsStr, begin: &str) -> Option<u32> {
    let rest = name.to_str()?.strip_prefix(begin)?.strip_suffix(UNFINISHED)?;
    let (process, drawn) = rest.split_once('.')?;
    process.parse().ok().filter(|_| !drawn.contains('.'))
}

fn is_gone(process: u32) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(process.to_string()).exists()
}

/// Makes a finished file beside `path` the one at `path`.
///
/// # Errors
/// What the file system reported; `path` is then as it was before.
pub fn keep_file(finished: TempPath, path: &Path) -> io::Result<()> {
    File::open(&finished)?.sync_all()?;
    refuse_device(path)?;
    finished.persist(path).map_err(|error| error.error)?;
    File::open(folder_of(path))?.sync_all()
}

/// Refuses what is there but no file, such as `/dev/null`: it would be replaced by one.
///
/// # Errors
/// Says so.
pub fn refuse_device(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::other("it is no regular file; name another"))
        }
        _ => Ok(()),
    }
}

/// Holds a folder for this process until the file is dropped.
///
/// # Errors
/// When another process holds it.
pub fn hold(folder: &Path) -> anyhow::Result<File> {
    let file = File::open(folder).with_context(|| format!("{}", folder.display()))?;
    lock(&file, folder)?;
    Ok(file)
}

/// Locks a file or folder for this process until it is dropped.
///
/// # Errors
/// When another process has it.
pub fn lock(file: &File, path: &Path) -> anyhow::Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("{}: another process is at work there; wait for that", path.display())
        }
        outcome => outcome.with_context(|| format!("{} cannot be locked", path.display())),
    }
}

/// As [`replace_file`], of a text.
///
/// # Errors
/// What the file system reported.
pub fn replace_text(path: &Path, text: &str) -> io::Result<()> {
    replace_file(path, |file| file.write_all(text.as_bytes()))
}

/// A file to append lines to; a last one that was cut off is taken away.
///
/// # Errors
/// What the file system reported.
pub fn append_lines(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let (mut source, mut line, mut whole) = (BufReader::new(&file), Vec::new(), 0);
    while source.read_until(b'\n', &mut line)? > 0 {
        if line.ends_with(b"\n") {
            whole += line.len() as u64;
        }
        line.clear();
    }
    file.set_len(whole)?;
    Ok(file)
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
    fn a_folder_is_held_by_one_and_a_device_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = hold(folder.path()).unwrap();
        assert!(hold(folder.path()).unwrap_err().to_string().contains("another process"));
        drop(first);
        hold(folder.path()).unwrap();
        let told = refuse_device(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(told.contains("no regular file"), "{told}");
    }

    #[test]
    fn lines_go_on_behind_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for (before, after) in [("", "3\n"), ("1\n2\n", "1\n2\n3\n"), ("1\n{\"cut", "1\n3\n")] {
            std::fs::write(&path, before).unwrap();
            writeln!(append_lines(&path).unwrap(), "3").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

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
    fn what_a_killed_process_left_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // No process has such a number; this one has its own.
        let left = format!(".file.{}.x.part", u32::MAX);
        let kept = [
            format!(".file.{}.x.part", process::id()),
            ".file.me.x.part".to_owned(),
            // Of file.9's.
            format!(".file.9.{}.x.part", u32::MAX),
        ];
        for name in kept.iter().chain([&left]) {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        replace_file(&path, |out| out.write_all(b"whole")).unwrap();
        assert!(!folder.path().join(left).exists());
        assert!(kept.iter().all(|name| folder.path().join(name).exists()));
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
