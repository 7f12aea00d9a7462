//! Hostile actions with real time: each must end inside its limits and leave the program alive.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::figure::milliseconds_since;
use crate::cancel::Cancel;
use crate::sandbox::{Limit, Limits, NoTools, Outcome, Sandbox, Seed};

/// What an action may take beyond its wall limit, in milliseconds: one slice of fuel, one
/// indivisible operation, and the restoring of the state.
const GRACE_MS: f64 = 250.0;
/// What must never be printed, and the file that must never appear.
const CANARY: &str = "canary-4711";

#[derive(Deserialize)]
struct Attack {
    id: String,
    category: String,
    code: String,
    then_in_a_new_session: Option<String>,
}

/// How an attack ended.
#[derive(Debug, Serialize)]
pub struct Attacked {
    id: String,
    category: String,
    ms: f64,
    fuel: u64,
    memory_bytes: u64,
    limit: Option<Limit>,
    error: Option<String>,
    /// What it broke; empty if it was contained.
    broken: Vec<&'static str>,
}

impl Attacked {
    /// Whether it was contained.
    pub fn is_contained(&self) -> bool {
        self.broken.is_empty()
    }

    /// For the table.
    pub fn row(&self) -> String {
        let ended = match (&self.limit, &self.error) {
            (Some(limit), _) => format!("limit {limit:?}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "ran".to_owned(),
        };
        let broken = self.broken.join(", ");
        format!("{:<6} {:<14} {:>9.1} ms  {ended:<24} {broken}", self.id, self.category, self.ms)
    }
}

/// Runs every attack of a file, one JSON object a line.
pub fn run(file: &Path, sandbox: &Sandbox) -> Result<Vec<Attacked>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let folder = tempfile::tempdir()?;
    let (mark, canary) = (folder.path().join("mark"), folder.path().join("canary"));
    std::fs::write(&canary, CANARY)?;
    text.lines()
        .map(|line| {
            let mut attack: Attack = serde_json::from_str(line).context("not an attack")?;
            attack.code = attack
                .code
                .replace("{MARK}", &mark.to_string_lossy())
                .replace("{CANARY}", &canary.to_string_lossy());
            let attacked = run_one(&attack, sandbox, &mark)?;
            tracing::info!("{}", attacked.row());
            Ok(attacked)
        })
        .collect()
}

fn run_one(attack: &Attack, sandbox: &Sandbox, mark: &Path) -> Result<Attacked> {
    let limits = Limits::default();
    let mut session = sandbox.session(&Seed::default())?;
    let begun = Instant::now();
    let outcome = session.run(&attack.code, &limits, &mut NoTools, &Cancel::default());
    let ms = milliseconds_since(begun);
    let is_clean = match &attack.then_in_a_new_session {
        None => true,
        Some(code) => {
            let mut next = sandbox.session(&Seed::default())?;
            next.run(code, &limits, &mut NoTools, &Cancel::default()).logs.trim() == "CLEAN"
        }
    };
    let allowed = limits.wall.as_secs_f64() * 1000.0 + GRACE_MS;
    let checks = [
        (ms <= allowed, "time"),
        (outcome.memory_bytes <= limits.memory_bytes_max, "memory"),
        (shown_bytes(&outcome) <= limits.output_bytes_max, "output"),
        (!mark.exists(), "mark"),
        (!shows_canary(&outcome), "canary"),
        (is_clean, "next session"),
    ];
    Ok(Attacked {
        id: attack.id.clone(),
        category: attack.category.clone(),
        ms,
        fuel: outcome.fuel,
        memory_bytes: outcome.memory_bytes,
        limit: outcome.limit,
        error: outcome.error.map(|error| error.kind),
        broken: checks.into_iter().filter(|(held, _)| !held).map(|(_, name)| name).collect(),
    })
}

fn shown(outcome: &Outcome) -> [&str; 4] {
    let message = outcome.error.as_ref().map_or("", |error| &error.message);
    let value = outcome.value.as_deref().unwrap_or_default();
    [&outcome.logs, value, outcome.answer.as_deref().unwrap_or_default(), message]
}

fn shown_bytes(outcome: &Outcome) -> u64 {
    shown(outcome).iter().map(|text| u64::try_from(text.len()).unwrap_or(u64::MAX)).sum()
}

fn shows_canary(outcome: &Outcome) -> bool {
    shown(outcome).iter().any(|text| text.contains(CANARY))
}
