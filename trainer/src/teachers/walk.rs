//! What a teacher needs beside a student's loop: given first words, and an end after its first
//! action.

use retort::engine::{
    Candidate, Engine, EngineError, Flow, ModelInfo, Prefilled, SampleRequest, hand_over,
};
use retort_transcript::{Segment, Source};

use crate::remote::{Spent, spoken};

const FENCE: &str = "```";

/// A teacher's engine. The first reply begins with a prefix, if there is one; every reply ends with
/// its first whole block of code, because teachers that were not trained on the loop like to go on
/// with an output of their own invention.
pub struct Walk<'a> {
    inner: &'a mut dyn Engine,
    prefix: Option<String>,
    ends_at_code: bool,
    /// What was prefilled and sampled, as far as the engine counts it.
    pub spent: Spent,
}

impl<'a> Walk<'a> {
    /// A walk through the agent loop.
    pub fn new(inner: &'a mut dyn Engine, prefix: Option<String>) -> Self {
        Self { inner, prefix, ends_at_code: true, spent: Spent::default() }
    }

    /// A single reply in plain words.
    pub fn plain(inner: &'a mut dyn Engine) -> Self {
        Self { ends_at_code: false, ..Self::new(inner, None) }
    }

    fn whole(&self, mut candidate: Candidate) -> Candidate {
        match &self.prefix {
            Some(prefix) => candidate.text.insert_str(0, prefix),
            None => candidate.text = spoken(&candidate.text).to_owned(),
        }
        if self.ends_at_code
            && let Some(end) = end_of_first_block(&candidate.text)
        {
            candidate.text.truncate(end);
        }
        candidate
    }
}

impl Engine for Walk<'_> {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }

    fn shares_context(&self) -> bool {
        self.inner.shares_context()
    }

    fn prefill(&mut self, prompt: &[Segment]) -> Result<Prefilled, EngineError> {
        let prefilled = match &self.prefix {
            Some(prefix) => {
                let mut prompt = prompt.to_vec();
                let (text, source) = (prefix.clone(), Source::Content);
                prompt.push(Segment { text, source, learned: true });
                self.inner.prefill(&prompt)?
            }
            None => self.inner.prefill(prompt)?,
        };
        self.spent.prompt_tokens += u64::from(prefilled.prompt_tokens);
        Ok(prefilled)
    }

    fn sample(
        &mut self,
        request: &SampleRequest,
        finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError> {
        // The vote hears of whole replies, so all are drawn first.
        let sampled = self.inner.sample(request, &mut |_, _| Flow::Continue)?;
        self.spent.requests += 1;
        self.spent.completion_tokens += sampled.iter().map(|c| u64::from(c.tokens)).sum::<u64>();
        let mut replies: Vec<Candidate> =
            sampled.into_iter().map(|candidate| self.whole(candidate)).collect();
        hand_over(&mut replies, finished);
        Ok(replies)
    }

    fn keep(&mut self, candidate: usize) -> Result<(), EngineError> {
        self.prefix = None;
        self.inner.keep(candidate)
    }
}

/// Where the first closed block of code ends.
fn end_of_first_block(text: &str) -> Option<usize> {
    let opened = text.find(FENCE)?;
    let inside = opened + text.get(opened..)?.find('\n')?;
    let closed = text.get(inside..)?.find("\n```")?;
    Some(inside + closed + "\n```".len())
}

/// The prefix of a first turn from the teacher's chain of thought about the bare question: its first
/// paragraph, with the label that the dialect puts before a thought (`Thought: ` in the published
/// one), and a blank line. `None` when the teacher wrote nothing.
pub fn first_thought(label: &str, chain: &str) -> Option<String> {
    let first = chain.trim_start().split("\n\n").next().unwrap_or_default().trim_end();
    (!first.is_empty()).then(|| format!("{label}{first}\n\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use retort::engine::{Sampling, ScriptedEngine};

    fn request() -> SampleRequest {
        let (sampling, stops) = (Sampling::Greedy, Vec::new());
        SampleRequest {
            candidates: 1,
            sampling,
            seed: 1,
            stops,
            reply_tokens_max: 100,
            wall_max: None,
        }
    }

    #[test]
    fn the_first_reply_goes_on_from_the_prefix_and_the_second_does_not() {
        let replies = vec!["and on.\n```py\na\n```\nOutput:\n7".to_owned(), "Then.".to_owned()];
        let mut inner = ScriptedEngine::new(replies.into_iter());
        let mut walk = Walk::new(&mut inner, Some("Thought: first\n\n".to_owned()));
        walk.prefill(&[]).unwrap();
        let mut heard = Vec::new();
        let mut sample = |walk: &mut Walk<'_>| {
            let mut finished = |_, reply: &Candidate| {
                heard.push(reply.text.clone());
                Flow::Continue
            };
            walk.sample(&request(), &mut finished).unwrap().remove(0).text
        };
        assert_eq!(sample(&mut walk), "Thought: first\n\nand on.\n```py\na\n```");
        walk.keep(0).unwrap();
        walk.prefill(&[]).unwrap();
        assert_eq!(sample(&mut walk), "Then.");
        assert_eq!(heard.len(), 2);
        assert!(heard[0].starts_with("Thought: first"));
        assert_eq!(walk.spent.prompt_tokens, "Thought: first\n\n".len() as u64);
    }

    #[test]
    fn an_open_block_is_left_as_it_is() {
        assert_eq!(end_of_first_block("x\n```py\na\n"), None);
        assert_eq!(end_of_first_block("no code"), None);
        assert_eq!(end_of_first_block("```py\na\n```<end_code>"), Some(11));
    }

    #[test]
    fn thinking_aloud_is_no_reply() {
        assert_eq!(spoken("<think>\n```py\nx\n```</think>\n\nIt is."), "It is.");
        assert_eq!(spoken("<think>without end"), "");
        assert_eq!(spoken("It is."), "It is.");
    }

    #[test]
    fn the_prefix_is_the_first_paragraph() {
        let prefix = first_thought("Thought: ", "\nI know this.\nIt is\n\nSecond.");
        assert_eq!(prefix.as_deref(), Some("Thought: I know this.\nIt is\n\n"));
        assert_eq!(first_thought("Thought: ", " \n"), None);
    }
}
