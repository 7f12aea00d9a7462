//! The one renderer: a transcript as turns, the turns as segments or as messages.
//!
//! Every turn is rendered from itself alone, so a prompt is a prefix of every longer transcript's
//! training text, segment by segment.

use crate::observation;
use crate::passages::mark_segments;
use crate::types::{Message, Role, Segment, Source, Step, Transcript};
use crate::words::{Frame, Words, fill};

/// The conversation with its control text, ready to be tokenised segment by segment.
pub(crate) fn segments(
    words: &Words,
    system_prompt: Option<&str>,
    transcript: &Transcript,
) -> Vec<Segment> {
    let frame = &words.frame;
    turns(words, system_prompt, transcript)
        .into_iter()
        .flat_map(|turn| {
            let learned = turn.role == Role::Assistant;
            std::iter::once(template(open(frame, turn.role), false))
                .chain(turn.parts)
                .chain([template(&frame.close, learned), template(&frame.after_close, false)])
        })
        .filter(|segment| !segment.text.is_empty())
        .collect()
}

/// The control text that asks for the next reply.
pub(crate) fn reply_header(words: &Words) -> Segment {
    template(&words.frame.assistant_open, false)
}

/// The conversation as messages.
pub(crate) fn messages(
    words: &Words,
    system_prompt: Option<&str>,
    transcript: &Transcript,
) -> Vec<Message> {
    turns(words, system_prompt, transcript)
        .into_iter()
        .map(|turn| Message {
            role: turn.role,
            content: turn.parts.into_iter().map(|part| part.text).collect(),
        })
        .collect()
}

/// A chat template that renders [`messages`] as [`segments`] does, what a student learns to write
/// between `generation` tags; control text as `spell` has it, `begin` before everything.
pub(crate) fn chat_template(frame: &Frame, begin: &str, spell: impl Fn(&str) -> String) -> String {
    let text = |text: &str| match spell(text) {
        spelt if spelt.is_empty() => spelt,
        spelt => format!("{{{{ {} }}}}", serde_json::Value::from(spelt)),
    };
    let content = "{{ message.content }}";
    let after = |close: &str| text(close) + &text(&frame.after_close);
    let [system, user] = [&frame.system_open, &frame.user_open]
        .map(|open| text(open) + content + &after(&frame.close));
    let begin = text(begin);
    let opens = text(&frame.assistant_open);
    let learned = format!("{content}{}", text(&frame.close));
    let after_close = text(&frame.after_close);
    format!(
        "{begin}{{% for message in messages %}}{{% if message.role == 'system' %}}{system}\
         {{% elif message.role == 'assistant' %}}{opens}\
         {{% generation %}}{learned}{{% endgeneration %}}{after_close}\
         {{% else %}}{user}{{% endif %}}{{% endfor %}}\
         {{% if add_generation_prompt %}}{opens}{{% endif %}}"
    )
}

/// One message, in the pieces that are tokenised alone.
struct Turn {
    role: Role,
    parts: Vec<Segment>,
}

fn turns(words: &Words, system_prompt: Option<&str>, transcript: &Transcript) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(2 + 2 * transcript.steps.len());
    if let Some(prompt) = system_prompt {
        turns.push(Turn { role: Role::System, parts: vec![content(prompt.to_owned(), false)] });
    }
    let question = fill(&words.question.text, &[("question", &transcript.question)]);
    turns.push(Turn { role: Role::User, parts: vec![content(question, false)] });
    for (step, number) in transcript.steps.iter().zip(1..) {
        turns.extend(step_turns(words, step, number));
    }
    if transcript.answer_requested {
        request_answer(words, &mut turns);
    }
    turns
}

fn step_turns(words: &Words, step: &Step, number: usize) -> impl Iterator<Item = Turn> {
    let reply = finished_reply(&step.reply, &words.reply.fence_end);
    let reply = Turn { role: Role::Assistant, parts: vec![content(reply, true)] };
    let observation = step.observation.as_ref().map(|observation| {
        let text = observation::render(&words.observation, observation, number);
        let parts = if words.observation.marks_learned {
            mark_segments(&text)
        } else {
            vec![content(text, false)]
        };
        Turn { role: Role::User, parts }
    });
    std::iter::once(reply).chain(observation)
}

/// The request belongs to the last text the model was given: a reply after it is the answer.
fn request_answer(words: &Words, turns: &mut [Turn]) {
    if let Some(turn) = turns.iter_mut().rfind(|turn| turn.role == Role::User) {
        turn.parts.push(template(&words.question.answer_request, false));
    }
}

/// A reply as it stands in the history: trimmed, and with the dialect's mark after a code fence.
fn finished_reply(reply: &str, fence_end: &str) -> String {
    let reply = reply.trim();
    let end = if reply.ends_with("```") { fence_end } else { "" };
    format!("{reply}{end}")
}

fn open(frame: &Frame, role: Role) -> &str {
    match role {
        Role::System => &frame.system_open,
        Role::User => &frame.user_open,
        Role::Assistant => &frame.assistant_open,
    }
}

fn template(text: &str, learned: bool) -> Segment {
    Segment { text: text.to_owned(), source: Source::Template, learned }
}

fn content(text: String, learned: bool) -> Segment {
    Segment { text, source: Source::Content, learned }
}
