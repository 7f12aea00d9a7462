//! What the numbers of a plant are compared and combined by: data, no logic.

use super::super::relation::Relation;
use super::Measure;

pub const MEASURES: &[Measure] = &[
    Measure {
        relation: Relation::Power,
        differences: &[
            "By how many kilowatts do the powers of {a} and {b} differ?",
            "What is the difference between the powers of {a} and {b}?",
            "How large is the gap between the powers of {a} and {b}?",
            "How far apart are the powers of {a} and {b}?",
        ],
        sums: &[
            "What is the total power of {a} and {b}?",
            "What do the powers of {a} and {b} add up to?",
            "What is the combined power of {a} and {b}?",
            "What is the sum of the powers of {a} and {b}?",
        ],
        smaller: &[
            "Which is weaker, {a} or {b}?",
            "Of {a} and {b}, which is weaker?",
            "Which has the smaller power, {a} or {b}?",
            "What is weaker, {a} or {b}?",
        ],
        larger: &[
            "Which is stronger, {a} or {b}?",
            "Of {a} and {b}, which is stronger?",
            "Which has the larger power, {a} or {b}?",
            "What is stronger, {a} or {b}?",
        ],
        is_smaller: &["Is {a} weaker than {b}?", "Does {a} have a smaller power than {b}?"],
        is_larger: &["Is {a} stronger than {b}?", "Does {a} have a larger power than {b}?"],
        below: &["Does {a} draw less than {n} kilowatts?", "Is {a} weaker than {n} kilowatts?"],
        above: &["Does {a} draw more than {n} kilowatts?", "Is {a} stronger than {n} kilowatts?"],
    },
    Measure {
        relation: Relation::Interval,
        differences: &[
            "By how many hours do the service intervals of {a} and {b} differ?",
            "What is the difference between the service intervals of {a} and {b}?",
            "How large is the gap between the service intervals of {a} and {b}?",
            "How far apart are the service intervals of {a} and {b}?",
        ],
        sums: &[],
        smaller: &[
            "Which is due for service sooner, {a} or {b}?",
            "Of {a} and {b}, which is due for service sooner?",
            "Which has the smaller service interval, {a} or {b}?",
            "What is due for service sooner, {a} or {b}?",
        ],
        larger: &[
            "Which is due for service later, {a} or {b}?",
            "Of {a} and {b}, which is due for service later?",
            "Which has the larger service interval, {a} or {b}?",
            "What is due for service later, {a} or {b}?",
        ],
        is_smaller: &[
            "Is {a} due for service sooner than {b}?",
            "Does {a} have a smaller service interval than {b}?",
        ],
        is_larger: &[
            "Is {a} due for service later than {b}?",
            "Does {a} have a larger service interval than {b}?",
        ],
        below: &[
            "Does {a} need service sooner than after {n} hours?",
            "Is the service interval of {a} below {n} hours?",
        ],
        above: &[
            "May {a} run for more than {n} hours between two services?",
            "Is the service interval of {a} above {n} hours?",
        ],
    },
    Measure {
        relation: Relation::CommissionYear,
        differences: &[
            "By how many years do the start years of {a} and {b} differ?",
            "What is the difference between the start years of {a} and {b}?",
            "How large is the gap between the start years of {a} and {b}?",
            "How far apart are the start years of {a} and {b}?",
        ],
        sums: &[],
        smaller: &[
            "Which is older, {a} or {b}?",
            "Of {a} and {b}, which is older?",
            "Which has the earlier start year, {a} or {b}?",
            "What is older, {a} or {b}?",
        ],
        larger: &[
            "Which is newer, {a} or {b}?",
            "Of {a} and {b}, which is newer?",
            "Which has the later start year, {a} or {b}?",
            "What is newer, {a} or {b}?",
        ],
        is_smaller: &["Is {a} older than {b}?", "Does {a} have an earlier start year than {b}?"],
        is_larger: &["Is {a} newer than {b}?", "Does {a} have a later start year than {b}?"],
        below: &["Was {a} commissioned before {n}?", "Was {a} at work before {n}?"],
        above: &["Was {a} commissioned after {n}?", "Did {a} go into service after {n}?"],
    },
    Measure {
        relation: Relation::Pressure,
        differences: &[
            "By how many bar do the pressure limits of {a} and {b} differ?",
            "What is the difference between the pressure limits of {a} and {b}?",
            "How large is the gap between the pressure limits of {a} and {b}?",
            "How far apart are the pressure limits of {a} and {b}?",
        ],
        sums: &[],
        smaller: &[
            "Which is made for less pressure, {a} or {b}?",
            "Of {a} and {b}, which is made for less pressure?",
            "Which has the smaller pressure limit, {a} or {b}?",
            "What is made for less pressure, {a} or {b}?",
        ],
        larger: &[
            "Which is made for more pressure, {a} or {b}?",
            "Of {a} and {b}, which is made for more pressure?",
            "Which has the larger pressure limit, {a} or {b}?",
            "What is made for more pressure, {a} or {b}?",
        ],
        is_smaller: &[
            "Is {a} made for less pressure than {b}?",
            "Does {a} have a smaller pressure limit than {b}?",
        ],
        is_larger: &[
            "Is {a} made for more pressure than {b}?",
            "Does {a} have a larger pressure limit than {b}?",
        ],
        below: &[
            "Is {a} limited to less than {n} bar?",
            "Is the pressure limit of {a} below {n} bar?",
        ],
        above: &[
            "May {a} run at more than {n} bar?",
            "Is the pressure limit of {a} above {n} bar?",
        ],
    },
    Measure {
        relation: Relation::Weight,
        differences: &[
            "By how many grams do the weights of {a} and {b} differ?",
            "What is the difference between the weights of {a} and {b}?",
            "How large is the gap between the weights of {a} and {b}?",
            "How far apart are the weights of {a} and {b}?",
        ],
        sums: &[
            "What is the total weight of {a} and {b}?",
            "What do the weights of {a} and {b} add up to?",
            "What is the combined weight of {a} and {b}?",
            "What is the sum of the weights of {a} and {b}?",
        ],
        smaller: &[
            "Which is lighter, {a} or {b}?",
            "Of {a} and {b}, which is lighter?",
            "Which has the smaller weight, {a} or {b}?",
            "What is lighter, {a} or {b}?",
        ],
        larger: &[
            "Which is heavier, {a} or {b}?",
            "Of {a} and {b}, which is heavier?",
            "Which has the larger weight, {a} or {b}?",
            "What is heavier, {a} or {b}?",
        ],
        is_smaller: &["Is {a} lighter than {b}?", "Does {a} have a smaller weight than {b}?"],
        is_larger: &["Is {a} heavier than {b}?", "Does {a} have a larger weight than {b}?"],
        below: &["Is {a} lighter than {n} grams?", "Does {a} weigh less than {n} grams?"],
        above: &["Is {a} heavier than {n} grams?", "Does {a} weigh more than {n} grams?"],
    },
    Measure {
        relation: Relation::Lifetime,
        differences: &[
            "By how many hours do the lifetimes of {a} and {b} differ?",
            "What is the difference between the lifetimes of {a} and {b}?",
            "How large is the gap between the lifetimes of {a} and {b}?",
            "How far apart are the lifetimes of {a} and {b}?",
        ],
        sums: &[
            "What is the total lifetime of {a} and {b}?",
            "What do the lifetimes of {a} and {b} add up to?",
            "What is the combined lifetime of {a} and {b}?",
            "What is the sum of the lifetimes of {a} and {b}?",
        ],
        smaller: &[
            "Which is worn out sooner, {a} or {b}?",
            "Of {a} and {b}, which is worn out sooner?",
            "Which has the smaller lifetime, {a} or {b}?",
            "What is worn out sooner, {a} or {b}?",
        ],
        larger: &[
            "Which is worn out later, {a} or {b}?",
            "Of {a} and {b}, which is worn out later?",
            "Which has the larger lifetime, {a} or {b}?",
            "What is worn out later, {a} or {b}?",
        ],
        is_smaller: &[
            "Is {a} worn out sooner than {b}?",
            "Does {a} have a smaller lifetime than {b}?",
        ],
        is_larger: &[
            "Is {a} worn out later than {b}?",
            "Does {a} have a larger lifetime than {b}?",
        ],
        below: &["Is {a} worn out before {n} hours?", "Does {a} last less than {n} hours?"],
        above: &["Does {a} last more than {n} hours?", "Is the lifetime of {a} above {n} hours?"],
    },
    Measure {
        relation: Relation::Area,
        differences: &[
            "By how many square metres do the floor areas of {a} and {b} differ?",
            "What is the difference between the floor areas of {a} and {b}?",
            "How large is the gap between the floor areas of {a} and {b}?",
            "How far apart are the floor areas of {a} and {b}?",
        ],
        sums: &[
            "What is the total floor area of {a} and {b}?",
            "What do the floor areas of {a} and {b} add up to?",
            "What is the combined floor area of {a} and {b}?",
            "What is the sum of the floor areas of {a} and {b}?",
        ],
        smaller: &[
            "Which is smaller, {a} or {b}?",
            "Of {a} and {b}, which is smaller?",
            "Which has the smaller floor area, {a} or {b}?",
            "What is smaller, {a} or {b}?",
        ],
        larger: &[
            "Which is larger, {a} or {b}?",
            "Of {a} and {b}, which is larger?",
            "Which has the larger floor area, {a} or {b}?",
            "What is larger, {a} or {b}?",
        ],
        is_smaller: &["Is {a} smaller than {b}?", "Does {a} have a smaller floor area than {b}?"],
        is_larger: &["Is {a} larger than {b}?", "Does {a} have a larger floor area than {b}?"],
        below: &[
            "Is {a} smaller than {n} square metres?",
            "Does {a} cover less than {n} square metres?",
        ],
        above: &[
            "Is {a} larger than {n} square metres?",
            "Does {a} cover more than {n} square metres?",
        ],
    },
    Measure {
        relation: Relation::Employees,
        differences: &[
            "By how many people do the staffs of {a} and {b} differ?",
            "What is the difference between the staffs of {a} and {b}?",
            "How large is the gap between the staffs of {a} and {b}?",
            "How far apart are the staffs of {a} and {b}?",
        ],
        sums: &[
            "What is the total staff of {a} and {b}?",
            "What do the staffs of {a} and {b} add up to?",
            "What is the combined staff of {a} and {b}?",
            "What is the sum of the staffs of {a} and {b}?",
        ],
        smaller: &[
            "Which is smaller, {a} or {b}?",
            "Of {a} and {b}, which is smaller?",
            "Which has the smaller staff, {a} or {b}?",
            "What is smaller, {a} or {b}?",
        ],
        larger: &[
            "Which is larger, {a} or {b}?",
            "Of {a} and {b}, which is larger?",
            "Which has the larger staff, {a} or {b}?",
            "What is larger, {a} or {b}?",
        ],
        is_smaller: &["Is {a} smaller than {b}?", "Does {a} have a smaller staff than {b}?"],
        is_larger: &["Is {a} larger than {b}?", "Does {a} have a larger staff than {b}?"],
        below: &[
            "Does {a} have fewer than {n} employees?",
            "Do fewer than {n} people work for {a}?",
        ],
        above: &["Does {a} have more than {n} employees?", "Do more than {n} people work for {a}?"],
    },
];
