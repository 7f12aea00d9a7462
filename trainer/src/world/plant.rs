//! The population of a plant: machines with parts, halls, people, suppliers and fault codes.

use rand::seq::IndexedRandom;

use super::kind::EntityKind;
use super::names::fault_code;
use super::populate::{Entity, Fact, Population, number_fact};
use super::relation::Relation;
use super::value::{self, CAUSES};

const MACHINES: [EntityKind; 3] = [EntityKind::Pump, EntityKind::Compressor, EntityKind::Boiler];
const PARTS: [EntityKind; 3] = [EntityKind::Seal, EntityKind::Filter, EntityKind::Bearing];

/// Share of each kind among the documents, in percent; the others are persons.
const SHARES: [(EntityKind, usize); 9] = [
    (EntityKind::Hall, 10),
    (EntityKind::Works, 8),
    (EntityKind::Seal, 8),
    (EntityKind::Filter, 8),
    (EntityKind::Bearing, 8),
    (EntityKind::Pump, 11),
    (EntityKind::Compressor, 10),
    (EntityKind::Boiler, 10),
    (EntityKind::Fault, 11),
];

/// Fills `population` with `count` entities.
pub fn populate(population: &mut Population, count: usize) {
    let of = |share: usize| (count * share / 100).max(1);
    let others: usize = SHARES.iter().map(|(_, share)| of(*share)).sum();
    for (kind, share) in SHARES {
        if kind == EntityKind::Works {
            // Halls exist, and people are needed from here on.
            persons(population, count.saturating_sub(others).max(2));
            foremen(population);
        }
        for _ in 0..of(share) {
            one(population, kind);
        }
    }
}

fn one(population: &mut Population, kind: EntityKind) {
    let facts = match kind {
        EntityKind::Hall => vec![
            population.any(Relation::Area, 200..=9900),
            population.any(Relation::BuildYear, 1890..=1969),
        ],
        EntityKind::Works => vec![
            population.any(Relation::Employees, 12..=990),
            population.any(Relation::Phone, 1000..=9999),
            population.any(Relation::WorksYear, 1850..=1999),
        ],
        EntityKind::Fault => return fault(population),
        _ if PARTS.contains(&kind) => vec![
            population.any(Relation::PartNumber, 1000..=9999),
            population.any(Relation::Weight, 20..=990),
            population.any(Relation::Lifetime, 300..=9900),
            population.link(Relation::Supplier, &[EntityKind::Works]),
        ],
        _ => machine(population),
    };
    population.named(kind, facts);
}

fn persons(population: &mut Population, count: usize) {
    for _ in 0..count {
        let hired = population.number(1970..=2019);
        let mut facts = vec![
            number_fact(Relation::HireYear, hired),
            population.any(Relation::Extension, 100..=999),
            population.link(Relation::Workshop, &[EntityKind::Hall]),
        ];
        let instructor = population.link(Relation::Instructor, &[EntityKind::Person]);
        let earlier = population.number_of(&instructor.value, Relation::HireYear);
        if earlier.is_some_and(|year| year < hired) {
            facts.push(instructor);
        }
        population.person(facts);
    }
}

/// Halls exist before the people who lead them.
fn foremen(population: &mut Population) {
    for index in 0..population.entities.len() {
        let foreman = population.link(Relation::Foreman, &[EntityKind::Person]);
        if let Some(entity) = population.entities.get_mut(index)
            && entity.kind == EntityKind::Hall
        {
            entity.facts.push(foreman);
        }
    }
}

/// The facts of a machine, which is younger than its hall.
fn machine(population: &mut Population) -> Vec<Fact> {
    let hall = population.link(Relation::InHall, &[EntityKind::Hall]);
    let built = population.number_of(&hall.value, Relation::BuildYear).unwrap_or(1900);
    let commissioned = built + population.number(1..=30);
    let overhauled = commissioned + population.number(5..=20);
    let last = value::new_year(2021) + i64::from(population.number(0..=900));
    let next = last + i64::from(population.number(20..=700));
    let day = |relation, number| Fact { relation, value: value::date(number) };
    vec![
        hall,
        number_fact(Relation::CommissionYear, commissioned),
        number_fact(Relation::OverhaulYear, overhauled),
        population.any(Relation::Pressure, 4..=99),
        population.any(Relation::Power, 3..=950),
        population.any(Relation::Interval, 100..=9900),
        day(Relation::LastService, last),
        day(Relation::NextService, next),
        population.link(Relation::ServicedBy, &[EntityKind::Person]),
        parts(population),
    ]
}

fn parts(population: &mut Population) -> Fact {
    let count = population.number(1..=5) as usize;
    let all: Vec<&Entity> =
        population.entities.iter().filter(|e| PARTS.contains(&e.kind)).collect();
    let chosen: Vec<String> = all.sample(population.rng, count).map(|e| e.title.clone()).collect();
    Fact { relation: Relation::Parts, value: value::joined(&chosen) }
}

fn fault(population: &mut Population) {
    let code = fault_code(population.names, population.split, population.rng);
    let cause = CAUSES.choose(population.rng).copied().unwrap_or_default().to_owned();
    let facts = vec![
        Fact { relation: Relation::FaultCause, value: cause },
        population.link(Relation::FaultMachine, &MACHINES),
        population.link(Relation::FaultPart, &PARTS),
    ];
    population.push(EntityKind::Fault, EntityKind::Fault.title(&code), facts);
}
