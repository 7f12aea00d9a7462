#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const DOMAINS: [Domain; 2] = [Domain::Gazetteer, Domain::Plant];
const STYLES: [Style; 3] = [Style::Plain, Style::Full, Style::Unfamiliar];

fn config(seed: u64, domain: Domain, style: Style) -> WorldConfig {
    WorldConfig { style, ..WorldConfig::new(seed, domain, 400, 200) }
}

/// Every domain in every style.
fn worlds(seed: u64) -> impl Iterator<Item = (WorldConfig, World)> {
    let all = DOMAINS.into_iter().flat_map(|domain| STYLES.map(|style| (domain, style)));
    all.map(move |(domain, style)| {
        let config = config(seed, domain, style);
        (config, generate(&config).unwrap())
    })
}

#[test]
fn a_world_is_a_function_of_its_seed() {
    for (config, world) in worlds(7) {
        assert_eq!(generate(&config).as_ref(), Ok(&world));
        let other = generate(&WorldConfig { seed: 8, ..config }).unwrap();
        assert_ne!(other.documents, world.documents);
    }
}

#[test]
fn there_are_exactly_as_many_documents_and_tasks_as_asked_for() {
    for (documents, test_tasks, train_tasks) in
        [(400, 200, 200), (80, 10, 10), (1000, 333, 1), (40, 3, 0), (400, 1000, 0)]
    {
        for domain in DOMAINS {
            let base = WorldConfig::new(3, domain, documents, test_tasks);
            let world = generate(&WorldConfig { train_tasks, ..base }).unwrap();
            assert_eq!(world.documents.len(), documents);
            assert_eq!((world.test.len(), world.train.len()), (test_tasks, train_tasks));
            let distinct = |values: Vec<&String>| values.into_iter().collect::<BTreeSet<_>>().len();
            let tasks: Vec<&Task> = world.test.iter().chain(&world.train).collect();
            assert_eq!(distinct(tasks.iter().map(|task| &task.question).collect()), tasks.len());
            assert_eq!(distinct(tasks.iter().map(|task| &task.id).collect()), tasks.len());
            assert_eq!(distinct(world.documents.iter().map(|d| &d.title).collect()), documents);
        }
    }
}

#[test]
fn every_kind_of_question_has_its_share() {
    for (config, world) in worlds(11) {
        let mut counts: BTreeMap<TaskKind, usize> = BTreeMap::new();
        for task in &world.test {
            *counts.entry(task.kind).or_default() += 1;
        }
        let shares = TaskKind::shares(config.style);
        assert_eq!(counts.len(), shares.len());
        for (kind, share) in shares {
            assert!(counts[kind].abs_diff(2 * share) <= 1, "{counts:?}");
        }
    }
}

#[test]
fn training_worlds_hold_no_name_of_the_test_split() {
    for domain in DOMAINS {
        let base = config(2, domain, Style::Full);
        let world = generate(&WorldConfig { test_tasks: 0, train_tasks: 100, ..base }).unwrap();
        let of_train = |title: &str| words_of(title).all(|word| split_of(word) == Split::Train);
        assert!(world.entities.iter().all(|entity| of_train(&entity.title)));
        let world = generate(&WorldConfig { train_tasks: 100, ..base }).unwrap();
        let named = |task: &Task, split| {
            let words: Vec<&str> = task.question.split([' ', ',', '?', ':', '.']).collect();
            let of_split = world.entities.iter().filter(|e| e.split == split);
            of_split.flat_map(|e| words_of(&e.title)).any(|name| words.contains(&name))
        };
        assert!(!world.test.iter().any(|task| named(task, Split::Train)));
        assert!(!world.train.iter().any(|task| named(task, Split::Test)));
    }
}

/// The facts of an entity as its document gives them.
fn as_written(document: &Document, relations: &[Relation]) -> Vec<Fact> {
    let sentences: Vec<&str> = document.text.trim_end_matches('.').split(". ").collect();
    let mut facts = Vec::new();
    for relation in relations {
        let read = sentences.iter().filter_map(|s| relation.read(&document.title, s));
        facts.extend(read.map(|value| Fact { relation: *relation, value }));
    }
    facts
}

/// What entities of a kind can have.
fn relations_of(world: &World, kind: EntityKind) -> Vec<Relation> {
    let alike = world.entities.iter().filter(|entity| entity.kind == kind);
    let all = alike.flat_map(|entity| entity.facts.iter().map(|fact| fact.relation));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn every_fact_stands_in_its_document_once_and_nothing_else_does() {
    for (_, world) in worlds(13) {
        for (document, entity) in world.documents.iter().zip(&world.entities) {
            let mut read = as_written(document, &relations_of(&world, entity.kind));
            let mut facts = entity.facts.clone();
            read.sort_by_key(|fact| fact.relation);
            facts.sort_by_key(|fact| fact.relation);
            assert_eq!(read, facts, "{}: {}", document.title, document.text);
        }
    }
}

/// Answers every question from the documents alone.
#[test]
fn answers_follow_from_the_documents() {
    for (_, world) in worlds(17) {
        let written: Vec<Entity> = world
            .documents
            .iter()
            .zip(&world.entities)
            .map(|(document, entity)| Entity {
                facts: as_written(document, &relations_of(&world, entity.kind)),
                ..entity.clone()
            })
            .collect();
        for task in &world.test {
            let plan = task.plan.as_ref().unwrap();
            let (reads, is_whole) = reads(plan, &written);
            if task.kind == TaskKind::Absent {
                assert!(!is_whole, "{}", task.question);
                assert_eq!(task.answer, NOT_IN_CORPUS);
            } else {
                assert_eq!(plan.answer(&reads).as_ref(), Some(&task.answer), "{}", task.question);
            }
        }
    }
}

#[test]
fn what_is_computed_is_right() {
    let read = |relation, value: &str| Read {
        title: "Lu Bridge".to_owned(),
        relation,
        value: value.to_owned(),
    };
    let check = |finish, reads: &[Read], expected: &str| {
        let plan = Plan { needs: Vec::new(), finish };
        assert_eq!(plan.answer(reads).as_deref(), Some(expected));
    };
    let lengths = [read(Relation::BridgeLength, "240"), read(Relation::BridgeLength, "90")];
    check(Finish::Difference, &lengths, "150");
    check(Finish::Sum, &lengths, "330");
    let titles = ["Lu Bridge".to_owned(), "Pa Bridge".to_owned()];
    check(Finish::Choice(Order::Smaller, titles), &lengths, "Pa Bridge");
    check(Finish::Check(Order::Larger), &lengths, "yes");
    check(Finish::Bound(Order::Smaller, 90), &lengths[..1], "no");
    let scale = |divides| Finish::Scale(Scale { factor: 1000, divides, unit: "kilometres" });
    check(scale(true), &lengths[1..], "0.09");
    check(scale(false), &lengths[1..], "90000");
    let days =
        [read(Relation::Handover, "2 March 1900"), read(Relation::FirstStone, "28 February 1900")];
    check(Finish::Days, &days, "2");
    check(Finish::Count, &[read(Relation::Bridges, "A Bridge, B Bridge and C Bridge")], "3");
}

#[test]
fn a_world_that_cannot_be_is_refused_in_words() {
    let few = generate(&WorldConfig::new(1, Domain::Gazetteer, 10, 5));
    assert_eq!(few, Err(WorldError::TooSmall { documents: 10 }));
    let many = generate(&WorldConfig::new(1, Domain::Plant, 40, 5000));
    assert!(many.unwrap_err().to_string().contains("ask for more documents or fewer tasks"));
}

fn words_of(title: &str) -> impl Iterator<Item = &str> {
    let kind = EntityKind::of_title(title);
    let is_name = move |word: &&str| Some(*word) != kind.title_word() && *word != "Fault";
    title.split(' ').filter(is_name)
}
