//! The population of a gazetteer: persons, bridges, towns, rivers and museums.

use super::Style;
use super::kind::EntityKind;
use super::populate::{Fact, Population, number_fact};
use super::relation::Relation;
use super::value;

/// Share of each kind among the documents, in percent; the others are persons.
const SHARES: [(EntityKind, usize); 4] = [
    (EntityKind::River, 13),
    (EntityKind::Town, 15),
    (EntityKind::Bridge, 21),
    (EntityKind::Museum, 20),
];

/// Fills `population` with `count` entities.
pub fn populate(population: &mut Population, count: usize) {
    let of = |kind| SHARES.iter().find(|s| s.0 == kind).map_or(0, |s| (count * s.1 / 100).max(1));
    let places: usize = SHARES.iter().map(|(kind, _)| of(*kind)).sum();
    rivers(population, of(EntityKind::River));
    towns(population, of(EntityKind::Town));
    mouths(population);
    persons(population, count.saturating_sub(places).max(2));
    bridges(population, of(EntityKind::Bridge));
    museums(population, of(EntityKind::Museum));
    if population.style != Style::Plain {
        bridges_of_rivers(population);
    }
}

fn rivers(population: &mut Population, count: usize) {
    for _ in 0..count {
        let length = population.any(Relation::RiverLength, 80..=990);
        let depth = population.any(Relation::Depth, 3..=60);
        population.named(EntityKind::River, vec![length, depth]);
    }
}

fn towns(population: &mut Population, count: usize) {
    for _ in 0..count {
        let facts = vec![
            population.any(Relation::FoundingYear, 1200..=1699),
            population.any(Relation::Population, 1000..=9999),
            population.any(Relation::RailwayYear, 1840..=1929),
            population.link(Relation::OnRiver, &[EntityKind::River]),
        ];
        population.named(EntityKind::Town, facts);
    }
}

/// Rivers exist before the towns at their mouths.
fn mouths(population: &mut Population) {
    for index in 0..population.entities.len() {
        let mouth = population.link(Relation::Mouth, &[EntityKind::Town]);
        if let Some(entity) = population.entities.get_mut(index)
            && entity.kind == EntityKind::River
        {
            entity.facts.push(mouth);
        }
    }
}

fn persons(population: &mut Population, count: usize) {
    for _ in 0..count {
        let birth = population.number(1700..=1869);
        let death = birth + population.number(62..=94);
        let mut facts = vec![
            number_fact(Relation::BirthYear, birth),
            number_fact(Relation::DeathYear, death),
            population.link(Relation::BirthTown, &[EntityKind::Town]),
        ];
        let teacher = population.link(Relation::Teacher, &[EntityKind::Person]);
        let born = population.number_of(&teacher.value, Relation::BirthYear);
        if born.is_some_and(|year| year + 12 <= birth) {
            facts.push(teacher);
        }
        population.person(facts);
    }
}

fn bridges(population: &mut Population, count: usize) {
    for _ in 0..count {
        let (opening, mut facts) = work(population, Relation::Designer);
        facts.push(number_fact(Relation::RebuildingYear, opening + population.number(15..=60)));
        facts.push(population.any(Relation::BridgeLength, 40..=990));
        facts.push(population.link(Relation::Crosses, &[EntityKind::River]));
        population.named(EntityKind::Bridge, facts);
    }
}

fn museums(population: &mut Population, count: usize) {
    for _ in 0..count {
        let (_, mut facts) = work(population, Relation::Founder);
        facts.push(population.any(Relation::Rooms, 12..=290));
        facts.push(population.link(Relation::InTown, &[EntityKind::Town]));
        population.named(EntityKind::Museum, facts);
    }
}

/// Opening year, maker and days of a work: the maker was 24 to 60 years old.
fn work(population: &mut Population, maker: Relation) -> (u32, Vec<Fact>) {
    let made_by = population.link(maker, &[EntityKind::Person]);
    let birth = population.number_of(&made_by.value, Relation::BirthYear);
    let opening = birth.unwrap_or(1800) + population.number(24..=60);
    let mut facts = vec![number_fact(Relation::OpeningYear, opening), made_by];
    if population.style != Style::Plain {
        let handover = value::new_year(opening) + i64::from(population.number(0..=360));
        let first_stone = handover - i64::from(population.number(90..=1900));
        facts.push(Fact { relation: Relation::Handover, value: value::date(handover) });
        facts.push(Fact { relation: Relation::FirstStone, value: value::date(first_stone) });
    }
    (opening, facts)
}

/// A river's page lists all its bridges, whether their pages name it or not.
fn bridges_of_rivers(population: &mut Population) {
    let crossing: Vec<(String, String)> = population
        .of(EntityKind::Bridge)
        .filter_map(|bridge| {
            Some((bridge.value(Relation::Crosses)?.to_owned(), bridge.title.clone()))
        })
        .collect();
    for entity in population.entities.iter_mut().filter(|e| e.kind == EntityKind::River) {
        let of_river = crossing.iter().filter(|(river, _)| *river == entity.title);
        let bridges: Vec<String> = of_river.map(|(_, bridge)| bridge.clone()).collect();
        if !bridges.is_empty() {
            let value = value::joined(&bridges);
            entity.facts.push(Fact { relation: Relation::Bridges, value });
        }
    }
}
