//! What teachers are told. Students never see it: they learn from the transcript alone.

use anyhow::{Context as _, Result};
use retort_transcript::{Action, Dialect, ToolDescription};

use super::config::CollectConfig;

/// The loop in the words of a student's dialect. `{example}` is a reply as that dialect has it.
const AGENT: &str = "\
You answer questions by writing Python. Each of your replies is one short thought, then one block of code, exactly in this form:

{example}

Stop after the block. The code is run and its output is shown to you; variables stay defined from block to block. These functions are there:
{%- for tool in tools.values() %}
- {{ tool.name }}({% for name, input in tool.inputs.items() %}{{ name }}: {{ input.type }}{{ \", \" if not loop.last }}{% endfor %}) -> {{ tool.output_type }}: {{ tool.description }}
{%- endfor %}

Say in the thought what you know so far and what you need next. Rely on what the search results say, not on memory, and search again in other words when a search does not help. Do arithmetic and comparisons in Python. Once you know the answer, call final_answer with it, as briefly as possible: a name, a number, a date, yes or no. Do not write the output of your code yourself.";

/// Chain of thought.
pub const CHAIN: &str = "\
Think step by step, in short paragraphs separated by blank lines. End with a last line of the form
Answer: the answer alone, as briefly as possible (a name, a number, a date, yes or no)";

/// The dialect of the teacher's run: the student's with the teacher's system prompt.
///
/// # Errors
/// A template that cannot be read or rendered.
pub fn teacher_dialect(config: &CollectConfig, student: &Dialect) -> Result<Dialect> {
    let own = config.system_prompt.as_ref().map(|path| {
        std::fs::read_to_string(path)
            .with_context(|| format!("collect.system_prompt {} cannot be read", path.display()))
    });
    let tools = tools(student)?;
    match own.transpose()? {
        Some(template) => Ok(student.clone().with_system_prompt(&template, &tools)?),
        None if student.has_system_prompt() => Ok(student.clone()),
        None => {
            let template = AGENT.replace("{example}", &example(student));
            Ok(student.clone().with_system_prompt(&template, &tools)?)
        }
    }
}

/// What stands before a thought in this dialect, such as `Thought: `.
#[must_use]
pub fn thought_label(dialect: &Dialect) -> String {
    let action = Action { thought: "\u{1}".to_owned(), code: "x".to_owned() };
    let reply = dialect.compose_reply(&action);
    reply.split_once('\u{1}').map(|(label, _)| label.to_owned()).unwrap_or_default()
}

fn example(student: &Dialect) -> String {
    let code = format!("print({}(\"what to look for\"))", student.search_tool());
    student.compose_reply(&Action { thought: "What I know and what I need next.".to_owned(), code })
}

/// The student's tools; a dialect that describes none has those of `chat`.
fn tools(student: &Dialect) -> Result<Vec<ToolDescription>> {
    if student.tools().is_empty() {
        return Ok(Dialect::named("chat")?.tools().to_vec());
    }
    Ok(student.tools().to_vec())
}

/// The answer at the end of a chain of thought: after the last `Answer:`, else in the last
/// `\boxed{}`.
#[must_use]
pub fn chain_answer(chain: &str) -> Option<String> {
    let marked = chain.lines().rev().find_map(|line| {
        let line = line.trim().trim_matches('*').trim_start_matches("Final ");
        let (label, answer) = line.split_once(':')?;
        let is_label = label.trim_matches('*').trim().eq_ignore_ascii_case("answer");
        let answer = answer.trim().trim_matches('*').trim();
        (is_label && !answer.is_empty()).then(|| answer.to_owned())
    });
    let marked = marked.map(|answer| match crate::filter::boxed(&answer) {
        Some(inside) => inside.to_owned(),
        None => answer,
    });
    marked.or_else(|| crate::filter::boxed(chain).map(str::to_owned))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_is_told_the_form_of_its_students_replies() {
        for (name, label, search) in [
            ("retort", "", "search(query: string)"),
            ("smolagents", "Thought: ", "web_search(query: string)"),
            ("chat", "Thought: ", "search(query: string)"),
        ] {
            let student = Dialect::named(name).unwrap();
            assert_eq!(thought_label(&student), label);
            let teacher = teacher_dialect(&CollectConfig::default(), &student).unwrap();
            let sequence = teacher.message_sequence(&Default::default());
            let told = &sequence[0].content;
            assert!(told.contains(search) && told.contains("final_answer"), "{told}");
            let parsed = student.parse_reply(&example(&student)).unwrap();
            assert!(parsed.code.starts_with("print("));
        }
    }

    #[test]
    fn the_answer_of_a_chain_is_found() {
        let found = |chain: &str| chain_answer(chain);
        assert_eq!(found("Long.\n\nAnswer: Ada").as_deref(), Some("Ada"));
        assert_eq!(found("x\n**Answer:** 7 \n").as_deref(), Some("7"));
        assert_eq!(found("Final answer: 7").as_deref(), Some("7"));
        assert_eq!(found("So $\\boxed{\\frac{1}{2}}$.").as_deref(), Some("\\frac{1}{2}"));
        assert_eq!(found("Answer: $\\boxed{3}$").as_deref(), Some("3"));
        assert_eq!(found("I do not know."), None);
    }
}
