//! An engine that answers from a script: the second implementation of [`Engine`], for tests and
//! for runs that need no model.

use std::collections::VecDeque;

use retort_transcript::{Segment, Source};
use serde::Deserialize;

use super::{
    Candidate, Engine, EngineError, Flow, ModelInfo, Prefilled, SampleRequest, Stop, hand_over,
};

/// Stands inside content that spells a control token, so that a script can tell it from one.
const BREAK: char = '\u{200b}';

/// Says what the model would reply.
pub trait Script {
    /// The replies to a prompt, one per candidate; the last is repeated if there are too few.
    fn replies(&mut self, prompt: &str, candidates: u8) -> Vec<String>;
}

/// Replies in order, whatever the prompt is.
impl Script for std::vec::IntoIter<String> {
    fn replies(&mut self, _prompt: &str, _candidates: u8) -> Vec<String> {
        self.next().into_iter().collect()
    }
}

/// Replies that somebody wrote down, a step a line: whole runs without a model.
#[derive(Clone, Debug, Default)]
pub struct Replies(VecDeque<ScriptedStep>);

/// The replies of one step.
#[derive(Clone, Debug, Deserialize)]
struct ScriptedStep {
    /// The step is passed over unless the prompt holds this text.
    #[serde(rename = "if")]
    condition: Option<String>,
    replies: Vec<String>,
}

/// A line of a script that is none.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}; expected {{\"replies\": [\"text\", ...]}}")]
pub struct ScriptError {
    /// From 1.
    line: usize,
    reason: String,
}

impl Replies {
    /// Reads JSON Lines of `{"replies": ["text", ...], "if": "text"}`; `if` is optional, further
    /// fields and empty lines are ignored.
    ///
    /// # Errors
    /// [`ScriptError`] names the first line that is none.
    pub fn read(script: &str) -> Result<Self, ScriptError> {
        let lines = script.lines().zip(1..).filter(|(text, _)| !text.trim().is_empty());
        let steps = lines.map(|(text, line)| {
            let refused = |reason: String| ScriptError { line, reason };
            let step: ScriptedStep =
                serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
            if step.replies.is_empty() {
                return Err(refused("it holds no reply".to_owned()));
            }
            Ok(step)
        });
        steps.collect::<Result<_, _>>().map(Self)
    }
}

impl Script for Replies {
    fn replies(&mut self, prompt: &str, _candidates: u8) -> Vec<String> {
        let fits = |step: &ScriptedStep| {
            step.condition.as_deref().is_none_or(|condition| prompt.contains(condition))
        };
        while let Some(step) = self.0.pop_front() {
            if fits(&step) {
                return step.replies;
            }
        }
        Vec::new()
    }
}

/// Searches the question as it stands, then answers with the title of the first passage.
#[derive(Clone, Copy, Debug, Default)]
pub struct SearchQuestion;

impl Script for SearchQuestion {
    fn replies(&mut self, prompt: &str, _candidates: u8) -> Vec<String> {
        let question = prompt.lines().find(|line| !line.starts_with('<')).unwrap_or_default();
        let question = question.trim_end_matches("<|im_end|>").replace(BREAK, "");
        let code = if prompt.contains("<|im_start|>assistant\nI search") {
            "final_answer(found.strip().split(\"\\n\")[0].split(\" [1]\")[0])".to_owned()
        } else {
            let literal = serde_json::Value::from(question);
            format!("found = search({literal})\nprint(found)")
        };
        vec![format!("I search the question as it stands.\n```py\n{code}\n```")]
    }
}

/// Runs a [`Script`]; one character counts as one token.
pub struct ScriptedEngine<S> {
    script: S,
    info: ModelInfo,
    prompt: String,
    context: String,
    replies: Vec<String>,
}

impl<S: Script> ScriptedEngine<S> {
    /// The script, as far as it has come.
    pub fn script(&self) -> &S {
        &self.script
    }

    /// An engine that holds a million characters.
    pub fn new(script: S) -> Self {
        let info = ModelInfo {
            name: "scripted".to_owned(),
            sha256: "0".repeat(64),
            context_tokens: 1 << 20,
        };
        let (prompt, context) = (String::new(), String::new());
        Self { script, info, prompt, context, replies: Vec::new() }
    }
}

fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

impl<S: Script> Engine for ScriptedEngine<S> {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn prefill(&mut self, prompt: &[Segment]) -> Result<Prefilled, EngineError> {
        // Content that spells a control token is shown broken, as a tokenizer would have it.
        let text = |segment: &Segment| match segment.source {
            Source::Template => segment.text.clone(),
            Source::Content => segment.text.replace("<|", &format!("<{BREAK}|")),
        };
        self.prompt = prompt.iter().map(text).collect();
        let prompt_tokens = characters(&self.prompt);
        let context_tokens = self.info.context_tokens;
        if prompt_tokens > context_tokens {
            return Err(EngineError::ContextFull { prompt_tokens, context_tokens });
        }
        let same = self.prompt.chars().zip(self.context.chars()).take_while(|(a, b)| a == b);
        let reused_tokens = u32::try_from(same.count()).unwrap_or(u32::MAX);
        self.context.clone_from(&self.prompt);
        Ok(Prefilled { prompt_tokens, reused_tokens })
    }

    fn sample(
        &mut self,
        request: &SampleRequest,
        finished: &mut dyn FnMut(usize, &Candidate) -> Flow,
    ) -> Result<Vec<Candidate>, EngineError> {
        let mut replies = self.script.replies(&self.prompt, request.candidates);
        let Some(last) = replies.last().cloned() else {
            return Err(EngineError::NoReply("the script has ended".to_owned()));
        };
        replies.resize(usize::from(request.candidates.max(1)), last);
        let whole = |text: &String| Candidate {
            text: text.clone(),
            tokens: characters(text),
            mean_logprob: -1.0,
            stop: Stop::End,
        };
        let mut candidates: Vec<Candidate> = replies.iter().map(whole).collect();
        hand_over(&mut candidates, finished);
        self.replies = replies;
        Ok(candidates)
    }

    fn keep(&mut self, candidate: usize) -> Result<(), EngineError> {
        if let Some(reply) = self.replies.get(candidate) {
            self.context.push_str(reply);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_taken_line_by_line_where_it_fits() {
        let script = "{\"replies\": [\"a\", \"b\"]}\n\n\
                      {\"if\": \"bridge\", \"replies\": [\"c\"], \"note\": 1}\n\
                      {\"if\": \"river\", \"replies\": [\"d\"]}\n{\"replies\": [\"e\"]}\n";
        let mut replies = Replies::read(script).unwrap();
        let mut reply = |prompt: &str| replies.replies(prompt, 2).join(" ");
        assert_eq!(reply("a river"), "a b");
        assert_eq!((reply("a river"), reply("a bridge")), ("d".to_owned(), "e".to_owned()));
        assert_eq!(reply("a bridge"), "");
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let told = |script: &str| Replies::read(script).unwrap_err().to_string();
        let good = "{\"replies\": [\"a\"]}\n";
        assert!(told(&format!("{good}\n\"a\"\n")).starts_with("line 3: invalid type: string"));
        assert_eq!(
            told(&format!("{good}{{\"replies\": []}}")),
            "line 2: it holds no reply; expected {\"replies\": [\"text\", ...]}"
        );
    }
}
