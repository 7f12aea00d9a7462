//! Entities with their facts: what the populations of both domains share.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::kind::EntityKind;
use super::names::{NameSource, Split};
use super::relation::Relation;
use super::{Domain, Style, gazetteer, plant};

/// Something a document is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// Its name, and the title of its document.
    pub title: String,
    /// Where it may be asked about.
    pub split: Split,
    /// What its document says.
    pub facts: Vec<Fact>,
}

/// One fact of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What is said.
    pub relation: Relation,
    /// The value, as documents write it.
    pub value: String,
}

impl Entity {
    /// The value of a fact that the document states.
    #[must_use]
    pub fn value(&self, relation: Relation) -> Option<&str> {
        self.facts.iter().find(|fact| fact.relation == relation).map(|fact| fact.value.as_str())
    }
}

/// Persons share one of their two words with another person this often, in percent.
const SHARED_WORD_PERCENT: u32 = 30;
/// What bears a name and a word is named like something else this often, in percent.
const SHARED_NAME_PERCENT: u32 = 25;
/// How many facts a plain and any other document states; of many the former half at least,
/// the latter two in three.
const PLAIN_FACTS: &[usize] = &[2, 3, 3, 3, 4, 4, 4];
const FACTS: &[usize] = &[3, 4, 4, 5, 5, 6];

/// `count` entities of one split, all links inside the split.
pub fn populate(
    domain: Domain,
    style: Style,
    split: Split,
    count: usize,
    names: &mut NameSource,
    rng: &mut ChaCha8Rng,
) -> Vec<Entity> {
    let mut population =
        Population { split, style, names, rng, shared: Vec::new(), entities: Vec::new() };
    match domain {
        Domain::Gazetteer => gazetteer::populate(&mut population, count),
        Domain::Plant => plant::populate(&mut population, count),
    }
    let Population { mut entities, .. } = population;
    for entity in &mut entities {
        entity.facts.shuffle(rng);
        let count = match style {
            Style::Plain => {
                PLAIN_FACTS.choose(rng).copied().unwrap_or(3).max(entity.facts.len() / 2)
            }
            Style::Full | Style::Unfamiliar => {
                FACTS.choose(rng).copied().unwrap_or(4).max(entity.facts.len() * 2 / 3)
            }
        };
        entity.facts.truncate(count);
    }
    entities
}

/// Entities in the making.
pub struct Population<'a> {
    pub split: Split,
    pub style: Style,
    pub names: &'a mut NameSource,
    pub rng: &'a mut ChaCha8Rng,
    /// Names that one more entity may share.
    shared: Vec<String>,
    pub entities: Vec<Entity>,
}

impl Population<'_> {
    /// A person called by one or two new words.
    pub fn person(&mut self, facts: Vec<Fact>) -> String {
        let word = self.names.draw(self.split, self.rng);
        let other = self.link(Relation::Teacher, &[EntityKind::Person]).value;
        let shared = other.split_once(' ');
        let title = match shared {
            Some((first, last)) if self.percent(SHARED_WORD_PERCENT) => {
                if self.percent(50) {
                    format!("{first} {word}")
                } else {
                    format!("{word} {last}")
                }
            }
            _ => format!("{} {word}", self.names.draw(self.split, self.rng)),
        };
        self.push(EntityKind::Person, title.clone(), facts);
        title
    }

    /// Something with a name, at times that of something of another kind.
    pub fn named(&mut self, kind: EntityKind, facts: Vec<Fact>) {
        let shares = kind.title_word().is_some() && self.percent(SHARED_NAME_PERCENT);
        let name = if shares && !self.shared.is_empty() {
            let index = self.rng.random_range(0..self.shared.len());
            self.shared.swap_remove(index)
        } else {
            let name = self.names.draw(self.split, self.rng);
            self.shared.push(name.clone());
            name
        };
        let title = kind.title(&name);
        if self.entities.iter().any(|entity| entity.title == title) {
            return self.named(kind, facts);
        }
        self.push(kind, title, facts);
    }

    pub fn push(&mut self, kind: EntityKind, title: String, facts: Vec<Fact>) {
        self.entities.push(Entity { kind, title, split: self.split, facts });
    }

    /// The entities of a kind.
    pub fn of(&self, kind: EntityKind) -> impl Iterator<Item = &Entity> {
        self.entities.iter().filter(move |entity| entity.kind == kind)
    }

    /// A link to any entity of one of these kinds.
    pub fn link(&mut self, relation: Relation, kinds: &[EntityKind]) -> Fact {
        let targets: Vec<&Entity> =
            self.entities.iter().filter(|entity| kinds.contains(&entity.kind)).collect();
        let value = targets.choose(self.rng).map_or(String::new(), |target| target.title.clone());
        Fact { relation, value }
    }

    /// A number that the entity with this title has.
    pub fn number_of(&self, title: &str, relation: Relation) -> Option<u32> {
        let entity = self.entities.iter().find(|entity| entity.title == title);
        entity.and_then(|entity| entity.value(relation)?.parse().ok())
    }

    pub fn number(&mut self, range: std::ops::RangeInclusive<u32>) -> u32 {
        self.rng.random_range(range)
    }

    /// A fact with any number of the range.
    pub fn any(&mut self, relation: Relation, range: std::ops::RangeInclusive<u32>) -> Fact {
        number_fact(relation, self.number(range))
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }
}

pub fn number_fact(relation: Relation, value: u32) -> Fact {
    Fact { relation, value: value.to_string() }
}
