//! The words for what is said in a gazetteer: data, no logic.

use super::super::relation::{ValueKind, Words};

pub const BIRTH_YEAR: Words = Words {
    key: "birth year",
    evidence: "was born in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "born birth year came world first saw light",
    sentences: &[
        "{X} was born in {v}",
        "{X} came into the world in {v}",
        "The birth year of {x} is {v}",
        "{X} first saw the light in {v}",
        "The birth of {x} dates from {v}",
    ],
    questions: &[
        "When was {x} born?",
        "In which year was {x} born?",
        "What is the birth year of {x}?",
        "In what year did {x} come into the world?",
    ],
};

pub const BIRTH_TOWN: Words = Words {
    key: "birth town",
    evidence: "was born in the town {v}",
    value: ValueKind::Title,
    unit: "",
    search: "born birthplace native town came child",
    sentences: &[
        "{X} was born in the town of {v}",
        "{X} was a native of {v}",
        "The birthplace of {x} is {v}",
        "{X} came from {v}",
        "{X} was a child of {v}",
    ],
    questions: &[
        "Where was {x} born?",
        "In which town was {x} born?",
        "What is the birthplace of {x}?",
        "Which town did {x} come from?",
    ],
};

pub const DEATH_YEAR: Words = Words {
    key: "death year",
    evidence: "died in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "died death passed away life ended",
    sentences: &[
        "{X} died in {v}",
        "{X} passed away in {v}",
        "The death of {x} came in {v}",
        "The life of {x} ended in {v}",
    ],
    questions: &[
        "When did {x} die?",
        "In which year did {x} die?",
        "In what year did {x} pass away?",
        "What is the death year of {x}?",
    ],
};

pub const TEACHER: Words = Words {
    key: "teacher",
    evidence: "was taught by {v}",
    value: ValueKind::Title,
    unit: "",
    search: "taught teacher pupil learned trade",
    sentences: &[
        "{X} was taught by {v}",
        "{X} was a pupil of {v}",
        "The teacher of {x} was {v}",
        "{X} learned the trade from {v}",
    ],
    questions: &[
        "Who taught {x}?",
        "Who was the teacher of {x}?",
        "From whom did {x} learn the trade?",
        "Whose pupil was {x}?",
    ],
};

pub const DESIGNER: Words = Words {
    key: "architect",
    evidence: "was designed by {v}",
    value: ValueKind::Title,
    unit: "",
    search: "designed architect plans drawn work",
    sentences: &[
        "{X} was designed by {v}",
        "The architect of {x} was {v}",
        "The plans for {x} were drawn by {v}",
        "{X} is a work of {v}",
    ],
    questions: &[
        "Who designed {x}?",
        "Who was the architect of {x}?",
        "Who drew the plans for {x}?",
        "By whom was {x} designed?",
    ],
};

pub const OPENING_YEAR: Words = Words {
    key: "opening year",
    evidence: "was opened in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "opened opening open since public",
    sentences: &[
        "{X} was opened in {v}",
        "The opening of {x} took place in {v}",
        "{X} has been open since {v}",
        "{X} opened to the public in {v}",
    ],
    questions: &[
        "When was {x} opened?",
        "In which year was {x} opened?",
        "In what year did {x} open to the public?",
        "What is the opening year of {x}?",
    ],
};

pub const REBUILDING_YEAR: Words = Words {
    key: "rebuilding year",
    evidence: "was rebuilt in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "rebuilt rebuilding renewed",
    sentences: &[
        "{X} was rebuilt in {v}",
        "{X} had to be rebuilt in {v}",
        "The rebuilding of {x} took place in {v}",
        "{X} was renewed in {v}",
    ],
    questions: &[
        "When was {x} rebuilt?",
        "In which year was {x} rebuilt?",
        "In what year was {x} renewed?",
        "What is the rebuilding year of {x}?",
    ],
};

pub const BRIDGE_LENGTH: Words = Words {
    key: "length",
    evidence: "has a length of {v} metres",
    value: ValueKind::Number,
    unit: " metres",
    search: "metres long length stretches measures",
    sentences: &[
        "{X} is {v} metres long",
        "The length of {x} is {v} metres",
        "{X} stretches over {v} metres",
        "From end to end {x} measures {v} metres",
    ],
    questions: &[
        "How long is {x}?",
        "How many metres long is {x}?",
        "What is the length of {x} in metres?",
        "How many metres does {x} stretch over?",
    ],
};

pub const CROSSES: Words = Words {
    key: "river",
    evidence: "crosses the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "crosses spans leads river water under",
    sentences: &[
        "{X} crosses the {v}",
        "{X} spans the {v}",
        "{X} leads over the {v}",
        "The water under {x} is the {v}",
    ],
    questions: &[
        "Which river does {x} cross?",
        "What river does {x} span?",
        "Over which river does {x} lead?",
        "Which river flows under {x}?",
    ],
};

pub const FOUNDING_YEAR: Words = Words {
    key: "founding year",
    evidence: "was founded in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "founded founding existed since charter",
    sentences: &[
        "{X} was founded in {v}",
        "The founding of {x} dates from {v}",
        "{X} has existed since {v}",
        "{X} received its charter in {v}",
    ],
    questions: &[
        "When was {x} founded?",
        "In which year was {x} founded?",
        "What is the founding year of {x}?",
        "Since what year has {x} existed?",
    ],
};

pub const POPULATION: Words = Words {
    key: "population",
    evidence: "has a population of {v}",
    value: ValueKind::Number,
    unit: "",
    search: "inhabitants population people residents",
    sentences: &[
        "{X} has {v} inhabitants",
        "The population of {x} is {v}",
        "{X} is home to {v} people",
        "In all {x} counts {v} residents",
    ],
    questions: &[
        "How many inhabitants does {x} have?",
        "What is the population of {x}?",
        "How many people live in {x}?",
        "How many residents does {x} count?",
    ],
};

pub const RAILWAY_YEAR: Words = Words {
    key: "railway year",
    evidence: "got its railway in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "railway trains station",
    sentences: &[
        "{X} got its railway in {v}",
        "The railway reached {x} in {v}",
        "Trains have served {x} since {v}",
        "The railway station of {x} was built in {v}",
    ],
    questions: &[
        "When did {x} get its railway?",
        "In which year did the railway reach {x}?",
        "Since what year have trains served {x}?",
        "What is the railway year of {x}?",
    ],
};

pub const ON_RIVER: Words = Words {
    key: "river",
    evidence: "lies on the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "lies river banks beside stands",
    sentences: &[
        "{X} lies on the {v}",
        "{X} stands on the banks of the {v}",
        "{X} was built beside the {v}",
        "The river of {x} is the {v}",
    ],
    questions: &[
        "On which river does {x} lie?",
        "On the banks of which river does {x} stand?",
        "Beside which river was {x} built?",
        "What is the river of {x}?",
    ],
};

pub const RIVER_LENGTH: Words = Words {
    key: "length",
    evidence: "has a length of {v} kilometres",
    value: ValueKind::Number,
    unit: " kilometres",
    search: "kilometres long length runs source measures",
    sentences: &[
        "{X} is {v} kilometres long",
        "The length of {x} is {v} kilometres",
        "{X} runs for {v} kilometres",
        "From source to mouth {x} measures {v} kilometres",
    ],
    questions: &[
        "How long is {x}?",
        "How many kilometres long is {x}?",
        "What is the length of {x} in kilometres?",
        "For how many kilometres does {x} run?",
    ],
};

pub const DEPTH: Words = Words {
    key: "depth",
    evidence: "has a depth of {v} metres",
    value: ValueKind::Number,
    unit: " metres",
    search: "metres deep depth deepest",
    sentences: &[
        "{X} is {v} metres deep",
        "The depth of {x} is {v} metres",
        "{X} reaches a depth of {v} metres",
        "At its deepest point {x} measures {v} metres",
    ],
    questions: &[
        "How deep is {x}?",
        "How many metres deep is {x}?",
        "What is the depth of {x} in metres?",
        "What depth does {x} reach?",
    ],
};

pub const MOUTH: Words = Words {
    key: "mouth",
    evidence: "ends at {v}",
    value: ValueKind::Title,
    unit: "",
    search: "mouth ends flows sea meets",
    sentences: &[
        "{X} ends at {v}",
        "The mouth of {x} is at {v}",
        "{X} flows into the sea at {v}",
        "{X} meets the sea near {v}",
    ],
    questions: &[
        "At which town does {x} end?",
        "Where is the mouth of {x}?",
        "At which town does {x} flow into the sea?",
        "Near which town does {x} meet the sea?",
    ],
};

pub const FOUNDER: Words = Words {
    key: "founder",
    evidence: "was founded by {v}",
    value: ValueKind::Title,
    unit: "",
    search: "founded founder set up existence owes",
    sentences: &[
        "{X} was founded by {v}",
        "The founder of {x} was {v}",
        "{X} was set up by {v}",
        "{X} owes its existence to {v}",
    ],
    questions: &[
        "Who founded {x}?",
        "Who was the founder of {x}?",
        "By whom was {x} set up?",
        "To whom does {x} owe its existence?",
    ],
};

pub const ROOMS: Words = Words {
    key: "rooms",
    evidence: "has a number of rooms of {v}",
    value: ValueKind::Number,
    unit: "",
    search: "rooms number consists visitors",
    sentences: &[
        "{X} has {v} rooms",
        "The number of rooms of {x} is {v}",
        "{X} consists of {v} rooms",
        "Visitors of {x} walk through {v} rooms",
    ],
    questions: &[
        "How many rooms does {x} have?",
        "What is the number of rooms of {x}?",
        "Of how many rooms does {x} consist?",
        "Through how many rooms do visitors of {x} walk?",
    ],
};

pub const IN_TOWN: Words = Words {
    key: "town",
    evidence: "stands in {v}",
    value: ValueKind::Title,
    unit: "",
    search: "stands located home visited town",
    sentences: &[
        "{X} stands in {v}",
        "{X} is located in {v}",
        "The home of {x} is {v}",
        "{X} can be visited in {v}",
    ],
    questions: &[
        "In which town does {x} stand?",
        "Where is {x} located?",
        "Which town is the home of {x}?",
        "In which town can {x} be visited?",
    ],
};

pub const FIRST_STONE: Words = Words {
    key: "first stone",
    evidence: "had its first stone on {v}",
    value: ValueKind::Date,
    unit: "",
    search: "first stone laid building began work started",
    sentences: &[
        "The first stone of {x} was laid on {v}",
        "The building of {x} began on {v}",
        "Work on {x} started on {v}",
        "The builders of {x} set to work on {v}",
    ],
    questions: &[
        "On which day was the first stone of {x} laid?",
        "When did the building of {x} begin, to the day?",
        "On what date did work on {x} start?",
        "What is the date of the first stone of {x}?",
    ],
};

pub const HANDOVER: Words = Words {
    key: "handover",
    evidence: "was handed over on {v}",
    value: ValueKind::Date,
    unit: "",
    search: "handed over handover ready builders left complete",
    sentences: &[
        "{X} was handed over on {v}",
        "The handover of {x} was on {v}",
        "{X} was complete on {v}",
        "The builders left {x} on {v}",
    ],
    questions: &[
        "On which day was {x} handed over?",
        "On what date was {x} complete?",
        "What is the date of the handover of {x}?",
        "On which day did the builders leave {x}?",
    ],
};

pub const BRIDGES: Words = Words {
    key: "bridges",
    evidence: "has the bridges {v}",
    value: ValueKind::List,
    unit: "",
    search: "bridges over crossed spanned can cross",
    sentences: &[
        "The bridges over {x} are {v}",
        "{X} is crossed by {v}",
        "{X} is spanned by {v}",
        "Those who want to cross {x} take {v}",
    ],
    questions: &[
        "Which bridges cross {x}?",
        "Which bridges lead over {x}?",
        "What are the bridges over {x}?",
        "By which bridges is {x} crossed?",
    ],
};
