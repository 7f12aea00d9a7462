//! The words for what is said of a plant's machines: data, no logic.

use super::super::relation::{ValueKind, Words};

pub const COMMISSION_YEAR: Words = Words {
    key: "start year",
    evidence: "was started up in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "started service first run commissioned work since",
    sentences: &[
        "{X} was commissioned in {v}",
        "{X} went into service in {v}",
        "{X} has been at work since {v}",
        "The first run of {x} was in {v}",
        "The start year of {x} is {v}",
    ],
    questions: &[
        "When was {x} commissioned?",
        "In which year did {x} go into service?",
        "In what year was {x} started up?",
        "Since what year has {x} been at work?",
    ],
};

pub const OVERHAUL_YEAR: Words = Words {
    key: "overhaul year",
    evidence: "was overhauled in the year {v}",
    value: ValueKind::Number,
    unit: "",
    search: "overhauled overhaul taken apart renewed",
    sentences: &[
        "{X} was overhauled in {v}",
        "{X} was taken apart and renewed in {v}",
        "The overhaul of {x} was in {v}",
        "{X} had its great overhaul in {v}",
    ],
    questions: &[
        "When was {x} overhauled?",
        "In which year was {x} overhauled?",
        "In what year was {x} taken apart?",
        "What is the overhaul year of {x}?",
    ],
};

pub const PRESSURE: Words = Words {
    key: "pressure limit",
    evidence: "has a pressure limit of {v} bar",
    value: ValueKind::Number,
    unit: " bar",
    search: "pressure bar limit most allowed stands",
    sentences: &[
        "{X} may run at up to {v} bar",
        "The pressure limit of {x} is {v} bar",
        "{X} stands a pressure of {v} bar",
        "At most {x} is allowed {v} bar",
    ],
    questions: &[
        "What is the pressure limit of {x}?",
        "At how many bar may {x} run?",
        "How much pressure does {x} stand?",
        "What is the highest pressure allowed for {x}?",
    ],
};

pub const POWER: Words = Words {
    key: "power",
    evidence: "has a power of {v} kilowatts",
    value: ValueKind::Number,
    unit: " kilowatts",
    search: "power kilowatts motor draws rated",
    sentences: &[
        "{X} draws {v} kilowatts",
        "The power of {x} is {v} kilowatts",
        "The motor of {x} is rated at {v} kilowatts",
        "At full load {x} needs {v} kilowatts",
    ],
    questions: &[
        "How many kilowatts does {x} draw?",
        "What is the power of {x}?",
        "How strong is the motor of {x}?",
        "How much power does {x} need at full load?",
    ],
};

pub const INTERVAL: Words = Words {
    key: "service interval",
    evidence: "needs service every {v} hours",
    value: ValueKind::Number,
    unit: " hours",
    search: "service hours interval every needs looked after",
    sentences: &[
        "{X} needs service every {v} hours",
        "The service interval of {x} is {v} hours",
        "{X} must be looked after every {v} hours",
        "After {v} hours {x} is due for service",
    ],
    questions: &[
        "What is the service interval of {x}?",
        "How often does {x} need service?",
        "After how many hours is {x} due for service?",
        "How many hours may {x} run between two services?",
    ],
};

pub const LAST_SERVICE: Words = Words {
    key: "last service",
    evidence: "was last serviced on {v}",
    value: ValueKind::Date,
    unit: "",
    search: "last service serviced looked after oil changed",
    sentences: &[
        "{X} was last serviced on {v}",
        "The last service of {x} was on {v}",
        "{X} was last looked after on {v}",
        "Somebody last saw to {x} on {v}",
    ],
    questions: &[
        "When was {x} last serviced?",
        "On which day was the last service of {x}?",
        "What is the date of the last service of {x}?",
        "On what date was {x} last looked after?",
    ],
};

pub const NEXT_SERVICE: Words = Words {
    key: "next service",
    evidence: "will be serviced next on {v}",
    value: ValueKind::Date,
    unit: "",
    search: "next service due planned",
    sentences: &[
        "{X} is due for its next service on {v}",
        "The next service of {x} is on {v}",
        "{X} will be serviced again on {v}",
        "The plan has {x} down for service on {v}",
    ],
    questions: &[
        "When is the next service of {x}?",
        "On which day is {x} due for service?",
        "What is the date of the next service of {x}?",
        "On what date will {x} be serviced again?",
    ],
};

pub const IN_HALL: Words = Words {
    key: "hall",
    evidence: "stands in the {v}",
    value: ValueKind::Title,
    unit: "",
    search: "stands hall found place set up",
    sentences: &[
        "{X} stands in the {v}",
        "{X} is to be found in the {v}",
        "The place of {x} is the {v}",
        "{X} was set up in the {v}",
    ],
    questions: &[
        "In which hall does {x} stand?",
        "Where does {x} stand?",
        "Where is {x} to be found?",
        "In which hall was {x} set up?",
    ],
};

pub const SERVICED_BY: Words = Words {
    key: "technician",
    evidence: "is serviced by {v}",
    value: ValueKind::Title,
    unit: "",
    search: "serviced technician care looks after charge",
    sentences: &[
        "{X} is serviced by {v}",
        "The technician of {x} is {v}",
        "{X} is in the care of {v}",
        "The person in charge of {x} is {v}",
    ],
    questions: &[
        "Who services {x}?",
        "Who is the technician of {x}?",
        "Who looks after {x}?",
        "In whose care is {x}?",
    ],
};

pub const PARTS: Words = Words {
    key: "parts",
    evidence: "has the parts {v}",
    value: ValueKind::List,
    unit: "",
    search: "parts wear consists contains fitted inside",
    sentences: &[
        "The parts of {x} are {v}",
        "{X} is fitted with {v}",
        "{X} contains {v}",
        "Inside {x} there are {v}",
    ],
    questions: &[
        "Which parts does {x} have?",
        "What are the parts of {x}?",
        "With which parts is {x} fitted?",
        "Which parts does {x} contain?",
    ],
};
