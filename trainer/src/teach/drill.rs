//! Exercises in the very shape of the traces: copying names, recalling what a key stood with,
//! looking facts up in an observation, and whole runs over passages of a sentence or two.

use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use retort_transcript::{Dialect, Observation, Passage, Segment, Source, Step, Transcript};

use super::policy::{Manner, missed, next_action, said};
use super::reading;
use crate::world::{Entity, EntityKind, Plan, Relation, Task, World, reads};

/// What is exercised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// Write a list of names and numbers again.
    Copy,
    /// Given pairs of a name and a value, write the values for the names in another order.
    Recall,
    /// Read facts from one to four passages of the same kind.
    Lookup,
    /// Answer a question as the teacher would over passages cut to a few sentences: more questions
    /// for as many tokens.
    Brief,
}

/// Facts of one passage that a lookup drill asks for at most.
const FACTS_PER_PASSAGE_MAX: usize = 3;
/// Passages are all of one kind this often, in percent: only these teach which passage is which.
const SAME_KIND_PERCENT: u32 = 90;

/// A passage is asked for a fact that it does not state this often, in percent.
const ABSENT_PERCENT: u32 = 50;
/// Words of a passage of a longer page.
const PASSAGE_WORDS: usize = 110;
/// The first search of a brief run shows nothing of what it is for this often, in percent.
const MISSED_PERCENT: u32 = 15;
/// Sentences of a passage in a brief run, beside those that say what is needed.
const ASIDES_MAX: usize = 2;
/// What a brief run shows holds the next page that the plan leads to this often, in percent, as a
/// search that follows links does: whether it is there must be looked up, not guessed.
const LINKED_PERCENT: u32 = 40;

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
        let chosen = self.passages(rng);
        let passages: Vec<Passage> = chosen.iter().map(|(_, passage)| passage.clone()).collect();
        let Some((first, _)) = chosen.first() else {
            return Vec::new();
        };
        let logs = self.dialect.render_passages(&first.title, &passages);
        let mut asked: Vec<Asked> = Vec::new();
        for (entity, _) in &chosen {
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

    /// The teacher's way through a training task of the world.
    fn brief(&self, rng: &mut ChaCha8Rng) -> Vec<Segment> {
        let Some((task, plan)) =
            self.world.train.choose(rng).and_then(|task| Some((task, task.plan.as_ref()?)))
        else {
            return Vec::new();
        };
        let mut misses = rng.random_ratio(MISSED_PERCENT, 100);
        let (mut steps, mut seen) = (Vec::new(), Vec::<String>::new());
        while let Ok(action) = next_action(
            plan,
            Manner::default(),
            &seen.iter().map(String::as_str).collect::<Vec<_>>(),
        ) {
            let reply = self.dialect.compose_reply(&action);
            let query = action.code.strip_prefix("print(search(\"");
            let Some(query) = query.and_then(|rest| rest.strip_suffix("\"))")) else {
                steps.push(Step { reply, observation: None });
                break;
            };
            let passages = self.shown(plan, query, std::mem::take(&mut misses), rng);
            let logs = self.dialect.render_passages(query, &passages);
            seen.push(logs.clone());
            let observation = Observation::Output { logs, value: None, assigned: None };
            steps.push(Step { reply, observation: Some(observation) });
        }
        let Task { question, .. } = task;
        let transcript = Transcript { question: question.clone(), steps, answer_requested: false };
        self.dialect.render_training(&transcript)
    }

    /// One to four passages: that of the entity that `query` names, if there is one and the search
    /// does not miss, at times the next one that the plan leads to, and others of its kind.
    fn shown(&self, plan: &Plan, query: &str, misses: bool, rng: &mut ChaCha8Rng) -> Vec<Passage> {
        let World { entities, documents, .. } = self.world;
        let entity = |index: usize| entities.get(index);
        let titled = |title: &str| entities.iter().position(|entity| entity.title == title);
        let is_named = |title: &str| {
            query.strip_prefix(title).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let (read, _) = reads(plan, entities);
        let mut titles: Vec<&str> = read.iter().map(|read| read.title.as_str()).collect();
        titles.dedup();
        let at = titles.iter().position(|title| is_named(title));
        let named = at.and_then(|at| titles.get(at)).and_then(|title| titled(title));
        let named = named.or_else(|| {
            let fitting = (0..entities.len())
                .filter(|index| entity(*index).is_some_and(|entity| is_named(&entity.title)));
            fitting.max_by_key(|index| entity(*index).map_or(0, |entity| entity.title.len()))
        });
        let next = at.and_then(|at| titles.get(at + 1)).and_then(|title| titled(title));
        let next = next.filter(|_| rng.random_ratio(LINKED_PERCENT, 100));
        let kind = named.and_then(entity).map(|entity| entity.kind);
        let kind = kind.unwrap_or_else(|| EntityKind::of_title(query));
        let others = (0..entities.len()).filter(|index| {
            ![named, next].contains(&Some(*index))
                && entity(*index).is_some_and(|other| other.kind == kind)
        });
        let count = rng.random_range(0..=2) + usize::from(misses || named.is_none());
        let mut chosen = others.sample(rng, count);
        chosen.extend([named, next].into_iter().flatten().filter(|_| !misses));
        chosen.shuffle(rng);
        let passage = |index: &usize| {
            let (entity, document) = entities.get(*index).zip(documents.get(*index))?;
            let is_needed = [named, next].contains(&Some(*index));
            let needed = if is_needed { plan.relations() } else { Vec::new() };
            let text = sentences(entity, &document.text, &needed, rng);
            Some(Passage { title: document.title.clone(), text, score: 0.0 })
        };
        chosen.iter().filter_map(passage).collect()
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

/// The sentences of a page that state `needed`, with a few others, in their order.
fn sentences(entity: &Entity, text: &str, needed: &[Relation], rng: &mut ChaCha8Rng) -> String {
    let all: Vec<&str> = text.split_inclusive(". ").collect();
    let says = |sentence: &str| {
        let sentence = sentence.trim_end().trim_end_matches(['.', '!', '?']);
        needed.iter().any(|relation| relation.read(&entity.title, sentence).is_some())
    };
    let count = rng.random_range(1..=ASIDES_MAX);
    let asides = (0..all.len()).sample(rng, count);
    let kept =
        all.iter().enumerate().filter(|(index, sentence)| asides.contains(index) || says(sentence));
    kept.map(|(_, sentence)| *sentence).collect::<String>().trim_end().to_owned()
}

/// The pieces as segments, without the blank at the very end.
fn split(mut pieces: Vec<Piece>) -> Vec<Segment> {
    if let Some((text, _)) = pieces.last_mut() {
        text.truncate(text.trim_end().len());
    }
    let segment = |(text, learned)| Segment { text, source: Source::Content, learned };
    pieces.into_iter().filter(|(text, _)| !text.is_empty()).map(segment).collect()
}
