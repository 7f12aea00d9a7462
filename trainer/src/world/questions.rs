//! The words of questions that need more than one fact of one entity: data and how to fill it.

use super::relation::Relation;
use super::{Domain, describe};

/// The entity found by following a relation from `x`, in words: two wordings each.
const DESCRIPTIONS: &[(Relation, &[&str])] = &[
    (Relation::Designer, &["the architect of {x}", "the designer of {x}"]),
    (Relation::Founder, &["the founder of {x}", "the person who founded {x}"]),
    (Relation::Teacher, &["the teacher of {x}", "the person who taught {x}"]),
    (Relation::BirthTown, &["the birthplace of {x}", "the town where {x} was born"]),
    (Relation::InTown, &["the town of {x}", "the home of {x}"]),
    (Relation::Crosses, &["the river under {x}", "the river that {x} crosses"]),
    (Relation::OnRiver, &["the river of {x}", "the river that flows past {x}"]),
    (Relation::Mouth, &["the town at the mouth of {x}", "the town where {x} ends"]),
    (Relation::InHall, &["the hall of {x}", "the hall where {x} stands"]),
    (Relation::ServicedBy, &["the technician of {x}", "the person who services {x}"]),
    (Relation::Supplier, &["the supplier of {x}", "the works that supplies {x}"]),
    (Relation::Foreman, &["the foreman of {x}", "the person who leads {x}"]),
    (Relation::Workshop, &["the workshop of {x}", "the hall where {x} works"]),
    (Relation::Instructor, &["the instructor of {x}", "the person who trained {x}"]),
    (Relation::FaultMachine, &["the machine behind {x}", "the machine that reports {x}"]),
    (Relation::FaultPart, &["the part that cures {x}", "the remedy for {x}"]),
];

/// How old what a fact leads to was in a year of the entity.
pub struct Age {
    /// The year.
    pub year: Relation,
    /// Leads to somebody or something.
    pub maker: Relation,
    /// Its first year.
    pub birth: Relation,
    questions: &'static [&'static str],
}

const GAZETTEER_AGES: &[Age] = &[
    Age {
        year: Relation::OpeningYear,
        maker: Relation::Designer,
        birth: Relation::BirthYear,
        questions: &[
            "How old was the architect of {x} when it opened?",
            "How old was the designer of {x} when it was opened?",
            "At what age did the architect of {x} see it open?",
            "What was the age of the architect of {x} at its opening?",
        ],
    },
    Age {
        year: Relation::OpeningYear,
        maker: Relation::Founder,
        birth: Relation::BirthYear,
        questions: &[
            "How old was the founder of {x} when it opened?",
            "How old was the person who founded {x} when it was opened?",
            "At what age did the founder of {x} see it open?",
            "What was the age of the founder of {x} at its opening?",
        ],
    },
];
const PLANT_AGES: &[Age] = &[Age {
    year: Relation::CommissionYear,
    maker: Relation::InHall,
    birth: Relation::BuildYear,
    questions: &[
        "How old was the hall of {x} when it was commissioned?",
        "How old was the hall where {x} stands when it went into service?",
        "How many years after its hall was built was {x} commissioned?",
        "What was the age of the hall of {x} at its first run?",
    ],
}];

/// A time between two facts of one entity.
pub struct Span {
    /// The later one.
    pub end: Relation,
    /// The earlier one.
    pub start: Relation,
    questions: &'static [&'static str],
}

const GAZETTEER_SPANS: &[Span] = &[
    Span {
        end: Relation::DeathYear,
        start: Relation::BirthYear,
        questions: &[
            "How many years did {x} live?",
            "How old did {x} become?",
            "At what age did {x} die?",
            "How old was {x} at death?",
        ],
    },
    Span {
        end: Relation::RailwayYear,
        start: Relation::FoundingYear,
        questions: &[
            "How many years after its founding did {x} get a railway?",
            "How old was {x} when the railway came?",
            "How many years passed between the founding of {x} and its railway?",
            "For how many years did {x} have no railway?",
        ],
    },
    Span {
        end: Relation::RebuildingYear,
        start: Relation::OpeningYear,
        questions: &[
            "How many years after its opening was {x} rebuilt?",
            "How old was {x} when it was rebuilt?",
            "How many years passed between the opening and the rebuilding of {x}?",
            "For how many years did {x} stand before it was rebuilt?",
        ],
    },
];
const PLANT_SPANS: &[Span] = &[Span {
    end: Relation::OverhaulYear,
    start: Relation::CommissionYear,
    questions: &[
        "How many years after its first run was {x} overhauled?",
        "How old was {x} when it was overhauled?",
        "How many years passed before {x} was overhauled?",
        "For how many years was {x} at work before its overhaul?",
    ],
}];
const GAZETTEER_DAYS: &[Span] = &[Span {
    end: Relation::Handover,
    start: Relation::FirstStone,
    questions: &[
        "How many days passed between the first stone and the handover of {x}?",
        "How many days did the building of {x} take?",
        "For how many days was {x} under construction?",
        "How many days after its first stone was {x} complete?",
    ],
}];
const PLANT_DAYS: &[Span] = &[Span {
    end: Relation::NextService,
    start: Relation::LastService,
    questions: &[
        "How many days lie between the last and the next service of {x}?",
        "How many days after its last service is {x} due again?",
        "How many days does {x} run from one service to the next?",
        "For how many days is {x} left alone between its last and next service?",
    ],
}];

/// How many there are, without asking which.
const COUNTS: &[(Relation, &[&str])] = &[
    (
        Relation::Bridges,
        &[
            "How many bridges cross {x}?",
            "How many bridges lead over {x}?",
            "What is the number of bridges over {x}?",
            "By how many bridges is {x} crossed?",
        ],
    ),
    (
        Relation::Parts,
        &[
            "How many parts does {x} have?",
            "What is the number of parts of {x}?",
            "With how many parts is {x} fitted?",
            "How many parts does {x} contain?",
        ],
    ),
];

/// What stands before a fact that the question gives.
const GIVEN: &[&str] = &["Read this: ", "Going by this sentence alone: ", "Somebody told me: "];

impl Age {
    /// The question for the entity titled `title`.
    pub fn question(&self, title: &str, wording: usize) -> String {
        pick(self.questions, wording).replace("{x}", &describe(title))
    }
}

impl Span {
    /// The question for the entity titled `title`.
    pub fn question(&self, title: &str, wording: usize) -> String {
        pick(self.questions, wording).replace("{x}", &describe(title))
    }
}

/// The ages asked for in a domain.
pub fn ages(domain: Domain) -> &'static [Age] {
    match domain {
        Domain::Gazetteer => GAZETTEER_AGES,
        Domain::Plant => PLANT_AGES,
    }
}

/// The years asked for in a domain.
pub fn spans(domain: Domain) -> &'static [Span] {
    match domain {
        Domain::Gazetteer => GAZETTEER_SPANS,
        Domain::Plant => PLANT_SPANS,
    }
}

/// The days asked for in a domain.
pub fn day_spans(domain: Domain) -> &'static [Span] {
    match domain {
        Domain::Gazetteer => GAZETTEER_DAYS,
        Domain::Plant => PLANT_DAYS,
    }
}

/// The question for one fact of the entity that `description` describes.
pub fn lookup(relation: Relation, description: &str, wording: usize) -> String {
    pick(relation.words().questions, wording).replace("{x}", description)
}

/// The entity that `relation` leads to from the entity that `described` describes, in words.
pub fn description(relation: Relation, described: &str, wording: usize) -> String {
    pick(of(DESCRIPTIONS, relation), wording).replace("{x}", described)
}

/// The question for the length of a list.
pub fn count(relation: Relation, title: &str, wording: usize) -> String {
    pick(of(COUNTS, relation), wording).replace("{x}", &describe(title))
}

/// What stands before a fact that the question gives.
pub fn given(wording: usize) -> &'static str {
    pick(GIVEN, wording)
}

fn of(
    table: &[(Relation, &'static [&'static str])],
    relation: Relation,
) -> &'static [&'static str] {
    table.iter().find(|(candidate, _)| *candidate == relation).map_or(&[], |(_, words)| *words)
}

fn pick(templates: &[&'static str], wording: usize) -> &'static str {
    templates.get(wording % templates.len().max(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::routes;

    #[test]
    fn every_question_has_four_wordings() {
        for domain in [Domain::Gazetteer, Domain::Plant] {
            assert!(ages(domain).iter().all(|age| age.questions.len() >= 4));
            let spans = spans(domain).iter().chain(day_spans(domain));
            assert!(spans.into_iter().all(|span| span.questions.len() >= 4));
        }
        assert!(COUNTS.iter().all(|(_, words)| words.len() >= 4));
    }

    #[test]
    fn every_fact_that_leads_on_can_be_described() {
        for domain in [Domain::Gazetteer, Domain::Plant] {
            for (relation, _) in routes::of(domain) {
                assert!(description(*relation, "Vaze", 1).contains("Vaze"), "{relation:?}");
            }
        }
    }

    #[test]
    fn descriptions_nest() {
        let architect = description(Relation::Designer, &describe("Lu Bridge"), 0);
        let town = description(Relation::BirthTown, &architect, 1);
        assert_eq!(
            lookup(Relation::FoundingYear, &town, 0),
            "When was the town where the architect of the Lu Bridge was born founded?"
        );
    }
}
