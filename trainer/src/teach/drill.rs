//! Exercises for single skills, in the very shape of the traces: copying names, recalling what a
//! key stood with, and looking facts up in an observation.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use retort_transcript::{Dialect, Observation, Passage, Segment, Source, Step, Transcript};

use super::policy::{next_action, said};
use crate::world::{Entity, Fact, Plan, World};

/// A skill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// Write a list of names and numbers again.
    Copy,
    /// Given pairs of a name and a value, write the values for the names in another order.
    Recall,
    /// Read facts from one to four passages of the same kind.
    Lookup,
}

/// Facts of one passage that a lookup drill asks for at most.
const FACTS_PER_PASSAGE_MAX: usize = 3;
/// Passages are all of one kind this often, in percent: only these teach which passage is which.
const SAME_KIND_PERCENT: u32 = 90;

/// Makes drills about the entities of a world.
pub struct DrillSource<'a> {
    world: &'a World,
    dialect: &'a Dialect,
}

/// A piece of a reply and whether it is learned.
type Piece = (String, bool);

impl<'a> DrillSource<'a> {
    /// Drills about `world`, rendered in `dialect`.
    pub fn new(world: &'a World, dialect: &'a Dialect) -> Self {
        Self { world, dialect }
    }

    /// One exercise. `learned` of its segments is the loss mask.
    pub fn draw(&self, drill: Drill, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        match drill {
            Drill::Copy => self.copy(rng),
            Drill::Recall => self.recall(rng),
            Drill::Lookup => self.lookup(rng),
        }
    }

    fn copy(&self, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        let pairs = self.pairs(rng.random_range(3..=8), rng);
        let items: Vec<String> = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
        let list = items.join("; ");
        self.exercise(&format!("Copy: {list}"), Vec::new(), vec![(list.clone(), true)])
    }

    fn recall(&self, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        let mut pairs = self.pairs(rng.random_range(2..=8), rng);
        let facts: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{key} {value}")).collect();
        pairs.shuffle(rng);
        let asked = pairs.into_iter().flat_map(|(key, value)| {
            [(format!("{key} "), false), (value, true), ("; ".to_owned(), false)]
        });
        self.exercise(&format!("Facts: {}", facts.join("; ")), Vec::new(), asked.collect())
    }

    /// Titles with a value each; no title twice.
    fn pairs(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<(String, String)> {
        let entities = self.world.entities.sample(rng, count);
        let mut pairs: Vec<(String, String)> = entities
            .filter_map(|entity| {
                let fact = entity.facts.choose(rng)?;
                Some((entity.title.clone(), fact.value.clone()))
            })
            .collect();
        pairs.shuffle(rng);
        pairs
    }

    fn lookup(&self, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        let chosen = self.passages(rng);
        let passages: Vec<Passage> = chosen.iter().map(|(_, passage)| passage.clone()).collect();
        let mut asked: Vec<(usize, &Entity, &Fact)> = Vec::new();
        for (index, (entity, _)) in chosen.iter().enumerate() {
            let facts = entity.facts.sample(rng, FACTS_PER_PASSAGE_MAX);
            asked.extend(facts.map(|fact| (index + 1, *entity, fact)));
        }
        asked.shuffle(rng);
        let Some((_, entity, fact)) = asked.first() else {
            return Vec::new();
        };
        let plan = Plan::Lookup { title: entity.title.clone(), relation: fact.relation };
        let Ok(action) = next_action(&plan, &[]) else {
            return Vec::new();
        };
        let question = format!("{} {}", entity.title, fact.relation.words().key);
        let logs = self.dialect.render_passages(&entity.title, &passages);
        let observation = Observation::Output { logs, value: None, assigned: None };
        let search =
            Step { reply: self.dialect.compose_reply(&action), observation: Some(observation) };
        let reply = asked
            .iter()
            .flat_map(|(number, entity, fact)| question_and_fact(*number, entity, fact));
        self.exercise(&question, vec![search], reply.collect())
    }

    /// One to four documents, mostly of one kind, in random order.
    fn passages(&self, rng: &mut ChaCha8Rng) -> Vec<(&'a Entity, Passage)> {
        let count = [1, 2, 3, 3, 3, 4].choose(rng).copied().unwrap_or(3);
        let kind = self.world.entities.choose(rng).map(|entity| entity.kind);
        let is_mixed = !rng.random_ratio(SAME_KIND_PERCENT, 100);
        let fitting: Vec<usize> = (0..self.world.entities.len())
            .filter(|index| {
                is_mixed || self.world.entities.get(*index).map(|entity| entity.kind) == kind
            })
            .collect();
        let chosen = fitting.sample(rng, count).filter_map(|index| {
            let document = self.world.documents.get(*index)?;
            let passage =
                Passage { title: document.title.clone(), text: document.text.clone(), score: 0.0 };
            Some((self.world.entities.get(*index)?, passage))
        });
        let mut chosen: Vec<_> = chosen.collect();
        chosen.shuffle(rng);
        chosen
    }

    /// A conversation whose last reply consists of `pieces`.
    fn exercise(&self, question: &str, mut steps: Vec<Step>, pieces: Vec<Piece>) -> Vec<Segment> {
        let reply: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
        let reply = reply.trim().to_owned();
        steps.push(Step { reply: reply.clone(), observation: None });
        let transcript =
            Transcript { question: question.to_owned(), steps, answer_requested: false };
        let mut segments = self.dialect.render_training(&transcript);
        if let Some(index) = segments.iter().rposition(|segment| segment.text == reply) {
            segments.splice(index..=index, split(pieces));
        }
        segments
    }
}

/// `I need the birth year of X. X [1] was born in the year 1790. `, learned: number and value.
fn question_and_fact(number: usize, entity: &Entity, fact: &Fact) -> Vec<Piece> {
    let said = said(fact.relation, "\n");
    let (before, after) = said.split_once('\n').unwrap_or((&said, ""));
    let title = &entity.title;
    vec![
        (format!("I need the {} of {title}. {title} [", fact.relation.words().key), false),
        (format!("{number}]"), true),
        (format!(" {before}"), false),
        (fact.value.clone(), true),
        (format!("{after}. "), false),
    ]
}

/// The pieces as segments, without the blank at the very end.
fn split(mut pieces: Vec<Piece>) -> Vec<Segment> {
    if let Some((text, _)) = pieces.last_mut() {
        text.truncate(text.trim_end().len());
    }
    let segment = |(text, learned)| Segment { text, source: Source::Content, learned };
    pieces.into_iter().filter(|(text, _)| !text.is_empty()).map(segment).collect()
}
