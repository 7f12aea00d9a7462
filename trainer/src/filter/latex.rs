//! Answers written in LaTeX, as MATH has them.

/// What stands in the last `\boxed{}` of a text.
#[must_use]
pub fn boxed(text: &str) -> Option<&str> {
    const BOX: &str = "\\boxed{";
    let inside = text.get(text.rfind(BOX)? + BOX.len()..)?;
    inside.get(..group_length(inside)?)
}

/// Length of the text before the brace that closes a group whose opening brace was just passed.
fn group_length(inside: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
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

/// The text of an answer in one spelling: without spaces, dollars, degrees and layout, and without
/// `x =` before it.
#[must_use]
pub fn tidy(answer: &str) -> String {
    let answer = boxed(answer).unwrap_or(answer).trim();
    let mut text = answer.trim_end_matches('.').to_owned();
    for word in NOTHING {
        // `\left` is also the beginning of `\leftarrow`, which no answer has.
        text = text.replace(word, "");
    }
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\%", "");
    for wrapper in ["\\text{", "\\mathrm{", "\\textbf{", "\\mbox{"] {
        text = unwrapped(&text, wrapper);
    }
    let text: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    match text.split_once('=') {
        Some((name, value)) if is_name(name) && !value.contains('=') => value.to_owned(),
        _ => text,
    }
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
    let mut text = tidied.to_owned();
    while let Some(next) = without_first_fraction(&text) {
        text = next;
    }
    text = with_braces(&text, "\\sqrt", "sqrt");
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

/// `\frac{a}{b}`, `\frac ab` and `\frac{a}b` as `((a)/(b))`.
fn without_first_fraction(text: &str) -> Option<String> {
    let at = text.find("\\frac")?;
    let rest = text.get(at + "\\frac".len()..)?;
    let (above, rest) = argument(rest)?;
    let (below, rest) = argument(rest)?;
    Some(format!("{}(({above})/({below})){rest}", text.get(..at)?))
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

/// `\sqrt3` and `\sqrt{3}` as `sqrt(3)`; a root with an index stays, and no parser takes it.
fn with_braces(text: &str, command: &str, function: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(command) {
        out += rest.get(..at).unwrap_or_default();
        let after = rest.get(at + command.len()..).unwrap_or_default();
        match argument(after) {
            Some((inside, after)) if inside != "[" => {
                out += &format!("{function}({})", with_braces(inside, command, function));
                rest = after;
            }
            _ => {
                out += "\\root";
                rest = after;
            }
        }
    }
    out + rest
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
    }

    #[test]
    fn latex_becomes_an_expression() {
        assert_eq!(expression("\\frac{\\sqrt{3}}{2}"), "((sqrt(3))/(2))");
        assert_eq!(expression("\\frac12\\pi"), "((1)/(2)) pi ");
        assert_eq!(expression("2^{10}x\\cdot\\sqrt2"), "2**(10)x*sqrt(2)");
        assert!(expression("\\sqrt[3]{8}").contains("root"));
    }
}
