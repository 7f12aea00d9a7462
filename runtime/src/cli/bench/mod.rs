//! `retort bench`: what parts of the program cost on this machine.

mod attacks;
mod chart;
mod corpus;
mod figure;
mod peers;
mod retrieval;
mod retrieval_chart;
mod sandbox;
mod workloads;

use anyhow::Result;
use clap::Subcommand;

use super::context::Context;
use super::exit::Exit;

/// Measure a part of the program on this machine.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    Corpus(corpus::CorpusBenchArgs),
    Sandbox(sandbox::SandboxBenchArgs),
}

/// Runs the command.
pub fn run(command: &BenchCommand, context: &Context) -> Result<Exit> {
    match command {
        BenchCommand::Corpus(args) => corpus::run(args, context),
        BenchCommand::Sandbox(args) => sandbox::run(args, context),
    }
}
