//! `retort config`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use super::output::outln;

/// Commands about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every setting, its value, and where the value came from.
    Show {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: &ConfigCommand, context: &Context) -> Result<Exit> {
    let ConfigCommand::Show { json: as_json } = command;
    // By way of text, which has the digits of an f32 and no more.
    let settings = serde_json::to_string(&context.resolved.settings)?;
    let settings: Value = serde_json::from_str(&settings)?;
    let rows = settings.as_object().into_iter().flatten().map(|(name, value)| {
        let origin = context.resolved.origins.get(name).map_or("default", String::as_str);
        (name, value, origin)
    });
    if *as_json {
        let settings = rows
            .map(|(name, value, origin)| (name.clone(), json!({"value": value, "origin": origin})));
        outln!("{}", json!({"format": 1, "settings": Value::Object(settings.collect())}));
    } else {
        for (name, value, origin) in rows {
            outln!("{name} = {value}  # {origin}");
        }
    }
    Ok(Exit::Success)
}
