//! Exercises in the very shape of the traces: copying names, recalling what a key stood with,
//! looking facts up in an observation, and whole runs over passages of a sentence or two.

use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use retort::agent::Retriever;
use retort_transcript::{Dialect, Observation, Passage, Segment, Source, Step, Transcript};

use super::brief;
use super::policy::{Manner, missed, next_action, said};
use super::reading;
use crate::world::{Entity, Plan, Relation, World};

/// What is exercised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// Write a list of names and numbers again.
    Copy,
    /// Given pairs of a name and a value, write the values for the names in another order.
    Recall,
    /// Read facts from one to four passages: of the same kind, or what a search shows.
    Lookup,
    /// Answer a training task as the teacher would, over passages of a sentence or two.
    Brief,
}

/// Facts of one passage that a lookup drill asks for at most.
const FACTS_PER_PASSAGE_MAX: usize = 3;
/// Passages are all of one kind this often, in percent: only these teach which passage is which.
const SAME_KIND_PERCENT: u32 = 90;

/// Where there is a corpus, passages are what a search of it shows this often, in percent: pages
/// that a question finds name one another and are named alike.
const SEARCHED_PERCENT: u32 = 70;
/// Of what a search shows, a page that is only named there is asked for too this often, in percent.
const NAMED_PERCENT: u32 = 60;
/// A passage is asked for a fact that it does not state this often, in percent.
const ABSENT_PERCENT: u32 = 50;
/// Passages that a brief run's other pages are drawn from.
const NEIGHBOURS_MAX: usize = 8;
/// Words of a passage of a longer page.
const PASSAGE_WORDS: usize = 110;

/// Makes drills about the entities of a world.
pub struct DrillSource<'a> {
    world: &'a World,
    dialect: &'a Dialect,
    corpus: Option<&'a dyn Retriever>,
}

/// A piece of a reply and whether it is learned.
type Piece = (String, bool);

impl<'a> DrillSource<'a> {
    /// Drills about `world`, rendered in `dialect`.
    pub fn new(world: &'a World, dialect: &'a Dialect) -> Self {
        Self { world, dialect, corpus: None }
    }

    /// Drills over what searches of the world's corpus show, too.
    #[must_use]
    pub fn searching(self, corpus: &'a dyn Retriever) -> Self {
        Self { corpus: Some(corpus), ..self }
    }

    /// One exercise. `learned` of its segments is the loss mask.
    pub fn draw(&self, drill: Drill, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        match drill {
            Drill::Copy => self.copy(rng),
            Drill::Recall => self.recall(rng),
            Drill::Lookup => self.lookup(rng),
            Drill::Brief => self.brief(rng),
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
        let (entities, passages) = self.shown(rng);
        let Some(first) = entities.first() else {
            return Vec::new();
        };
        let logs = self.dialect.render_passages(&first.title, &passages);
        let mut asked: Vec<Asked> = Vec::new();
        for entity in entities {
            let relations = self.relations(entity);
            let facts = relations
                .iter()
                .map(|relation| (*relation, reading::find(&logs, &entity.title, *relation)));
            let (said, unsaid): (Vec<_>, Vec<_>) = facts.partition(|(_, found)| found.is_some());
            let absent = usize::from(rng.random_ratio(ABSENT_PERCENT, 100));
            let said = said.sample(rng, FACTS_PER_PASSAGE_MAX).cloned().collect::<Vec<_>>();
            let unsaid = unsaid.sample(rng, absent).cloned().collect::<Vec<_>>();
            let of_entity = said.into_iter().chain(unsaid);
            asked.extend(of_entity.map(|(relation, found)| Asked { entity, relation, found }));
        }
        asked.shuffle(rng);
        let Some(Asked { entity, relation, .. }) = asked.first() else {
            return Vec::new();
        };
        let Ok(action) =
            next_action(&Plan::lookup(&entity.title, *relation), Manner::default(), &[])
        else {
            return Vec::new();
        };
        let question = format!("{} {}", entity.title, relation.words().key);
        let observation = Observation::Output { logs, value: None, assigned: None };
        let search =
            Step { reply: self.dialect.compose_reply(&action), observation: Some(observation) };
        let reply = asked.iter().flat_map(question_and_fact);
        self.exercise(&question, vec![search], reply.collect())
    }

    fn brief(&self, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        let task = self.world.train.choose(rng);
        let search = |title: &str| self.search(title, NEIGHBOURS_MAX);
        let run = task.and_then(|task| brief::run(self.world, self.dialect, task, &search, rng));
        run.map_or_else(Vec::new, |run| self.dialect.render_training(&run))
    }

    /// What can be said of such an entity: what some entity of its kind has.
    fn relations(&self, entity: &Entity) -> Vec<Relation> {
        let alike = self.world.entities.iter().filter(|other| other.kind == entity.kind);
        let mut relations: Vec<Relation> =
            alike.flat_map(|other| other.facts.iter().map(|fact| fact.relation)).collect();
        relations.sort_unstable();
        relations.dedup();
        relations
    }

    /// Entities to ask about, each once, and the passages shown.
    fn shown(&self, rng: &mut ChaCha8Rng) -> (Vec<&'a Entity>, Vec<Passage>) {
        if self.corpus.is_none() || !rng.random_ratio(SEARCHED_PERCENT, 100) {
            return self.passages(rng).into_iter().unzip();
        }
        let Some(sought) = self.world.entities.choose(rng) else { return Default::default() };
        let relation = sought.facts.choose(rng).filter(|_| rng.random_ratio(1, 2));
        let query = match relation {
            Some(fact) => format!("{} {}", sought.title, fact.relation.words().search),
            None => sought.title.clone(),
        };
        let passages = self.search(&query, rng.random_range(2..=4));
        let is_shown = |entity: &&Entity| passages.iter().any(|shown| shown.title == entity.title);
        let is_named =
            |entity: &&Entity| passages.iter().any(|shown| shown.text.contains(&entity.title));
        let (mut entities, others): (Vec<&Entity>, Vec<&Entity>) =
            self.world.entities.iter().partition(is_shown);
        if rng.random_ratio(NAMED_PERCENT, 100) {
            entities.extend(others.into_iter().filter(is_named).choose(rng));
        }
        entities.shuffle(rng);
        (entities, passages)
    }

    /// What a search of the corpus shows; nothing without one.
    fn search(&self, query: &str, limit: usize) -> Vec<Passage> {
        let found = self.corpus.and_then(|corpus| corpus.retrieve(query, limit).ok());
        found.unwrap_or_default().into_iter().map(|found| found.passage).collect()
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
        let mut chosen: Vec<_> = Vec::new();
        for index in fitting.sample(rng, count) {
            if let Some((entity, document)) =
                self.world.entities.get(*index).zip(self.world.documents.get(*index))
            {
                chosen.push((entity, &document.title, &document.text));
            }
        }
        let mut chosen: Vec<_> = chosen
            .into_iter()
            .map(|(entity, title, text)| {
                let text = part(text, rng);
                (entity, Passage { title: title.clone(), text, score: 0.0 })
            })
            .collect();
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

/// A fact that a drill asks for, and what the observation says of it.
struct Asked<'a> {
    entity: &'a Entity,
    relation: Relation,
    found: Option<reading::Found>,
}

/// `I need the birth year of X. X [1] was born in the year 1790. `, learned: number and value; or
/// `X [0] has no birth year here. `, learned: the number.
fn question_and_fact(asked: &Asked) -> Vec<Piece> {
    let Asked { entity: Entity { title, .. }, relation, found } = asked;
    let opening = format!("I need the {} of {title}. {title} [", relation.words().key);
    let Some(found) = found else {
        let missed = missed(title, &[*relation]);
        let rest = missed.split_once("[0]").map_or("", |(_, rest)| rest).to_owned();
        return vec![(opening, false), ("0]".to_owned(), true), (rest, false)];
    };
    let said = said(*relation, "\n");
    let (before, after) = said.split_once('\n').unwrap_or((&said, ""));
    vec![
        (opening, false),
        (format!("{}]", found.passage), true),
        (format!(" {before}"), false),
        (found.value.clone(), true),
        (format!("{after}. "), false),
    ]
}

/// A page as a search shows it: of a long one, sentences that stand together.
fn part(text: &str, rng: &mut ChaCha8Rng) -> String {
    let sentences: Vec<&str> = text.split_inclusive(". ").collect();
    let words = |sentence: &&str| sentence.split(' ').count();
    if sentences.iter().map(words).sum::<usize>() <= PASSAGE_WORDS {
        return text.to_owned();
    }
    let start = rng.random_range(0..sentences.len());
    let mut room = PASSAGE_WORDS;
    let fits = |sentence: &&&str| {
        let count = words(sentence);
        let fits = count <= room;
        room = room.saturating_sub(count);
        fits
    };
    let part: Vec<&str> = sentences.iter().skip(start).take_while(fits).copied().collect();
    part.concat().trim_end().to_owned()
}

/// The pieces as segments, without the blank at the very end.
fn split(mut pieces: Vec<Piece>) -> Vec<Segment> {
    if let Some((text, _)) = pieces.last_mut() {
        text.truncate(text.trim_end().len());
    }
    let segment = |(text, learned)| Segment { text, source: Source::Content, learned };
    pieces.into_iter().filter(|(text, _)| !text.is_empty()).map(segment).collect()
}
