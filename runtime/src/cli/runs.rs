//! stub
use anyhow::Result; use super::context::Context; use super::exit::Exit;
#[derive(Debug, clap::Subcommand)] pub enum RunsCommand { List }
pub fn run(_: &RunsCommand, _: &Context) -> Result<Exit> { Ok(Exit::Success) }
