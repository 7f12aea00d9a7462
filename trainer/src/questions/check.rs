//! Is a question of use? Most of it without the teacher.

use retort::eval::{normalise, score};

use super::row::Verdict;
use crate::filter::{Equality, equal, equal_numbers, has_same_signs};

/// What the teacher is told when it answers from the passage again.
pub const ANSWER: &str = "\
Answer the question from the passage alone, as briefly as possible: a name, a number, a date, yes or no. If the passage does not say it, reply: not answerable";

/// Words by which a question speaks of a passage that nobody sees who is asked.
const POINTERS: [&str; 14] = [
    "the passage",
    "this passage",
    "the text",
    "this text",
    "the document",
    "this document",
    "the section",
    "this section",
    "the above",
    "the article",
    "this article",
    "the author",
    "this table",
    "the excerpt",
];

/// Token F1 from which two wordings of an answer are one answer.
const F1_MIN: f64 = 0.6;

/// What can be said before the teacher is asked again; `None` if nothing speaks against it.
pub fn at_once(
    question: &str,
    answer: &str,
    passage: &str,
    answer_words_max: usize,
) -> Option<Verdict> {
    let asked = question.to_lowercase();
    let words: Vec<&str> = asked.split(|letter: char| !letter.is_alphanumeric()).collect();
    let asked = format!(" {} ", words.join(" "));
    if POINTERS.iter().any(|pointer| asked.contains(&format!(" {pointer} "))) {
        return Some(Verdict::NotAlone);
    }
    if answer.split_whitespace().count() > answer_words_max {
        return Some(Verdict::LongAnswer);
    }
    let may_follow = is_yes_no(answer) || answer.chars().any(|letter| letter.is_ascii_digit());
    let is_there = occurs(answer, passage);
    (!is_there && !may_follow).then_some(Verdict::AnswerNotThere)
}

/// Whether the answer's words stand in the passage, one after the other.
fn occurs(answer: &str, passage: &str) -> bool {
    let answer = normalise(answer);
    let passage = normalise(passage);
    !answer.is_empty() && format!(" {passage} ").contains(&format!(" {answer} "))
}

/// Whether an answer is yes or no.
pub fn is_yes_no(answer: &str) -> bool {
    matches!(normalise(answer).as_str(), "yes" | "no")
}

/// Whether the answer given again is the one that was in mind.
pub fn is_same_answer(again: &str, answer: &str) -> bool {
    let again = again.trim();
    let again = again.strip_prefix("Answer:").unwrap_or(again).trim();
    if normalise(again).contains("not answerable") {
        return false;
    }
    if let Some(is_equal) = equal_numbers(again, answer) {
        return is_equal;
    }
    // Words are compared without their punctuation, so signs and points must agree first.
    let scored = score(again, std::iter::once(answer));
    has_same_signs(again, answer) && (scored.math || scored.f1 >= F1_MIN)
        || equal(again, answer) == Equality::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSAGE: &str = "The Heahi Bridge was opened in 1836 by Ada Lum. It is 120 m long.";

    #[test]
    fn signs_make_another_answer() {
        for (again, answer) in [("1.5 km", "15 km"), ("1.5 km long", "15 km"), ("C++", "C")] {
            assert!(!is_same_answer(again, answer), "{again} and {answer}");
        }
        assert!(is_same_answer("Answer: 1,500 km", "1500 km"));
        assert!(is_same_answer("the Heahi Bridge", "Heahi Bridge"));
    }

    #[test]
    fn most_is_seen_at_once() {
        let seen = |question: &str, answer: &str| at_once(question, answer, PASSAGE, 4);
        assert_eq!(seen("Who opened the Heahi Bridge?", "ada lum"), None);
        assert_eq!(seen("Who is named in the passage?", "Ada Lum"), Some(Verdict::NotAlone));
        assert_eq!(seen("Who opened it?", "Bob"), Some(Verdict::AnswerNotThere));
        assert_eq!(seen("Who opened it?", "Ada"), None);
        assert_eq!(seen("Who?", "Lu"), Some(Verdict::AnswerNotThere));
        assert_eq!(seen("Why?", "a b c d e"), Some(Verdict::LongAnswer));
        // These may follow from what stands there.
        assert_eq!(seen("How old was it in 1900?", "64 years"), None);
        assert_eq!(seen("Is it longer than 100 m?", "yes"), None);
    }

    #[test]
    fn two_wordings_are_one_answer() {
        assert!(is_same_answer("Answer: the 120 m", "120 m"));
        assert!(is_same_answer("1,836", "1836"));
        assert!(!is_same_answer("1837", "1836"));
        assert!(!is_same_answer("1.5", "15"));
        assert!(!is_same_answer("Not answerable.", "1836"));
        assert!(!is_same_answer("no", "yes"));
    }
}
