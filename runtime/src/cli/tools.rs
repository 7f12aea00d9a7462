//! `retort tools`, and the modules of declared tools.

use std::io::Read;
use std::os::unix::fs::FileTypeExt as _;

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::context::Context;
use super::exit::Exit;
use super::output::outln;
use crate::agent::{Tool, Toolbox};
use crate::profile::{ConfigError, DeclaredTool};
use crate::sandbox::{MODULE_BYTES_MAX, ToolLimits, ToolModule};

/// Commands about tools of one's own.
#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// Check the declared tools and list them.
    List {
        /// Print one JSON object per tool.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: &ToolsCommand, context: &Context) -> Result<Exit> {
    let ToolsCommand::List { json: as_json } = command;
    for tool in &open(&context.resolved.tools)?.tools {
        if *as_json {
            outln!("{}", report(tool));
        } else {
            outln!("{}: {}", signature(&tool.declared), tool.declared.description);
        }
    }
    Ok(Exit::Success)
}

/// A tool as Python calls it: `convert(value: number, from_: string) -> number`.
pub fn signature(tool: &DeclaredTool) -> String {
    let typed = tool.parameters.iter().map(|one| {
        let (name, kind) = (one.python_name(), one.kind.name());
        format!("{name}: {kind}")
    });
    let parameters = typed.collect::<Vec<_>>().join(", ");
    format!("{}({parameters}) -> {}", tool.name, tool.returns.name())
}

/// Reads and checks the modules of `declared`.
///
/// # Errors
/// [`ConfigError`] names the settings file, the field and what was expected.
pub fn open(declared: &[DeclaredTool]) -> Result<Toolbox, ConfigError> {
    let tools = declared.iter().map(open_tool).collect::<Result<_, _>>()?;
    Ok(Toolbox { tools })
}

fn open_tool(declared: &DeclaredTool) -> Result<Tool, ConfigError> {
    let path = declared.module.display();
    let refused = |reason: String| ConfigError::Malformed {
        origin: declared.origin.clone(),
        reason: format!("`tools.{}.module`: {reason}", declared.name),
    };
    let bytes =
        read(declared).map_err(|error| refused(format!("{path} cannot be read: {error}")))?;
    let limits =
        ToolLimits { fuel_max: declared.fuel_max, memory_bytes_max: declared.memory_bytes_max };
    let module =
        ToolModule::new(&bytes, limits).map_err(|error| refused(format!("{path} {error}")))?;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    Ok(Tool { declared: declared.clone(), module, sha256 })
}

/// The module's file, and one byte more than is taken if it is too large.
fn read(declared: &DeclaredTool) -> std::io::Result<Vec<u8>> {
    let bytes_max = u64::try_from(MODULE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    if std::fs::metadata(&declared.module)?.file_type().is_fifo() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let file = std::fs::File::open(&declared.module)?;
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn report(tool: &Tool) -> Value {
    let declared = &tool.declared;
    json!({
        "name": declared.name,
        "description": declared.description,
        "parameters": declared.parameters,
        "returns": declared.returns,
        "effects": declared.effects,
        "allow_after_reading": declared.allow_after_reading,
        "fuel_max": declared.fuel_max,
        "memory_bytes_max": declared.memory_bytes_max,
        "module": declared.module,
        "sha256": tool.sha256,
        "origin": declared.origin,
    })
}
