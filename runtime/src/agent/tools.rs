//! The host functions of one step: `search`, answered once per distinct query, and the user's own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::own_calls::OwnCalls;
use super::reading::{Reading, Shown};
use super::types::{Citation, Clock, Retrieved, Retriever};
use crate::sandbox::{Allowance, Host, ToolCall};

/// The tool that every run has.
const SEARCH: &str = "search";

/// Tools shared by all candidates of a step. A search that two candidates make is made once.
pub struct StepTools<'a> {
    retriever: &'a dyn Retriever,
    reading: Reading<'a>,
    clock: &'a dyn Clock,
    searches_left: u32,
    answers: BTreeMap<String, Answer>,
    /// Calls of the user's tools.
    pub own: OwnCalls<'a>,
    /// Time spent searching in this step.
    pub search_time: Duration,
    /// A search was refused because the run's budget was spent.
    pub refused: bool,
}

struct Answer {
    result: Result<String, String>,
    passages: Vec<Retrieved>,
}

impl<'a> StepTools<'a> {
    pub fn new(
        retriever: &'a dyn Retriever,
        reading: Reading<'a>,
        clock: &'a dyn Clock,
        searches_left: u32,
        own: OwnCalls<'a>,
    ) -> Self {
        Self {
            retriever,
            reading,
            clock,
            searches_left,
            answers: BTreeMap::new(),
            own,
            search_time: Duration::ZERO,
            refused: false,
        }
    }

    /// Distinct searches made in this step.
    pub fn searches(&self) -> u32 {
        u32::try_from(self.answers.len()).unwrap_or(u32::MAX)
    }

    /// The passages that an action's searches returned, each once.
    pub fn cited(&self, calls: &[ToolCall]) -> Vec<Citation> {
        let searches = calls.iter().filter(|call| call.name == SEARCH);
        let queries = searches.filter_map(|call| call.arguments.get("query")?.as_str());
        let mut cited: Vec<Citation> = Vec::new();
        for citation in queries.flat_map(|query| self.passages(query)).map(Citation::of) {
            if !cited.contains(&citation) {
                cited.push(citation);
            }
        }
        cited
    }

    /// What the search for `query` returned in this step.
    fn passages(&self, query: &str) -> &[Retrieved] {
        self.answers.get(query).map_or(&[], |answer| &answer.passages)
    }

    /// Whether any of an action's calls brought text from outside.
    pub fn has_read(&self, calls: &[ToolCall]) -> bool {
        calls.iter().any(|call| match call.arguments.get("query").and_then(Value::as_str) {
            Some(query) if call.name == SEARCH => !self.passages(query).is_empty(),
            _ => call.result.is_ok() && self.own.is_reading(&call.name),
        })
    }

    fn search(&mut self, query: &str) -> Result<String, String> {
        let found = self.found(query);
        if !self.passages(query).is_empty() {
            self.own.note_reading();
        }
        found
    }

    fn found(&mut self, query: &str) -> Result<String, String> {
        if let Some(answer) = self.answers.get(query) {
            return answer.result.clone();
        }
        if self.searches() >= self.searches_left {
            self.refused = true;
            return Err("no searches are left in this run: answer from what was found".to_owned());
        }
        let begun = self.clock.now();
        let answer = match self.retriever.retrieve(query, self.reading.wanted()) {
            Ok(found) => {
                let Shown { text, passages } = self.reading.show(query, found);
                Answer { result: Ok(text), passages }
            }
            Err(error) => Answer { result: Err(error.to_string()), passages: Vec::new() },
        };
        self.search_time += self.clock.now().saturating_sub(begun);
        let result = answer.result.clone();
        self.answers.insert(query.to_owned(), answer);
        result
    }
}

impl Host for StepTools<'_> {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        match (tool, arguments.get("query").and_then(Value::as_str)) {
            (SEARCH, Some(query)) => self.search(query).map(Value::String),
            (SEARCH, None) => Err("search needs a query, a string".to_owned()),
            _ => self.own.call(tool, arguments, allowance),
        }
    }
}
