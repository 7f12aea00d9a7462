//! Questions that need arithmetic and no search.
//!
//! A story starts with an amount and changes it step by step; the Python that answers it is built
//! along with it. How many steps, how large the numbers and whose words: see [`StoryConfig`].

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::Style;

/// What stories are like.
#[derive(Clone, Copy, Debug)]
pub struct StoryConfig {
    /// Changes of the amount.
    pub steps: usize,
    /// Largest amount and change, at least 9; amounts begin at a tenth of it.
    pub number_max: i64,
    /// How they are told.
    pub words: &'static Words,
    /// How they are answered.
    pub python: Python,
}

/// How Python answers a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Python {
    /// `(34 + 12) * 3`
    Expression,
    /// `n = 34 + 12`, `n = n * 3` and `n` on lines of their own.
    Lines,
}

/// Sentences of a story, `{n}` being a number and `{t}` the things that are counted.
#[derive(Debug)]
pub struct Words {
    starts: &'static [&'static str],
    added: &'static [&'static str],
    taken: &'static [&'static str],
    multiplied: &'static [&'static str],
    asked: &'static [&'static str],
}

/// Stories of worlds.
const USUAL: Words = Words {
    starts: &["A store holds {n} {t}.", "There are {n} {t} at first."],
    added: &["Then {n} more come in.", "{n} are added."],
    taken: &["Then {n} are taken away.", "{n} are used up."],
    multiplied: &["Then there are {n} times as many.", "Their number grows {n} times."],
    asked: &["How many {t} are there in the end?", "How many {t} does that make?"],
};
/// Stories of worlds of the unfamiliar style.
const UNFAMILIAR: Words = Words {
    starts: &["Picture a heap of {n} {t}."],
    added: &["Somebody brings {n} further ones."],
    taken: &["Of these {n} get lost."],
    multiplied: &["By evening every one has become {n}."],
    asked: &["What is the count of {t} now?"],
};
/// What students of the test families learn from.
pub const LESSONS: Words = Words {
    starts: &[
        "A store holds {n} {t}.",
        "There are {n} {t} at first.",
        "In the morning a shop has {n} {t}.",
        "Somebody owns {n} {t}.",
    ],
    added: &[
        "Then {n} more come in.",
        "{n} are added.",
        "After that somebody brings {n} more.",
        "The store gets {n} more on Monday.",
        "In the evening {n} are bought.",
    ],
    taken: &[
        "Then {n} are taken away.",
        "{n} of them are used up.",
        "After that somebody loses {n}.",
        "The shop sells {n} on Friday.",
        "In the evening {n} of them are lost.",
    ],
    multiplied: &[
        "Then there are {n} times as many.",
        "Their number grows {n} times.",
        "After that the store has {n} times as many.",
    ],
    asked: &[
        "How many {t} are there in the end?",
        "How many {t} does that make?",
        "What is the number of {t} then?",
    ],
};
/// Other sentences of the same words: each stands somewhere in [`LESSONS`].
pub const REWORDED: Words = Words {
    starts: &["At first somebody holds {n} {t}.", "On Monday a store owns {n} {t}."],
    added: &[
        "On Friday {n} more are bought.",
        "After that {n} more are added.",
        "Somebody brings {n} in the evening.",
    ],
    taken: &[
        "On Monday {n} of them are taken away.",
        "After that {n} are lost.",
        "Then somebody sells {n} of them.",
    ],
    multiplied: &[
        "In the morning there are {n} times as many.",
        "Then their number grows {n} times.",
    ],
    asked: &["How many {t} are there after that?", "What number of {t} does that make in the end?"],
};

/// A question with the Python that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The question.
    pub question: String,
    /// The Python.
    pub code: String,
    /// Its value, as `str()` prints it.
    pub answer: String,
    /// The same step by step: `34 + 12 = 46`.
    pub working: Vec<String>,
}

#[derive(Clone, Copy)]
enum Change {
    Add,
    Take,
    Times,
}

const CHANGES: [Change; 3] = [Change::Add, Change::Take, Change::Times];
const THINGS: &[&str] = &["screws", "litres of oil", "tickets", "boxes", "stones", "letters"];

/// Direct questions, `{a}` and `{b}`, with their expression.
const DIRECT: &[(&str, char)] = &[
    ("What is {a} plus {b}?", '+'),
    ("How much is {a} and {b} together?", '+'),
    ("What is {a} minus {b}?", '-'),
    ("How much is left of {a} after taking {b} away?", '-'),
    ("What is {a} times {b}?", '*'),
    ("How much is {a} multiplied by {b}?", '*'),
    ("A pump moves {a} litres a minute. How many litres does it move in {b} minutes?", '*'),
    ("A walker does {a} steps a minute. How many steps is that in {b} minutes?", '*'),
    ("A machine ran {a} hours, then {b} hours. How many hours did it run?", '+'),
    ("A shelf has room for {a} books and holds {b}. How many more fit?", '-'),
];
/// Conversions of an amount that the question gives.
const CONVERSIONS: &[(&str, &str, u32)] = &[
    ("metres", "kilometres", 1000),
    ("kilopascals", "bar", 100),
    ("grams", "kilograms", 1000),
    ("minutes", "hours", 60),
    ("days", "weeks", 7),
];

/// What a world asks without search: one operation, a conversion, or a story of one or two steps.
pub fn short(style: Style, rng: &mut ChaCha8Rng) -> Story {
    match rng.random_range(0..4) {
        0 | 1 => direct(rng),
        2 => conversion(rng),
        _ => {
            let steps = rng.random_range(1..=2);
            let words = if style == Style::Unfamiliar { &UNFAMILIAR } else { &USUAL };
            story(&StoryConfig { steps, number_max: 99, words, python: Python::Expression }, rng)
        }
    }
}

/// A story.
pub fn story(config: &StoryConfig, rng: &mut ChaCha8Rng) -> Story {
    let thing = THINGS.choose(rng).copied().unwrap_or("boxes");
    let mut amount = rng.random_range((config.number_max / 10).max(2)..=config.number_max);
    let mut code = amount.to_string();
    let mut working = Vec::new();
    let say = |templates: &[&'static str], number: i64, rng: &mut ChaCha8Rng| {
        let template = templates.choose(rng).copied().unwrap_or_default();
        template.replace("{n}", &number.to_string()).replace("{t}", thing)
    };
    let words = config.words;
    let mut sentences = vec![say(words.starts, amount, rng)];
    for step in 0..config.steps {
        let change = CHANGES.choose(rng).copied().unwrap_or(Change::Add);
        let (number, templates) = match change {
            Change::Add => (rng.random_range(2..=config.number_max), words.added),
            Change::Take if amount > 3 => (rng.random_range(2..amount), words.taken),
            Change::Take => (2, words.added),
            Change::Times => (rng.random_range(2..=9), words.multiplied),
        };
        let sign = match change {
            Change::Take if amount > 3 => '-',
            Change::Add | Change::Take => '+',
            Change::Times => '*',
        };
        let before = amount;
        amount = apply(amount, sign, number);
        working.push(format!("{before} {sign} {number} = {amount}"));
        code = match config.python {
            Python::Lines if step == 0 => format!("n = {code} {sign} {number}"),
            Python::Lines => format!("{code}\nn = n {sign} {number}"),
            Python::Expression if sign == '*' && step > 0 => format!("({code}) {sign} {number}"),
            Python::Expression => format!("{code} {sign} {number}"),
        };
        sentences.push(say(templates, number, rng));
    }
    if config.python == Python::Lines {
        code.push_str("\nn");
    }
    sentences.push(say(words.asked, 0, rng));
    Story { question: sentences.join(" "), code, answer: amount.to_string(), working }
}

fn direct(rng: &mut ChaCha8Rng) -> Story {
    let (template, sign) = DIRECT.choose(rng).copied().unwrap_or(("What is {a} plus {b}?", '+'));
    let (one, other) = (rng.random_range(2..=99), rng.random_range(2..=99));
    let (a, b) = if sign == '-' { (one + other, other) } else { (one, other) };
    let question = template.replace("{a}", &a.to_string()).replace("{b}", &b.to_string());
    one_step(question, format!("{a} {sign} {b}"), apply(a, sign, b))
}

fn conversion(rng: &mut ChaCha8Rng) -> Story {
    let (small, large, factor) = CONVERSIONS.choose(rng).copied().unwrap_or(("days", "weeks", 7));
    let amount = rng.random_range(2..=99_u32);
    let question = format!("How many {small} are {amount} {large}?");
    one_step(question, format!("{amount} * {factor}"), i64::from(amount * factor))
}

fn one_step(question: String, code: String, value: i64) -> Story {
    let working = vec![format!("{code} = {value}")];
    Story { question, code, answer: value.to_string(), working }
}

fn apply(amount: i64, sign: char, number: i64) -> i64 {
    match sign {
        '+' => amount.saturating_add(number),
        '-' => amount.saturating_sub(number),
        _ => amount.saturating_mul(number),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    fn config(words: &'static Words, python: Python) -> StoryConfig {
        StoryConfig { steps: 3, number_max: 99, words, python }
    }

    #[test]
    fn a_story_has_as_many_steps_as_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (steps, python) in [(1, Python::Expression), (2, Python::Lines), (5, Python::Lines)] {
            let config = StoryConfig { steps, number_max: 90_000, ..config(&USUAL, python) };
            let story = story(&config, &mut rng);
            let signs = story.code.chars().filter(|letter| "+-*".contains(*letter)).count();
            assert_eq!(signs, steps, "{story:?}");
            assert_eq!(story.question.matches('.').count(), steps + 1);
        }
    }

    #[test]
    fn unfamiliar_words_are_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut texts = |words| -> String {
            let config = config(words, Python::Expression);
            (0..40).map(|_| story(&config, &mut rng).question).collect()
        };
        let (usual, other) = (texts(&USUAL), texts(&UNFAMILIAR));
        assert!(usual.contains("in the end") && !other.contains("in the end"));
        assert!(other.contains("Picture a heap") && !usual.contains("Picture"));
    }

    #[test]
    fn an_expression_and_its_lines_are_one_computation() {
        for seed in 0..20 {
            let told =
                |python| story(&config(&LESSONS, python), &mut ChaCha8Rng::seed_from_u64(seed));
            let (expression, lines) = (told(Python::Expression), told(Python::Lines));
            assert_eq!(Story { code: lines.code.clone(), ..expression }, lines);
            let mut before = String::new();
            for (line, working) in lines.code.lines().zip(&lines.working) {
                let (operation, value) = working.split_once(" = ").unwrap();
                assert_eq!(line.replace("= n", &format!("= {before}")), format!("n = {operation}"));
                before = value.to_owned();
            }
            assert!(lines.code.ends_with("\nn") && lines.answer == before);
        }
    }

    #[test]
    fn reworded_stories_are_other_sentences_of_the_same_words() {
        let sentences = |words: &Words| -> Vec<&str> {
            let kinds = [words.starts, words.added, words.taken, words.multiplied, words.asked];
            kinds.concat()
        };
        let split = |sentence: &str| -> Vec<String> {
            let words = sentence.split([' ', '.', '?']);
            words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
        };
        let taught = sentences(&LESSONS);
        let known: BTreeSet<String> = taught.iter().flat_map(|text| split(text)).collect();
        for sentence in sentences(&REWORDED) {
            assert!(!taught.contains(&sentence), "{sentence}");
            let new: Vec<String> =
                split(sentence).into_iter().filter(|word| !known.contains(word)).collect();
            assert!(new.is_empty(), "{sentence}: {new:?}");
        }
    }
}
