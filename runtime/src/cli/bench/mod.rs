//! `retort bench`: what parts of the program cost on this machine.

mod attacks;
mod chart;
mod figure;
mod peers;
mod sandbox;
mod workloads;

use anyhow::Result;
use clap::Subcommand;

use super::context::Context;
use super::exit::Exit;

/// Measure a part of the program on this machine.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    Sandbox(sandbox::SandboxBenchArgs),
}

/// Runs the command.
pub fn run(command: &BenchCommand, context: &Context) -> Result<Exit> {
    match command {
        BenchCommand::Sandbox(args) => sandbox::run(args, context),
    }
}
