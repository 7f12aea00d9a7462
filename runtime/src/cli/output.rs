//! Standard output. A reader that has gone (`retort runs list | head -1`) ends the program quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a text and what ends it to standard output.
pub fn write(text: Arguments<'_>, end: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_fmt(text).and_then(|()| out.write_all(end.as_bytes()));
    match written.and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "retort: standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// `print!` without its panic.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*), "") };
}

/// `println!` without its panic.
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*), "\n") };
}

pub(crate) use {out, outln};
