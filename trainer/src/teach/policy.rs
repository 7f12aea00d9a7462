//! What the teacher does next: a pure function of the plan and of what was observed so far.

use retort_transcript::Action;

use super::reading::{self, Found};
use crate::world::{Operation, Plan, Relation};

/// Why the teacher cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeachError {
    /// The passage with the fact was not among those found.
    #[error("observation {observation} does not give the {fact} of {title}")]
    NotFound {
        /// Which observation, from 0.
        observation: usize,
        /// What was looked for.
        fact: &'static str,
        /// Of which entity.
        title: String,
    },
    /// The answer was given and the run went on.
    #[error("there is nothing left to do after {observations} observations")]
    Finished {
        /// How many were made.
        observations: usize,
    },
}

/// The next action of a run whose observations so far are `observations`, oldest first. What one
/// observation gives is taken together, be it for two steps of the plan: a search is made only for
/// what no passage says yet. What is needed later is restated in each thought, so that nothing must
/// be copied from far away.
///
/// # Errors
/// When a search did not bring what the plan needs.
pub fn next_action(plan: &Plan, observations: &[&str]) -> Result<Action, TeachError> {
    let mut progress = Progress { plan, needs: first_needs(plan), evidence: Vec::new() };
    for turn in 1..=observations.len() {
        let Some(need) = progress.needs.take() else {
            return Err(TeachError::Finished { observations: observations.len() });
        };
        let known = progress.evidence.len();
        let seen = observations.get(..turn).unwrap_or_default();
        progress.read(&need, seen)?;
        if turn == observations.len() {
            return Ok(progress.action(known));
        }
    }
    Ok(progress.action(0))
}

/// How far a plan is carried out.
struct Progress<'a> {
    plan: &'a Plan,
    /// What the next search is for; `None` when all is known.
    needs: Option<Needs>,
    /// The facts of each need that was met.
    evidence: Vec<Vec<Evidence>>,
}

impl Progress<'_> {
    /// Takes from the observations what the last search was for, and what they say beyond it.
    fn read(&mut self, searched: &Needs, seen: &[&str]) -> Result<(), TeachError> {
        let mut facts = read(searched, seen)?;
        loop {
            let next = next_needs(self.plan, self.evidence.len(), &facts);
            self.evidence.push(facts);
            let Some(need) = next else { return Ok(()) };
            match read(&need, seen) {
                Ok(more) => facts = more,
                Err(_) => {
                    self.needs = Some(need);
                    return Ok(());
                }
            }
        }
    }

    /// The action that says what was learned since `known` needs were met.
    fn action(self, known: usize) -> Action {
        let new = self.evidence.get(known..).unwrap_or_default();
        let cited: String = new.iter().map(|facts| cite(facts)).collect();
        match self.needs {
            Some(need) => Action { thought: format!("{cited}{}", need.text()), code: need.code() },
            None => Action {
                thought: cited.trim().to_owned(),
                code: final_code(self.plan, &self.evidence),
            },
        }
    }
}

/// What must be searched and read next.
struct Needs {
    title: String,
    relations: Vec<Relation>,
    /// What stands after the title in the thought.
    afterwards: String,
}

impl Needs {
    fn new(title: &str, relations: &[Relation], afterwards: &str) -> Self {
        Self {
            title: title.to_owned(),
            relations: relations.to_vec(),
            afterwards: afterwards.to_owned(),
        }
    }

    fn text(&self) -> String {
        let keys: Vec<String> =
            self.relations.iter().map(|relation| format!("the {}", relation.words().key)).collect();
        format!("I need {} of {}{}.", keys.join(" and "), self.title, self.afterwards)
    }

    fn code(&self) -> String {
        format!("print(search(\"{}\"))", self.title)
    }
}

/// A fact that was read.
struct Evidence {
    title: String,
    relation: Relation,
    found: Found,
}

fn first_needs(plan: &Plan) -> Option<Needs> {
    Some(match plan {
        Plan::Lookup { title, relation } => Needs::new(title, &[*relation], ""),
        Plan::Hop { title, via, relation } => {
            Needs::new(title, &[*via], &format!(", then the {}", relation.words().key))
        }
        Plan::Age { title, maker } => {
            let afterwards = ", then the birth year and the difference";
            Needs::new(title, &[Relation::OpeningYear, *maker], afterwards)
        }
        Plan::Span { title, end, start } => {
            Needs::new(title, &[*end, *start], ", then the difference")
        }
        Plan::Pair { titles: [a, b], relation, operation } => {
            let afterwards = format!(" and of {b}, then the {}", noun(*operation));
            Needs::new(a, &[*relation], &afterwards)
        }
    })
}

/// What is needed once need number `index`, from 0, was met by `facts`.
fn next_needs(plan: &Plan, index: usize, facts: &[Evidence]) -> Option<Needs> {
    let last = facts.last().filter(|_| index == 0)?;
    match plan {
        Plan::Lookup { .. } | Plan::Span { .. } => None,
        Plan::Hop { relation, .. } => Some(Needs::new(&last.found.value, &[*relation], "")),
        Plan::Age { .. } => {
            let afterwards = ", then the difference";
            Some(Needs::new(&last.found.value, &[Relation::BirthYear], afterwards))
        }
        Plan::Pair { titles: [_, b], relation, operation } => {
            let afterwards = format!(", then the {}", noun(*operation));
            Some(Needs::new(b, &[*relation], &afterwards))
        }
    }
}

/// The facts that are needed, from the newest observation that has them.
fn read(need: &Needs, seen: &[&str]) -> Result<Vec<Evidence>, TeachError> {
    let read = |relation: &Relation| {
        let found = seen
            .iter()
            .rev()
            .find_map(|observation| reading::find(observation, &need.title, *relation));
        let found = found.ok_or_else(|| TeachError::NotFound {
            observation: seen.len().saturating_sub(1),
            fact: relation.words().key,
            title: need.title.clone(),
        })?;
        Ok(Evidence { title: need.title.clone(), relation: *relation, found })
    };
    need.relations.iter().map(read).collect()
}

/// `Heahi Bridge [2] was opened in the year 1836. ` for each fact.
fn cite(facts: &[Evidence]) -> String {
    facts
        .iter()
        .map(|fact| {
            let said = said(fact.relation, &fact.found.value);
            format!("{} [{}] {said}. ", fact.title, fact.found.passage)
        })
        .collect()
}

/// What a thought says of a value.
pub(super) fn said(relation: Relation, value: &str) -> String {
    relation.words().evidence.replace("{v}", value)
}

fn noun(operation: Operation) -> &'static str {
    match operation {
        Operation::Difference => "difference",
        Operation::Sum => "sum",
        Operation::Smaller => "smaller",
        Operation::Larger => "larger",
    }
}

fn final_code(plan: &Plan, evidence: &[Vec<Evidence>]) -> String {
    let facts: Vec<&Evidence> = evidence.iter().flatten().collect();
    let numbers: Vec<&str> = facts
        .iter()
        .filter(|fact| fact.relation.is_number())
        .map(|fact| fact.found.value.as_str())
        .collect();
    let (first, second) = match numbers.as_slice() {
        [first, .., second] => (*first, *second),
        _ => ("", ""),
    };
    let operation = match plan {
        Plan::Lookup { .. } | Plan::Hop { .. } => None,
        Plan::Age { .. } | Plan::Span { .. } => Some(Operation::Difference),
        Plan::Pair { operation, .. } => Some(*operation),
    };
    let Some(operation) = operation else {
        return facts.last().map_or(String::new(), |fact| answer_code(fact));
    };
    let choice = |sign: &str| match plan {
        Plan::Pair { titles: [a, b], .. } => {
            format!("\"{a}\" if {first} {sign} {second} else \"{b}\"")
        }
        _ => String::new(),
    };
    let value = match operation {
        Operation::Difference => format!("abs({first} - {second})"),
        Operation::Sum => format!("{first} + {second}"),
        Operation::Smaller => choice("<"),
        Operation::Larger => choice(">"),
    };
    format!("final_answer({value})")
}

fn answer_code(fact: &Evidence) -> String {
    let value = &fact.found.value;
    if fact.relation.is_number() {
        format!("final_answer({value})")
    } else {
        format!("final_answer(\"{value}\")")
    }
}
