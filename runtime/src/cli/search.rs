//! `retort search`.

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, UsageError};
use super::input::one_or_lines;
use super::output::{errln, outln, printable};
use crate::corpus::{Hit, InDocument};

/// Search a corpus.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The query; `-` or none reads one per line from standard input.
    #[arg(default_value = "-", hide_default_value = true)]
    query: String,
    /// Passages per query.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// Show the hit of this number, from 1, in its document instead of all hits.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    open: Option<u16>,
    /// Print one JSON object per query.
    #[arg(long)]
    json: bool,
}

/// Passages shown before and after one that is opened.
const AROUND: u64 = 2;

/// Runs the command.
pub fn run(args: &SearchArgs, context: &Context) -> Result<Exit> {
    let (_, corpus) = context.corpus()?;
    if args.open.is_some_and(|number| number > args.limit) {
        let message = "--open N opens one of the hits that are found: raise --limit with it";
        return Err(UsageError(message.to_owned()).into());
    }
    let mut exit = Exit::Success;
    for query in one_or_lines(&args.query) {
        if context.cancel.is_cancelled() {
            return Ok(Exit::Interrupted);
        }
        let query = query?;
        let hits = corpus.search(&query, usize::from(args.limit))?;
        if let Some(number) = args.open {
            let Some(hit) = hits.get(usize::from(number) - 1) else {
                errln!("there is no hit {number}: the search found {}", hits.len());
                if args.json {
                    outln!("{}", json!({"query": query, "hit": null}));
                }
                exit = Exit::Failure;
                continue;
            };
            open(&query, hit, &corpus.around(hit, AROUND)?, args.json);
        } else if args.json {
            let hits: Vec<Value> = hits.iter().map(hit_json).collect();
            outln!("{}", json!({"query": query, "hits": hits}));
        } else {
            print_hits(&query, &hits);
        }
    }
    Ok(exit)
}

fn hit_json(hit: &Hit) -> Value {
    json!({
        "document": hit.document,
        "title": hit.title,
        "passage": hit.passage,
        "score": (f64::from(hit.score) * 1e4).round() / 1e4,
        "source": hit.source,
        "via": hit.via,
    })
}

fn print_hits(query: &str, hits: &[Hit]) {
    if hits.is_empty() {
        outln!("No results found for \"{query}\".");
    }
    for (hit, number) in hits.iter().zip(1..) {
        outln!("{number}. {} ({:.2}, {})", hit.title, hit.score, printable(&hit.source));
        outln!("   {}", hit.passage.replace('\n', "\n   "));
    }
}

/// Prints a hit with what stands around it.
fn open(query: &str, hit: &Hit, around: &InDocument, as_json: bool) {
    let texts = |hits: &[Hit]| hits.iter().map(|hit| hit.passage.clone()).collect::<Vec<_>>();
    if as_json {
        outln!(
            "{}",
            json!({
                "query": query,
                "hit": hit_json(hit),
                "heading": hit.heading,
                "page": hit.page,
                "byte_range": [hit.byte_range.start, hit.byte_range.end],
                "before": texts(&around.before),
                "after": texts(&around.after),
            })
        );
        return;
    }
    outln!("{}", hit.title);
    outln!("{}", place(hit));
    for text in texts(&around.before) {
        outln!("\n  {}", text.replace('\n', "\n  "));
    }
    outln!("\n> {}", hit.passage.replace('\n', "\n> "));
    for text in texts(&around.after) {
        outln!("\n  {}", text.replace('\n', "\n  "));
    }
}

/// File, headings, page and bytes of a hit.
fn place(hit: &Hit) -> String {
    let mut place = printable(&hit.source);
    if !hit.heading.is_empty() {
        place += &format!(", {}", hit.heading.join(" > "));
    }
    if let Some(page) = hit.page {
        place += &format!(", page {page}");
    }
    if !hit.byte_range.is_empty() {
        place += &format!(", bytes {}..{}", hit.byte_range.start, hit.byte_range.end);
    }
    place
}
