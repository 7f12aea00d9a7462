#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn config(seed: u64) -> WorldConfig {
    WorldConfig { seed, documents: 400, test_tasks: 200, train_tasks: 0 }
}

#[test]
fn a_world_is_a_function_of_its_seed() {
    assert_eq!(generate(&config(7)), generate(&config(7)));
    assert_ne!(generate(&config(7)).unwrap().documents, generate(&config(8)).unwrap().documents);
}

#[test]
fn there_are_exactly_as_many_documents_and_tasks_as_asked_for() {
    for (documents, test_tasks, train_tasks) in
        [(400, 200, 200), (80, 10, 10), (1000, 333, 1), (40, 3, 0), (400, 1000, 0)]
    {
        let world = generate(&WorldConfig { seed: 3, documents, test_tasks, train_tasks }).unwrap();
        assert_eq!(world.documents.len(), documents);
        assert_eq!((world.test.len(), world.train.len()), (test_tasks, train_tasks));
        let distinct = |values: Vec<&String>| values.into_iter().collect::<BTreeSet<_>>().len();
        let tasks: Vec<&Task> = world.test.iter().chain(&world.train).collect();
        assert_eq!(distinct(tasks.iter().map(|task| &task.question).collect()), tasks.len());
        assert_eq!(distinct(tasks.iter().map(|task| &task.id).collect()), tasks.len());
        assert_eq!(distinct(world.documents.iter().map(|d| &d.title).collect()), documents);
    }
}

#[test]
fn every_kind_of_question_has_a_tenth_or_more() {
    let mut counts: BTreeMap<TaskKind, usize> = BTreeMap::new();
    for task in generate(&config(11)).unwrap().test {
        *counts.entry(task.kind).or_default() += 1;
    }
    assert_eq!(counts.len(), 7);
    assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
    assert!(counts[&TaskKind::Comparison] <= 24, "{counts:?}");
}

#[test]
fn training_worlds_hold_no_name_of_the_test_split() {
    let world = generate(&WorldConfig { test_tasks: 0, train_tasks: 100, ..config(2) }).unwrap();
    assert!(world.entities.iter().all(|e| words_of(&e.title).all(|w| split_of(w) == Split::Train)));
    let world = generate(&WorldConfig { train_tasks: 100, ..config(2) }).unwrap();
    let asked = |task: &Task| {
        let words: Vec<&str> = task.question.split([' ', ',', '?']).collect();
        let named = world.entities.iter().filter(|e| e.split == Split::Train);
        named.flat_map(|e| words_of(&e.title)).any(|name| words.contains(&name))
    };
    assert!(!world.test.iter().any(asked));
    assert!(world.train.iter().all(asked));
}

#[test]
fn every_fact_stands_in_its_document_once() {
    let world = generate(&config(13)).unwrap();
    for (document, entity) in world.documents.iter().zip(&world.entities) {
        let sentences: Vec<&str> = document.text.trim_end_matches('.').split(". ").collect();
        assert!((2..=4).contains(&sentences.len()), "{}", document.text);
        assert_eq!(sentences.len(), entity.facts.len());
        for fact in &entity.facts {
            let read: Vec<String> = sentences
                .iter()
                .filter_map(|sentence| fact.relation.read(&document.title, sentence))
                .collect();
            assert_eq!(read, std::slice::from_ref(&fact.value), "{}", document.text);
        }
    }
}

/// Answers every question from the facts again, by its plan, and checks that it is the only one:
/// titles are unique and each document states a fact once, so a plan has one reading.
#[test]
fn answers_follow_from_the_facts() {
    let world = generate(&config(17)).unwrap();
    let value = |title: &str, relation: Relation| -> String {
        let matching: Vec<&Entity> = world.entities.iter().filter(|e| e.title == title).collect();
        assert_eq!(matching.len(), 1, "{title}");
        matching[0].value(relation).unwrap().to_owned()
    };
    let number = |title: &str, relation| value(title, relation).parse::<i64>().unwrap();
    for task in &world.test {
        let answer = match task.plan.as_ref().unwrap() {
            Plan::Lookup { title, relation } => value(title, *relation),
            Plan::Hop { title, via, relation } => value(&value(title, *via), *relation),
            Plan::Age { title, maker } => {
                let birth = number(&value(title, *maker), Relation::BirthYear);
                let age = number(title, Relation::OpeningYear) - birth;
                assert!((24..=60).contains(&age));
                age.to_string()
            }
            Plan::Span { title, end, start } => {
                let span = number(title, *end) - number(title, *start);
                assert!(span > 0);
                span.to_string()
            }
            Plan::Pair { titles: [a, b], relation, operation } => {
                let (x, y) = (number(a, *relation), number(b, *relation));
                assert_ne!(x, y);
                match operation {
                    Operation::Difference => (x - y).abs().to_string(),
                    Operation::Sum => (x + y).to_string(),
                    Operation::Smaller => {
                        if x < y {
                            a.clone()
                        } else {
                            b.clone()
                        }
                    }
                    Operation::Larger => {
                        if x > y {
                            a.clone()
                        } else {
                            b.clone()
                        }
                    }
                }
            }
        };
        assert_eq!(task.answer, answer, "{}", task.question);
    }
}

#[test]
fn a_world_that_cannot_be_is_refused_in_words() {
    let few = generate(&WorldConfig { seed: 1, documents: 10, test_tasks: 5, train_tasks: 0 });
    assert_eq!(few, Err(WorldError::TooSmall { documents: 10 }));
    let many = generate(&WorldConfig { seed: 1, documents: 40, test_tasks: 5000, train_tasks: 0 });
    assert!(many.unwrap_err().to_string().contains("ask for more documents or fewer tasks"));
}

fn words_of(title: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| !["Bridge", "River", "Museum"].contains(word);
    title.split(' ').filter(is_name)
}
