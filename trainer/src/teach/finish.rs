//! The last action: Python that makes the answer from what was read.

use super::policy::Evidence;
use crate::world::{Finish, NOT_IN_CORPUS, Order, Plan, Relation, ValueKind, date_parts, items};

/// What a thought says will become of the facts.
pub(super) fn noun(finish: &Finish) -> Option<String> {
    match finish {
        Finish::Value | Finish::Compute { .. } => None,
        Finish::Difference => Some("the difference".to_owned()),
        Finish::Sum => Some("the sum".to_owned()),
        Finish::Choice(Order::Smaller, _) => Some("the smaller".to_owned()),
        Finish::Choice(Order::Larger, _) => Some("the larger".to_owned()),
        Finish::Count => Some("the count".to_owned()),
        Finish::Days => Some("the days".to_owned()),
        Finish::Scale(scale) => Some(format!("the {}", scale.unit)),
        Finish::Bound(order, bound) => Some(format!("the check {} {bound}", order.sign())),
        Finish::Check(order) => Some(format!("the check {}", order.sign())),
    }
}

/// What the last thought restates after the facts: what the code needs and no fact says.
pub(super) fn closing(plan: &Plan) -> String {
    match &plan.finish {
        Finish::Compute { .. } => "The question says all that is needed.".to_owned(),
        Finish::Scale(scale) => format!("I need the {}.", scale.unit),
        Finish::Bound(order, bound) => format!("The check is {} {bound}.", order.sign()),
        Finish::Check(order) => format!("The check is {}.", order.sign()),
        _ => String::new(),
    }
}

/// The code that says the corpus does not hold the answer.
pub(super) fn nothing() -> String {
    format!("final_answer(\"{NOT_IN_CORPUS}\")")
}

/// The code that gives the answer.
pub(super) fn code(plan: &Plan, evidence: &[Evidence]) -> String {
    let numbers: Vec<&str> = evidence
        .iter()
        .filter(|fact| fact.relation.is_number())
        .map(|fact| fact.found.value.as_str())
        .collect();
    let first = numbers.first().copied().unwrap_or_default();
    let last = numbers.last().copied().unwrap_or_default();
    let yes_no = |sign: char, other: &str| format!("\"yes\" if {first} {sign} {other} else \"no\"");
    let value = match &plan.finish {
        Finish::Value => evidence.last().map_or(String::new(), literal),
        Finish::Difference => format!("abs({first} - {last})"),
        Finish::Sum => format!("{first} + {last}"),
        Finish::Choice(order, [a, b]) => {
            format!("\"{a}\" if {first} {} {last} else \"{b}\"", order.sign())
        }
        Finish::Count => evidence.last().map_or(String::new(), length),
        Finish::Days => return days(evidence),
        Finish::Scale(scale) => {
            format!("{last} {} {}", if scale.divides { '/' } else { '*' }, scale.factor)
        }
        Finish::Bound(order, bound) => yes_no(order.sign(), &bound.to_string()),
        Finish::Check(order) => yes_no(order.sign(), last),
        Finish::Compute { code, .. } => match code.rsplit_once('\n') {
            Some((statements, value)) => return format!("{statements}\nfinal_answer({value})"),
            None => code.clone(),
        },
    };
    format!("final_answer({value})")
}

fn literal(fact: &Evidence) -> String {
    let value = &fact.found.value;
    if fact.relation.is_number() { value.clone() } else { format!("\"{value}\"") }
}

/// `len(["A", "B"])`.
fn length(fact: &Evidence) -> String {
    let quoted: Vec<String> =
        items(&fact.found.value).iter().map(|item| format!("\"{item}\"")).collect();
    format!("len([{}])", quoted.join(", "))
}

fn days(evidence: &[Evidence]) -> String {
    let is_date = |relation: Relation| relation.words().value == ValueKind::Date;
    let dates: Vec<String> = evidence
        .iter()
        .filter(|fact| is_date(fact.relation))
        .filter_map(|fact| date_parts(&fact.found.value))
        .map(|(year, month, day)| format!("date({year}, {month}, {day})"))
        .collect();
    format!("from datetime import date\nfinal_answer(abs({}).days)", dates.join(" - "))
}
