//! Where the tests' shared data lie: sets of documents and questions, reference transcripts, cases
//! for the sandbox. They are too large for the repository.
//!
//! The folder is named by `RETORT_SHARED`, by default `../shared` beside the checkout. A test
//! whose data are missing is skipped: it calls [`shared`], gets `None` and returns. Each skip is
//! noted in a file beside the programs, which `make test` lists and counts at its end. Under
//! `CI=true` a skip fails.

#[allow(clippy::expect_used)]
pub mod files;
pub mod server;

use std::io::Write;
use std::path::{Path, PathBuf};

/// Name of the file of skipped tests, in the folder of the built programs.
const SKIPPED: &str = "skipped-tests";

/// The file or folder `name` of the shared data, or `None` where it is missing.
///
/// # Panics
/// When it is missing and `CI=true`.
#[must_use]
pub fn shared(name: &str) -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("RETORT_SHARED").map_or(default, PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&path.display().to_string());
    None
}

/// Notes that a test is skipped, for `missing` is not there.
///
/// # Panics
/// When `CI=true`.
pub fn skip(missing: &str) {
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(!is_ci, "{missing} is missing, and under CI=true no test is skipped");
    note(&format!("{}: {missing} is missing", test_name()));
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Tests run from `deps/` below the programs' folder. What cannot be noted is at least printed.
fn note(line: &str) {
    println!("skipped: {line}");
    let test = std::env::current_exe().unwrap_or_default();
    let Some(programs) = test.parent().and_then(Path::parent) else { return };
    let file = std::fs::File::options().create(true).append(true).open(programs.join(SKIPPED));
    if let Ok(mut file) = file {
        // One write, so that lines of tests that run at the same time stay whole.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}
