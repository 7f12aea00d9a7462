//! `retort python`: a script in the sandbox, cell by cell, or a conversation.

mod interactive;
mod show;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use self::show::Show;
use super::context::Context;
use super::exit::Exit;
use super::input;
use super::output::outln;
use super::setup::action_limits;
use super::tools;
use crate::agent::{Acting, OwnCalls, Retrieved, Retriever, Toolbox};
use crate::corpus::Corpus;
use crate::sandbox::{Allowance, Host, Outcome, Sandbox, SandboxOptions, Seed};
use crate::transcript::{Dialect, Passage};

/// Run Python in the sandbox.
#[derive(Debug, Args)]
pub struct PythonArgs {
    /// Scripts; `-` or none reads standard input. A line `#%%` separates cells, all files share
    /// one session.
    files: Vec<PathBuf>,
    /// Answer `search` from a JSON file `{"query": "text"}`.
    #[arg(long, value_name = "FILE")]
    replies: Option<PathBuf>,
    /// Print one JSON object per cell.
    #[arg(long)]
    json: bool,
    /// After the files, read further lines and run each as it is complete.
    #[arg(short, long, conflicts_with = "json")]
    interactive: bool,
    /// Say on standard error what each cell used of its limits.
    #[arg(long)]
    limits: bool,
}

/// Runs the command.
pub fn run(args: &PythonArgs, context: &Context) -> Result<Exit> {
    let mut sources = Vec::new();
    if args.files.is_empty() && !args.interactive {
        sources.push(read(Path::new("-"))?);
    }
    for file in &args.files {
        sources.push(read(file)?);
    }
    let toolbox = tools::open(&context.resolved.tools)?;
    let sandbox = Sandbox::open(&SandboxOptions { cache_dir: context.cache_dir.clone() })?;
    let mut session = sandbox.session(&Seed::default())?;
    let show = Show { limits: action_limits(&context.resolved), tells_used: args.limits };
    toolbox.define(&mut session, &context.cancel)?;
    let mut host = WithOwn::new(&toolbox, search(args, context)?);
    let mut failed = false;
    for cell in sources.iter().flat_map(|source| cells(source)) {
        if context.cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        host.begin_step();
        let outcome = session.run(&cell, &show.limits, &mut host, &context.cancel);
        failed |= outcome.error.is_some() || outcome.limit.is_some();
        if args.json {
            outln!("{}", report(&outcome));
        } else {
            show.outcome(&outcome);
        }
    }
    if context.cancel.is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    if args.interactive {
        return interactive::converse(&sandbox, &mut session, &mut host, &show, context);
    }
    Ok(if failed && !args.json { Exit::Failure } else { Exit::Success })
}

fn read(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        let read = input::waiting(|| std::io::stdin().read_to_end(&mut bytes));
        read.context("standard input cannot be read")?;
    } else {
        bytes =
            std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The non-empty cells of a script.
fn cells(source: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    for line in source.split_inclusive('\n') {
        match cells.last_mut() {
            Some(cell) if line.trim_end_matches(['\r', '\n']) != "#%%" => cell.push_str(line),
            _ => cells.push(String::new()),
        }
    }
    cells.retain(|cell| !cell.trim().is_empty());
    cells
}

fn report(outcome: &Outcome) -> Value {
    let error = outcome.error.as_ref();
    json!({
        "logs": outcome.logs,
        "value": outcome.value,
        "is_final": outcome.is_final,
        "answer": outcome.answer,
        "answer_json": outcome.answer_json,
        "error": error.map(|error| json!({"type": error.kind, "message": error.message})),
        "limit": outcome.limit,
        "fuel": outcome.fuel,
        "seconds": outcome.seconds,
        "memory_bytes": outcome.memory_bytes,
    })
}

fn search(args: &PythonArgs, context: &Context) -> Result<Box<dyn Host>> {
    if let Some(file) = &args.replies {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let replies = serde_json::from_str(&text)
            .with_context(|| format!("{}: expected {{\"query\": \"text\"}}", file.display()))?;
        return Ok(Box::new(CannedReplies(replies)));
    }
    if context.resolved.settings.corpus.is_none() {
        return Ok(Box::new(CannedReplies(BTreeMap::new())));
    }
    let (_, corpus) = context.corpus()?;
    Ok(Box::new(CorpusSearch {
        retriever: corpus,
        dialect: Dialect::named("retort")?,
        passages: usize::from(context.resolved.settings.passages_per_search),
    }))
}

/// `search`, and the user's own tools. A cell counts as a step.
struct WithOwn<'a> {
    search: Box<dyn Host>,
    toolbox: &'a Toolbox,
    own: OwnCalls<'a>,
}

impl<'a> WithOwn<'a> {
    fn new(toolbox: &'a Toolbox, search: Box<dyn Host>) -> Self {
        Self { search, toolbox, own: OwnCalls::new(toolbox, false, Acting::Now) }
    }

    fn begin_step(&mut self) {
        self.own = OwnCalls::new(self.toolbox, self.own.has_read(), Acting::Now);
    }
}

impl Host for WithOwn<'_> {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        if tool != "search" {
            return self.own.call(tool, arguments, allowance);
        }
        let found = self.search.call(tool, arguments, allowance)?;
        self.own.note_reading();
        Ok(found)
    }
}

struct CannedReplies(BTreeMap<String, String>);

impl Host for CannedReplies {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        _allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let query = query(tool, arguments)?;
        let none = || format!("No results found for \"{query}\".");
        Ok(Value::String(self.0.get(query).cloned().unwrap_or_else(none)))
    }
}

struct CorpusSearch {
    retriever: Corpus,
    dialect: Dialect,
    passages: usize,
}

impl Host for CorpusSearch {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        _allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        let query = query(tool, arguments)?;
        let found =
            self.retriever.retrieve(query, self.passages).map_err(|error| error.to_string())?;
        let shown: Vec<Passage> = found.into_iter().map(|hit: Retrieved| hit.passage).collect();
        Ok(Value::String(self.dialect.render_passages(query, &shown)))
    }
}

fn query<'a>(tool: &str, arguments: &'a Value) -> Result<&'a str, String> {
    match (tool, arguments.get("query").and_then(Value::as_str)) {
        ("search", Some(query)) => Ok(query),
        ("search", None) => Err("search needs a query, a string".to_owned()),
        _ => Err(format!("there is no tool named {tool}")),
    }
}

#[cfg(test)]
mod tests {
    use super::cells;

    #[test]
    fn only_a_line_that_is_the_marker_separates_cells() {
        assert_eq!(cells("a = 1\n#%%\n\n#%%\r\nb\n #%%\n"), ["a = 1\n", "b\n #%%\n"]);
    }
}
