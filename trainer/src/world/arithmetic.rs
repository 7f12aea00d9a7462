//! Questions that need arithmetic and no search.
//!
//! A story starts with an amount and changes it step by step; the expression that answers it is
//! built along with it. How many steps, how large the numbers and whose words: see [`StoryConfig`].

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::Style;

/// What stories are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoryConfig {
    /// Changes of the amount.
    pub steps: usize,
    /// Largest amount and change, at least 10.
    pub number_max: i64,
    /// In words that no training story uses.
    pub other_words: bool,
}

/// A question with the Python expression that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The question.
    pub question: String,
    /// The expression.
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

const STARTS: &[&str] = &["A store holds {n} {t}.", "There are {n} {t} at first."];
const ADDED: &[&str] = &["Then {n} more come in.", "{n} are added."];
const TAKEN: &[&str] = &["Then {n} are taken away.", "{n} are used up."];
const MULTIPLIED: &[&str] = &["Then there are {n} times as many.", "Their number grows {n} times."];
const ASKED: &[&str] = &["How many {t} are there in the end?", "How many {t} does that make?"];

const OTHER_STARTS: &[&str] = &["Picture a heap of {n} {t}."];
const OTHER_ADDED: &[&str] = &["Somebody brings {n} further ones."];
const OTHER_TAKEN: &[&str] = &["Of these {n} get lost."];
const OTHER_MULTIPLIED: &[&str] = &["By evening every one has become {n}."];
const OTHER_ASKED: &[&str] = &["What is the count of {t} now?"];

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
            let other_words = style == Style::Unfamiliar;
            story(&StoryConfig { steps, number_max: 99, other_words }, rng)
        }
    }
}

/// A story.
pub fn story(config: &StoryConfig, rng: &mut ChaCha8Rng) -> Story {
    let thing = THINGS.choose(rng).copied().unwrap_or("boxes");
    let mut amount = rng.random_range(config.number_max / 10..=config.number_max);
    let mut code = amount.to_string();
    let mut working = Vec::new();
    let say = |templates: &[&'static str], number: i64, rng: &mut ChaCha8Rng| {
        let template = templates.choose(rng).copied().unwrap_or_default();
        template.replace("{n}", &number.to_string()).replace("{t}", thing)
    };
    let words = Words::of(config.other_words);
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
        let needs_brackets = sign == '*' && step > 0;
        code = if needs_brackets {
            format!("({code}) {sign} {number}")
        } else {
            format!("{code} {sign} {number}")
        };
        sentences.push(say(templates, number, rng));
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

struct Words {
    starts: &'static [&'static str],
    added: &'static [&'static str],
    taken: &'static [&'static str],
    multiplied: &'static [&'static str],
    asked: &'static [&'static str],
}

impl Words {
    fn of(other: bool) -> Self {
        if other {
            Self {
                starts: OTHER_STARTS,
                added: OTHER_ADDED,
                taken: OTHER_TAKEN,
                multiplied: OTHER_MULTIPLIED,
                asked: OTHER_ASKED,
            }
        } else {
            Self {
                starts: STARTS,
                added: ADDED,
                taken: TAKEN,
                multiplied: MULTIPLIED,
                asked: ASKED,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_story_has_as_many_steps_as_asked_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for steps in [1, 2, 5] {
            let config = StoryConfig { steps, number_max: 90_000, other_words: false };
            let story = story(&config, &mut rng);
            let signs = story.code.chars().filter(|letter| "+-*".contains(*letter)).count();
            assert_eq!(signs, steps, "{story:?}");
            assert_eq!(story.question.matches('.').count(), steps + 1);
        }
    }

    #[test]
    fn other_words_are_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut texts = |other_words| -> String {
            let config = StoryConfig { steps: 3, number_max: 99, other_words };
            (0..40).map(|_| story(&config, &mut rng).question).collect()
        };
        let (usual, other) = (texts(false), texts(true));
        assert!(usual.contains("in the end") && !other.contains("in the end"));
        assert!(other.contains("Picture a heap") && !usual.contains("Picture"));
    }
}
