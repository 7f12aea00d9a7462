//! Answers written in LaTeX, as MATH has them.

use std::sync::LazyLock;

use regex::Regex;

/// What stands in the last `\boxed{}` of a text.
#[must_use]
pub fn boxed(text: &str) -> Option<&str> {
    const BOX: &str = "\\boxed{";
    let inside = text.get(text.rfind(BOX)? + BOX.len()..)?;
    inside.get(..group_length(inside)?)
}

/// Length of the text before the brace that closes a group whose opening brace was just passed.
fn group_length(inside: &str) -> Option<usize> {
    length_within(inside, ['{', '}'])
}

/// The same with brackets of another kind.
fn length_within(inside: &str, [open, close]: [char; 2]) -> Option<usize> {
    let mut depth = 1_usize;
    inside.char_indices().find_map(|(at, letter)| {
        depth += usize::from(letter == open);
        depth -= usize::from(letter == close);
        (depth == 0).then_some(at)
    })
}

/// Commands that change nothing in what an answer means.
const NOTHING: [&str; 12] = [
    "\\left",
    "\\right",
    "\\!",
    "\\,",
    "\\;",
    "\\:",
    "\\ ",
    "\\$",
    "$",
    "^\\circ",
    "^{\\circ}",
    "\\degree",
];

/// What stands before a unit, as MATH writes one: `10\text{ cm}`.
#[must_use]
pub fn without_unit(answer: &str) -> Option<&str> {
    let answer = boxed(answer).unwrap_or(answer).trim();
    let (number, unit) = answer.split_once("\\text{ ")?;
    let ends = group_length(unit).is_some_and(|length| length + 1 == unit.len());
    let is_unit = ends && !number.trim().is_empty() && !unit.starts_with("and ");
    is_unit.then_some(number)
}

/// Stands for the end of a matrix' row while an answer is tidied: a character of no text.
const ROW_END: &str = "\u{1}";

/// The text of an answer in one spelling: without spaces, dollars, degrees, percent signs and
/// layout, and without `x =` before it; `and` is a comma, `a\pm b` both values.
#[must_use]
pub fn tidy(answer: &str) -> String {
    let answer = boxed(answer).unwrap_or(answer).trim();
    // The break of a row is no backslash before a blank.
    let mut text = answer.trim_end_matches('.').replace("\\\\", ROW_END);
    for word in NOTHING {
        // `\left` is also the beginning of `\leftarrow`, which no answer has.
        text = text.replace(word, "");
    }
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\%", "");
    for wrapper in ["\\text{", "\\mathrm{", "\\textbf{", "\\mbox{"] {
        text = unwrapped(&text, wrapper);
    }
    let text = text.replace(" and ", ",").replace(ROW_END, "\\\\");
    let text = with_mixed_numbers(&text);
    let text = match text.split_once('=') {
        Some((name, value)) if is_name(name) && !value.contains('=') => value.to_owned(),
        _ => text,
    };
    with_both_signs(text)
}

/// `a\pm b` as `a-b,a+b`.
fn with_both_signs(text: String) -> String {
    let Some((before, after)) = text.split_once("\\pm") else { return text };
    // `\\pmod` is another command.
    let is_other = after.starts_with(|letter: char| letter.is_alphabetic());
    if is_other || text.contains(',') || after.contains("\\pm") {
        return text;
    }
    let plus = if before.is_empty() { "" } else { "+" };
    format!("{before}-{after},{before}{plus}{after}")
}

/// A whole number, a blank, and a fraction.
#[allow(clippy::unwrap_used)]
static MIXED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(^|[\s,(\[{-])(\d+)\s+(\d+)/(\d+)\b").unwrap());

/// `text` without blanks; `1 1/2` is then `1\frac{1}{2}`, no longer to be taken for `11/2`.
fn with_mixed_numbers(text: &str) -> String {
    let text = MIXED.replace_all(text, r"$1$2\frac{$3}{$4}");
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where the whole number begins in which `text` ends; its length if there is none.
fn whole_from(text: &str) -> usize {
    let before = text.trim_end_matches(|letter: char| letter.is_ascii_digit());
    // `2^3`, `x_1` and `0.5` end in digits that are no number of their own.
    if before.ends_with(['^', '_', '.']) || before.ends_with(char::is_alphanumeric) {
        return text.len();
    }
    before.len()
}

/// A name that an answer may be given to: `x`, `f(x)`, `x_1`.
fn is_name(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.len() <= 4
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '(' | ')' | '_'))
}

/// `text` with every `wrapper...}` replaced by what is inside.
fn unwrapped(text: &str, wrapper: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find(wrapper) {
        let start = at + wrapper.len();
        let inside = text.get(start..).unwrap_or_default();
        let Some(length) = group_length(inside) else { break };
        let inner = inside.get(..length).unwrap_or_default().to_owned();
        text.replace_range(at..start + length + 1, &inner);
    }
    text
}

/// An expression as sympy's parser reads it, from a tidied answer.
#[must_use]
pub fn expression(tidied: &str) -> String {
    let mut text = with_logarithms(&with_roots(tidied));
    while let Some(next) = without_first_pair(&text) {
        text = next;
    }
    for (command, word) in [
        ("\\cdot", "*"),
        ("\\times", "*"),
        ("\\div", "/"),
        ("\\pi", " pi "),
        ("\\infty", " oo "),
        ("\\ln", "log"),
        ("^", "**"),
        ("{", "("),
        ("}", ")"),
        ("\\", " "),
    ] {
        text = text.replace(command, word);
    }
    text
}

/// `\frac{a}{b}`, `\frac ab` and `\frac{a}b` as `((a)/(b))`, after a whole number as the sum with
/// it; `\binom` likewise as `binomial(a,b)`.
fn without_first_pair(text: &str) -> Option<String> {
    let fraction = text.find("\\frac").map(|at| (at, "\\frac"));
    let binomial = text.find("\\binom").map(|at| (at, "\\binom"));
    let (at, command) = fraction.or(binomial)?;
    let before = text.get(..at)?;
    let (above, rest) = argument(text.get(at + command.len()..)?)?;
    let (below, rest) = argument(rest)?;
    if command == "\\binom" {
        return Some(format!("{before} binomial({above},{below}){rest}"));
    }
    let whole = if is_digits(above) && is_digits(below) { whole_from(before) } else { at };
    let (before, whole) = before.split_at(whole);
    let plus = if whole.is_empty() { "" } else { "+" };
    Some(format!("{before}({whole}{plus}({above})/({below})){rest}"))
}

/// Whole number, numerator and denominator of a text that is one fraction: `1\frac{1}{2}`,
/// `\frac12`, `3/4`. The whole number may be empty.
#[must_use]
pub fn fraction(text: &str) -> Option<(&str, &str, &str)> {
    let Some((whole, pair)) = text.split_once("\\frac") else {
        let (above, below) = text.split_once('/')?;
        return Some(("", above, below));
    };
    let (above, rest) = argument(pair)?;
    let (below, rest) = argument(rest)?;
    (rest.is_empty() && (whole.is_empty() || is_digits(whole))).then_some((whole, above, below))
}

/// The next argument of a command: a group, or one character.
fn argument(text: &str) -> Option<(&str, &str)> {
    if let Some(inside) = text.strip_prefix('{') {
        let length = group_length(inside)?;
        return Some((inside.get(..length)?, inside.get(length + 1..)?));
    }
    let length = text.chars().next()?.len_utf8();
    Some((text.get(..length)?, text.get(length..)?))
}

/// `\sqrt3` and `\sqrt{3}` as `sqrt(3)`, `\sqrt[3]{8}` as `root(8,3)`.
fn with_roots(text: &str) -> String {
    const ROOT: &str = "\\sqrt";
    let Some((before, after)) = text.split_once(ROOT) else { return text.to_owned() };
    let (index, after) = match after.strip_prefix('[').and_then(|after| after.split_once(']')) {
        Some((index, after)) => (Some(index), after),
        None => (None, after),
    };
    let Some((inside, rest)) = argument(after) else { return text.to_owned() };
    let (inside, rest) = (with_roots(inside), with_roots(rest));
    match index {
        Some(index) => format!("{before} root({inside},{index}){rest}"),
        None => format!("{before}sqrt({inside}){rest}"),
    }
}

/// `\log_2 8` and `\log_{2}(8)` as `log(8,2)`.
fn with_logarithms(text: &str) -> String {
    const LOGARITHM: &str = "\\log_";
    let Some((before, after)) = text.split_once(LOGARITHM) else { return text.to_owned() };
    let read = argument(after).and_then(|(base, after)| {
        let (of, rest) = after.split_at(operand_length(after)?);
        Some((base, of, rest))
    });
    let Some((base, of, rest)) = read else { return text.to_owned() };
    format!("{before} log({of},{base}){}", with_logarithms(rest))
}

/// Length of what a logarithm is of: a number, a name or a group, with brackets behind a name. `None`
/// where that is not sure, as before a power.
fn operand_length(text: &str) -> Option<usize> {
    let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '.';
    let name = text.find(|letter: char| !is_of_name(letter)).unwrap_or(text.len());
    let rest = text.get(name..)?;
    let group = match (rest.strip_prefix('('), rest.strip_prefix('{')) {
        (Some(inside), _) => length_within(inside, ['(', ')'])? + 2,
        (None, Some(inside)) => group_length(inside)? + 2,
        (None, None) => 0,
    };
    let is_sure = name + group > 0 && !rest.get(group..)?.starts_with('^');
    is_sure.then_some(name + group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_box_is_read_whole() {
        assert_eq!(boxed("a \\boxed{1} b \\boxed{\\frac{1}{2}}."), Some("\\frac{1}{2}"));
        assert_eq!(boxed("\\boxed{1"), None);
        assert_eq!(boxed("none"), None);
    }

    #[test]
    fn spelling_does_not_count() {
        assert_eq!(tidy("$\\boxed{ \\left( 1, \\dfrac{1}{2} \\right) }$"), "(1,\\frac{1}{2})");
        assert_eq!(tidy("x = 5."), "5");
        assert_eq!(tidy("90^\\circ"), "90");
        assert_eq!(tidy("12\\text{ cm}"), "12cm");
        assert_eq!(tidy("y = x = 2"), "y=x=2");
        assert_eq!(tidy("1 1/2"), "1\\frac{1}{2}");
        assert_eq!(tidy("(1 1/2, -3 1/4)"), "(1\\frac{1}{2},-3\\frac{1}{4})");
        assert_eq!(tidy("x^2 1/2"), "x^21/2");
    }

    #[test]
    fn latex_becomes_an_expression() {
        assert_eq!(expression("\\frac{\\sqrt{3}}{2}"), "((sqrt(3))/(2))");
        assert_eq!(expression("-1\\frac12"), "-(1+(1)/(2))");
        assert_eq!(expression("x^2\\frac12"), "x**2((1)/(2))");
        assert_eq!(expression("\\frac12\\pi"), "((1)/(2)) pi ");
        assert_eq!(expression("2^{10}x\\cdot\\sqrt2"), "2**(10)x*sqrt(2)");
        assert_eq!(expression("\\sqrt[3]{8}"), " root(8,3)");
        assert_eq!(expression("\\binom42"), " binomial(4,2)");
        assert_eq!(expression("\\log_28+1"), " log(8,2)+1");
        assert_eq!(expression("\\log_{10}(x)"), " log((x),10)");
        assert_eq!(expression("\\log_2((x+1)(x-1))"), " log(((x+1)(x-1)),2)");
        assert_eq!(expression("\\log_2\\sqrt8"), " log(sqrt(8),2)");
        assert_eq!(expression("\\log_23.5"), " log(3.5,2)");
        assert!(!expression("\\log_2x^2").contains("log(x,2)"));
        assert_eq!(tidy("3\\pmod 5"), "3\\pmod5");
    }
}
