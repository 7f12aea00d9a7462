//! What the numbers of a gazetteer are compared and combined by: data, no logic.

use super::super::relation::Relation;
use super::Measure;

pub const MEASURES: &[Measure] = &[
    Measure {
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
        is_smaller: &["Is {a} older than {b}?", "Was {a} born before {b}?"],
        is_larger: &["Is {a} younger than {b}?", "Was {a} born after {b}?"],
        below: &["Was {a} born before {n}?", "Had {a} come into the world before {n}?"],
        above: &["Was {a} born after {n}?", "Did {a} come into the world after {n}?"],
    },
    Measure {
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
        is_smaller: &["Is {a} shorter than {b}?", "Does {a} have a smaller length than {b}?"],
        is_larger: &["Is {a} longer than {b}?", "Does {a} have a larger length than {b}?"],
        below: &["Is {a} shorter than {n} metres?", "Does {a} measure less than {n} metres?"],
        above: &["Is {a} longer than {n} metres?", "Does {a} measure more than {n} metres?"],
    },
    Measure {
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
        is_smaller: &["Is {a} shorter than {b}?", "Does {a} have a smaller length than {b}?"],
        is_larger: &["Is {a} longer than {b}?", "Does {a} have a larger length than {b}?"],
        below: &[
            "Is {a} shorter than {n} kilometres?",
            "Does {a} measure less than {n} kilometres?",
        ],
        above: &[
            "Is {a} longer than {n} kilometres?",
            "Does {a} measure more than {n} kilometres?",
        ],
    },
    Measure {
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
        is_smaller: &["Does {a} have fewer people than {b}?", "Is {a} smaller than {b}?"],
        is_larger: &["Does {a} have more people than {b}?", "Is {a} larger than {b}?"],
        below: &[
            "Do fewer than {n} people live in {a}?",
            "Does {a} have fewer than {n} inhabitants?",
        ],
        above: &[
            "Do more than {n} people live in {a}?",
            "Does {a} have more than {n} inhabitants?",
        ],
    },
    Measure {
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
        is_smaller: &["Is {a} older than {b}?", "Was {a} founded before {b}?"],
        is_larger: &["Is {a} younger than {b}?", "Was {a} founded after {b}?"],
        below: &["Was {a} founded before {n}?", "Did {a} exist before {n}?"],
        above: &["Was {a} founded after {n}?", "Is the founding of {a} later than {n}?"],
    },
    Measure {
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
        is_smaller: &[
            "Does {a} have fewer rooms than {b}?",
            "Are there fewer rooms in {a} than in {b}?",
        ],
        is_larger: &[
            "Does {a} have more rooms than {b}?",
            "Are there more rooms in {a} than in {b}?",
        ],
        below: &["Does {a} have fewer than {n} rooms?", "Are there fewer than {n} rooms in {a}?"],
        above: &["Does {a} have more than {n} rooms?", "Are there more than {n} rooms in {a}?"],
    },
];
