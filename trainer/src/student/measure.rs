//! The last stage: the exported student answers the questions of a world it has never seen,
//! through the runtime's own loop, as `retort eval` does; the figures go into its manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use retort::agent::Settings;
use retort::engine::ModelFile;
use retort::eval::{Summary, Task};
use retort::profile::{FirstSearchMissed, Manifest};
use retort::sandbox::{Sandbox, SandboxOptions};
use retort_transcript::Dialect;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::Recipe;
use crate::classroom;
use crate::durable::{beside, keep_file, replace_text};
use crate::environment::{Environment, index_world};
use crate::gguf::Weights;
use crate::hash::sha256;
use crate::score::{ask, compare};
use crate::teach::first_search_missed;
use crate::world::{self, Domain, Style, TaskKind, World, WorldConfig};

/// What a student with rounded weights is compared with.
const WHOLE: Weights = Weights::F32;

/// What to measure on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    #[serde(default = "classroom::gazetteer")]
    pub domains: Vec<Domain>,
    /// How much less the student may answer exactly, in points of a hundred, once its weights are
    /// rounded: one that loses more is not written. Without it, that is not asked.
    pub drop_max: Option<f64>,
}

impl MeasureConfig {
    /// SHA-256, lower-case hexadecimal, of all that decides the figures; how much may be lost by
    /// rounding is asked once, when the student is written.
    ///
    /// # Errors
    /// None: every value can be written.
    pub fn sha256(&self) -> Result<String> {
        let asked = Self { drop_max: None, ..self.clone() };
        Ok(sha256(toml::to_string(&asked)?.as_bytes()))
    }
}

/// How far a recipe's student has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is yet to be trained.
    Missing,
    /// It is there, without the figures that the recipe wants.
    Exported,
    /// Nothing is left to do.
    Measured,
}

/// How far the student at `gguf` has come, by the manifest beside it.
///
/// # Errors
/// When a file that the recipe names cannot be read, or another one stands where the manifest would.
pub fn stage(recipe: &Recipe, gguf: &Path) -> Result<Stage> {
    let path = gguf.with_extension("toml");
    let known = match fs::read_to_string(&path) {
        Ok(text) => Some(Manifest::read(&path.to_string_lossy(), &text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let known = known.transpose().with_context(|| {
        format!("{} is no manifest of a student; name another --out", path.display())
    })?;
    let (Some(known), Ok(file)) = (known, ModelFile::open(gguf)) else {
        return Ok(Stage::Missing);
    };
    let is_its = known.sha256 == Some(file.sha256) && known.recipe_sha256 == Some(recipe.key()?);
    let measured = recipe.measure.as_ref().map(MeasureConfig::sha256).transpose()?;
    Ok(match measured.is_none() || known.measure_sha256 == measured {
        _ if !is_its => Stage::Missing,
        true => Stage::Measured,
        false => Stage::Exported,
    })
}

/// Refuses worlds that cannot be asked about, before hours are spent.
///
/// # Errors
/// Those of the world.
pub fn check(recipe: &Recipe) -> Result<()> {
    let Some(config) = &recipe.measure else { return Ok(()) };
    ensure!(config.tasks > 0, "measure.tasks is 0; expected at least 1");
    ensure!(!config.domains.is_empty(), "measure.domains is empty: name gazetteer, plant or both");
    if let Some(drop_max) = config.drop_max {
        ensure!(drop_max >= 0.0, "measure.drop_max is {drop_max}; expected 0 or more points");
    }
    config.domains.iter().try_for_each(|domain| drawn(config, *domain).map(drop)).context("measure")
}

fn drawn(config: &MeasureConfig, domain: Domain) -> Result<World> {
    Ok(world::generate(&WorldConfig {
        style: config.style,
        ..WorldConfig::new(config.seed, domain, config.documents, config.tasks)
    })?)
}

/// Writes the student at `gguf` by `write`, which gets a file and the type of its weights, and
/// measures it, before and after its weights are rounded where the recipe wants that.
///
/// # Errors
/// When the file cannot be written, the student is refused or loses too much by rounding.
pub fn export(
    recipe: &Recipe,
    dialect: &Dialect,
    gguf: &Path,
    write: &dyn Fn(&Path, Weights) -> Result<()>,
) -> Result<()> {
    let made = |weights| -> Result<TempPath> {
        let file = beside(gguf).with_context(|| unwritable(gguf))?.into_temp_path();
        write(&file, weights)?;
        Ok(file)
    };
    let rounded = made(recipe.weights)?;
    let report = answered(recipe, dialect, &rounded, "measuring")?;
    let drop_max = recipe.measure.as_ref().and_then(|config| config.drop_max);
    if let Some(drop_max) = drop_max {
        let whole = answered(recipe, dialect, &made(WHOLE)?, "measuring unrounded")?;
        let (before, after) = (format!("{WHOLE:?}"), format!("{:?}", recipe.weights));
        let table = compare((&before, &whole.summary), (&after, &report.summary), drop_max)
            .context(
                "measure.drop_max: take larger `weights`; the checkpoint stays, so that is quick",
            )?;
        err!("{table}");
    }
    keep_file(rounded, gguf).with_context(|| unwritable(gguf))?;
    told(recipe, gguf, report)
}

/// Measures the student at `gguf`, and writes its manifest and one line for each question.
///
/// # Errors
/// When the student is refused or its worker fails, or a file cannot be written.
pub fn measure(recipe: &Recipe, dialect: &Dialect, gguf: &Path) -> Result<()> {
    let sha256 = ModelFile::open(gguf)?.sha256;
    let report = answered(recipe, dialect, gguf, "measuring")?;
    let now = ModelFile::open(gguf)?.sha256;
    ensure!(now == sha256, "{}: replaced while it was measured", gguf.display());
    told(recipe, gguf, report)
}

/// What the student at `gguf` answers to all that the recipe asks.
fn answered(
    recipe: &Recipe,
    dialect: &Dialect,
    gguf: &Path,
    doing: &'static str,
) -> Result<Report> {
    let mut report = Report::default();
    if let Some(config) = &recipe.measure {
        for domain in &config.domains {
            answer(config, *domain, dialect, ModelFile::open(gguf)?, doing, &mut report)?;
        }
    }
    Ok(report)
}

/// Writes the manifest of the student at `gguf`, and a line for each question.
fn told(recipe: &Recipe, gguf: &Path, report: Report) -> Result<()> {
    let mut manifest = Manifest {
        name: Some(recipe.name.clone()),
        sha256: Some(ModelFile::open(gguf)?.sha256),
        license: Some(recipe.license.clone()),
        dialect: Some(recipe.dialect.clone()),
        recipe_sha256: Some(recipe.key()?),
        ..Manifest::default()
    };
    if let Some(config) = &recipe.measure {
        let Report { summary, lines, first_search_missed } = report;
        let FirstSearchMissed { questions, exact_match } = first_search_missed;
        err!("{summary}");
        errln!("{exact_match} of {questions} right after a first search that missed");
        manifest.measure_sha256 = Some(config.sha256()?);
        manifest.first_search_missed = Some(first_search_missed);
        let rows = gguf.with_extension("eval.jsonl");
        write(&rows, &(lines + &summary.json().to_string() + "\n"))?;
        manifest.exact_match = shares(&summary);
    }
    write(&gguf.with_extension("toml"), &toml::to_string(&manifest)?)
}

/// How the student did.
#[derive(Default)]
struct Report {
    summary: Summary,
    /// A JSON line for each question.
    lines: String,
    first_search_missed: FirstSearchMissed,
}

/// Answers the questions of the world of a domain.
fn answer(
    config: &MeasureConfig,
    domain: Domain,
    dialect: &Dialect,
    file: ModelFile,
    doing: &'static str,
    report: &mut Report,
) -> Result<()> {
    let world = drawn(config, domain)?;
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let corpus = index_world(&world, folder.path())?;
    let sandbox = Sandbox::open(&SandboxOptions::default())?;
    let asked = |task: &world::Task| serde_json::from_value(serde_json::to_value(task)?);
    let tasks = world.test.iter().map(asked).collect::<Result<Vec<Task>, _>>()?;
    let environment = Environment { dialect, sandbox: &sandbox, retriever: &corpus };
    let mut planned = world.test.iter();
    let Report { summary, lines, first_search_missed: missed } = report;
    ask(&environment, &Settings::default(), &tasks, file, doing, &mut |task, run, score| {
        summary.add(task, run, score);
        let plan = planned.next().filter(|task| task.kind != TaskKind::Absent);
        let plan = plan.and_then(|task| task.plan.as_ref());
        if plan.is_some_and(|plan| first_search_missed(plan, &run.transcript)) {
            missed.exact_match += u32::from(score.exact_match);
            missed.questions += 1;
        }
        *lines += &(task.report(run, score, None).to_string() + "\n");
    })
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
    replace_text(path, text).with_context(|| unwritable(path))
}

fn unwritable(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
