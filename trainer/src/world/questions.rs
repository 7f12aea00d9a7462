//! The words of questions that need more than one fact: data and how to fill it.

use super::relation::{EntityKind, Relation};

/// How two numbers are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// The distance between them.
    Difference,
    /// Their sum.
    Sum,
    /// Whose number is smaller.
    Smaller,
    /// Whose number is larger.
    Larger,
}

/// The entity found by following `relation` from `x`, in words: two or more wordings each.
const DESCRIPTIONS: &[(Relation, &[&str])] = &[
    (Relation::Designer, &["the architect of {x}", "the designer of {x}"]),
    (Relation::Founder, &["the founder of {x}", "the person who founded {x}"]),
    (Relation::Teacher, &["the teacher of {x}", "the person who taught {x}"]),
    (Relation::BirthTown, &["the birthplace of {x}", "the town where {x} was born"]),
    (Relation::InTown, &["the town of {x}", "the home of {x}"]),
    (Relation::Crosses, &["the river under {x}", "the river that {x} crosses"]),
    (Relation::OnRiver, &["the river of {x}", "the river that flows past {x}"]),
    (Relation::Mouth, &["the town at the mouth of {x}", "the town where {x} ends"]),
];

const AGES_OF_DESIGNERS: &[&str] = &[
    "How old was the architect of {x} when it opened?",
    "How old was the designer of {x} when it was opened?",
    "At what age did the architect of {x} see it open?",
    "What was the age of the architect of {x} at its opening?",
];

const AGES_OF_FOUNDERS: &[&str] = &[
    "How old was the founder of {x} when it opened?",
    "How old was the person who founded {x} when it was opened?",
    "At what age did the founder of {x} see it open?",
    "What was the age of the founder of {x} at its opening?",
];

const LIVES: &[&str] = &[
    "How many years did {x} live?",
    "How old did {x} become?",
    "At what age did {x} die?",
    "How old was {x} at death?",
];

const RAILWAYS: &[&str] = &[
    "How many years after its founding did {x} get a railway?",
    "How old was {x} when the railway came?",
    "How many years passed between the founding of {x} and its railway?",
    "For how many years did {x} have no railway?",
];

const REBUILDINGS: &[&str] = &[
    "How many years after its opening was {x} rebuilt?",
    "How old was {x} when it was rebuilt?",
    "How many years passed between the opening and the rebuilding of {x}?",
    "For how many years did {x} stand before it was rebuilt?",
];

/// Questions that combine the same fact of two entities, `{a}` and `{b}`.
struct PairWords {
    relation: Relation,
    differences: &'static [&'static str],
    sums: &'static [&'static str],
    smaller: &'static [&'static str],
    larger: &'static [&'static str],
}

const PAIRS: &[PairWords] = &[
    PairWords {
        relation: Relation::BirthYear,
        differences: &[
            "How many years lie between the births of {a} and {b}?",
            "How many years apart were {a} and {b} born?",
            "What is the difference in years between the births of {a} and {b}?",
            "By how many years do the ages of {a} and {b} differ?",
        ],
        sums: &[],
        smaller: &[
            "Who was born earlier, {a} or {b}?",
            "Who is older, {a} or {b}?",
            "Who came into the world first, {a} or {b}?",
            "Of {a} and {b}, who was born first?",
        ],
        larger: &[
            "Who was born later, {a} or {b}?",
            "Who is younger, {a} or {b}?",
            "Who came into the world last, {a} or {b}?",
            "Of {a} and {b}, who was born last?",
        ],
    },
    PairWords {
        relation: Relation::BridgeLength,
        differences: &[
            "By how many metres do the lengths of {a} and {b} differ?",
            "What is the gap in metres between the lengths of {a} and {b}?",
            "What is the difference in metres between the lengths of {a} and {b}?",
            "How large is the difference in length between {a} and {b}?",
        ],
        sums: &[
            "How many metres long are {a} and {b} together?",
            "What is the total length of {a} and {b} in metres?",
            "How long are {a} and {b} taken together?",
            "What is the combined length of {a} and {b}?",
        ],
        smaller: &[
            "Which bridge is shorter, {a} or {b}?",
            "Which has the smaller length, {a} or {b}?",
            "Of {a} and {b}, which bridge is shorter?",
            "What is shorter, {a} or {b}?",
        ],
        larger: &[
            "Which bridge is longer, {a} or {b}?",
            "Which has the larger length, {a} or {b}?",
            "Of {a} and {b}, which bridge is longer?",
            "What is longer, {a} or {b}?",
        ],
    },
    PairWords {
        relation: Relation::RiverLength,
        differences: &[
            "By how many kilometres do the lengths of {a} and {b} differ?",
            "What is the gap in kilometres between the lengths of {a} and {b}?",
            "What is the difference in kilometres between the lengths of {a} and {b}?",
            "How large is the difference in length between {a} and {b}?",
        ],
        sums: &[
            "How many kilometres long are {a} and {b} together?",
            "What is the total length of {a} and {b} in kilometres?",
            "How long are {a} and {b} taken together?",
            "What is the combined length of {a} and {b}?",
        ],
        smaller: &[
            "Which river is shorter, {a} or {b}?",
            "Which has the smaller length, {a} or {b}?",
            "Of {a} and {b}, which river is shorter?",
            "What is shorter, {a} or {b}?",
        ],
        larger: &[
            "Which river is longer, {a} or {b}?",
            "Which has the larger length, {a} or {b}?",
            "Of {a} and {b}, which river is longer?",
            "What is longer, {a} or {b}?",
        ],
    },
    PairWords {
        relation: Relation::Population,
        differences: &[
            "By how many people do the populations of {a} and {b} differ?",
            "What is the gap between the populations of {a} and {b}?",
            "What is the difference between the populations of {a} and {b}?",
            "How large is the difference in population between {a} and {b}?",
        ],
        sums: &[
            "How many people live in {a} and {b} together?",
            "What is the total population of {a} and {b}?",
            "How many inhabitants do {a} and {b} have together?",
            "What is the combined population of {a} and {b}?",
        ],
        smaller: &[
            "Which town has fewer inhabitants, {a} or {b}?",
            "Which has the smaller population, {a} or {b}?",
            "Of {a} and {b}, which town has fewer people?",
            "Where do fewer people live, in {a} or in {b}?",
        ],
        larger: &[
            "Which town has more inhabitants, {a} or {b}?",
            "Which has the larger population, {a} or {b}?",
            "Of {a} and {b}, which town has more people?",
            "Where do more people live, in {a} or in {b}?",
        ],
    },
    PairWords {
        relation: Relation::FoundingYear,
        differences: &[
            "How many years lie between the foundings of {a} and {b}?",
            "How many years apart were {a} and {b} founded?",
            "What is the difference in years between the foundings of {a} and {b}?",
            "How many years passed between the foundings of {a} and {b}?",
        ],
        sums: &[],
        smaller: &[
            "Which town was founded earlier, {a} or {b}?",
            "Which town is older, {a} or {b}?",
            "Which was founded first, {a} or {b}?",
            "Of {a} and {b}, which town is older?",
        ],
        larger: &[
            "Which town was founded later, {a} or {b}?",
            "Which town is younger, {a} or {b}?",
            "Which was founded last, {a} or {b}?",
            "Of {a} and {b}, which town is younger?",
        ],
    },
    PairWords {
        relation: Relation::Rooms,
        differences: &[
            "By how many rooms do {a} and {b} differ?",
            "How large is the difference in rooms between {a} and {b}?",
            "What is the difference between the numbers of rooms of {a} and {b}?",
            "What is the gap in rooms between {a} and {b}?",
        ],
        sums: &[
            "How many rooms do {a} and {b} have together?",
            "What is the total number of rooms of {a} and {b}?",
            "How many rooms are there in {a} and {b} together?",
            "What is the combined number of rooms of {a} and {b}?",
        ],
        smaller: &[
            "Which museum has fewer rooms, {a} or {b}?",
            "Which has the smaller number of rooms, {a} or {b}?",
            "Of {a} and {b}, which museum has fewer rooms?",
            "Where are there fewer rooms, in {a} or in {b}?",
        ],
        larger: &[
            "Which museum has more rooms, {a} or {b}?",
            "Which has the larger number of rooms, {a} or {b}?",
            "Of {a} and {b}, which museum has more rooms?",
            "Where are there more rooms, in {a} or in {b}?",
        ],
    },
];

/// Relations whose values two entities are compared or combined by, for `operation`.
pub fn pair_relations(operation: Operation) -> Vec<Relation> {
    let asks = |words: &&PairWords| !words.of(operation).is_empty();
    PAIRS.iter().filter(asks).map(|words| words.relation).collect()
}

impl PairWords {
    fn of(&self, operation: Operation) -> &'static [&'static str] {
        match operation {
            Operation::Difference => self.differences,
            Operation::Sum => self.sums,
            Operation::Smaller => self.smaller,
            Operation::Larger => self.larger,
        }
    }
}

/// The question for one fact of the entity that `description` describes.
pub fn lookup(relation: Relation, description: &str, wording: usize) -> String {
    pick(relation.words().questions, wording).replace("{x}", description)
}

/// The entity that `relation` leads to from the entity titled `title`, in words.
pub fn description(relation: Relation, title: &str, wording: usize) -> String {
    let described = DESCRIPTIONS.iter().find(|(candidate, _)| *candidate == relation);
    let templates = described.map_or(&[][..], |(_, templates)| *templates);
    pick(templates, wording).replace("{x}", &in_text(title))
}

/// The question for the age of the person whom `maker` names when the work titled `title` opened.
pub fn age(maker: Relation, title: &str, wording: usize) -> String {
    let templates = if maker == Relation::Founder { AGES_OF_FOUNDERS } else { AGES_OF_DESIGNERS };
    pick(templates, wording).replace("{x}", &in_text(title))
}

/// The question for the years up to the year that `end` names for the entity titled `title`.
pub fn span(end: Relation, title: &str, wording: usize) -> String {
    let templates = match end {
        Relation::RailwayYear => RAILWAYS,
        Relation::RebuildingYear => REBUILDINGS,
        _ => LIVES,
    };
    pick(templates, wording).replace("{x}", &in_text(title))
}

/// The question that combines one fact of the entities titled `a` and `b`.
pub fn pair(relation: Relation, operation: Operation, [a, b]: [&str; 2], wording: usize) -> String {
    let words = PAIRS.iter().find(|words| words.relation == relation);
    let templates = words.map_or(&[][..], |words| words.of(operation));
    pick(templates, wording).replace("{a}", &in_text(a)).replace("{b}", &in_text(b))
}

fn in_text(title: &str) -> String {
    EntityKind::of_title(title).in_text(title)
}

fn pick(templates: &[&'static str], wording: usize) -> &'static str {
    templates.get(wording % templates.len().max(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_four_wordings() {
        let tables = [AGES_OF_DESIGNERS, AGES_OF_FOUNDERS, LIVES, RAILWAYS, REBUILDINGS];
        assert!(tables.iter().all(|table| table.len() >= 4));
        for words in PAIRS {
            assert!([words.differences, words.smaller, words.larger].iter().all(|t| t.len() >= 4));
            assert!(words.sums.is_empty() || words.sums.len() >= 4);
        }
    }

    #[test]
    fn every_relation_to_an_entity_can_be_described() {
        for relation in Relation::ALL.into_iter().filter(|relation| !relation.is_number()) {
            assert!(description(relation, "Vaze", 1).contains("Vaze"), "{relation:?}");
        }
    }

    #[test]
    fn questions_name_their_entities() {
        assert_eq!(
            pair(Relation::BridgeLength, Operation::Sum, ["Lu Bridge", "Pa Bridge"], 1),
            "What is the total length of the Lu Bridge and the Pa Bridge in metres?"
        );
        let architect = description(Relation::Designer, "Lu Bridge", 0);
        assert_eq!(
            lookup(Relation::BirthTown, &architect, 1),
            "In which town was the architect of the Lu Bridge born?"
        );
    }
}
