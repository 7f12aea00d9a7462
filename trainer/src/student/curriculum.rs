//! What a student trains on: rendered runs, and drills beside them in fixed shares.

use anyhow::{Context as _, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retort::engine::Tokenizer;
use retort_transcript::{Dialect, Segment, Source};

use crate::dataset;
use crate::environment::index_world;
use crate::teach::{Drill, DrillSource};
use crate::tokenizer::{Vocabulary, train_tokenizer};
use crate::train::MixtureSource;
use crate::world::{self, World};

/// Shares of runs and of each drill in the first and the second phase of the budget.
const RUN_SHARES: [f32; 2] = [0.35, 0.65];
const DRILLS: [(Drill, &str, [f32; 2]); 4] = [
    (Drill::Copy, "copy", [0.05, 0.015]),
    (Drill::Recall, "recall", [0.05, 0.015]),
    (Drill::Lookup, "lookup", [0.30, 0.17]),
    (Drill::Brief, "brief", [0.25, 0.15]),
];
/// Texts of runs that a vocabulary is learnt from, and a quarter as many of each drill.
const TEXTS_MAX: usize = 4000;

/// A conversation as the dialect writes it.
pub type Rendered = Vec<Segment>;

/// Exercises by skill.
#[derive(Clone, Debug, Default)]
pub struct Drills(Vec<(Drill, Vec<Rendered>)>);

impl Drills {
    /// `per_world` exercises of each of `skills` in each of `worlds`; `searched` ones also over what
    /// searches of the world show.
    ///
    /// # Errors
    /// Those of `worlds`, and when one cannot be indexed.
    pub fn draw(
        worlds: impl Iterator<Item = Result<World>>,
        skills: &[Drill],
        per_world: usize,
        seed: u64,
        dialect: &Dialect,
        searched: bool,
    ) -> Result<Self> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut drills: Vec<_> = skills.iter().map(|skill| (*skill, Vec::new())).collect();
        for world in worlds {
            let world = world?;
            let dir = tempfile::tempdir().context("a temporary folder")?;
            let corpus = searched.then(|| index_world(&world, dir.path())).transpose()?;
            let mut source = DrillSource::new(&world, dialect);
            if let Some(corpus) = &corpus {
                source = source.searching(corpus);
            }
            for (skill, drawn) in &mut drills {
                drawn.extend((0..per_world).map(|_| source.draw(*skill, &mut random)));
            }
        }
        Ok(Self(drills))
    }
}

/// A vocabulary of at most `tokens_max` tokens for the first of `runs` and the first of `drills`.
///
/// # Errors
/// When `tokens_max` has no room for what every vocabulary holds.
pub fn vocabulary<'a>(
    runs: impl Iterator<Item = &'a Rendered>,
    drills: &'a Drills,
    tokens_max: usize,
) -> Result<Vocabulary> {
    let of_drills = drills.0.iter().flat_map(|(_, drawn)| drawn.iter().take(TEXTS_MAX / 4));
    let sample: Vec<&Rendered> = runs.take(TEXTS_MAX).chain(of_drills).collect();
    let content = sample.into_iter().flatten().filter(|part| part.source == Source::Content);
    let texts: Vec<&str> = content.map(|part| part.text.as_str()).collect();
    Ok(train_tokenizer(texts, &world::syllables(), tokens_max)?)
}

/// Runs of one origin.
#[derive(Clone, Copy, Debug)]
pub struct Runs<'a> {
    /// Name in errors.
    pub name: &'static str,
    /// They, as the dialect writes them.
    pub rendered: &'a [Rendered],
    /// Share of the tokens of all runs, 0..=1.
    pub share: f32,
}

/// Runs and drills as sequences, with their shares.
///
/// # Errors
/// When a text cannot be encoded.
pub fn sources(
    words: &Tokenizer,
    context_tokens: usize,
    runs: &[Runs<'_>],
    drills: &Drills,
) -> Result<Vec<MixtureSource>> {
    let of_runs = runs.iter().map(|runs| {
        let sequences = dataset::encode(runs.rendered, words, context_tokens)?;
        let shares = RUN_SHARES.map(|share| share * runs.share);
        Ok(MixtureSource { name: runs.name.to_owned(), sequences, shares })
    });
    let mut sources = of_runs.collect::<Result<Vec<_>>>()?;
    for (skill, drawn) in &drills.0 {
        let fixed = DRILLS.into_iter().find(|(drill, _, _)| drill == skill);
        if let Some((_, name, shares)) = fixed {
            let sequences = dataset::encode(drawn, words, context_tokens)?;
            sources.push(MixtureSource { name: name.to_owned(), sequences, shares });
        }
    }
    Ok(sources)
}
