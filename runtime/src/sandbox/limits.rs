//! What one action may use, and what the model is told when it used it up.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits of one action. Reaching one is an ordinary outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Time from the start of the action to its end, searches included.
    pub wall: Duration,
    /// Passes through loops of the interpreter, plus what host calls are charged.
    pub fuel_max: u64,
    /// Bytes of the interpreter's memory, its own included.
    pub memory_bytes_max: u64,
    /// Bytes printed, and bytes of the value and the answer together.
    pub output_bytes_max: u64,
    /// Tool calls.
    pub host_calls_max: u32,
    /// Bytes of one query.
    pub query_bytes_max: u64,
    /// Bytes of the action's source.
    pub source_bytes_max: u64,
}

impl Default for Limits {
    /// 2e9 fuel are about five million passes of a plain Python loop, 13 seconds on an idle
    /// laptop core: the wall limit comes first there, the fuel limit on faster machines.
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(10),
            fuel_max: 2_000_000_000,
            memory_bytes_max: 256 << 20,
            output_bytes_max: 1 << 20,
            host_calls_max: 64,
            query_bytes_max: 4 << 10,
            source_bytes_max: 1 << 20,
        }
    }
}

/// A limit of [`Limits`] that an action reached. Displayed, it tells the model what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// `fuel_max`.
    Fuel,
    /// `memory_bytes_max`.
    Memory,
    /// `wall`.
    Wall,
    /// `output_bytes_max`.
    Output,
    /// `host_calls_max`.
    HostCalls,
    /// `source_bytes_max`.
    Source,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fuel => "the action used up its fuel: compute less, or use a faster method",
            Self::Memory => "the action used up its memory: keep less data at once",
            Self::Wall => "the action took too long: do less in one action",
            Self::Output => "the action printed too much: print only what is needed",
            Self::HostCalls => "the action searched too often: make fewer searches in one action",
            Self::Source => "the code is too long: write a shorter action",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_as_the_reports_name_them() {
        let name = |limit| serde_json::to_string(&limit).unwrap_or_default();
        assert_eq!(name(Limit::HostCalls), "\"host_calls\"");
        assert_eq!(name(Limit::Fuel), "\"fuel\"");
    }
}
