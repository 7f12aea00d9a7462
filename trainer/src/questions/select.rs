//! Which of the answerable questions are kept.

use std::collections::{BTreeMap, BTreeSet};

use retort::eval::normalise;

use super::check::is_yes_no;
use super::config::QuestionsConfig;
use super::row::{PassageRow, Verdict};

/// A question with what a task needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub question: String,
    /// Its answer.
    pub answer: String,
    /// Id of the document it was made from.
    pub document: String,
    /// And of another.
    pub second: Option<String>,
}

/// The kept questions, and how many questions met which end.
pub fn select(
    rows: &[PassageRow],
    config: &QuestionsConfig,
) -> (Vec<Question>, BTreeMap<Verdict, usize>) {
    let mut ends: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut seen = Seen::default();
    let (mut kept, mut yes_no) = (Vec::new(), Vec::new());
    for row in rows {
        for proposed in &row.proposed {
            let mut end = proposed.verdict;
            if end == Verdict::Kept
                && !seen.is_new(&proposed.question, &proposed.answer, config.same_words_share)
            {
                end = Verdict::Duplicate;
            }
            if end != Verdict::Kept {
                *ends.entry(end).or_default() += 1;
                continue;
            }
            let question = Question {
                question: proposed.question.clone(),
                answer: proposed.answer.clone(),
                document: row.document.clone(),
                second: row.second.clone(),
            };
            if is_yes_no(&question.answer) { &mut yes_no } else { &mut kept }.push(question);
        }
    }
    // `n` of yes and no beside `m` others are a share of n / (n + m).
    let share = config.yes_no_share_max;
    let most = if share >= 1.0 {
        yes_no.len()
    } else {
        (kept.len() as f64 * share / (1.0 - share)).floor() as usize
    };
    let dropped = yes_no.len().saturating_sub(most);
    if dropped > 0 {
        ends.insert(Verdict::YesNo, dropped);
    }
    kept.extend(yes_no.into_iter().take(most));
    ends.insert(Verdict::Kept, kept.len());
    (kept, ends)
}

/// Questions so far.
#[derive(Default)]
struct Seen {
    /// As they stand.
    questions: BTreeSet<String>,
    /// Their words, by answer: two questions with different answers are different.
    by_answer: BTreeMap<String, Vec<Words>>,
}

/// The words of a question, each with whether it is a name or a number.
type Words = BTreeMap<String, bool>;

impl Seen {
    fn is_new(&mut self, question: &str, answer: &str, same_words_share: f64) -> bool {
        let words = words(question);
        let others = self.by_answer.entry(normalise(answer)).or_default();
        let question = normalise(question);
        let is_known = self.questions.contains(&question);
        if is_known || others.iter().any(|other| are_alike(&words, other, same_words_share)) {
            return false;
        }
        others.push(words);
        self.questions.insert(question)
    }
}

fn words(question: &str) -> Words {
    let words = question.split_whitespace().enumerate().map(|(place, word)| {
        let begins_large = place > 0 && word.starts_with(char::is_uppercase);
        let is_name = begins_large || word.contains(|letter: char| letter.is_ascii_digit());
        (normalise(word), is_name)
    });
    words.filter(|(word, _)| !word.is_empty()).collect()
}

/// Many words in common, and none that is a name or a number apart: questions about two things may
/// share all the rest.
fn are_alike(one: &Words, other: &Words, same_words_share: f64) -> bool {
    let common = one.keys().filter(|word| other.contains_key(*word)).count();
    let all = one.len() + other.len() - common;
    let apart = |from: &Words, to: &Words| {
        from.iter().any(|(word, is_name)| *is_name && !to.contains_key(word))
    };
    common as f64 >= same_words_share * all as f64 && !apart(one, other) && !apart(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::questions::row::{PASSAGE_ROW_VERSION, Proposed};
    use crate::remote::Spent;

    fn rows(questions: &[(&str, &str)]) -> Vec<PassageRow> {
        let proposed = |(question, answer): &(&str, &str)| Proposed {
            question: (*question).to_owned(),
            answer: (*answer).to_owned(),
            verdict: Verdict::Kept,
        };
        vec![PassageRow {
            version: PASSAGE_ROW_VERSION,
            key: "d#0".to_owned(),
            document: "d".to_owned(),
            title: "D".to_owned(),
            second: None,
            proposed: questions.iter().map(proposed).collect(),
            spent: Spent::default(),
        }]
    }

    #[test]
    fn the_same_question_is_asked_once() {
        let (kept, ends) = select(
            &rows(&[
                ("When was the Heahi Bridge opened?", "1836"),
                ("when was the Heahi bridge opened", "in 1836"),
                ("When was the old Heahi Bridge opened?", "1836"),
                ("When was the Lumo Bridge opened?", "1902"),
                ("When was the Tarn Bridge opened?", "1902"),
            ]),
            &QuestionsConfig::default(),
        );
        assert_eq!(kept.len(), 3);
        assert_eq!(ends.get(&Verdict::Duplicate), Some(&2));
    }

    #[test]
    fn yes_and_no_are_few() {
        let mut questions: Vec<(String, &str)> =
            (0..9).map(|n| (format!("Is item {n} heavier than plan {n}?"), "yes")).collect();
        questions.extend((0..6).map(|n| (format!("How heavy is item {n} of store {n}?"), "7")));
        let borrowed: Vec<(&str, &str)> = questions.iter().map(|(q, a)| (q.as_str(), *a)).collect();
        let config = QuestionsConfig {
            yes_no_share_max: 0.25,
            same_words_share: 1.0,
            ..QuestionsConfig::default()
        };
        let (kept, ends) = select(&rows(&borrowed), &config);
        assert_eq!((kept.len(), ends.get(&Verdict::YesNo)), (8, Some(&7)));
    }
}
