//! Entities with their facts, and the documents about them.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::names::{NameSource, Split};
use super::relation::{EntityKind, Relation};

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
    /// A number in digits, or the title of another entity of the world.
    pub value: String,
}

impl Entity {
    /// The value of a fact that the document states.
    pub fn value(&self, relation: Relation) -> Option<&str> {
        self.facts.iter().find(|fact| fact.relation == relation).map(|fact| fact.value.as_str())
    }
}

/// Share of each kind among the documents, in percent.
const SHARES: [(EntityKind, usize); 4] = [
    (EntityKind::Bridge, 21),
    (EntityKind::Town, 15),
    (EntityKind::River, 13),
    (EntityKind::Museum, 20),
];
/// Persons share one of their two words with another person this often, in percent.
const SHARED_WORD_PERCENT: u32 = 30;
/// Works and rivers are named like another place this often, in percent.
const SHARED_PLACE_PERCENT: u32 = 25;

/// `count` entities of one split, all links inside the split.
pub fn populate(
    split: Split,
    count: usize,
    names: &mut NameSource,
    rng: &mut ChaCha8Rng,
) -> Vec<Entity> {
    let mut population = Population { split, names, rng, places: Vec::new(), entities: Vec::new() };
    let of = |kind| SHARES.iter().find(|s| s.0 == kind).map_or(0, |s| (count * s.1 / 100).max(1));
    let places: usize = SHARES.iter().map(|(kind, _)| of(*kind)).sum();
    population.rivers(of(EntityKind::River));
    population.towns(of(EntityKind::Town));
    population.mouths();
    population.persons(count.saturating_sub(places).max(2));
    population.bridges(of(EntityKind::Bridge));
    population.museums(of(EntityKind::Museum));
    let Population { mut entities, .. } = population;
    for entity in &mut entities {
        choose_facts(entity, rng);
    }
    entities
}

/// The document of `entity`: its facts in any order, each in one of its wordings.
pub fn document_text(entity: &Entity, rng: &mut ChaCha8Rng) -> String {
    let sentences: Vec<String> = entity
        .facts
        .iter()
        .enumerate()
        .map(|(index, fact)| {
            let is_short = index > 0 && rng.random_bool(0.5);
            let subject = if is_short {
                entity.kind.short(&entity.title)
            } else {
                entity.kind.in_text(&entity.title)
            };
            let wordings = fact.relation.words().sentences.len();
            fact.relation.sentence(rng.random_range(0..wordings), &subject, &fact.value) + "."
        })
        .collect();
    sentences.join(" ")
}

/// Two to four of the facts, in random order.
fn choose_facts(entity: &mut Entity, rng: &mut ChaCha8Rng) {
    entity.facts.shuffle(rng);
    let count = [2, 3, 3, 3, 4, 4, 4].choose(rng).copied().unwrap_or(3);
    entity.facts.truncate(count);
}

struct Population<'a> {
    split: Split,
    names: &'a mut NameSource,
    rng: &'a mut ChaCha8Rng,
    /// Names of places that one more place may share.
    places: Vec<String>,
    entities: Vec<Entity>,
}

impl Population<'_> {
    fn rivers(&mut self, count: usize) {
        for _ in 0..count {
            let length = self.number(80..=990);
            let depth = self.number(3..=60);
            let facts = vec![
                number_fact(Relation::RiverLength, length),
                number_fact(Relation::Depth, depth),
            ];
            self.place(EntityKind::River, facts);
        }
    }

    fn towns(&mut self, count: usize) {
        for _ in 0..count {
            let facts = vec![
                number_fact(Relation::FoundingYear, self.number(1200..=1699)),
                number_fact(Relation::Population, self.number(1000..=9999)),
                number_fact(Relation::RailwayYear, self.number(1840..=1929)),
                self.link(Relation::OnRiver, EntityKind::River),
            ];
            self.place(EntityKind::Town, facts);
        }
    }

    /// Rivers exist before the towns at their mouths.
    fn mouths(&mut self) {
        for index in 0..self.entities.len() {
            let mouth = self.link(Relation::Mouth, EntityKind::Town);
            if let Some(entity) = self.entities.get_mut(index)
                && entity.kind == EntityKind::River
            {
                entity.facts.push(mouth);
            }
        }
    }

    fn persons(&mut self, count: usize) {
        let mut years: Vec<(u32, String)> = Vec::new();
        for _ in 0..count {
            let birth = self.number(1700..=1869);
            let death = birth + self.number(62..=94);
            let mut facts = vec![
                number_fact(Relation::BirthYear, birth),
                number_fact(Relation::DeathYear, death),
                self.link(Relation::BirthTown, EntityKind::Town),
            ];
            let older: Vec<_> = years.iter().filter(|(year, _)| year + 12 <= birth).collect();
            if let Some((_, teacher)) = older.choose(self.rng) {
                facts.push(Fact { relation: Relation::Teacher, value: teacher.clone() });
            }
            let title = self.person_title(&years);
            years.push((birth, title.clone()));
            self.push(EntityKind::Person, title, facts);
        }
    }

    fn person_title(&mut self, others: &[(u32, String)]) -> String {
        let word = self.names.draw(self.split, self.rng);
        let shared = others.choose(self.rng).and_then(|(_, title)| title.split_once(' '));
        match shared {
            Some((first, last)) if self.percent(SHARED_WORD_PERCENT) => {
                if self.percent(50) {
                    format!("{first} {word}")
                } else {
                    format!("{word} {last}")
                }
            }
            _ => format!("{} {word}", self.names.draw(self.split, self.rng)),
        }
    }

    fn bridges(&mut self, count: usize) {
        for _ in 0..count {
            let mut facts = self.work(Relation::Designer);
            let opening = facts.first().and_then(|fact| fact.value.parse().ok()).unwrap_or(1800);
            let rebuilding = opening + self.number(15..=60);
            facts.push(number_fact(Relation::RebuildingYear, rebuilding));
            facts.push(number_fact(Relation::BridgeLength, self.number(40..=990)));
            facts.push(self.link(Relation::Crosses, EntityKind::River));
            self.place(EntityKind::Bridge, facts);
        }
    }

    fn museums(&mut self, count: usize) {
        for _ in 0..count {
            let mut facts = self.work(Relation::Founder);
            facts.push(number_fact(Relation::Rooms, self.number(12..=290)));
            facts.push(self.link(Relation::InTown, EntityKind::Town));
            self.place(EntityKind::Museum, facts);
        }
    }

    /// Opening year and maker of a work: the maker was 24 to 60 years old.
    fn work(&mut self, maker: Relation) -> Vec<Fact> {
        let made_by = self.link(maker, EntityKind::Person);
        let person = self.entities.iter().find(|entity| entity.title == made_by.value);
        let birth = person.and_then(|person| person.value(Relation::BirthYear)?.parse().ok());
        let opening = birth.unwrap_or(1800) + self.number(24..=60);
        vec![number_fact(Relation::OpeningYear, opening), made_by]
    }

    fn place(&mut self, kind: EntityKind, facts: Vec<Fact>) {
        let shares = self.percent(SHARED_PLACE_PERCENT) && !self.places.is_empty();
        let name = if shares && kind != EntityKind::Town {
            let index = self.rng.random_range(0..self.places.len());
            self.places.swap_remove(index)
        } else {
            let name = self.names.draw(self.split, self.rng);
            self.places.push(name.clone());
            name
        };
        let title = kind.title_word().map_or(name.clone(), |word| format!("{name} {word}"));
        if self.entities.iter().any(|entity| entity.title == title) {
            return self.place(kind, facts);
        }
        self.push(kind, title, facts);
    }

    fn push(&mut self, kind: EntityKind, title: String, facts: Vec<Fact>) {
        self.entities.push(Entity { kind, title, split: self.split, facts });
    }

    fn link(&mut self, relation: Relation, kind: EntityKind) -> Fact {
        let targets: Vec<&Entity> = self.entities.iter().filter(|e| e.kind == kind).collect();
        let value = targets.choose(self.rng).map_or(String::new(), |target| target.title.clone());
        Fact { relation, value }
    }

    fn number(&mut self, range: std::ops::RangeInclusive<u32>) -> u32 {
        self.rng.random_range(range)
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }
}

fn number_fact(relation: Relation, value: u32) -> Fact {
    Fact { relation, value: value.to_string() }
}
