//! The `retort-train` program.

use clap::{Parser, Subcommand};
use retort_train::{bench, recipe, report, world};

/// Makes small agents: generates worlds, teaches, trains, exports, measures.
#[derive(Parser)]
#[command(name = "retort-train", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    World(world::WorldArgs),
    Run(recipe::RecipeArgs),
    Report(report::ReportArgs),
    Bench(bench::BenchArgs),
}

fn main() -> anyhow::Result<()> {
    retort::engine::serve_if_worker();
    match Arguments::parse().command {
        Command::World(args) => world::run(&args),
        Command::Run(args) => recipe::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Bench(args) => bench::run(&args),
    }
}
