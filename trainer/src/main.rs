//! The `retort-train` program.

use clap::{Parser, Subcommand};
use retort_train::{bench, distil, hub, paper, recipe, report, trajectory, world};

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
    Table(paper::TableArgs),
    Bench(bench::BenchArgs),
    Distil(distil::DistilArgs),
    Questions(distil::QuestionsArgs),
    Collect(distil::CollectArgs),
    Merge(trajectory::MergeArgs),
    Filter(distil::FilterArgs),
    Import(hub::ImportModelArgs),
    Quantise(hub::QuantiseArgs),
    ExportCheckpoint(hub::ExportCheckpointArgs),
    ImportTrajectories(trajectory::ImportArgs),
    ExportTrajectories(trajectory::ExportArgs),
    ExportTrl(trajectory::ExportTrlArgs),
}

fn main() -> anyhow::Result<()> {
    retort::engine::serve_if_worker();
    retort::corpus::serve_if_reader();
    match Arguments::parse().command {
        Command::World(args) => world::run(&args),
        Command::Run(args) => recipe::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Table(args) => paper::table(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Distil(args) => distil::run(&args),
        Command::Questions(args) => distil::questions(&args),
        Command::Collect(args) => distil::collect(&args),
        Command::Merge(args) => trajectory::merge(&args),
        Command::Filter(args) => distil::filter(&args),
        Command::Import(args) => hub::run(&args),
        Command::Quantise(args) => hub::quantise_model(&args),
        Command::ExportCheckpoint(args) => hub::export_checkpoint(&args),
        Command::ImportTrajectories(args) => trajectory::import(&args),
        Command::ExportTrajectories(args) => trajectory::export(&args),
        Command::ExportTrl(args) => trajectory::export_trl(&args),
    }
}
