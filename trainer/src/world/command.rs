//! `retort-train world`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{Domain, Family, Style, TrainingWorld, World, WorldConfig, generate};

/// Generates a world: documents, and questions whose answers stand in them.
#[derive(Clone, Debug, clap::Args)]
pub struct WorldArgs {
    /// Equal seeds give equal worlds
    #[arg(long)]
    pub seed: u64,
    /// Documents in corpus.jsonl
    #[arg(long, default_value_t = 400)]
    pub documents: usize,
    /// Questions in test.jsonl, on names that training worlds never use
    #[arg(long, default_value_t = 200)]
    pub tasks: usize,
    /// Questions in train.jsonl, on other names [default: as many as --tasks]
    #[arg(long)]
    pub train_tasks: Option<usize>,
    /// What the documents are about
    #[arg(long, value_enum, default_value_t = Domain::Gazetteer)]
    pub domain: Domain,
    /// How they are written and what is asked about them
    #[arg(long, value_enum, default_value_t = Style::Full)]
    pub style: Style,
    /// Write the eight test families instead, each into a folder of its name, and the training world
    /// they differ from: gazetteers of the plain style
    #[arg(long, conflicts_with_all = ["domain", "style"])]
    pub families: bool,
    /// Folder for corpus.jsonl, test.jsonl, train.jsonl and, for `retort bench corpus`,
    /// queries.jsonl; made if it is missing
    #[arg(long)]
    pub out: PathBuf,
}

/// Writes the world of `args`.
///
/// # Errors
/// When there is no such world, or the files cannot be written.
pub fn run(args: &WorldArgs) -> anyhow::Result<()> {
    if args.families {
        return families(args);
    }
    let config = WorldConfig {
        seed: args.seed,
        domain: args.domain,
        style: args.style,
        documents: args.documents,
        test_tasks: args.tasks,
        train_tasks: args.train_tasks.unwrap_or(args.tasks),
    };
    write(&generate(&config)?, &args.out)
}

fn families(args: &WorldArgs) -> anyhow::Result<()> {
    let tasks = args.train_tasks.unwrap_or(args.tasks);
    let training = TrainingWorld { seed: args.seed, documents: args.documents, tasks };
    write(&training.generate()?, &args.out.join("training"))?;
    for family in Family::ALL {
        let world = family.draw(&training, args.tasks)?;
        let name = clap::ValueEnum::to_possible_value(&family);
        let name = name.as_ref().map_or("family", |name| name.get_name());
        write(&world, &args.out.join(name))?;
    }
    Ok(())
}

fn write(world: &World, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("{}: cannot be made", out.display()))?;
    write_rows(&out.join("corpus.jsonl"), &world.documents)?;
    write_rows(&out.join("test.jsonl"), &world.test)?;
    write_rows(&out.join("train.jsonl"), &world.train)?;
    write_rows(&out.join("queries.jsonl"), &world.queries())?;
    errln!(
        "{}: {} documents, {} test tasks, {} training tasks",
        out.display(),
        world.documents.len(),
        world.test.len(),
        world.train.len()
    );
    Ok(())
}

/// Writes `rows` as JSON Lines. The file appears under its name only when it is complete.
fn write_rows<T: Serialize>(path: &Path, rows: &[T]) -> anyhow::Result<()> {
    let unfinished = path.with_extension("jsonl.part");
    let write = || -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(&unfinished)?);
        for row in rows {
            serde_json::to_writer(&mut file, row)?;
            file.write_all(b"\n")?;
        }
        file.into_inner()?.sync_all()?;
        Ok(fs::rename(&unfinished, path)?)
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let args = WorldArgs {
            seed: 5,
            documents: 120,
            tasks: 30,
            train_tasks: Some(20),
            domain: Domain::Gazetteer,
            style: Style::Plain,
            families: false,
            out: folder.path().join("new").join("world"),
        };
        run(&args).unwrap();
        let rows = |name: &str| -> Vec<serde_json::Value> {
            let text = fs::read_to_string(args.out.join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let files = ["corpus.jsonl", "test.jsonl", "train.jsonl", "queries.jsonl"];
        assert_eq!(files.map(|name| rows(name).len()), [120, 30, 20, 30]);
        let gold = |row: &serde_json::Value| row["gold"].as_array().unwrap().len();
        assert!(rows("queries.jsonl").iter().all(|row| (1..=3).contains(&gold(row))));
        let keys: Vec<String> =
            rows("test.jsonl")[0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["id", "question", "answer", "kind"]);
        assert_eq!(fs::read_dir(&args.out).unwrap().count(), 4);
    }
}
