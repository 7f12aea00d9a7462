//! The little that is known about Python here: whether a reply without a fence is code, and the
//! renaming of a variable that hides `final_answer`.
//!
//! There is no Python parser in this crate. [`looks_like_python`] splits a text into tokens
//! (`token`) and checks how they may follow each other (`grammar`): strings and brackets close, two
//! operands never stand side by side, operators have operands, compound statements have a colon and
//! an indented body. Prose fails this almost always, because its words stand side by side. What
//! passes wrongly is told of its error by CPython.

mod grammar;
mod token;

/// Whether the whole text can be run as Python. Empty text and comments alone cannot.
pub(crate) fn looks_like_python(text: &str) -> bool {
    token::logical_lines(text)
        .is_some_and(|lines| !lines.is_empty() && grammar::is_plausible(&lines))
}

const ANSWER: &str = "final_answer";
const ANSWER_VARIABLE: &str = "final_answer_variable";

/// Code that calls `final_answer(` and also assigns `final_answer =` hides the function from itself:
/// there, every use that is not a call gets another name.
pub(crate) fn rename_answer_variable(code: &str) -> String {
    let uses = answer_uses(code);
    let calls = uses.iter().any(|(_, kind)| *kind == Use::Call);
    let assigns = uses.iter().any(|(_, kind)| *kind == Use::Assignment);
    if !(calls && assigns) {
        return code.to_owned();
    }
    let mut renamed = String::with_capacity(code.len());
    let mut from = 0;
    for (start, _) in uses.iter().filter(|(_, kind)| *kind != Use::Call) {
        renamed.push_str(code.get(from..*start).unwrap_or_default());
        renamed.push_str(ANSWER_VARIABLE);
        from = start + ANSWER.len();
    }
    renamed.push_str(code.get(from..).unwrap_or_default());
    renamed
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Call,
    Assignment,
    Other,
}

/// Where the whole word `final_answer` stands, not as an attribute, and how it is used.
fn answer_uses(code: &str) -> Vec<(usize, Use)> {
    let whole = |start: usize| {
        let before = code.get(..start).and_then(|text| text.chars().next_back());
        let after = code.get(start + ANSWER.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(|letter| is_word(letter) || letter == '.')
            && !after.is_some_and(is_word)
    };
    code.match_indices(ANSWER)
        .filter(|(start, _)| whole(*start))
        .map(|(start, _)| (start, use_before(code.get(start + ANSWER.len()..).unwrap_or_default())))
        .collect()
}

fn use_before(after: &str) -> Use {
    let after = after.trim_start();
    if after.starts_with('(') {
        Use::Call
    } else if after.starts_with('=') && !after.starts_with("==") {
        Use::Assignment
    } else {
        Use::Other
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::{looks_like_python, rename_answer_variable};

    #[track_caller]
    fn check_python(text: &str, expected: bool) {
        assert_eq!(looks_like_python(text), expected, "{text:?}");
    }

    #[test]
    fn code_is_recognised() {
        for code in [
            "print(5)",
            "x = 3\nx*2\n",
            "for i in range(2):\n    for j in range(2):\n        print(i, j)\nprint('done')",
            "def f(a, /, *rest, b=1, **more) -> int:\n    \"\"\"Doc.\"\"\"\n    return a + b\nf(1)",
            "import re, math as m\nfrom os import path\nx = [1, 2][::-1]; y = {**{}, 'a': -1}",
            "if x not in y and z is not None: pass\nelif not x: ...\nelse:\n  raise ValueError(f'{x!r}') from None",
            "try:\n    1/0\nexcept ZeroDivisionError as error:\n    print(error)\nfinally:\n    pass",
            "with open('a') as f:\n    text = (\n'one'\n  'two')\n",
            "a = lambda x, *y: x if x else y\nwhile True:\n    break # out",
            "match x:\n    case 1:\n        print(1)\n    case _:\n        pass",
            "match 3:\n    case 3: print('x')",
            "def f():\n    yield from g()\nf()",
            "@cache\ndef g(): yield\nasync def h():\n    await g()",
            "print(*[n for n in a if n], sep='')\nx: int = 0x1F + 1_000.5e-3j\nprint(x[1:], x[:, 0], x[...])",
            "total = 1 + \\\n    2\nassert total == 3, 'no'\ndel total\nreturn_value = 4 if (n := 10) > 3 else 5",
            "# a comment\nfinal_answer('x')",
        ] {
            check_python(code, true);
        }
    }

    #[test]
    fn prose_is_not_code() {
        for text in [
            "",
            "# only a comment",
            "I think the answer is Paris.\nLet me answer.",
            "The final answer is Paris.\nDone.",
            "just some words here",
            "Thought: t.\nCode:\n```py\nprint(1)",
            "Done.",
            "Here is my answer:",
            "What now?",
            "It's fine",
            "print(1",
            "print 'x'",
            "x = ",
            "5th avenue",
            "if x\n    y",
            "for example",
            "if x:\ny = 1",
            "x = 1\n    y = 2",
            "a, , b",
            "x + * y)",
            "“quoted”",
            "return of the king",
            "Nothing is stored for it",
            "from here",
            "data -> model",
        ] {
            check_python(text, false);
        }
    }

    #[track_caller]
    fn check_renamed(code: &str, expected: &str) {
        assert_eq!(rename_answer_variable(code), expected);
    }

    #[test]
    fn a_variable_that_hides_the_function_is_renamed() {
        check_renamed(
            "final_answer = 3\nfinal_answer(final_answer)",
            "final_answer_variable = 3\nfinal_answer(final_answer_variable)",
        );
        check_renamed("final_answer(3)", "final_answer(3)");
        check_renamed("final_answer = 3", "final_answer = 3");
        check_renamed(
            "x.final_answer = 1\nmy_final_answer = 2\nfinal_answer (x)",
            "x.final_answer = 1\nmy_final_answer = 2\nfinal_answer (x)",
        );
        check_renamed(
            "if final_answer == 3: final_answer(4)",
            "if final_answer == 3: final_answer(4)",
        );
    }
}
