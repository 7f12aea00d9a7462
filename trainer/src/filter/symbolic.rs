//! Equality by algebra: sympy in the sandbox.

use retort::cancel::Cancel;
use retort::sandbox::{Limits, NoTools, Sandbox, Seed};

/// Reads both expressions as people write them (`2x`, `x^2`) and asks whether their difference
/// vanishes. What cannot be read is not equal.
const QUESTION: &str = "\
from sympy import simplify
from sympy.parsing.sympy_parser import (
    convert_xor, implicit_multiplication_application, parse_expr, standard_transformations)
def read(text):
    rules = standard_transformations + (implicit_multiplication_application, convert_xor)
    return parse_expr(text, transformations=rules)
def same(answer, expected):
    try:
        answer, expected = read(answer), read(expected)
        if answer == expected:
            return True
        difference = simplify(answer - expected)
        return bool(difference == 0)
    except Exception:
        return False
";

/// Whether both expressions of every pair are equal. Reaching a limit of the sandbox is a no.
#[must_use]
pub fn all_equal(sandbox: &Sandbox, pairs: &[(String, String)]) -> bool {
    let Ok(mut session) = sandbox.session(&Seed::default()) else { return false };
    // A string in JSON is one in Python.
    let pairs = serde_json::to_string(pairs).unwrap_or_default();
    let code = format!("{QUESTION}all(same(a, b) for a, b in {pairs})");
    let outcome = session.run(&code, &Limits::default(), &mut NoTools, &Cancel::default());
    outcome.value.as_deref() == Some("True")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use retort::sandbox::SandboxOptions;

    #[test]
    fn sympy_says_what_is_equal() {
        let sandbox = Sandbox::open(&SandboxOptions::default()).unwrap();
        let same = |a: &str, b: &str| all_equal(&sandbox, &[(a.to_owned(), b.to_owned())]);
        assert!(same("2sqrt(3)", "sqrt(12)"));
        assert!(same("(x+1)**2", "x**2+2x+1"));
        assert!(same("((1)/(2)) pi ", "pi/2"));
        assert!(!same("2sqrt(3)", "sqrt(13)"));
        assert!(!same("x+", "x"));
        assert!(!same("__import__('os')", "1"));
        assert!(!same("9**9**9**9", "1"));
    }
}
