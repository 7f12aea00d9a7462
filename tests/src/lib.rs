//! What the integration tests share: where the built programs lie, small models, scratch homes.

use std::path::{Path, PathBuf};
use std::process::Command;

use retort_train::gguf;
use retort_train::model::Shape;

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

/// Writes a GGUF of random weights that loads anywhere: two narrow layers.
///
/// # Panics
/// When it cannot be written.
#[allow(clippy::expect_used)]
pub fn random_model(path: &Path) {
    let shape = Shape { layers: 2, ..Shape::small(600) };
    gguf::random_model(path, &shape, 7, gguf::Weights::F16).expect("a random model");
}
