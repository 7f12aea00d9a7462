//! What can be wrong with a board file or a setting.

use figment::error::Kind;

/// Why configuration was refused. Each message names the file or variable, the key, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key nobody reads.
    #[error("{origin}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The file or variable.
        origin: String,
        /// The key, dotted.
        key: String,
        /// The key it may have been meant to be, or the keys there are.
        hint: String,
    },
    /// A value of another type than expected, or text that is not TOML.
    #[error("{origin}: {reason}")]
    Malformed {
        /// The file or variable.
        origin: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// A value outside its range.
    #[error("{origin}: `{key}` is {value}; expected {expected}")]
    OutOfRange {
        /// Where the value was set.
        origin: String,
        /// The key, dotted.
        key: String,
        /// What was set.
        value: String,
        /// The range.
        expected: &'static str,
    },
    /// There is no such board, or a file inherits one that does not exist.
    #[error("unknown board `{name}`; {hint}")]
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// The board it may have been meant to be, or the boards there are.
        hint: String,
    },
    /// A board inherits itself.
    #[error("{origin}: `inherit` leads back to a file that inherits this one")]
    InheritsItself {
        /// The file.
        origin: String,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl ConfigError {
    /// A failed reading of the values from `origin`.
    pub(super) fn from_figment(origin: &str, error: figment::Error) -> Self {
        let origin = origin.to_owned();
        let prefix = error.path.join(".");
        match &error.kind {
            Kind::UnknownField(name, known) => {
                // Depending on where serde noticed it, the path already ends in the key.
                let key = match error.path.last() {
                    Some(last) if last == name => prefix,
                    Some(_) => format!("{prefix}.{name}"),
                    None => name.clone(),
                };
                Self::UnknownKey { origin, key, hint: hint(name, known.iter().copied()) }
            }
            _ => Self::Malformed { origin, reason: malformed(&prefix, &error.kind) },
        }
    }
}

fn malformed(key: &str, kind: &Kind) -> String {
    if key.is_empty() { kind.to_string() } else { format!("`{key}`: {kind}") }
}

/// `did you mean …?` where one of `known` is close to `name`, else the list of them.
pub(super) fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let closest = known.clone().map(|other| (edits(name, other), other)).min();
    // A third of the letters wrong is still likely a slip.
    let edits_max = 1 + name.chars().count() / 3;
    match closest {
        Some((edits, other)) if edits <= edits_max => format!("did you mean `{other}`?"),
        _ => format!("expected one of: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Letters to insert, delete or replace to make one text the other (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut left = above + 1;
        let mut diagonal = above;
        for (cell, other_letter) in row.iter_mut().skip(1).zip(other.chars()) {
            let replaced = diagonal + usize::from(letter != other_letter);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{edits, hint};

    #[test]
    fn edits_are_counted() {
        for (one, other, expected) in [
            ("threads", "thread", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("ab", "ab", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edits(one, other), expected, "{one} {other}");
            assert_eq!(edits(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_hint_names_the_closest_or_all() {
        let known = ["threads", "context_tokens"];
        assert_eq!(hint("thread", known.into_iter()), "did you mean `threads`?");
        assert_eq!(hint("colour", known.into_iter()), "expected one of: threads, context_tokens");
    }
}
