//! The `retort` program: the worker or the reader if it was started as one, else the command line.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(unfit) = retort::engine::check_processor() {
        let _ = writeln!(std::io::stderr(), "retort: {unfit}");
        return retort::cli::Exit::Failure.into();
    }
    retort::engine::serve_if_worker();
    retort::corpus::serve_if_reader();
    retort::cli::main()
}
