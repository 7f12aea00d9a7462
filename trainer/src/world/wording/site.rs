//! The words for what is said of a plant's halls, people and faults: data, no logic.

use super::super::relation::{ValueKind, Words};

pub const AREA: Words = Words {
    key: "floor area",
    evidence: "has a floor area of {v} square metres",
    value: ValueKind::Number,
    unit: " square metres",
    search: "floor area square metres covers",
    sentences: &[
        "{X} covers {v} square metres",
        "The floor area of {x} is {v} square metres",
        "{X} offers a floor of {v} square metres",
        "{X} takes up {v} square metres",
    ],
    questions: &[
        "How large is {x}?",
        "What is the floor area of {x}?",
        "How many square metres does {x} cover?",
        "How many square metres does {x} take up?",
    ],
};

pub const BUILD_YEAR: Words = Words {
    key: "building year",
    evidence: "was built in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "built building erected dates put up",
    sentences: &[
        "{X} was built in {v}",
        "{X} was put up in {v}",
        "The building year of {x} is {v}",
        "The walls of {x} date from {v}",
    ],
    questions: &[
        "When was {x} built?",
        "In which year was {x} put up?",
        "What is the building year of {x}?",
        "From what year do the walls of {x} date?",
    ],
};

pub const FOREMAN: Words = Words {
    key: "foreman",
    evidence: "is led by {v}",
    value: ValueKind::Title,
    unit: "",
    search: "foreman led head orders answers",
    sentences: &[
        "{X} is led by {v}",
        "The foreman of {x} is {v}",
        "{X} is headed by {v}",
        "The orders in {x} come from {v}",
    ],
    questions: &[
        "Who leads {x}?",
        "Who is the foreman of {x}?",
        "Who heads {x}?",
        "From whom do the orders in {x} come?",
    ],
};

pub const HIRE_YEAR: Words = Words {
    key: "hiring year",
    evidence: "was hired in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "hired joined hiring plant since staff",
    sentences: &[
        "{X} was hired in {v}",
        "{X} joined the plant in {v}",
        "{X} has been on the staff since {v}",
        "The hiring year of {x} is {v}",
    ],
    questions: &[
        "When was {x} hired?",
        "In which year did {x} join the plant?",
        "What is the hiring year of {x}?",
        "Since what year has {x} been on the staff?",
    ],
};

pub const EXTENSION: Words = Words {
    key: "extension",
    evidence: "has the extension {v}",
    value: ValueKind::Number,
    unit: "",
    search: "extension telephone desk dial reached",
    sentences: &[
        "The extension of {x} is {v}",
        "{X} is reached at extension {v}",
        "To speak to {x} dial {v}",
        "{X} answers at extension {v}",
    ],
    questions: &[
        "What is the extension of {x}?",
        "At which extension is {x} reached?",
        "Which extension must be dialled to speak to {x}?",
        "At what extension does {x} answer?",
    ],
};

pub const WORKSHOP: Words = Words {
    key: "workshop",
    evidence: "works in the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "workshop bench works desk found",
    sentences: &[
        "{X} works in the {v}",
        "The workshop of {x} is the {v}",
        "{X} has a bench in the {v}",
        "{X} is mostly found in the {v}",
    ],
    questions: &[
        "In which hall does {x} work?",
        "Where is the workshop of {x}?",
        "In which hall does {x} have a bench?",
        "Where is {x} mostly found?",
    ],
};

pub const INSTRUCTOR: Words = Words {
    key: "instructor",
    evidence: "was trained by {v}",
    value: ValueKind::Title,
    unit: "",
    search: "trained instructor learned taught training",
    sentences: &[
        "{X} was trained by {v}",
        "The instructor of {x} was {v}",
        "{X} was introduced to the work by {v}",
        "{X} owes the training to {v}",
    ],
    questions: &[
        "Who trained {x}?",
        "Who was the instructor of {x}?",
        "By whom was {x} introduced to the work?",
        "To whom does {x} owe the training?",
    ],
};

pub const FAULT_MACHINE: Words = Words {
    key: "machine",
    evidence: "comes from the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "comes reported machine raised shown belongs",
    sentences: &[
        "{X} is reported by the {v}",
        "{X} comes from the {v}",
        "The machine behind {x} is the {v}",
        "{X} belongs to the {v}",
    ],
    questions: &[
        "Which machine reports {x}?",
        "From which machine does {x} come?",
        "Which machine is behind {x}?",
        "To which machine does {x} belong?",
    ],
};

pub const FAULT_CAUSE: Words = Words {
    key: "cause",
    evidence: "is caused by {v}",
    value: ValueKind::Phrase,
    unit: "",
    search: "cause means caused stands behind due",
    sentences: &[
        "{X} is caused by {v}",
        "{X} means {v}",
        "The cause of {x} is {v}",
        "{X} stands for {v}",
    ],
    questions: &[
        "What causes {x}?",
        "What does {x} mean?",
        "What is the cause of {x}?",
        "What does {x} stand for?",
    ],
};

pub const FAULT_PART: Words = Words {
    key: "spare part",
    evidence: "is cured with the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "cured replace remedy new goes away spare part",
    sentences: &[
        "{X} is cured by a new {v}",
        "The remedy for {x} is a new {v}",
        "{X} goes away with a new {v}",
        "Against {x} fit a new {v}",
    ],
    questions: &[
        "Which part cures {x}?",
        "What must be replaced to cure {x}?",
        "Which new part is the remedy for {x}?",
        "Which part must be fitted against {x}?",
    ],
};
