//! Chain of thought: the solution of a task in paragraphs, the last of which is the answer, for
//! students that do not act.

use retort_transcript::{Dialect, Passage, Step, Transcript};

use super::policy::{outline, said};
use crate::world::{Finish, NOT_IN_CORPUS, Order, Plan, Read};

/// The prose for a plan that reads `reads` and has this answer: what is needed; each fact and what
/// becomes of them; `Answer: ANSWER`.
pub fn explain(plan: &Plan, reads: &[Read], answer: &str) -> String {
    let mut sentences: Vec<String> = reads
        .iter()
        .map(|read| format!("{} {}.", read.title, said(read.relation, &read.value)))
        .collect();
    if answer != NOT_IN_CORPUS {
        sentences.extend(working(plan, reads, answer));
    }
    let paragraphs = [outline(plan), sentences.join(" "), format!("Answer: {answer}")];
    paragraphs.join("\n\n")
}

/// A conversation in which the question is answered at once by `text`, with `passages` under the
/// question when there are any.
pub fn with_passages(
    dialect: &Dialect,
    question: &str,
    passages: &[Passage],
    text: &str,
) -> Transcript {
    let question = if passages.is_empty() {
        question.to_owned()
    } else {
        format!("{question}\n{}", dialect.render_passages(question, passages))
    };
    let steps = vec![Step { reply: text.to_owned(), observation: None }];
    Transcript { question, steps, answer_requested: false }
}

/// The computation in words.
fn working(plan: &Plan, reads: &[Read], answer: &str) -> Vec<String> {
    let numbers: Vec<&str> = reads
        .iter()
        .filter(|read| read.relation.is_number())
        .map(|read| read.value.as_str())
        .collect();
    let first = numbers.first().copied().unwrap_or_default();
    let last = numbers.last().copied().unwrap_or_default();
    let compared = |order: &Order, other: &str| {
        let is_so = if answer == "no" { "It is not so that" } else { "It is so that" };
        format!("{is_so} {first} {} {other}.", order.sign())
    };
    match &plan.finish {
        Finish::Value | Finish::Days => Vec::new(),
        Finish::Difference => {
            let larger_first = first.parse::<i64>().ok() >= last.parse::<i64>().ok();
            let (a, b) = if larger_first { (first, last) } else { (last, first) };
            vec![format!("{a} - {b} = {answer}.")]
        }
        Finish::Sum => vec![format!("{first} + {last} = {answer}.")],
        Finish::Choice(order, [a, _]) => {
            let sign = if a == answer { order.sign() } else { opposite(order) };
            vec![format!("{first} {sign} {last}.")]
        }
        Finish::Count => vec![format!("That makes {answer}.")],
        Finish::Scale(scale) => {
            let sign = if scale.divides { '/' } else { '*' };
            vec![format!("{last} {sign} {} = {answer}.", scale.factor)]
        }
        Finish::Bound(order, bound) => vec![compared(order, &bound.to_string())],
        Finish::Check(order) => vec![compared(order, last)],
        Finish::Compute { working, .. } => working.iter().map(|line| format!("{line}.")).collect(),
    }
}

fn opposite(order: &Order) -> char {
    match order {
        Order::Smaller => Order::Larger.sign(),
        Order::Larger => Order::Smaller.sign(),
    }
}
