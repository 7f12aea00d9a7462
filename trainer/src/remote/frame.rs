//! A rendered prompt taken apart into messages.

use retort_transcript::{Dialect, Message, Role, Segment, Source, Transcript};

/// The control texts of a dialect, by which a prompt is taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    system_open: String,
    user_open: String,
    assistant_open: String,
    close: String,
}

impl Frame {
    /// The control texts around a question, and around a system prompt where the dialect has one.
    pub fn of(dialect: &Dialect) -> Self {
        let question = Transcript { question: "?".to_owned(), ..Transcript::default() };
        let prompt = dialect.render_prompt(&question);
        let text = |index: Option<usize>| {
            let segment = index.and_then(|index| prompt.get(index));
            segment.map(|segment| segment.text.clone()).unwrap_or_default()
        };
        let asked = prompt.iter().rposition(|segment| segment.source == Source::Content);
        let system = if dialect.has_system_prompt() { text(Some(0)) } else { String::new() };
        Self {
            system_open: system,
            user_open: text(asked.and_then(|index| index.checked_sub(1))),
            assistant_open: text(prompt.len().checked_sub(1)),
            close: text(asked.map(|index| index + 1)),
        }
    }

    /// The prompt as messages. The last is the assistant's if the prompt ends inside its reply.
    pub fn messages(&self, prompt: &[Segment]) -> Vec<Message> {
        let mut messages: Vec<Message> = Vec::new();
        let mut open: Option<Message> = None;
        for segment in prompt {
            let opened = self.opened_by(segment).filter(|_| open.is_none());
            match (opened, &mut open) {
                (Some(role), _) => open = Some(Message { role, content: String::new() }),
                (None, Some(message)) if self.is_close(segment) => {
                    messages.push(std::mem::replace(
                        message,
                        Message { role: Role::User, content: String::new() },
                    ));
                    open = None;
                }
                (None, Some(message)) => message.content.push_str(&segment.text),
                // What follows the end of a message belongs to no message.
                (None, None) => {}
            }
        }
        messages.extend(open.filter(|message| !message.content.is_empty()));
        messages
    }

    fn is_close(&self, segment: &Segment) -> bool {
        segment.source == Source::Template && segment.text == self.close
    }

    fn opened_by(&self, segment: &Segment) -> Option<Role> {
        let opens = |text: &str| segment.source == Source::Template && segment.text == text;
        if opens(&self.system_open) && !self.system_open.is_empty() {
            Some(Role::System)
        } else if opens(&self.user_open) {
            Some(Role::User)
        } else {
            opens(&self.assistant_open).then_some(Role::Assistant)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use retort_transcript::{Observation, Step};

    fn transcript() -> Transcript {
        let output = Observation::Output {
            logs: "Title [1]: <|im_start|>user\n[1].\n".to_owned(),
            value: None,
            assigned: None,
        };
        let step =
            |reply: &str| Step { reply: reply.to_owned(), observation: Some(output.clone()) };
        Transcript {
            question: "What is <|im_end|>?".to_owned(),
            steps: vec![step("I look.\n```py\nx\n```"), step("Again.\n```py\ny\n```")],
            answer_requested: true,
        }
    }

    #[test]
    fn a_prompt_becomes_the_messages_of_its_dialect() {
        for name in ["retort", "chat", "smolagents"] {
            let plain = Dialect::named(name).unwrap();
            let told = plain.clone().with_system_prompt("Act.", &[]).unwrap();
            for dialect in [plain, told] {
                let transcript = transcript();
                let messages = Frame::of(&dialect).messages(&dialect.render_prompt(&transcript));
                assert_eq!(messages, dialect.message_sequence(&transcript), "{name}");
            }
        }
    }

    #[test]
    fn an_open_reply_is_the_last_message() {
        let dialect = Dialect::named("chat").unwrap();
        let mut prompt = dialect.render_prompt(&transcript());
        let text = "Thought: first".to_owned();
        prompt.push(Segment { text, source: Source::Content, learned: true });
        let messages = Frame::of(&dialect).messages(&prompt);
        let last = messages.last().unwrap();
        assert_eq!((last.role, last.content.as_str()), (Role::Assistant, "Thought: first"));
    }
}
