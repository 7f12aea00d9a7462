//! Questions and queries: one that was named, or the lines of standard input.

use std::io::{BufRead as _, Error};
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::UsageError;

/// Whether the program waits for a line, so that Ctrl-C has nothing to end but the program.
static IS_WAITING: AtomicBool = AtomicBool::new(false);

/// Whether a line of standard input is waited for.
pub fn is_waiting() -> bool {
    IS_WAITING.load(Ordering::Acquire)
}

/// `named`, or for `-` each line of standard input; what is no UTF-8 in a line is replaced.
pub fn one_or_lines(named: &str) -> impl Iterator<Item = Result<String, UsageError>> {
    let one = (named != "-").then(|| Ok(named.to_owned()));
    let lines = (named == "-").then(|| std::iter::from_fn(next_line));
    one.into_iter().chain(lines.into_iter().flatten())
}

fn next_line() -> Option<Result<String, UsageError>> {
    let mut line = Vec::new();
    IS_WAITING.store(true, Ordering::Release);
    let read = std::io::stdin().lock().read_until(b'\n', &mut line);
    IS_WAITING.store(false, Ordering::Release);
    let failed = |error: Error| UsageError(format!("standard input: {error}"));
    match read.map_err(failed) {
        Ok(0) => None,
        Ok(_) => {
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Some(Ok(text.strip_suffix('\r').unwrap_or(text).to_owned()))
        }
        Err(error) => Some(Err(error)),
    }
}
