//! What the teacher does next: a pure function of the plan and of what was observed so far.

use retort_transcript::{Action, Observation, Transcript};

use super::finish;
use super::reading::{self, Found};
use crate::world::{Finish, Plan, Relation, Subject};

/// Searches for one need before it counts as not in the corpus: by its title, then by its title and
/// the words in which pages say such things.
const SEARCHES_PER_NEED: usize = 2;

/// How much a thought says beyond what is known and what is needed next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// What comes afterwards too, each time anew, so that nothing must be copied from far away.
    #[default]
    Restating,
    /// Nothing.
    Bare,
    /// As bare, but the first thought begins with the first paragraph of the chain of thought:
    /// the first-thought prefix (arXiv 2505.17612).
    Prefixed,
}

/// Why the teacher cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TeachError {
    /// The answer was given and the run went on.
    #[error("there is nothing left to do after {observations} observations")]
    Finished {
        /// How many were made.
        observations: usize,
    },
}

/// The next action of a run whose observations so far are `observations`, oldest first. What one
/// observation gives is taken together, be it for two steps of the plan: a search is made only for
/// what no passage says yet. When a search misses, the next one is in other words; when that misses
/// too, the answer is that the corpus does not hold it.
///
/// # Errors
/// When the answer was given already.
pub fn next_action(
    plan: &Plan,
    manner: Manner,
    observations: &[&str],
) -> Result<Action, TeachError> {
    let (state, known) = PlanState::after(plan, observations)?;
    let mut action = state.action(known, manner == Manner::Restating);
    let outline = outline(plan);
    if manner == Manner::Prefixed && observations.is_empty() && outline != action.thought {
        action.thought = format!("{outline} {}", action.thought);
    }
    Ok(action)
}

/// The title that the next action searches for; `None` when it gives an answer.
pub(super) fn wanted(plan: &Plan, observations: &[&str]) -> Option<String> {
    let (state, _) = PlanState::after(plan, observations).ok()?;
    state.current().map(|current| current.title)
}

/// What a plan needs, in one sentence: `I need the river of Nisa, then the length.`
pub fn outline(plan: &Plan) -> String {
    match &plan.finish {
        Finish::Compute { working, .. } => format!("I need {}.", operations(working)),
        _ => PlanState::new(plan).action(0, true).thought,
    }
}

/// `34 + 12, then that * 3` for `34 + 12 = 46` and `46 * 3 = 138`.
fn operations(working: &[String]) -> String {
    let mut result = None;
    let mut operations = Vec::new();
    for line in working {
        let (operation, value) = line.split_once(" = ").unwrap_or((line, ""));
        let rest = result.and_then(|result| operation.strip_prefix(result));
        operations.push(rest.map_or(operation.to_owned(), |rest| format!("that{rest}")));
        result = Some(value);
    }
    operations.join(", then ")
}

/// Whether the first search of a run did not show what its plan needs first.
pub fn first_search_missed(plan: &Plan, run: &Transcript) -> bool {
    let first = run.steps.first().and_then(|step| step.observation.as_ref());
    let Some(Observation::Output { logs, .. }) = first else { return false };
    let mut state = PlanState::new(plan);
    state.read(&[logs]);
    state.misses > 0
}

/// A fact that was read.
pub(super) struct Evidence {
    pub title: String,
    pub relation: Relation,
    pub found: Found,
}

/// How far a plan is carried out.
struct PlanState<'a> {
    plan: &'a Plan,
    /// Needs that were met.
    met: usize,
    /// Searches for the next one that missed.
    misses: usize,
    /// What of the next one no passage has said.
    missing: Vec<Relation>,
    evidence: Vec<Evidence>,
}

/// What is searched for.
struct Current {
    title: String,
    relations: Vec<Relation>,
}

impl<'a> PlanState<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, met: 0, misses: 0, missing: Vec::new(), evidence: Vec::new() }
    }

    /// The state that `observations` have brought, and how many facts were known before the last.
    fn after(plan: &'a Plan, observations: &[&str]) -> Result<(Self, usize), TeachError> {
        let mut state = Self::new(plan);
        let mut known = 0;
        for turn in 1..=observations.len() {
            if state.current().is_none() {
                return Err(TeachError::Finished { observations: observations.len() });
            }
            known = state.evidence.len();
            state.read(observations.get(..turn).unwrap_or_default());
        }
        Ok((state, known))
    }

    /// What is needed now; `None` when all is known or was searched for often enough.
    fn current(&self) -> Option<Current> {
        if self.misses >= SEARCHES_PER_NEED {
            return None;
        }
        self.wanted()
    }

    fn wanted(&self) -> Option<Current> {
        let need = self.plan.needs.get(self.met)?;
        let title = match &need.subject {
            Subject::Named(title) => title.clone(),
            Subject::Found => self.evidence.last()?.found.value.clone(),
        };
        Some(Current { title, relations: need.relations.clone() })
    }

    /// Takes from the observations what is needed now, and what they say beyond it.
    fn read(&mut self, seen: &[&str]) {
        let met = self.met;
        while let Some(current) = self.wanted() {
            let (found, missing) = read(&current, seen);
            if !missing.is_empty() {
                self.missing = missing;
                break;
            }
            self.evidence.extend(found);
            self.met += 1;
            self.misses = 0;
        }
        if self.met == met {
            self.misses += 1;
        }
    }

    /// The action that says what was learned beyond the first `known` facts.
    fn action(&self, known: usize, restates: bool) -> Action {
        let new = self.evidence.get(known..).unwrap_or_default();
        let cited: String = new.iter().map(cite).collect();
        let Some(current) = self.wanted() else {
            let closing = finish::closing(self.plan);
            return Action {
                thought: format!("{cited}{closing}").trim().to_owned(),
                code: finish::code(self.plan, &self.evidence),
            };
        };
        let missed = match self.misses {
            0 => String::new(),
            _ => missed(&current.title, &self.missing),
        };
        if self.misses >= SEARCHES_PER_NEED {
            return Action { thought: missed.trim().to_owned(), code: finish::nothing() };
        }
        let wanted = if self.misses > 0 { &self.missing } else { &current.relations };
        let keys = keys(wanted, "the ", " and ");
        let afterwards = if restates { self.afterwards() } else { String::new() };
        Action {
            thought: format!("{cited}{missed}I need {keys} of {}{afterwards}.", current.title),
            code: self.search(&current),
        }
    }

    fn search(&self, current: &Current) -> String {
        let mut query = current.title.clone();
        if self.misses > 0 {
            for relation in &self.missing {
                query = format!("{query} {}", relation.words().search);
            }
        }
        format!("print(search(\"{query}\"))")
    }

    /// What comes after the need at hand: ` and of B, then the town and the difference`.
    fn afterwards(&self) -> String {
        let later = self.plan.needs.get(self.met + 1..).unwrap_or_default();
        let (mut others, mut items) = (String::new(), Vec::new());
        for need in later {
            match &need.subject {
                Subject::Named(title) => others = format!("{others} and of {title}"),
                Subject::Found => items.push(keys(&need.relations, "the ", " and ")),
            }
        }
        items.extend(finish::noun(&self.plan.finish));
        if items.is_empty() { others } else { format!("{others}, then {}", items.join(" and ")) }
    }
}

/// The facts that are needed, each from the newest observation that has it, and those that none has.
fn read(current: &Current, seen: &[&str]) -> (Vec<Evidence>, Vec<Relation>) {
    let (mut facts, mut missing) = (Vec::new(), Vec::new());
    for relation in &current.relations {
        let mut newest = seen.iter().rev();
        let title = &current.title;
        match newest.find_map(|observation| reading::find(observation, title, *relation)) {
            Some(found) => {
                facts.push(Evidence { title: title.clone(), relation: *relation, found });
            }
            None => missing.push(*relation),
        }
    }
    (facts, missing)
}

/// `Heahi Bridge [2] was opened in the year 1836. `
fn cite(fact: &Evidence) -> String {
    let said = said(fact.relation, &fact.found.value);
    format!("{} [{}] {said}. ", fact.title, fact.found.passage)
}

/// `Heahi Bridge [0] has no opening year here. `: there is no passage 0.
pub(super) fn missed(title: &str, missing: &[Relation]) -> String {
    format!("{title} [0] has {} here. ", keys(missing, "no ", " and "))
}

fn keys(relations: &[Relation], before: &str, between: &str) -> String {
    let keys: Vec<String> =
        relations.iter().map(|relation| format!("{before}{}", relation.words().key)).collect();
    keys.join(between)
}

/// What a thought says of a value.
pub(super) fn said(relation: Relation, value: &str) -> String {
    relation.words().evidence.replace("{v}", value)
}
