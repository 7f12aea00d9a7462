//! The teacher writes questions.

use retort::corpus::Hit;
use serde_json::Value;

/// What the teacher is told.
pub fn instruction(count: usize) -> String {
    format!(
        "You write questions for people who look things up in a collection of documents. You are \
         given one passage of it. Write up to {count} different questions that this passage \
         answers.\n\n\
         - Each question stands alone: name what it is about in full, never say \"the passage\", \
         \"the text\" or \"this document\", for whoever is asked does not see it.\n\
         - Each answer is short (a name, a number with its unit, a date, a few words) and stands in \
         the passage in these words, or follows from numbers in it.\n\
         - Ask for facts, numbers, names, dates, differences. Few questions of yes and no.\n\n\
         Reply with one JSON object per line and nothing else:\n\
         {{\"question\": \"...\", \"answer\": \"...\"}}"
    )
}

/// What the teacher is told of two passages.
pub fn pair_instruction(count: usize) -> String {
    instruction(count)
        .replace("You are given one passage of it.", "You are given two passages of it.")
        .replace(
            "that this passage answers.",
            "that only both passages together answer: what one says leads to a fact of the other, or a \
             number of one is compared with, added to or taken from one of the other.",
        )
        .replace("stands in the passage", "stands in one of the passages")
}

/// The passage as the teacher sees it.
pub fn shown(hit: &Hit) -> String {
    let heading = match hit.heading.is_empty() {
        true => String::new(),
        false => format!("Section: {}\n", hit.heading.join(" > ")),
    };
    format!("Title: {}\n{heading}Passage:\n{}", hit.title, hit.passage)
}

/// The questions in a reply: JSON objects one a line, in an array, in a field `questions`, or
/// among other text. What is none is passed over.
pub fn read_questions(reply: &str, most: usize) -> Vec<(String, String)> {
    let whole = serde_json::from_str::<Value>(unfenced(reply)).ok();
    let rows = match whole {
        Some(Value::Array(rows)) => rows,
        Some(Value::Object(mut object)) => match object.remove("questions") {
            Some(Value::Array(rows)) => rows,
            _ => vec![Value::Object(object)],
        },
        _ => lines(reply),
    };
    rows.iter().filter_map(question).take(most).collect()
}

fn unfenced(reply: &str) -> &str {
    let reply = reply.trim();
    let inside = reply.strip_prefix("```").and_then(|rest| rest.split_once('\n'));
    inside.and_then(|(_, rest)| rest.strip_suffix("```")).unwrap_or(reply).trim()
}

fn lines(reply: &str) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line.trim().trim_end_matches(',')).ok();
    reply.lines().filter_map(line).collect()
}

fn question(row: &Value) -> Option<(String, String)> {
    let text = |name: &str| match row.get(name)? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let (question, answer) = (text("question")?, text("answer")?);
    (!question.is_empty() && !answer.is_empty()).then_some((question, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passages_are_told_apart_from_one() {
        let (one, two) = (instruction(3), pair_instruction(3));
        assert!(one.contains("one passage") && !two.contains("one passage of it"));
        assert!(two.contains("only both passages") && two.contains("up to 3 different"));
    }

    #[test]
    fn questions_are_read_in_whatever_form_they_come() {
        let wanted = [("Q1".to_owned(), "A".to_owned()), ("Q2".to_owned(), "7".to_owned())];
        let (one, two) =
            ("{\"question\": \"Q1\", \"answer\": \"A\"}", "{\"question\": \"Q2\", \"answer\": 7}");
        for reply in [
            format!("{one}\n{two}"),
            format!("Here they are:\n{one},\n{two}\nThat is all."),
            format!("[{one}, {two}]"),
            format!("```json\n[{one},\n{two}]\n```"),
            format!("```\n{one}\n{two}\n```"),
            format!("{{\"questions\": [{one}, {two}]}}"),
        ] {
            assert_eq!(read_questions(&reply, 3), wanted, "{reply}");
        }
        assert_eq!(read_questions(one, 3), wanted[..1]);
        assert_eq!(read_questions(&format!("{one}\n{two}"), 1).len(), 1);
        assert!(read_questions("I cannot.", 3).is_empty());
        assert!(read_questions("{\"question\": \"\", \"answer\": \"A\"}", 3).is_empty());
    }
}
