//! Outcomes for people.

use crate::cli::output::{err, errln, out, outln};
use crate::sandbox::{Limits, Outcome, PythonError};

/// How outcomes are shown.
#[derive(Clone, Debug)]
pub struct Show {
    /// What an action may use.
    pub limits: Limits,
    /// Whether it is said what it used of that.
    pub tells_used: bool,
}

impl Show {
    /// Prints an outcome; errors and what was used go to standard error.
    pub fn outcome(&self, outcome: &Outcome) {
        out!("{}", outcome.logs);
        if let Some(value) = &outcome.value {
            outln!("{value}");
        }
        if outcome.is_final {
            outln!("final answer: {}", outcome.answer.as_deref().unwrap_or("None"));
        }
        if let Some(error) = &outcome.error {
            err!("{}", described(error));
        }
        if let Some(limit) = outcome.limit {
            errln!("{limit}");
        }
        if self.tells_used {
            errln!("{}", used(outcome, &self.limits));
        }
    }
}

/// An error with the line it came from, and the place in it where that is known.
fn described(error: &PythonError) -> String {
    let mut text = String::new();
    if let (Some(line), Some(source)) = (error.line, &error.source_line) {
        let shown = source.trim();
        let head = format!("  line {line}: ");
        text += &format!("{head}{shown}\n");
        let indent = source.chars().count() - source.trim_start().chars().count();
        let column = error.column.and_then(|column| usize::try_from(column).ok());
        if let Some(offset) = column.and_then(|column| column.checked_sub(indent + 1)) {
            text += &format!("{}^\n", " ".repeat(head.chars().count() + offset));
        }
    }
    text + &format!("{}: {}\n", error.kind, error.message)
}

/// What an action used, beside what it may use.
fn used(outcome: &Outcome, limits: &Limits) -> String {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let shown = outcome.logs.len() + text(&outcome.value) + text(&outcome.answer);
    format!(
        "  used: fuel {} of {}, {:.3} s of {} s, memory {} of {} KiB, output {shown} of {} bytes, \
         calls {} of {}",
        outcome.fuel,
        limits.fuel_max,
        outcome.seconds,
        limits.wall.as_secs(),
        outcome.memory_bytes >> 10,
        limits.memory_bytes_max >> 10,
        limits.output_bytes_max,
        outcome.calls.len(),
        limits.host_calls_max,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source: &str, column: Option<u32>) -> PythonError {
        let (kind, message) = ("SyntaxError".to_owned(), "invalid syntax".to_owned());
        let source_line = Some(source.to_owned());
        PythonError { kind, message, line: Some(2), column, source_line }
    }

    #[test]
    fn errors_point_at_the_line() {
        let said = described(&error("    x = é ? 1", Some(11)));
        assert_eq!(said, "  line 2: x = é ? 1\n                ^\nSyntaxError: invalid syntax\n");
        let said = described(&error("x", None));
        assert_eq!(said, "  line 2: x\nSyntaxError: invalid syntax\n");
    }

    #[test]
    fn what_was_used_stands_beside_what_may_be_used() {
        let logs = "abc".to_owned();
        let outcome = Outcome { logs, fuel: 7, memory_bytes: 2048, ..Outcome::default() };
        let expected = "  used: fuel 7 of 2000000000, 0.000 s of 10 s, memory 2 of 262144 KiB, \
                        output 3 of 1048576 bytes, calls 0 of 64";
        assert_eq!(used(&outcome, &Limits::default()), expected);
    }
}
