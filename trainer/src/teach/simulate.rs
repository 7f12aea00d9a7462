//! A stand-in for loop, sandbox and corpus: passages are ranked by BM25 with the title four times
//! as heavy, and of Python only what the teacher writes is understood.

use std::collections::{BTreeMap, BTreeSet};

use retort_transcript::{Dialect, Observation, Passage, Step, Transcript};

use crate::teach::next_action;
use crate::world::{Document, Task, World};

/// The documents of a world, searchable.
pub struct Simulation {
    documents: Vec<(Document, BTreeMap<String, f64>, f64)>,
    holders: BTreeMap<String, usize>,
    mean_length: f64,
}

impl Simulation {
    pub fn new(world: &World) -> Self {
        let mut holders = BTreeMap::new();
        let mut documents = Vec::new();
        for document in &world.documents {
            let mut counts: BTreeMap<String, f64> = BTreeMap::new();
            let text = format!("{} ", document.title).repeat(4) + &document.text;
            for term in terms(&text) {
                *counts.entry(term).or_default() += 1.0;
            }
            for term in counts.keys() {
                *holders.entry(term.clone()).or_default() += 1;
            }
            let length = counts.values().sum();
            documents.push((document.clone(), counts, length));
        }
        let total: f64 = documents.iter().map(|document| document.2).sum();
        let mean_length = total / documents.len().max(1) as f64;
        Self { documents, holders, mean_length }
    }

    pub fn search(&self, query: &str, limit: usize) -> Vec<Passage> {
        let query: BTreeSet<String> = terms(query).collect();
        let mut scored: Vec<(f64, &Document)> = self
            .documents
            .iter()
            .map(|(document, counts, length)| (self.score(&query, counts, *length), document))
            .filter(|(score, _)| *score > 0.0)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let passage = |(score, document): &(f64, &Document)| Passage {
            title: document.title.clone(),
            text: document.text.clone(),
            score: (score / (1.0 + score)) as f32,
        };
        scored.iter().take(limit).map(passage).collect()
    }

    fn score(&self, query: &BTreeSet<String>, counts: &BTreeMap<String, f64>, length: f64) -> f64 {
        let of = |term: &String| {
            let count = counts.get(term)?;
            let holders = *self.holders.get(term)? as f64;
            let documents = self.documents.len() as f64;
            let rarity = (1.0 + (documents - holders + 0.5) / (holders + 0.5)).ln();
            let norm = 1.2 * (0.25 + 0.75 * length / self.mean_length);
            Some(rarity * count * 2.2 / (count + norm))
        };
        query.iter().filter_map(of).sum()
    }

    /// The teacher's trajectory and its answer; `limits` is the number of passages of each search.
    pub fn teach(
        &self,
        task: &Task,
        dialect: &Dialect,
        limits: &[usize],
    ) -> Result<(Transcript, String), String> {
        let plan = task.plan.as_ref().ok_or("no plan")?;
        let mut transcript =
            Transcript { question: task.question.clone(), ..Transcript::default() };
        let mut seen: Vec<String> = Vec::new();
        loop {
            let observed: Vec<&str> = seen.iter().map(String::as_str).collect();
            let action = next_action(plan, &observed).map_err(|error| error.to_string())?;
            let reply = dialect.compose_reply(&action);
            let Some(query) = searched(&action.code) else {
                transcript.steps.push(Step { reply, observation: None });
                let answer = answer(&action.code).ok_or_else(|| action.code.clone())?;
                return Ok((transcript, answer));
            };
            let limit = limits.get(seen.len()).copied().unwrap_or(3);
            let logs = dialect.render_passages(query, &self.search(query, limit)) + "\n";
            seen.push(logs.trim_end().to_owned());
            let observation = Observation::Output { logs, value: None, assigned: None };
            transcript.steps.push(Step { reply, observation: Some(observation) });
        }
    }
}

fn terms(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}

pub fn searched(code: &str) -> Option<&str> {
    code.strip_prefix("print(search(\"")?.strip_suffix("\"))")
}

/// What `final_answer(...)` of the teacher's forms evaluates to.
pub fn answer(code: &str) -> Option<String> {
    let value = code.strip_prefix("final_answer(")?.strip_suffix(')')?;
    let operands = |text: &str, sign: &str| -> Option<(i64, i64)> {
        let (a, b) = text.split_once(sign)?;
        Some((a.parse().ok()?, b.parse().ok()?))
    };
    if let Some(inside) = value.strip_prefix("abs(") {
        let (a, b) = operands(inside.strip_suffix(')')?, " - ")?;
        return Some(a.abs_diff(b).to_string());
    }
    if let Some((a, b)) = operands(value, " + ") {
        return Some((a + b).to_string());
    }
    if let Some((yes, rest)) = value.split_once(" if ") {
        let (condition, no) = rest.split_once(" else ")?;
        let is_true = match (operands(condition, " < "), operands(condition, " > ")) {
            (Some((a, b)), _) => a < b,
            (_, Some((a, b))) => a > b,
            _ => return None,
        };
        return Some(if is_true { yes } else { no }.trim_matches('"').to_owned());
    }
    Some(value.trim_matches('"').to_owned())
}
