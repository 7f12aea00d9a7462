//! The `retort` program: the worker if it was started as one, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    retort::engine::serve_if_worker();
    retort::cli::main()
}
