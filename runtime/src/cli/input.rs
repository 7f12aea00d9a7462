//! Questions and queries: one that was named, or the lines of standard input.

use std::io::{BufRead, Error, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::UsageError;

/// Bytes of a line at most: as much as an action may have.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Whether the program waits for a line, so that Ctrl-C has nothing to end but the program.
static IS_WAITING: AtomicBool = AtomicBool::new(false);

/// Whether a line of standard input is waited for.
pub fn is_waiting() -> bool {
    IS_WAITING.load(Ordering::Acquire)
}

/// Runs `read`, which waits for input.
pub fn waiting<T>(read: impl FnOnce() -> T) -> T {
    IS_WAITING.store(true, Ordering::Release);
    let read = read();
    IS_WAITING.store(false, Ordering::Release);
    read
}

/// `named`, or for `-` each line of standard input; what is no UTF-8 in a line is replaced.
pub fn one_or_lines(named: &str) -> impl Iterator<Item = Result<String, UsageError>> {
    let one = (named != "-").then(|| Ok(named.to_owned()));
    let lines = (named == "-").then(|| std::iter::from_fn(next_line));
    one.into_iter().chain(lines.into_iter().flatten())
}

fn next_line() -> Option<Result<String, UsageError>> {
    let mut line = Vec::new();
    let read = waiting(|| read_line(&mut std::io::stdin().lock(), &mut line));
    let failed = |error: Error| UsageError(format!("standard input: {error}"));
    match read.map_err(failed) {
        Ok(0) => None,
        Ok(_) if line.strip_suffix(b"\n").unwrap_or(&line).len() > LINE_BYTES_MAX => {
            Some(Err(UsageError(format!(
                "standard input: a line of more than {LINE_BYTES_MAX} bytes; expected one question"
            ))))
        }
        Ok(_) => {
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Some(Ok(text.strip_suffix('\r').unwrap_or(text).to_owned()))
        }
        Err(error) => Some(Err(error)),
    }
}

/// Reads a line with its end into `line`; of one that is too long, as much as shows that.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> Result<usize, Error> {
    source.by_ref().take(LINE_BYTES_MAX as u64 + 2).read_until(b'\n', line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut line = Vec::new();
        let mut endless = std::io::BufReader::new(std::io::repeat(b'a'));
        assert_eq!(read_line(&mut endless, &mut line).unwrap(), LINE_BYTES_MAX + 2);
        let mut source = std::io::Cursor::new(b"first\nlast");
        for expected in ["first\n", "last", ""] {
            line.clear();
            read_line(&mut source, &mut line).unwrap();
            assert_eq!(line, expected.as_bytes());
        }
    }
}
