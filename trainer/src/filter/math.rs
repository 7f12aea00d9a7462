//! Are two answers equal as mathematics? In the order of the published score: text, numbers within
//! a relative 1e-4, tuples by part, else symbolically.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::latex::{boxed, expression, fraction, tidy, without_unit};

/// What could be found out without algebra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Equality {
    /// Equal.
    Equal,
    /// Not equal.
    Different,
    /// Algebra decides: whether each of these pairs of expressions is equal.
    Open(Vec<(String, String)>),
}

/// Relative difference of numbers that count as equal.
const TOLERANCE: f64 = 1e-4;
/// Parts of a tuple, and characters of an answer, that are looked at.
const PARTS_MAX: usize = 64;
const CHARACTERS_MAX: usize = 500;

/// Compares an answer with the right one.
#[must_use]
pub fn equal(answer: &str, expected: &str) -> Equality {
    let whole = tidy(answer);
    if !whole.is_empty() && whole.eq_ignore_ascii_case(&tidy(expected)) {
        return Equality::Equal;
    }
    let (answer, expected) = unitless(answer, expected);
    let (answer, expected) = (tidy(answer), tidy(expected));
    if answer.is_empty() || answer.len() > CHARACTERS_MAX || expected.len() > CHARACTERS_MAX {
        return Equality::Different;
    }
    compare(&answer, &expected)
}

/// Whether an answer ends in a word that is no command: `10 cm`, but not `2\pi`.
fn has_plain_unit(answer: &str) -> bool {
    let before = answer.trim_end().trim_end_matches(|letter: char| letter.is_alphabetic());
    before.len() < answer.trim_end().len() && !before.ends_with('\\')
}

/// An answer and the right one, without the unit that only one of them has.
fn unitless<'a>(answer: &'a str, expected: &'a str) -> (&'a str, &'a str) {
    match (without_unit(answer), without_unit(expected)) {
        (Some(number), None) if !has_plain_unit(expected) => (number, expected),
        (None, Some(number)) if !has_plain_unit(answer) => (answer, number),
        _ => (answer, expected),
    }
}

/// Whether two texts that normalising makes equal are so in what it takes away: the signs within and
/// before numbers and terms, as in `1.5 km` and `15 km`, `C++` and `C`, `the` and `A`.
#[must_use]
pub fn has_same_signs(answer: &str, expected: &str) -> bool {
    let (own, others) = (signed(answer), signed(expected));
    let is_bare = |text: &str| retort::eval::normalise(text).is_empty();
    own == others && (!is_bare(answer) || answer.trim().eq_ignore_ascii_case(expected.trim()))
}

/// Digits with commas between thousands, as in `5,000-meter`.
#[allow(clippy::unwrap_used)]
static THOUSANDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d{1,3}(?:,\d{3})+\b").unwrap());
/// A hyphen between a name and its number: `F-16` is `F16`.
#[allow(clippy::unwrap_used)]
static NUMBERED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"([a-z])-(\d)").unwrap());

/// The words of a text that have a digit or a sign of their own, numbers as such.
fn signed(text: &str) -> Vec<String> {
    let bare = |word: &str| -> String {
        let word = word.trim_start_matches(|c: char| "([{\"'$€£*`_~≈".contains(c));
        let word = word.trim_end_matches(|c: char| ".,;:!?)]}\"'%*`_~".contains(c)).to_lowercase();
        let plain = |digits: &Captures<'_>| digits[0].replace(',', "");
        let word = THOUSANDS.replace_all(&word, plain).replace("'s", "s");
        NUMBERED.replace_all(&word, "$1$2").into_owned()
    };
    let has_sign = |word: &String| {
        let is_negative = word.len() > 1 && word.starts_with('-');
        is_negative || word.contains(|c: char| c.is_ascii_digit() || "+#<>=^".contains(c))
    };
    let words = text.split_whitespace().map(bare).filter(has_sign);
    words.map(|word| number(&tidy(&word)).map_or(word, |number| number.to_string())).collect()
}

/// Whether two numbers are equal; `None` where one of the answers is no number. Text does not tell:
/// without its punctuation `-1.5` is `15`.
#[must_use]
pub fn equal_numbers(answer: &str, expected: &str) -> Option<bool> {
    let (answer, expected) = (number(&tidy(answer))?, number(&tidy(expected))?);
    Some(near(answer, expected))
}

fn compare(answer: &str, expected: &str) -> Equality {
    if answer.eq_ignore_ascii_case(expected) {
        return Equality::Equal;
    }
    if let (Some(answer), Some(expected)) = (number(answer), number(expected)) {
        return if near(answer, expected) { Equality::Equal } else { Equality::Different };
    }
    let (given, wanted) = (Tuple::of(answer), Tuple::of(expected));
    if given.parts.len() > 1 || wanted.parts.len() > 1 {
        return given.compare(&wanted);
    }
    let is_formula = |text: &str| text.contains(|c: char| !c.is_alphabetic());
    let are_readings = is_reading(answer) && is_reading(expected);
    let are_expressions =
        !are_readings && could_be_expression(answer) && could_be_expression(expected);
    // Letters alone are initials or a choice: `AC` is not `CA`.
    if !are_expressions || !(is_formula(answer) || is_formula(expected)) {
        return Equality::Different;
    }
    Equality::Open(vec![(expression(answer), expression(expected))])
}

/// Whole numbers count or name something: they are equal or not.
fn near(answer: f64, expected: f64) -> bool {
    if answer.fract() == 0.0 && expected.fract() == 0.0 {
        return answer == expected;
    }
    (answer - expected).abs() <= TOLERANCE * expected.abs().max(1e-12)
}

/// A number as people write it: with thousands separators, a fraction, a whole number before one, a
/// percent or dollar sign.
fn number(text: &str) -> Option<f64> {
    let text = text.trim_end_matches('%');
    let plain = |text: &str| {
        let text = if has_thousands(text) { text.replace(',', "") } else { text.to_owned() };
        text.parse::<f64>().ok().filter(|number| number.is_finite())
    };
    if let Some(number) = plain(text) {
        return Some(number);
    }
    let (sign, unsigned) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (whole, above, below) = fraction(unsigned)?;
    let whole = if whole.is_empty() { 0.0 } else { plain(whole)? };
    let (above, below) = (plain(above)?, plain(below)?);
    (below != 0.0).then(|| sign * (whole + above / below))
}

/// `1,234` and `12,345,678.9`, but not `1,2`.
fn has_thousands(text: &str) -> bool {
    let whole = text.split('.').next().unwrap_or_default().trim_start_matches('-');
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let is_digits = |group: &str| group.bytes().all(|byte| byte.is_ascii_digit());
    let mut rest = groups.peekable();
    rest.peek().is_some()
        && (1..=3).contains(&first.len())
        && is_digits(first)
        && rest.all(|group| group.len() == 3 && is_digits(group))
}

/// Parts separated by commas, and the brackets around them.
struct Tuple<'a> {
    open: &'a str,
    close: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Tuple<'a> {
    fn of(text: &'a str) -> Self {
        for (open, close) in
            [("\\{", "\\}"), ("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"), ("{", "}")]
        {
            let inside = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
            if let Some(parts) = inside.and_then(parts)
                && parts.len() > 1
            {
                return Self { open, close, parts };
            }
        }
        Self { open: "", close: "", parts: parts(text).unwrap_or_else(|| vec![text]) }
    }

    /// A set, or a list without brackets, may stand in any order.
    fn is_unordered(&self) -> bool {
        matches!(self.open, "" | "\\{" | "{")
    }

    /// Whether its brackets may stand where those of `wanted` do: a list without brackets is any of
    /// Python's; a point may lack its own.
    fn is_bracketed_as(&self, wanted: &Self) -> bool {
        let [given, wanted_by] = [self, wanted].map(|tuple| (tuple.open, tuple.close));
        match wanted_by {
            ("", _) => !matches!(given, ("(", "]") | ("[", ")")),
            ("(", ")") => matches!(given, ("(", ")") | ("", _)),
            _ => given == wanted_by || (self.is_unordered() && wanted.is_unordered()),
        }
    }

    fn compare(&self, wanted: &Self) -> Equality {
        let (count, most) = (self.parts.len(), PARTS_MAX);
        if !self.is_bracketed_as(wanted) || count != wanted.parts.len() || count > most {
            return Equality::Different;
        }
        if wanted.is_unordered() && is_permutation(&self.parts, &wanted.parts) {
            return Equality::Equal;
        }
        let mut open = Vec::new();
        for (answer, expected) in self.parts.iter().zip(&wanted.parts) {
            match compare(answer, expected) {
                Equality::Equal => {}
                Equality::Different => return Equality::Different,
                Equality::Open(pairs) => open.extend(pairs),
            }
        }
        if open.is_empty() { Equality::Equal } else { Equality::Open(open) }
    }
}

/// Whether the parts are the wanted ones in another order, as far as text and numbers say.
fn is_permutation(answer: &[&str], expected: &[&str]) -> bool {
    let mut left: Vec<&str> = expected.to_vec();
    answer.iter().all(|part| {
        let found = left.iter().position(|wanted| compare(part, wanted) == Equality::Equal);
        found.map(|index| left.swap_remove(index)).is_some()
    })
}

/// Splits at commas outside of brackets. `None` where brackets do not close.
fn parts(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(from..at)?);
                from = at + 1;
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    parts.push(text.get(from..)?);
    (depth == 0).then_some(parts)
}

/// A date, a range or a score: `12/3/2024`, `1990-1995`. Beside a number it may be a difference.
fn is_reading(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_cut_by = |sign: char, least: usize| {
        text.split(sign).count() >= least && text.split(sign).all(digits)
    };
    is_cut_by('-', 2) || is_cut_by('/', 3)
}

/// Words are no expressions: `Paris` is not `s*i*r*a*P`. Known functions and single letters are.
fn could_be_expression(text: &str) -> bool {
    let mut words = text.split(|letter: char| !letter.is_alphabetic());
    let known = |word: &str| {
        const KNOWN: [&str; 21] = [
            "sqrt", "frac", "pi", "sin", "cos", "tan", "log", "ln", "exp", "cdot", "times",
            "infty", "oo", "div", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "binom",
        ];
        word.chars().count() <= 2 || KNOWN.contains(&word)
    };
    // A capital before a digit numbers a thing: `A12` is not `12*A`.
    let mut pairs = text.as_bytes().windows(2);
    let is_name = pairs.any(|two| two[0].is_ascii_uppercase() && two[1].is_ascii_digit());
    let is_formula = text.is_ascii() && !text.contains('#') && !is_name;
    is_formula && words.all(known) && boxed(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: &str, wanted: &Equality) {
        assert_eq!(&equal(answer, expected), wanted, "{answer} and {expected}");
    }

    #[test]
    fn text_and_numbers_decide_where_they_can() {
        for (answer, expected) in [
            ("\\boxed{\\frac{1}{2}}", "0.5"),
            ("1/3", "0.33333"),
            ("-\\frac{3}{4}", "-0.75"),
            ("1,234", "1234"),
            ("$5", "5.0"),
            ("50\\%", "50"),
            ("x=7", "7"),
            ("\\text{Evelyn}", "evelyn"),
            ("90^{\\circ}", "90"),
            ("1.5", "1\\frac12"),
            ("-2.75", "-2\\frac{3}{4}"),
            ("1.5", "1 1/2"),
            ("10", "10\\text{ cm}"),
            ("10 cm", "10\\text{ cm}"),
            ("10\\text{ cm}", "10 cm"),
            ("10\\text{ cm}", "10\\text{cm}"),
            ("2\\pi", "2\\pi\\text{ cm}"),
            ("3 and 2", "2,3"),
            ("2, -2", "\\pm 2"),
            ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
        ] {
            check(answer, expected, &Equality::Equal);
        }
        for (answer, expected) in [
            ("1", "2"),
            ("\\frac12", "1\\frac12"),
            ("5.5", "1 1/2"),
            ("1.0002", "1"),
            ("Paris", "Rome"),
            ("", "1"),
            ("7", "Rome"),
        ] {
            check(answer, expected, &Equality::Different);
        }
        check("1.00009", "1", &Equality::Equal);
    }

    #[test]
    fn readings_are_no_computations() {
        for (answer, expected) in [
            ("1990-1995", "1991-1996"),
            ("3-2", "2-1"),
            ("2024-11-12", "2024-12-11"),
            ("12/3/2024", "4/1/2024"),
            ("A12", "12A"),
            ("C#", "C"),
            ("5#6", "5"),
            ("104233", "104234"),
        ] {
            check(answer, expected, &Equality::Different);
        }
        check("1990-1995", "1990-1995", &Equality::Equal);
    }

    #[test]
    fn signs_that_normalising_takes_away_count() {
        for (answer, expected) in [
            ("1.5 km", "15 km"),
            ("-5 °C", "5 °C"),
            ("$1.50 per unit", "$150 per unit"),
            ("1-2 weeks", "12 weeks"),
            ("12:30", "1230"),
            ("v1.1", "v11"),
            ("192.168.1.1", "19.216.8.11"),
            ("C++", "C"),
            ("+", "-"),
            ("the", "A"),
        ] {
            assert!(!has_same_signs(answer, expected), "{answer} and {expected}");
        }
        for (answer, expected) in [
            ("1,234 people", "1234 people"),
            ("(5.0 m)", "5 m."),
            ("the Ada", "Ada"),
            ("St. Mary's", "St Marys"),
            ("$5", "5"),
            ("5,000-meter race", "5000-meter race"),
            ("1,234,567 people", "1234567 people"),
            ("$1,500/month", "$1500/month"),
            ("the 1990's", "the 1990s"),
            ("F-16", "F16"),
            ("**42**", "42"),
        ] {
            assert!(has_same_signs(answer, expected), "{answer} and {expected}");
        }
    }

    #[test]
    fn numbers_are_no_text() {
        assert_eq!(equal_numbers("-1.5", "15"), Some(false));
        assert_eq!(equal_numbers("$1,500.00", "1500"), Some(true));
        assert_eq!(equal_numbers("15 men", "15"), None);
        check("AC", "CA", &Equality::Different);
        check("no", "on", &Equality::Different);
    }

    #[test]
    fn tuples_are_compared_by_part() {
        check("(1, \\frac12 )", "(1,1/2)", &Equality::Equal);
        check("(3,4)", "(3.0, 4)", &Equality::Equal);
        check("(4,3)", "(3,4)", &Equality::Different);
        check("[3,4)", "(3,4)", &Equality::Different);
        check("4, 3", "3,4", &Equality::Equal);
        check("\\{1,2\\}", "\\{2,1\\}", &Equality::Equal);
        check("[3, 4]", "4,3", &Equality::Equal);
        check("(2, 5)", "2,5", &Equality::Equal);
        check("2, 5", "(2,5)", &Equality::Equal);
        check("5, 2", "(2,5)", &Equality::Different);
        check("[2, 5)", "2,5", &Equality::Different);
        check("2, 5", "[2,5]", &Equality::Different);
        check("1,2,3", "1,2", &Equality::Different);
        check("1,2", "12", &Equality::Different);
    }

    #[test]
    fn the_rest_is_left_to_algebra() {
        let open = |a: &str, b: &str| Equality::Open(vec![(a.to_owned(), b.to_owned())]);
        check("2\\sqrt{3}", "\\sqrt{12}", &open("2sqrt(3)", "sqrt(12)"));
        check("10\\text{ m}", "10\\text{ cm}", &open("10m", "10cm"));
        let both = vec![("3-1".to_owned(), "2".to_owned()), ("3+1".to_owned(), "4".to_owned())];
        check("3\\pm 1", "2,4", &Equality::Open(both));
        check("(x+1)^2", "x^2+2x+1", &open("(x+1)**2", "x**2+2x+1"));
    }
}
