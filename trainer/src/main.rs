//! The `retort-train` program.

use clap::{Parser, Subcommand};
use retort_train::world;

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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::World(args) => world::run(&args),
    }
}
