//! A teacher that can be wrong: at a stated rate an action gets a wrong number, a wrong query or
//! broken Python.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use retort_transcript::Action;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// One digit of the code is another one.
    Number,
    /// The query lost its first word.
    Query,
    /// The last bracket is missing.
    Python,
}

impl Slip {
    /// A slip that `action` allows.
    pub fn draw(action: &Action, rng: &mut ChaCha8Rng) -> Self {
        let is_search = action.code.contains("search(");
        let has_digit = action.code.contains(|letter: char| letter.is_ascii_digit());
        let slips: &[Self] = match (is_search, has_digit) {
            (true, _) => &[Self::Query, Self::Query, Self::Python],
            (false, true) => &[Self::Number, Self::Number, Self::Python],
            (false, false) => &[Self::Python],
        };
        slips.choose(rng).copied().unwrap_or(Self::Python)
    }

    /// `action` with this slip.
    pub fn apply(self, action: Action, rng: &mut ChaCha8Rng) -> Action {
        let code = match self {
            Self::Number => wrong_digit(&action.code, rng),
            Self::Query => wrong_query(&action.code),
            Self::Python => action.code.strip_suffix(')').unwrap_or("final_answer(").to_owned(),
        };
        Action { code, ..action }
    }
}

fn wrong_digit(code: &str, rng: &mut ChaCha8Rng) -> String {
    let digits: Vec<(usize, char)> =
        code.char_indices().filter(|(_, letter)| letter.is_ascii_digit()).collect();
    let Some((at, digit)) = digits.choose(rng).copied() else { return code.to_owned() };
    let value = digit.to_digit(10).unwrap_or_default();
    // A number may not begin with 0 in Python.
    let other = 1 + (value + rng.random_range(0..8)) % 9;
    let (before, after) = code.split_at(at);
    format!("{before}{other}{}", after.get(1..).unwrap_or_default())
}

fn wrong_query(code: &str) -> String {
    let Some((before, query)) = code.split_once("search(\"") else { return code.to_owned() };
    let rest = query.split_once(' ').map_or(query, |(_, rest)| rest);
    format!("{before}search(\"{rest}")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_slip_changes_the_code_as_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let action = |code: &str| Action { thought: "t".to_owned(), code: code.to_owned() };
        let search = action("print(search(\"Heahi Bridge\"))");
        assert_eq!(Slip::Query.apply(search.clone(), &mut rng).code, "print(search(\"Bridge\"))");
        assert_eq!(Slip::Python.apply(search, &mut rng).code, "print(search(\"Heahi Bridge\")");
        for _ in 0..50 {
            let wrong = Slip::Number.apply(action("final_answer(1836)"), &mut rng).code;
            assert_ne!(wrong, "final_answer(1836)");
            assert_eq!(wrong.len(), "final_answer(1836)".len());
        }
    }
}
