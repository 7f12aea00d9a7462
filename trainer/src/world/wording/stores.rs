//! The words for what is said of a plant's parts and those who supply them: data, no logic.

use super::super::relation::{ValueKind, Words};

pub const PART_NUMBER: Words = Words {
    key: "part number",
    evidence: "has the part number {v}",
    value: ValueKind::Number,
    unit: "",
    search: "part number ordered order catalogue listed",
    sentences: &[
        "The part number of {x} is {v}",
        "{X} is ordered as number {v}",
        "{X} has the number {v} in the catalogue",
        "The catalogue lists {x} under {v}",
    ],
    questions: &[
        "What is the part number of {x}?",
        "Under which number is {x} ordered?",
        "Which number does {x} have in the catalogue?",
        "Under what number is {x} listed?",
    ],
};

pub const WEIGHT: Words = Words {
    key: "weight",
    evidence: "has a weight of {v} grams",
    value: ValueKind::Number,
    unit: " grams",
    search: "weight grams weighs scales heavy",
    sentences: &[
        "{X} weighs {v} grams",
        "The weight of {x} is {v} grams",
        "On the scales {x} shows {v} grams",
        "{X} brings {v} grams to the scales",
    ],
    questions: &[
        "How heavy is {x}?",
        "What is the weight of {x}?",
        "How many grams does {x} weigh?",
        "What does {x} weigh?",
    ],
};

pub const LIFETIME: Words = Words {
    key: "lifetime",
    evidence: "has a lifetime of {v} hours",
    value: ValueKind::Number,
    unit: " hours",
    search: "lifetime hours lasts replaced worn exchanged",
    sentences: &[
        "{X} lasts {v} hours",
        "The lifetime of {x} is {v} hours",
        "{X} must be replaced after {v} hours",
        "{X} is worn out after {v} hours",
    ],
    questions: &[
        "How long does {x} last?",
        "What is the lifetime of {x}?",
        "After how many hours must {x} be replaced?",
        "After how many hours is {x} worn out?",
    ],
};

pub const SUPPLIER: Words = Words {
    key: "supplier",
    evidence: "is supplied by the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "supplied supplier bought comes made delivered",
    sentences: &[
        "{X} is supplied by the {v}",
        "The supplier of {x} is the {v}",
        "{X} is bought from the {v}",
        "{X} is delivered by the {v}",
    ],
    questions: &[
        "Who supplies {x}?",
        "Which works is the supplier of {x}?",
        "From which works is {x} bought?",
        "By whom is {x} delivered?",
    ],
};

pub const EMPLOYEES: Words = Words {
    key: "employees",
    evidence: "has a staff of {v}",
    value: ValueKind::Number,
    unit: "",
    search: "staff employees employs people",
    sentences: &[
        "{X} has {v} employees",
        "The staff of {x} is {v} strong",
        "{X} employs {v} people",
        "{X} gives work to {v} people",
    ],
    questions: &[
        "How many employees does {x} have?",
        "How many people does {x} employ?",
        "How large is the staff of {x}?",
        "To how many people does {x} give work?",
    ],
};

pub const PHONE: Words = Words {
    key: "telephone number",
    evidence: "has the telephone number {v}",
    value: ValueKind::Number,
    unit: "",
    search: "telephone number called phone rings reached",
    sentences: &[
        "The telephone number of {x} is {v}",
        "{X} is reached by telephone under {v}",
        "Call {v} to reach {x}",
        "The number to call for {x} is {v}",
    ],
    questions: &[
        "What is the telephone number of {x}?",
        "Under which telephone number is {x} reached?",
        "Which number must be called to reach {x}?",
        "How is {x} reached by telephone?",
    ],
};

pub const WORKS_YEAR: Words = Words {
    key: "founding year",
    evidence: "was set up in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "founded set up existed founding",
    sentences: &[
        "{X} was set up in {v}",
        "{X} was founded in {v}",
        "The founding of {x} dates from {v}",
        "{X} has existed since {v}",
    ],
    questions: &[
        "When was {x} founded?",
        "In which year was {x} set up?",
        "What is the founding year of {x}?",
        "Since what year has {x} existed?",
    ],
};
