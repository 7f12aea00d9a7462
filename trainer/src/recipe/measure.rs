//! The last stage: the exported student answers the questions of a world it has never seen,
//! through the runtime's own loop, as `retort eval` does; the figures go into its manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};
use retort::agent::{Agent, Settings, SystemClock, Toolbox};
use retort::cancel::Cancel;
use retort::engine::{ModelFile, WorkerEngine, WorkerSettings};
use retort::eval::{Summary, Task};
use retort::profile::Manifest;
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;
use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::collect::{self, index_world};
use crate::durable::replace_text;
use crate::teach::first_search_missed;
use crate::world::{self, Domain, Style, TaskKind, WorldConfig};

/// What to measure on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureConfig {
    /// Seed of a world that no training world has.
    pub seed: u64,
    /// Its documents.
    pub documents: usize,
    /// Its questions.
    pub tasks: usize,
    /// How documents are written, and what is asked about them.
    #[serde(default)]
    pub style: Style,
    /// What the worlds are about, one for each.
    #[serde(default = "collect::gazetteer")]
    pub domains: Vec<Domain>,
}

/// Whether the student at `gguf` is the recipe's, by the manifest beside it: it was trained and
/// measured.
///
/// # Errors
/// When a file that the recipe names cannot be read.
pub fn is_made(recipe: &Recipe, gguf: &Path) -> Result<bool> {
    let path = gguf.with_extension("toml");
    let known = fs::read_to_string(&path).ok();
    let known = known.and_then(|text| Manifest::read(&path.to_string_lossy(), &text).ok());
    let (Some(known), Ok(file)) = (known, ModelFile::open(gguf)) else { return Ok(false) };
    Ok(known.sha256 == Some(file.sha256) && known.recipe_sha256 == Some(recipe.key()?))
}

/// Measures the student at `gguf`, and writes its manifest and one line for each question.
///
/// # Errors
/// When the student is refused or its worker fails, or a file cannot be written.
pub fn measure(recipe: &Recipe, dialect: &Dialect, gguf: &Path) -> Result<()> {
    let file = ModelFile::open(gguf)?;
    let path = gguf.with_extension("toml");
    let mut manifest = Manifest {
        name: Some(recipe.name.clone()),
        sha256: Some(file.sha256.clone()),
        license: Some(recipe.license.clone()),
        dialect: Some(recipe.dialect.clone()),
        recipe_sha256: Some(recipe.key()?),
        ..Manifest::default()
    };
    if let Some(config) = &recipe.measure {
        let mut report = Report::default();
        for domain in &config.domains {
            answer(config, *domain, dialect, ModelFile::open(gguf)?, &mut report)?;
        }
        let Report { summary, lines, after_miss: (right, missed) } = report;
        eprint!("{summary}");
        eprintln!("{right} of {missed} right after a first search that missed");
        let rows = gguf.with_extension("eval.jsonl");
        write(&rows, &(lines + &summary.json().to_string() + "\n"))?;
        manifest.exact_match = shares(&summary);
    }
    write(&path, &toml::to_string(&manifest)?)
}

/// How the student did.
#[derive(Default)]
struct Report {
    summary: Summary,
    /// A JSON line for each question.
    lines: String,
    /// Runs whose first search did not show what it was for: right ones, and all.
    after_miss: (usize, usize),
}

/// Answers the questions of the world of a domain, greedily.
fn answer(
    config: &MeasureConfig,
    domain: Domain,
    dialect: &Dialect,
    file: ModelFile,
    report: &mut Report,
) -> Result<()> {
    let world = world::generate(&WorldConfig {
        style: config.style,
        ..WorldConfig::new(config.seed, domain, config.documents, config.tasks)
    })?;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let corpus = index_world(&world, folder.path())?;
    let sandbox = Sandbox::open(&SandboxOptions::default())?;
    // Students trained here are so small that waking a second thread costs more than it gains.
    let worker = WorkerSettings { threads: 1, candidates_max: 1, ..WorkerSettings::default() };
    let mut engine = WorkerEngine::load(file, worker, Cancel::default())?;
    let style = ProgressStyle::with_template("measuring {bar:30} {pos}/{len} questions {eta}")?;
    let bar = ProgressBar::new(world.test.len() as u64).with_style(style);
    for task in &world.test {
        let mut agent = Agent {
            engine: &mut engine,
            sandbox: &sandbox,
            retriever: &corpus,
            toolbox: &Toolbox::default(),
            dialect,
            clock: &SystemClock::default(),
            settings: Settings::default(),
            cancel: Cancel::default(),
        };
        let run = agent.run(&task.question, &mut ());
        let missed = |plan| first_search_missed(plan, &run.transcript);
        let missed = task.kind != TaskKind::Absent && task.plan.as_ref().is_some_and(missed);
        let task: Task = serde_json::from_value(serde_json::to_value(task)?)?;
        let score = task.score(&run);
        report.after_miss.0 += usize::from(missed && score.exact_match);
        report.after_miss.1 += usize::from(missed);
        report.summary.add(&task, &run, score);
        report.lines += &(task.report(&run, score, None).to_string() + "\n");
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Shares answered exactly, by kind and over `all`, to three places.
fn shares(summary: &Summary) -> BTreeMap<String, f64> {
    let by_kind = summary.by_kind.iter().map(|(kind, tally)| (kind.as_str(), tally));
    let rounded = |share: f64| (share * 1000.0).round() / 1000.0;
    by_kind
        .chain([("all", &summary.all)])
        .map(|(kind, tally)| (kind.to_owned(), rounded(tally.exact_match())))
        .collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    replace_text(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
