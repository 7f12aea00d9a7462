//! `retort ask`.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use super::input::one_or_lines;
use super::journal::Journal;
use super::output::{err, errln, outln};
use super::setup::{RunArgs, Setup};
use crate::agent::{Event, Run, Sink, Status, StepReport};

/// Version of the JSON object that `ask --json` prints.
const FORMAT: u32 = 1;

/// Answer a question from a corpus.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The question; `-` or none reads one per line from standard input.
    #[arg(default_value = "-", hide_default_value = true)]
    question: String,
    #[command(flatten)]
    run: RunArgs,
    /// Show thoughts, code, observations and votes as they happen.
    #[arg(long)]
    trace: bool,
    /// Print one JSON object per question.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &AskArgs, context: &Context) -> Result<Exit> {
    let mut setup = Setup::open(&args.run, context)?;
    let mut journal = Journal::open(context, &setup);
    let mut exit = Exit::Success;
    for question in one_or_lines(&args.question) {
        let question = question?;
        let mut trace = Trace { shown: args.trace };
        let run = setup.ask(&question, &mut Both(&mut journal, &mut trace));
        let end = print(&run, journal.run_id(), args.json);
        if end != Exit::Success {
            exit = end;
        }
        if end == Exit::Interrupted {
            break;
        }
    }
    Ok(exit)
}

/// Prints how a run ended, and says what that means for the program.
pub fn print(run: &Run, id: Option<&str>, as_json: bool) -> Exit {
    if as_json {
        outln!("{}", run_json(run, id));
    } else {
        print_run(run);
    }
    if run.abstained { Exit::Failure } else { Exit::of(&run.status) }
}

/// Two sinks as one.
struct Both<'a>(&'a mut dyn Sink, &'a mut dyn Sink);

impl Sink for Both<'_> {
    fn event(&mut self, event: &Event<'_>) {
        self.0.event(event);
        self.1.event(event);
    }
}

/// Tells the steps on standard error.
struct Trace {
    shown: bool,
}

impl Sink for Trace {
    fn event(&mut self, event: &Event<'_>) {
        if let (true, Event::Step(step)) = (self.shown, event) {
            err!("{}", step_text(step));
        }
    }
}

fn step_text(step: &StepReport) -> String {
    let counts = &step.candidates;
    let mut text = format!("--- step {}: ", step.index + 1);
    if counts.sampled > 1 {
        text += &format!(
            "{} sampled, {} parsed, {} ran, {} agreed; ",
            counts.sampled, counts.parsed, counts.ran, counts.agreed
        );
    }
    text += &format!("{} of {} prompt tokens reused\n", step.reused_tokens, step.prompt_tokens);
    text += &indent("thought", &step.thought);
    text += &indent("code", &step.code);
    text += &indent("observation", &step.observation);
    text += &indent("answer", step.answer.as_deref().unwrap_or_default());
    text
}

fn indent(label: &str, text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("  {label}:\n{}", lines.concat()) }
}

fn print_run(run: &Run) {
    match (&run.status, &run.answer) {
        _ if run.abstained => {
            let percent = 100.0 * run.agreement;
            errln!("no answer: only {percent:.0} % of the samples agree (--min-agreement)");
        }
        (Status::Answered, answer) => outln!("{}", answer.as_deref().unwrap_or("None")),
        (status, _) => errln!("no answer: {}", describe(status)),
    }
    for (citation, number) in run.citations.iter().zip(1..) {
        outln!("  [{number}] {}: {}", citation.title, citation.passage);
    }
}

/// A status in words.
pub fn describe(status: &Status) -> String {
    match status {
        Status::BudgetExhausted { budget } => {
            let name = serde_json::to_value(budget).unwrap_or_default();
            format!("the run's budget of {} is spent", name.as_str().unwrap_or("something"))
        }
        Status::Overloaded { reason }
        | Status::ModelError { reason }
        | Status::BadRequest { reason } => format!("{} ({reason})", status.name()),
        Status::Answered | Status::Cancelled => status.name().to_owned(),
    }
}

fn run_json(run: &Run, id: Option<&str>) -> Value {
    let steps = run.steps.iter().map(step_json);
    let mut value = json!({
        "format": FORMAT,
        "run": id,
        "status": run.status.name(),
        "answer": run.answer,
        "answer_json": run.answer_json,
        "forced": run.forced,
        "agreement": run.agreement,
        "abstained": run.abstained,
        "citations": run.citations,
        "steps": steps.collect::<Vec<_>>(),
        "usage": {
            "prompt_tokens": run.usage.prompt_tokens,
            "reused_tokens": run.usage.reused_tokens,
            "completion_tokens": run.usage.completion_tokens,
            "searches": run.usage.searches,
        },
        "seconds": run.seconds,
        "model": {"name": run.model.name, "sha256": run.model.sha256},
        "seed": run.seed,
    });
    if run.status != Status::Answered
        && let Some(fields) = value.as_object_mut()
    {
        fields.insert("reason".to_owned(), Value::from(describe(&run.status)));
    }
    value
}

fn step_json(step: &StepReport) -> Value {
    let error = step.error.as_ref();
    let calls = step.tool_calls.iter().map(|call| {
        json!({
            "name": call.name,
            "arguments": call.arguments,
            "result_bytes": call.result.len(),
        })
    });
    json!({
        "thought": step.thought,
        "code": step.code,
        "logs": step.logs,
        "value": step.value,
        "error": error.map(|error| json!({"type": error.kind, "message": error.message})),
        "limit": step.limit,
        "candidates": step.candidates,
        "tool_calls": calls.collect::<Vec<_>>(),
    })
}
