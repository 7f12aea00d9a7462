//! Replies read into actions, and composed from them.

use crate::python;
use crate::types::Action;
use crate::words::{Reply, ReplyErrors, fill};

/// A reply without code. Its text is what the model is to be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is no code in it.
    #[error("{message}")]
    NoCode {
        /// In the words of the dialect.
        message: String,
    },
    /// There is no code in it, but it speaks of a final answer.
    #[error("{message}")]
    AnswerWithoutCode {
        /// In the words of the dialect.
        message: String,
    },
}

const FENCE: &str = "```";
const CLOSING_FENCE: &str = "\n```";
/// What may stand between an opening fence and the end of its line.
const LANGUAGES: [&str; 3] = ["", "py", "python"];

/// The action in `reply`: every fenced block, joined by a blank line; without a block the whole
/// reply if it is Python.
pub(crate) fn parse_reply(words: &Reply, reply: &str) -> Result<Action, ParseError> {
    let blocks = fenced_blocks(reply);
    let (thought, code) = match blocks.first() {
        Some(first) => {
            (thought(words, reply.get(..first.start).unwrap_or_default()), joined(&blocks))
        }
        None if python::looks_like_python(reply) => (String::new(), reply.trim().to_owned()),
        None => return Err(no_code(words, reply)),
    };
    Ok(Action { thought, code: python::rename_answer_variable(&code) })
}

/// The inverse of [`parse_reply`].
pub(crate) fn compose_reply(words: &Reply, action: &Action) -> String {
    let values = [("thought", action.thought.as_str()), ("code", action.code.as_str())];
    fill(&words.layout, &values).trim().to_owned()
}

struct Block<'a> {
    /// Where its opening fence starts.
    start: usize,
    code: &'a str,
}

/// Blocks in order. A fence opens anywhere in a line and closes at the start of one, which is how
/// the published students' parser takes it; a block that is not closed is none.
fn fenced_blocks(reply: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut from = 0;
    while let Some(offset) = reply.get(from..).and_then(|rest| rest.find(FENCE)) {
        let start = from + offset;
        match reply.get(start..).and_then(block_at) {
            Some((code, length)) => {
                blocks.push(Block { start, code });
                from = start + length;
            }
            None => from = start + 1,
        }
    }
    blocks
}

/// The code of the block that opens at the start of `text`, and the block's length in bytes.
fn block_at(text: &str) -> Option<(&str, usize)> {
    let after_fence = text.strip_prefix(FENCE)?;
    let inside = LANGUAGES
        .iter()
        .find_map(|language| after_fence.strip_prefix(language)?.strip_prefix('\n'))?;
    let code_length = inside.find(CLOSING_FENCE)?;
    let length = text.len() - inside.len() + code_length + CLOSING_FENCE.len();
    Some((inside.get(..code_length)?, length))
}

fn joined(blocks: &[Block<'_>]) -> String {
    blocks.iter().map(|block| block.code.trim()).collect::<Vec<_>>().join("\n\n")
}

fn thought(words: &Reply, text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix(&words.thought_label).unwrap_or(text);
    let text = text.strip_suffix(&words.code_label).unwrap_or(text);
    text.trim().to_owned()
}

fn no_code(words: &Reply, reply: &str) -> ParseError {
    let mut shown = reply.to_owned();
    if reply.trim_end().ends_with(FENCE) {
        shown.push_str(&words.fence_end);
    }
    let mentions_answer = reply.contains("final") && reply.contains("answer");
    let message = |text: &str| error_message(&words.errors, text, &shown);
    if mentions_answer {
        ParseError::AnswerWithoutCode { message: message(&words.errors.answer_without_code) }
    } else {
        ParseError::NoCode { message: message(&words.errors.no_code) }
    }
}

fn error_message(errors: &ReplyErrors, text: &str, reply: &str) -> String {
    let error = dedent(&fill(text, &[("reply", reply)]));
    fill(&errors.layout, &[("error", error.trim())])
}

/// Python's `textwrap.dedent`: takes off the white space that all lines share, and all of it from
/// lines that hold nothing else.
fn dedent(text: &str) -> String {
    let margin = common_margin(text);
    let lines = text
        .split('\n')
        .map(|line| if is_blank(line) { "" } else { line.get(margin..).unwrap_or_default() });
    lines.collect::<Vec<_>>().join("\n")
}

fn common_margin(text: &str) -> usize {
    let mut lines = text.split('\n').filter(|line| !is_blank(line)).map(indent);
    let first = lines.next().unwrap_or_default();
    lines.fold(first, common_prefix).len()
}

fn is_blank(line: &str) -> bool {
    indent(line).len() == line.len()
}

fn indent(line: &str) -> &str {
    let end = line.find(|letter| letter != ' ' && letter != '\t').unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

/// Both hold blanks and tabs only, so every byte is a character.
fn common_prefix<'a>(one: &'a str, other: &str) -> &'a str {
    let length = one.bytes().zip(other.bytes()).take_while(|(left, right)| left == right).count();
    one.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::dedent;

    #[test]
    fn dedent_is_pythons() {
        assert_eq!(dedent("  a\n   b\n \n  c"), "a\n b\n\nc");
        assert_eq!(dedent("  a\nb\n"), "  a\nb\n");
        assert_eq!(dedent("\ta\n  b"), "\ta\n  b");
    }
}
