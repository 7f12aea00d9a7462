//! Standard output and standard error. A reader that has gone (`retort runs list | head -1`) ends
//! the program quietly.

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
            let _ = writeln!(std::io::stderr(), "standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// A text from outside on one line of a terminal: without control characters.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Writes a text and what ends it to standard error; where nobody hears it, nothing is to be done.
pub fn tell(text: Arguments<'_>, end: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_fmt(text).and_then(|()| err.write_all(end.as_bytes()));
}

/// `print!` without its panic.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*), "") };
}

/// `println!` without its panic.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*), "\n") };
}

/// `eprint!` without its panic.
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::cli::output::tell(format_args!($($text)*), "") };
}

/// `eprintln!` without its panic.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => { $crate::cli::output::tell(format_args!($($text)*), "\n") };
}

pub(crate) use {err, errln, out, outln};
