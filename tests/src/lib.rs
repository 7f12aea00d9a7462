//! What the integration tests share: where the built programs lie, small models, scratch homes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use retort_train::gguf;
use retort_train::model::Shape;
use serde_json::Value;

/// A built program of the workspace, beside the test's own executable.
///
/// # Panics
/// When the test runs from nowhere.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let dir = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let program = dir.join(name);
    assert!(program.is_file(), "{} is not built: run `cargo build` first", program.display());
    program
}

/// `retort` with a home of its own and no settings from outside.
#[must_use]
pub fn retort(home: &Path) -> Command {
    let mut command = Command::new(program("retort"));
    command.env_clear().env("HOME", home).env("RUST_BACKTRACE", "1").current_dir(home);
    command
}

/// What [`retort()`] says to these arguments.
///
/// # Panics
/// When it cannot be started.
#[allow(clippy::expect_used)]
pub fn run(home: &Path, arguments: &[&str]) -> Output {
    retort(home).args(arguments).output().expect("it is built")
}

/// What a program said on standard error.
#[must_use]
pub fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON values that a program printed, a line each.
///
/// # Panics
/// When it printed anything else.
#[must_use]
#[allow(clippy::expect_used)]
pub fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Writes a GGUF of random weights that loads anywhere: two narrow layers.
///
/// # Panics
/// When it cannot be written.
#[allow(clippy::expect_used)]
pub fn random_model(path: &Path) {
    let shape = Shape { layers: 2, ..Shape::small(600) };
    gguf::random_model(path, &shape, 7, gguf::Weights::F16).expect("a random model");
}
