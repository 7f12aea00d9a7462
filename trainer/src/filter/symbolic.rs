//! Equality by algebra: sympy in the sandbox.

use retort::cancel::Cancel;
use retort::sandbox::{Limits, NoTools, Sandbox, Seed};

/// Reads both expressions as people write them (`2x`, `x^2`) and asks whether their difference
/// vanishes, or is a number within a relative 1e-4 unless both are whole, as between numbers. What cannot be read is not
/// equal.
const QUESTION: &str = "\
from sympy import E, I, N, simplify
from sympy.parsing.sympy_parser import (
    convert_xor, implicit_multiplication_application, parse_expr, standard_transformations)
def read(text):
    rules = standard_transformations + (implicit_multiplication_application, convert_xor)
    return parse_expr(text, {\"e\": E, \"i\": I}, transformations=rules)
def same(answer, expected):
    try:
        answer, expected = read(answer), read(expected)
        if answer == expected:
            return True
        if answer.is_Integer and expected.is_Integer:
            return False
        difference = simplify(answer - expected)
        if difference == 0 or not (difference.is_number and expected.is_number):
            return bool(difference == 0)
        return bool(abs(N(difference)) <= 1e-4 * max(abs(N(expected)), 1e-12))
    except Exception:
        return False
";

/// Whether both expressions of every pair are equal; `None` where that reached a limit of the
/// sandbox.
#[must_use]
pub fn all_equal(sandbox: &Sandbox, pairs: &[(String, String)]) -> Option<bool> {
    let mut session = sandbox.session(&Seed::default()).ok()?;
    // A string in JSON is one in Python.
    let pairs = serde_json::to_string(pairs).ok()?;
    let code = format!("{QUESTION}all(same(a, b) for a, b in {pairs})");
    let outcome = session.run(&code, &Limits::default(), &mut NoTools, &Cancel::default());
    match outcome.value.as_deref() {
        Some("True") => Some(true),
        Some("False") => Some(false),
        _ => None,
    }
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
        for (answer, expected) in [
            ("2sqrt(3)", "sqrt(12)"),
            ("(x+1)**2", "x**2+2x+1"),
            ("((1)/(2)) pi ", "pi/2"),
            ("3.4641016151377544", "2sqrt(3)"),
            (" root(8,3)", "2"),
            ("6", " binomial(4,2)"),
            ("1.41421", "sqrt(2)"),
            ("sqrt(x)**2", "x"),
            ("sin(x)**2+cos(x)**2", "1"),
            ("e**2", "exp(2)"),
            ("e**(i pi)", "-1"),
            ("3", " log(8,2)"),
        ] {
            assert_eq!(same(answer, expected), Some(true), "{answer} and {expected}");
        }
        for (answer, expected) in [
            ("2sqrt(3)", "sqrt(13)"),
            ("6*17372+1", "104234"),
            ("3.46", "2sqrt(3)"),
            ("x+", "x"),
            ("__import__('os')", "1"),
        ] {
            assert_eq!(same(answer, expected), Some(false), "{answer} and {expected}");
        }
        assert_eq!(same("9**9**9**9", "1"), None);
    }
}
