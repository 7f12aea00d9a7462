//! A part of the tasks, for one of several machines.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::drawn;

/// One of so many parts. A task's id says which it belongs to, whatever other tasks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// From 1.
    number: u32,
    count: u32,
}

impl Shard {
    /// Whether the task of this id is in it.
    #[must_use]
    pub fn holds(&self, id: &str) -> bool {
        drawn(id) % self.count == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers =
            parts.and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        let fits = |(number, count): &(u32, u32)| (1..=*count).contains(number);
        match numbers.filter(fits) {
            Some((number, count)) => Ok(Self { number, count }),
            None => Err(format!("{text:?}: expected NUMBER/COUNT, such as 1/4 to 4/4")),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_in_one_shard_of_any_count() {
        for count in 1..6 {
            let shards: Vec<Shard> =
                (1..=count).map(|number| format!("{number}/{count}").parse().unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            for id in 0..200 {
                let id = format!("q-{id}");
                let mut holding = shards.iter().enumerate().filter(|(_, own)| own.holds(&id));
                sizes[holding.next().unwrap().0] += 1;
                assert!(holding.next().is_none());
            }
            assert!(sizes.iter().all(|size| *size > 100 / shards.len()), "{sizes:?}");
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "0/3", "4/3", "a/b", "1/2/3", "-1/2"] {
            let told = text.parse::<Shard>().unwrap_err();
            assert!(told.contains("expected NUMBER/COUNT"), "{told}");
        }
    }
}
