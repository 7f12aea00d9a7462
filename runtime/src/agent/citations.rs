//! Which of the passages that a run read support its answer.

use std::collections::BTreeSet;

use super::types::{Citation, StepReport};

/// What the whole answer in a passage is worth, against a word or number of the last step.
const WHOLE_ANSWER: f64 = 4.0;
/// What a share of the answer's words is worth at most.
const ANSWER_WORDS: f64 = 2.0;
/// What a number or text in the code that gave the answer is worth.
const LITERAL: f64 = 1.0;
/// What a number in the thought before it is worth.
const THOUGHT: f64 = 0.5;

/// The passages that support the answer of the last step, most supportive first; equals in the
/// order in which they were read. A passage supports an answer when it holds the answer, words of
/// it, or the numbers and texts that the answer was computed from.
pub fn supporting(read: Vec<Citation>, steps: &[StepReport], answer: &str) -> Vec<Citation> {
    let last = steps.last();
    let code = last.map_or("", |step| step.code.as_str());
    let thought = last.map_or("", |step| step.thought.as_str());
    let evidence = Evidence {
        answer: tokens(answer),
        literals: literals(code).iter().map(|text| tokens(text)).collect(),
        numbers: tokens(thought).into_iter().filter(|token| is_number(token)).collect(),
    };
    let mut judged: Vec<(f64, Citation)> = read
        .into_iter()
        .map(|citation| (evidence.support(&citation), citation))
        .filter(|(support, _)| *support > 0.0)
        .collect();
    judged.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    judged.into_iter().map(|(_, citation)| citation).collect()
}

/// What an answer rests on, as tokens.
struct Evidence {
    answer: Vec<String>,
    literals: BTreeSet<Vec<String>>,
    numbers: BTreeSet<String>,
}

impl Evidence {
    fn support(&self, citation: &Citation) -> f64 {
        let passage = tokens(&format!("{} {}", citation.title, citation.passage));
        let held: BTreeSet<&String> = passage.iter().collect();
        let answer = if holds(&passage, &self.answer) {
            WHOLE_ANSWER
        } else {
            ANSWER_WORDS * share(&self.answer, &held)
        };
        let literals = self.literals.iter().filter(|literal| holds(&passage, literal)).count();
        let numbers = self.numbers.iter().filter(|number| held.contains(number)).count();
        answer + LITERAL * literals as f64 + THOUGHT * numbers as f64
    }
}

/// Whether the words stand in the passage as they are, one after the other.
fn holds(passage: &[String], words: &[String]) -> bool {
    !words.is_empty() && passage.windows(words.len()).any(|window| window == words)
}

/// Share of the words that say something and are held.
fn share(words: &[String], held: &BTreeSet<&String>) -> f64 {
    let telling: Vec<&String> =
        words.iter().filter(|word| is_number(word) || word.chars().count() > 3).collect();
    let found = telling.iter().filter(|word| held.contains(**word)).count();
    found as f64 / telling.len().max(1) as f64
}

/// Lower-case words and numbers; `1,836` and `1836.0` are the number 1836.
fn tokens(text: &str) -> Vec<String> {
    let is_inner = |letter: char| letter == ',' || letter == '.';
    text.split(|letter: char| !letter.is_alphanumeric() && !is_inner(letter))
        .flat_map(|word| {
            let word = word.trim_matches(is_inner);
            match number(word) {
                Some(number) => vec![number],
                None => word.split(is_inner).map(str::to_lowercase).collect(),
            }
        })
        .filter(|token| !token.is_empty())
        .collect()
}

/// The usual form of a decimal number.
fn number(word: &str) -> Option<String> {
    if !word.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits: String = word.chars().filter(|letter| *letter != ',').collect();
    let value: f64 = digits.parse().ok()?;
    Some(value.to_string())
}

fn is_number(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_digit())
}

/// Texts between quotes, and numbers, in Python.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'']) {
        let (before, quoted) = rest.split_at(at);
        found.extend(tokens(before).into_iter().filter(|token| is_number(token)));
        let quote = quoted.chars().next().unwrap_or('"');
        let inside = quoted.get(1..).unwrap_or_default();
        let end = inside.find(quote).unwrap_or(inside.len());
        found.push(inside.get(..end).unwrap_or_default().to_owned());
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    found.extend(tokens(rest).into_iter().filter(|token| is_number(token)));
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn citation(title: &str, passage: &str) -> Citation {
        Citation {
            document: title.to_owned(),
            title: title.to_owned(),
            source: String::new(),
            passage: passage.to_owned(),
        }
    }

    /// Titles of the supporting passages for an answer that this thought and code gave.
    fn check(read: &[(&str, &str)], thought: &str, code: &str, answer: &str, expected: &[&str]) {
        let read = read.iter().map(|(title, passage)| citation(title, passage)).collect();
        let step = StepReport {
            thought: thought.to_owned(),
            code: code.to_owned(),
            ..StepReport::default()
        };
        let found = supporting(read, &[step], answer);
        let titles: Vec<&str> = found.iter().map(|citation| citation.title.as_str()).collect();
        assert_eq!(titles, expected);
    }

    const READ: [(&str, &str); 3] = [
        ("Lu Bridge", "It was opened in 1801."),
        ("Heahi Bridge", "It was opened in 1,836 and designed by Bokaru Temi."),
        ("Bokaru Temi", "He was born in 1790."),
    ];

    #[test]
    fn the_passage_with_the_answer_comes_first() {
        check(
            &READ,
            "",
            "final_answer(\"Bokaru Temi\")",
            "Bokaru Temi",
            &["Heahi Bridge", "Bokaru Temi"],
        );
        check(&READ, "", "final_answer(1836)", "1836", &["Heahi Bridge"]);
    }

    #[test]
    fn a_computed_answer_rests_on_its_numbers() {
        check(&READ, "", "final_answer(abs(1836 - 1790))", "46", &["Heahi Bridge", "Bokaru Temi"]);
        let thought = "Lu Bridge was opened in 1801, Heahi Bridge in 1836.";
        check(&READ, thought, "final_answer(later)", "yes", &["Lu Bridge", "Heahi Bridge"]);
    }

    #[test]
    fn what_says_nothing_of_the_answer_is_no_support() {
        check(&READ, "", "final_answer(42)", "42", &[]);
        check(&READ, "", "final_answer('')", "", &[]);
        check(&[], "", "'unclosed", "x", &[]);
    }
}
