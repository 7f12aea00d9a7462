//! `retort search`.

use std::io::BufRead;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::{Exit, UsageError};
use super::output::outln;
use crate::corpus::Hit;

/// Search a corpus.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The query; `-` or none reads one per line from standard input.
    #[arg(default_value = "-", hide_default_value = true)]
    query: String,
    /// Passages per query.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    /// Print one JSON object per query.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &SearchArgs, context: &Context) -> Result<Exit> {
    let (_, corpus) = context.corpus()?;
    let queries: Box<dyn Iterator<Item = std::io::Result<String>>> = if args.query == "-" {
        Box::new(std::io::stdin().lock().lines())
    } else {
        Box::new(std::iter::once(Ok(args.query.clone())))
    };
    for query in queries {
        let query = query.map_err(|error| UsageError(format!("standard input: {error}")))?;
        let hits = corpus.search(&query, usize::from(args.limit))?;
        if args.json {
            let hits: Vec<Value> = hits.iter().map(hit_json).collect();
            outln!("{}", json!({"query": query, "hits": hits}));
        } else {
            print_hits(&query, &hits);
        }
    }
    Ok(Exit::Success)
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
        outln!("{number}. {} ({:.2}, {})", hit.title, hit.score, hit.source);
        outln!("   {}", hit.passage.replace('\n', "\n   "));
    }
}
