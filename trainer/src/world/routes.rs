//! Which facts lead from one entity to another, and what is asked of the entity they lead to.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::Domain;
use super::relation::Relation;

/// A fact that leads on, and the facts asked then.
type Route = (Relation, &'static [Relation]);

const GAZETTEER: &[Route] = &[
    (Relation::Designer, PERSON),
    (Relation::Founder, PERSON),
    (Relation::Teacher, PERSON),
    (Relation::BirthTown, TOWN),
    (Relation::InTown, TOWN),
    (Relation::Mouth, TOWN),
    (Relation::Crosses, RIVER),
    (Relation::OnRiver, RIVER),
];
const PERSON: &[Relation] =
    &[Relation::BirthYear, Relation::BirthTown, Relation::DeathYear, Relation::Teacher];
const TOWN: &[Relation] = &[Relation::FoundingYear, Relation::Population, Relation::RailwayYear];
const RIVER: &[Relation] = &[Relation::RiverLength, Relation::Depth, Relation::Mouth];

const PLANT: &[Route] = &[
    (Relation::InHall, HALL),
    (Relation::ServicedBy, STAFF),
    (Relation::Supplier, WORKS),
    (Relation::Foreman, STAFF),
    (Relation::Workshop, HALL),
    (Relation::Instructor, STAFF),
    (Relation::FaultMachine, MACHINE),
    (Relation::FaultPart, PART),
];
const HALL: &[Relation] = &[Relation::Area, Relation::BuildYear, Relation::Foreman];
const STAFF: &[Relation] =
    &[Relation::HireYear, Relation::Extension, Relation::Workshop, Relation::Instructor];
const WORKS: &[Relation] = &[Relation::Employees, Relation::Phone, Relation::WorksYear];
const MACHINE: &[Relation] = &[
    Relation::Pressure,
    Relation::Power,
    Relation::Interval,
    Relation::InHall,
    Relation::ServicedBy,
    Relation::CommissionYear,
];
const PART: &[Relation] =
    &[Relation::PartNumber, Relation::Weight, Relation::Lifetime, Relation::Supplier];
/// What more a fact can be about.
const OTHERS: [&[Relation]; 2] = [
    &[
        Relation::OpeningYear,
        Relation::RebuildingYear,
        Relation::BridgeLength,
        Relation::Rooms,
        Relation::FirstStone,
        Relation::Handover,
    ],
    &[Relation::OverhaulYear, Relation::LastService, Relation::NextService, Relation::FaultCause],
];

/// The facts that lead on in this domain.
pub fn of(domain: Domain) -> &'static [Route] {
    match domain {
        Domain::Gazetteer => GAZETTEER,
        Domain::Plant => PLANT,
    }
}

/// What is asked of the entity that `via` leads to.
pub fn asked(domain: Domain, via: Relation) -> &'static [Relation] {
    of(domain).iter().find(|(relation, _)| *relation == via).map_or(&[], |(_, asked)| *asked)
}

/// A fact of the entity that `via` leads to that leads on itself. In a town nothing does but the
/// river on which it lies.
pub fn next(domain: Domain, via: Relation, rng: &mut ChaCha8Rng) -> Option<Relation> {
    let mut further: Vec<Relation> = asked(domain, via).to_vec();
    if asked(domain, via) == TOWN {
        further.push(Relation::OnRiver);
    }
    further.retain(|relation| !asked(domain, *relation).is_empty());
    further.choose(rng).copied()
}

/// Every fact that is asked for by itself in this domain.
pub fn all(domain: Domain) -> Vec<Relation> {
    let others = match domain {
        Domain::Gazetteer => OTHERS[0],
        Domain::Plant => OTHERS[1],
    };
    let leading = of(domain).iter().map(|(relation, _)| *relation);
    let asked = of(domain).iter().flat_map(|(_, asked)| asked.iter().copied());
    let mut all: Vec<Relation> = leading.chain(asked).chain(others.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
