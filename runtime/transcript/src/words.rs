//! The words of a dialect, as its data file gives them, and the filling of their placeholders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::ToolDescription;

/// A dialect's data file. Texts hold `{placeholders}`; what may stand in each is said beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    /// Version of this layout; refused unless it is [`FORMAT`].
    pub format: u32,
    /// Name by which manifests know the dialect.
    pub name: String,
    /// Name of the Python function that searches.
    pub search_tool: String,
    /// Texts that end a reply and are not part of it.
    pub stops: Vec<String>,
    /// Template of the system prompt used unless another one is given.
    pub system_prompt: Option<String>,
    /// What a system prompt says about the tools.
    #[serde(default)]
    pub tools: Vec<ToolDescription>,
    /// Further variables of a system prompt's template.
    #[serde(default)]
    pub template_variables: BTreeMap<String, String>,
    pub frame: Frame,
    pub question: Question,
    pub reply: Reply,
    pub observation: ObservationWords,
    pub passages: PassageWords,
}

/// The only layout of data files so far.
pub(crate) const FORMAT: u32 = 1;

/// Control text around the messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    pub system_open: String,
    pub user_open: String,
    pub assistant_open: String,
    /// Ends a message; the student learns to write it after a reply.
    pub close: String,
    /// Follows `close`; nobody writes it.
    pub after_close: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// `{question}`.
    pub text: String,
    /// Asks for an answer once the budget is spent; follows the last user text.
    pub answer_request: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// How a reply is composed: `{thought}`, `{code}`.
    pub layout: String,
    /// Taken off the start of a thought when a reply is parsed.
    pub thought_label: String,
    /// Taken off the end of a thought when a reply is parsed.
    pub code_label: String,
    /// Appended to a reply that ends in a code fence.
    pub fence_end: String,
    pub errors: ReplyErrors,
}

/// What the model is told when its reply held no code. The common indentation of `no_code` and
/// `answer_without_code` is removed after `{reply}` was put in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplyErrors {
    /// `{error}`.
    pub layout: String,
    /// `{reply}`.
    pub no_code: String,
    /// The same for a reply that mentions a final answer: `{reply}`.
    pub answer_without_code: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObservationWords {
    /// `{step}`, `{logs}`, `{value}`.
    pub output: String,
    /// Stands for `{value}` when there is none.
    pub value_none: String,
    /// The value of a last assignment counts as the value.
    pub shows_assigned: bool,
    /// Stands for the whole output when nothing was printed and there is no value; empty: unused.
    pub output_empty: String,
    /// Printed text before an error: `{step}`, `{logs}`.
    pub logs_before_error: String,
    /// `{step}`, `{error}`: one of the next two, or the message alone.
    pub error: String,
    /// `{line}`, `{message}`.
    pub error_at_line: String,
    /// `{type}`, `{message}`, `{line}`, `{line_number}`, `{indent}` (spaces up to the column).
    pub syntax_error: String,
    /// `{message}`.
    pub parse_error: String,
    /// Newlines at the end of an observation are left out.
    pub strips_last_newline: bool,
    /// The closing ` [n]` of each sentence is learned.
    pub marks_learned: bool,
    pub limits: ObservationLimits,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObservationLimits {
    pub logs_characters_max: usize,
    /// Also of an error's message.
    pub value_characters_max: usize,
    /// Stands where text was left out: `{characters_max}`.
    pub truncation_note: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassageWords {
    /// `{query}`.
    pub none: String,
    /// Stands for the text of a passage that an earlier observation shows; without it, passages are
    /// shown again.
    pub repeated: Option<String>,
    pub layout: PassageLayout,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum PassageLayout {
    /// `Title [1]: Sentence one [1]. Sentence two [1].`, a line each.
    NumberedSentences,
    /// A heading, then `document` for each: `{number}` from 0, `{similarity}`, `{title}`, `{text}`.
    NumberedDocuments { heading: String, document: String },
}

/// Puts `values` into the placeholders of `template`, in one pass: braces inside a value, and braces
/// around anything else, stay as they are.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        rest = match placeholder(after, values) {
            Some((value, after_placeholder)) => {
                filled.push_str(value);
                after_placeholder
            }
            None => {
                filled.push('{');
                after
            }
        };
    }
    filled.push_str(rest);
    filled
}

fn placeholder<'a>(text: &'a str, values: &[(&str, &'a str)]) -> Option<(&'a str, &'a str)> {
    values.iter().find_map(|(name, value)| {
        let rest = text.strip_prefix(name)?.strip_prefix('}')?;
        Some((*value, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn fill_replaces_known_names_once() {
        let values = [("a", "{b}"), ("b", "2")];
        assert_eq!(
            fill(r"{a} {b} {c} \boxed{\frac{9}{14}} {", &values),
            r"{b} 2 {c} \boxed{\frac{9}{14}} {"
        );
    }
}
