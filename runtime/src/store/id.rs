//! Names of runs and sessions: short, readable, in the order of time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Digits and letters without i, l, o and u, which are misread.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits for the millisecond: enough until the year 3084.
const TIME_DIGITS: u32 = 9;
/// Names that one millisecond has: one digit.
const NAMES_PER_MS: u64 = 32;

macro_rules! id {
    ($name:ident, $what:literal) => {
        #[doc = $what]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub(super) String);

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

id!(RunId, "Name of a run: ten digits of base 32, later runs sort after earlier ones.");
id!(SessionId, "Name of a session, made as those of runs are.");

/// The name number `count` of what began at `unix_ms`; counts past the millisecond's names take
/// those of the next.
pub(super) fn name(unix_ms: u64, count: u64) -> String {
    let number = unix_ms.saturating_add(count / NAMES_PER_MS).saturating_mul(NAMES_PER_MS)
        + count % NAMES_PER_MS;
    (0..=TIME_DIGITS).rev().map(|place| digit(number >> (5 * place))).collect()
}

fn digit(number: u64) -> char {
    let index = usize::try_from(number % 32).unwrap_or_default();
    DIGITS.get(index).copied().map_or('0', char::from)
}

/// What a person typed, with misread letters set right.
pub(super) fn normalise(typed: &str) -> String {
    let right = |character: char| match character.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    typed.trim().chars().map(right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_count() {
        let names = [
            name(0, 0),
            name(1_700_000_000_000, 0),
            name(1_700_000_000_000, 1),
            name(1_700_000_000_000, 31),
            name(1_700_000_000_001, 0),
            name(1_900_000_000_000, 0),
        ];
        assert!(names.is_sorted());
        assert_eq!(names[1], "1hf7yat000");
        assert_eq!(name(5, 32), name(6, 0));
        assert!(names.iter().all(|name| name.len() == 10));
        assert_eq!(name(u64::MAX, 7).len(), 10);
    }

    #[test]
    fn misread_letters_are_set_right() {
        assert_eq!(normalise(" 1HF7Yo "), "1hf7y0");
        assert_eq!(normalise("lI"), "11");
    }
}
