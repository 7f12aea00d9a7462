//! Finds the files to index.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::formats::{EXPECTED, Format};
use super::report::IngestReport;
use super::source::Task;
use super::stamp::Stamp;

/// A file to index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The path below the indexed folder, with `/` (for a file named itself, its name), and how
    /// to read it.
    pub task: Task,
    /// Size and time of its last change.
    pub stamp: Stamp,
}

/// What the inputs hold.
#[derive(Debug, Default)]
pub(super) struct Finds {
    /// Files by absolute path.
    pub files: BTreeMap<PathBuf, Found>,
    /// The inputs as absolute paths.
    pub roots: Vec<Root>,
}

/// What was named to be indexed.
#[derive(Debug)]
pub(super) struct Root {
    pub path: PathBuf,
    /// It is there, and is no empty folder. Of another one the medium may only not be mounted.
    pub holds_anything: bool,
}

/// What became of a known file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there, or cannot be read now (a lost permission, a failing disk), or nobody asked.
    Stays,
    Deleted,
    /// It is gone, as is all else below the root with this place.
    WithRoot(usize),
}

/// Looks through files and folders. Hidden entries, links and files of other types are left out
/// of folders silently; what the user named and cannot be indexed is reported.
pub(super) fn find(
    inputs: &[PathBuf],
    corpus: &Path,
    forget: bool,
    report: &mut IngestReport,
) -> Finds {
    let corpus = corpus.canonicalize().unwrap_or_else(|_| corpus.to_path_buf());
    let mut finds = Finds::default();
    for input in inputs {
        let root = absolute(input);
        match std::fs::metadata(&root) {
            Err(error) if forget && error.kind() == ErrorKind::NotFound => {}
            Err(error) => report.skip(&root, error),
            Ok(data) if data.is_dir() => walk(&root, &corpus, &mut finds, report),
            Ok(data) if !data.is_file() => report.skip(&root, "it is no regular file"),
            Ok(data) => match Format::of(&root) {
                None => report.skip(&root, EXPECTED),
                Some(format) => {
                    let stamp = Stamp::of(&data);
                    add(&mut finds, report, &root, root.parent(), format, stamp);
                }
            },
        }
        let is_empty = |path: &PathBuf| {
            std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
        };
        let holds_anything = root.exists() && !is_empty(&root);
        finds.roots.push(Root { path: root, holds_anything });
    }
    finds
}

/// The path without links; of a path that is gone, as much of it as is there.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path,
    }
}

fn walk(root: &Path, corpus: &Path, finds: &mut Finds, report: &mut IngestReport) {
    let visible = |entry: &DirEntry| {
        entry.depth() == 0
            || (!entry.file_name().to_string_lossy().starts_with('.') && entry.path() != corpus)
    };
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(visible) {
        match entry {
            Err(error) => report.skip(error.path().unwrap_or(root), &error),
            Ok(entry) if entry.file_type().is_file() => {
                if let Some(format) = Format::of(entry.path()) {
                    match entry.metadata() {
                        Err(error) => report.skip(entry.path(), error),
                        Ok(data) => {
                            let stamp = Stamp::of(&data);
                            add(finds, report, entry.path(), Some(root), format, stamp);
                        }
                    }
                }
            }
            Ok(_) => {}
        }
    }
}

fn add(
    finds: &mut Finds,
    report: &mut IngestReport,
    path: &Path,
    root: Option<&Path>,
    format: Format,
    stamp: Stamp,
) {
    let below = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
    match (path.to_str(), below.to_str()) {
        (Some(_), Some(below)) => {
            let document = below.replace(std::path::MAIN_SEPARATOR, "/");
            let found = Found { task: Task { document, format }, stamp };
            finds.files.entry(path.to_path_buf()).or_insert(found);
        }
        _ => report.skip(path, "the name is not UTF-8; rename the file"),
    }
}

/// What became of a known file, as far as `roots` tell.
pub(super) fn fate(path: &Path, roots: &[Root]) -> Fate {
    let is_gone = || match std::fs::symlink_metadata(path) {
        Err(error) => [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()),
        // A folder or a link stands there now, or a link on the way to it.
        Ok(data) => !data.is_file() || path.canonicalize().is_ok_and(|real| real != path),
    };
    let above = |root: &Root| path.starts_with(&root.path);
    // A file that was named itself is its own evidence.
    let tells = |root: &&Root| above(root) && (root.holds_anything || path == root.path);
    match roots.iter().position(above) {
        Some(at) if is_gone() => match roots.iter().find(tells) {
            Some(_) => Fate::Deleted,
            None => Fate::WithRoot(at),
        },
        _ => Fate::Stays,
    }
}
