//! How tokens of a statement may follow each other.
//!
//! One state is enough: whether an operand must come next. It errs towards saying yes on rare forms;
//! what it must catch is prose and code cut off in the middle.

use super::token::{LogicalLine, Token};

/// Whether each line is a plausible statement and the indentation fits the statements.
pub(super) fn is_plausible(lines: &[LogicalLine<'_>]) -> bool {
    indentation_fits(lines) && lines.iter().all(|line| line_is_plausible(&line.tokens))
}

/// A line after a compound statement's header is deeper; every other line stands at the depth of
/// the one before or of one around it.
fn indentation_fits(lines: &[LogicalLine<'_>]) -> bool {
    let mut levels = vec![0];
    let mut opens_block = false;
    for line in lines {
        let level = levels.last().copied().unwrap_or_default();
        if opens_block {
            if line.indent <= level {
                return false;
            }
            levels.push(line.indent);
        } else if line.indent > level {
            return false;
        }
        levels.retain(|level| *level <= line.indent);
        if levels.last() != Some(&line.indent) {
            return false;
        }
        opens_block = line.tokens.last() == Some(&Token::Colon);
    }
    !opens_block
}

const COMPOUND: [&str; 12] = [
    "if", "elif", "else", "for", "while", "def", "class", "with", "try", "except", "finally",
    "async",
];
/// Words that begin a compound statement only where an operand and a colon follow, and are names
/// elsewhere.
const SOFT: [&str; 2] = ["match", "case"];
/// Keywords between two operands.
const INFIX: [&str; 8] = ["and", "or", "in", "is", "if", "else", "for", "as"];
/// Keywords that stand before an operand, at the start of a statement or inside one.
const PREFIX: [&str; 4] = ["not", "lambda", "await", "async"];
/// Statements and headers that take an operand.
const TAKING: [&str; 13] = [
    "import", "from", "def", "class", "assert", "del", "global", "nonlocal", "if", "elif", "for",
    "while", "with",
];
/// Statements and headers that may stand alone.
const BARE: [&str; 10] =
    ["return", "raise", "yield", "else", "try", "except", "finally", "pass", "break", "continue"];
/// Of these, the ones that nothing but a colon or the end may follow.
const ALONE: [&str; 6] = ["else", "try", "finally", "pass", "break", "continue"];

/// What the tokens so far ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The start of a statement.
    Statement,
    /// An operand; the statement or bracket cannot end here.
    Operand,
    /// An operand or an end: after a comma, a colon, an opening bracket, `return`, `*`.
    OperandOrEnd,
    /// An attribute's name.
    Attribute,
    /// Something that goes on after an operand, or an end. `text`: the operand was a string, which
    /// a second string may follow.
    Operator { text: bool },
    /// Nothing but a colon or the end.
    End,
}

const DONE: Expect = Expect::Operator { text: false };

fn line_is_plausible(tokens: &[Token<'_>]) -> bool {
    let mut expect = Expect::Statement;
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate() {
        let previous = position.checked_sub(1).and_then(|before| tokens.get(before));
        let is_soft_header = position == 0 && is_soft_header(tokens);
        let Some(next) = step(expect, previous, *token, depth, is_soft_header) else {
            return false;
        };
        expect = next;
        match token {
            Token::Open(_) => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    may_end(expect) && header_is_whole(tokens)
}

fn step(
    expect: Expect,
    previous: Option<&Token<'_>>,
    token: Token<'_>,
    depth: usize,
    is_soft_header: bool,
) -> Option<Expect> {
    match token {
        Token::Word(word) if is_soft_header && SOFT.contains(&word) => Some(Expect::Operand),
        Token::Word(word) => after_word(expect, previous, word),
        Token::Number => takes_operand(expect).then_some(DONE),
        Token::Text => {
            let follows = takes_operand(expect) || expect == Expect::Operator { text: true };
            follows.then_some(Expect::Operator { text: true })
        }
        Token::Open('{') => takes_operand(expect).then_some(Expect::OperandOrEnd),
        Token::Open(_) => {
            let follows = takes_operand(expect) || is_operator(expect);
            follows.then_some(Expect::OperandOrEnd)
        }
        Token::Close => (is_operator(expect) || expect == Expect::OperandOrEnd).then_some(DONE),
        Token::Comma => {
            let follows = is_operator(expect) || after_bare_star(expect, previous);
            follows.then_some(Expect::OperandOrEnd)
        }
        Token::Colon => {
            let follows =
                is_operator(expect) || matches!(expect, Expect::End | Expect::OperandOrEnd);
            let next = if depth > 0 { Expect::OperandOrEnd } else { Expect::Statement };
            follows.then_some(next)
        }
        Token::Semicolon => may_end(expect).then_some(Expect::Statement),
        Token::Dot => after_dot(expect, previous),
        Token::Operator(operator) => after_operator(expect, operator),
    }
}

fn after_word(expect: Expect, previous: Option<&Token<'_>>, word: &str) -> Option<Expect> {
    let starts = expect == Expect::Statement;
    if expect == Expect::Attribute {
        return Some(DONE);
    }
    if starts && ALONE.contains(&word) {
        return Some(Expect::End);
    }
    if starts && BARE.contains(&word) || word == "yield" && takes_operand(expect) {
        return Some(Expect::OperandOrEnd);
    }
    if starts && TAKING.contains(&word) || PREFIX.contains(&word) && takes_operand(expect) {
        // `lambda: 0` has a colon at once.
        return Some(if word == "lambda" { Expect::OperandOrEnd } else { Expect::Operand });
    }
    let between = is_operator(expect);
    let previous_is = |wanted: &str| previous == Some(&Token::Word(wanted));
    if INFIX.contains(&word) {
        let follows =
            between || word == "in" && previous_is("not") || word == "for" && previous_is("async");
        return follows.then_some(Expect::Operand);
    }
    match word {
        "from" if previous_is("yield") => Some(Expect::Operand),
        // `x not in y`; `raise x from y`; `from x import y`.
        "not" | "from" | "import" | "async" => between.then_some(Expect::Operand),
        // `async def`, `async with`.
        "def" | "with" => previous_is("async").then_some(Expect::Operand),
        _ => takes_operand(expect).then_some(DONE),
    }
}

fn after_operator(expect: Expect, operator: &str) -> Option<Expect> {
    if is_operator(expect) {
        // `def f(a, /)` ends after an operator, and `x[1:]` after a colon.
        return Some(if operator == "/" { Expect::OperandOrEnd } else { Expect::Operand });
    }
    let starts = expect == Expect::Statement;
    match operator {
        "+" | "-" | "~" | "**" if takes_operand(expect) => Some(Expect::Operand),
        // A star may stand alone between commas: `def f(a, *, b)`, `from x import *`.
        "*" | "/" if takes_operand(expect) => Some(Expect::OperandOrEnd),
        "@" if starts => Some(Expect::Operand),
        _ => None,
    }
}

fn after_dot(expect: Expect, previous: Option<&Token<'_>>) -> Option<Expect> {
    if matches!(previous, Some(Token::Word("from"))) {
        // `from . import x`
        return Some(DONE);
    }
    is_operator(expect).then_some(Expect::Attribute)
}

fn after_bare_star(expect: Expect, previous: Option<&Token<'_>>) -> bool {
    let after_colon = matches!(previous, Some(Token::Colon));
    let after_star = matches!(previous, Some(Token::Operator("*" | "/")));
    expect == Expect::OperandOrEnd && (after_colon || after_star)
}

fn takes_operand(expect: Expect) -> bool {
    matches!(expect, Expect::Statement | Expect::Operand | Expect::OperandOrEnd)
}

fn is_operator(expect: Expect) -> bool {
    matches!(expect, Expect::Operator { .. })
}

fn may_end(expect: Expect) -> bool {
    !matches!(expect, Expect::Operand | Expect::Attribute)
}

/// What one state cannot see: a compound statement has a colon outside brackets, and only a
/// compound statement ends in one; `for` needs its `in`, `from` its `import`, `->` its `def`.
fn header_is_whole(tokens: &[Token<'_>]) -> bool {
    let count = |word: &str| tokens.iter().filter(|token| **token == Token::Word(word)).count();
    let first = tokens.first();
    let first_is =
        |words: &[&str]| matches!(first, Some(Token::Word(word)) if words.contains(word));
    let is_header = first_is(&COMPOUND) || is_soft_header(tokens);
    let colon_fits = if is_header {
        has_colon_outside_brackets(tokens)
    } else {
        tokens.last() != Some(&Token::Colon)
    };
    let arrow_fits = !tokens.contains(&Token::Operator("->")) || first_is(&["def", "async"]);
    let import_fits = !first_is(&["from"]) || count("import") == 1;
    colon_fits && arrow_fits && import_fits && count("for") <= count("in")
}

fn is_soft_header(tokens: &[Token<'_>]) -> bool {
    let [Token::Word(first), next, ..] = tokens else {
        return false;
    };
    SOFT.contains(first) && *next != Token::Colon && has_colon_outside_brackets(tokens)
}

fn has_colon_outside_brackets(tokens: &[Token<'_>]) -> bool {
    let mut depth = 0_usize;
    tokens.iter().any(|token| {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Colon
    })
}
