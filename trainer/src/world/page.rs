//! Documents about entities, as several authors write them.
//!
//! The facts are the same whoever writes; what differs is what stands around them: order, pronouns,
//! second halves of sentences, opening words, asides, the form of a data sheet, and sentences that
//! say nothing anybody asks. The reporter writes no page that a student is trained on.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::Style;
use super::filler;
use super::names::capitalised;
use super::populate::{Entity, Fact};
use super::relation::ValueKind;

/// Who writes a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    /// One sentence for each fact, nothing else.
    Plain,
    /// Two facts in one sentence at times, and pronouns.
    Encyclopaedist,
    /// Mostly entries of a data sheet.
    Clerk,
    /// Opening words and asides.
    Guide,
    /// Says where everything comes from; writes test pages only.
    Reporter,
}

/// Who writes for training, the frequent ones several times.
const AUTHORS: &[Author] =
    &[Author::Encyclopaedist, Author::Encyclopaedist, Author::Clerk, Author::Guide];

/// What a guide starts a sentence with.
const OPENINGS: &[&str] =
    &["As every child here knows, ", "By all accounts, ", "If memory serves, ", "To be exact, "];
/// What a reporter starts a sentence with.
const SOURCES: &[&str] =
    &["It is on record that ", "Two papers agree that ", "An old file says that "];
/// What a guide adds.
const ASIDES: &[&str] =
    &[", which few people know", " (look at the plate)", ", and that is no secret"];
/// What a reporter adds.
const DOUBTS: &[&str] = &[", if the files are right", " (nobody denies it)"];

/// Words of a page that a corpus cuts into several passages.
const LONG_PAGE_WORDS: std::ops::RangeInclusive<usize> = 420..=520;
/// Words of a page of which a search shows a part.
const MIDDLE_PAGE_WORDS: std::ops::RangeInclusive<usize> = 180..=260;
/// Pages of these lengths, in percent.
const LONG_PERCENT: u32 = 10;
const MIDDLE_PERCENT: u32 = 4;
/// Pages that mention the same fact of something else, in percent.
const NEIGHBOUR_PERCENT: u32 = 15;

/// The document of `entity`, which may mention what `others` are.
pub fn write(entity: &Entity, others: &[Entity], style: Style, rng: &mut ChaCha8Rng) -> String {
    let author = match style {
        Style::Plain => Author::Plain,
        Style::Full => AUTHORS.choose(rng).copied().unwrap_or(Author::Encyclopaedist),
        Style::Unfamiliar => Author::Reporter,
    };
    let mut sentences = facts(entity, author, rng);
    if author != Author::Plain {
        fill_up(entity, &mut sentences, rng);
        if rng.random_ratio(NEIGHBOUR_PERCENT, 100) {
            sentences.extend(neighbour(entity, others, rng));
        }
    }
    sentences.iter().map(|sentence| format!("{sentence}.")).collect::<Vec<_>>().join(" ")
}

/// The sentences that state the facts, in the order in which the entity has them.
fn facts(entity: &Entity, author: Author, rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut facts = entity.facts.iter().peekable();
    while let Some(fact) = facts.next() {
        let wording = rng.random_range(0..fact.relation.words().sentences.len());
        let is_active = fact.relation.names_subject_first(wording);
        let subject = subject(entity, author, sentences.is_empty(), is_active, rng);
        let sentence = sentence(fact, wording, &subject, author, rng);
        let joins = author == Author::Encyclopaedist && is_active && rng.random_bool(0.5);
        let is_list = fact.relation.words().value == ValueKind::List;
        let second = facts.peek().filter(|_| joins && !is_list).and_then(|next| half(next, rng));
        if let Some(second) = second {
            facts.next();
            sentences.push(format!("{sentence} and {second}"));
        } else {
            sentences.push(sentence);
        }
    }
    sentences
}

/// How a sentence names the entity; a pronoun only where it is the subject.
fn subject(
    entity: &Entity,
    author: Author,
    is_first: bool,
    is_active: bool,
    rng: &mut ChaCha8Rng,
) -> String {
    let full = entity.kind.in_text(&entity.title);
    let pronoun_percent = match author {
        Author::Plain | Author::Clerk => 0,
        Author::Encyclopaedist | Author::Reporter => 30,
        Author::Guide => 45,
    };
    if is_first {
        full
    } else if is_active && rng.random_ratio(pronoun_percent, 100) {
        entity.kind.pronouns().choose(rng).map_or(full, |pronoun| (*pronoun).to_owned())
    } else if rng.random_bool(0.5) {
        entity.kind.short(&entity.title)
    } else {
        full
    }
}

fn sentence(
    fact: &Fact,
    wording: usize,
    subject: &str,
    author: Author,
    rng: &mut ChaCha8Rng,
) -> String {
    let plain = || fact.relation.sentence(wording, subject, &fact.value);
    let inside = || fact.relation.clause(wording, subject, &fact.value);
    match author {
        Author::Plain | Author::Encyclopaedist => plain(),
        Author::Clerk if rng.random_ratio(75, 100) => fact.relation.entry(&fact.value),
        Author::Clerk => plain(),
        Author::Guide => surround(OPENINGS, ASIDES, plain(), inside(), rng),
        Author::Reporter => surround(SOURCES, DOUBTS, plain(), inside(), rng),
    }
}

/// A sentence with something before it, behind it, or neither.
fn surround(
    before: &[&str],
    after: &[&str],
    plain: String,
    inside: String,
    rng: &mut ChaCha8Rng,
) -> String {
    let pick = |words: &[&str], rng: &mut ChaCha8Rng| words.choose(rng).map(|w| (*w).to_owned());
    match rng.random_range(0..10) {
        0..4 => pick(before, rng).unwrap_or_default() + &inside,
        4..7 => plain + &pick(after, rng).unwrap_or_default(),
        _ => plain,
    }
}

/// A fact as the second half of a sentence, in a wording whose subject comes first.
fn half(fact: &Fact, rng: &mut ChaCha8Rng) -> Option<String> {
    let sentences = fact.relation.words().sentences.iter();
    let fitting: Vec<&str> =
        sentences.filter_map(|template| template.strip_prefix("{X} ")).collect();
    fitting.choose(rng).map(|template| template.replace("{v}", &fact.value))
}

/// Puts sentences between the facts: none or a few, or as many as make the page long.
fn fill_up(entity: &Entity, sentences: &mut Vec<String>, rng: &mut ChaCha8Rng) {
    let words = match rng.random_range(0..100) {
        0..LONG_PERCENT => rng.random_range(LONG_PAGE_WORDS),
        roll if roll < LONG_PERCENT + MIDDLE_PERCENT => rng.random_range(MIDDLE_PAGE_WORDS),
        _ => count_words(sentences) + rng.random_range(0..=12),
    };
    let mut total = count_words(sentences);
    let name = entity.kind.in_text(&entity.title);
    while total < words {
        let sentence = filler::sentence(entity.kind, &name, rng);
        total += sentence.split(' ').count();
        // The first sentence names the entity in full.
        sentences.insert(rng.random_range(1..=sentences.len()), sentence);
    }
}

fn count_words(sentences: &[String]) -> usize {
    sentences.iter().map(|sentence| sentence.split(' ').count()).sum()
}

/// A sentence about another entity of the kind that has the same fact. Its own page states it too.
fn neighbour(entity: &Entity, others: &[Entity], rng: &mut ChaCha8Rng) -> Option<String> {
    let fact = entity.facts.choose(rng)?;
    let fitting: Vec<(&Entity, &str)> = others
        .iter()
        .filter(|other| other.kind == entity.kind && other.split == entity.split)
        .filter(|other| other.title != entity.title)
        .filter_map(|other| Some((other, other.value(fact.relation)?)))
        .collect();
    let (other, value) = fitting.choose(rng)?;
    let wording = rng.random_range(0..fact.relation.words().sentences.len());
    let sentence = fact.relation.sentence(wording, &other.kind.in_text(&other.title), value);
    Some(capitalised(&sentence))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::world::{Domain, WorldConfig, generate};

    fn texts(style: Style) -> Vec<String> {
        let config = WorldConfig { style, ..WorldConfig::new(3, Domain::Plant, 300, 100) };
        generate(&config).unwrap().documents.into_iter().map(|document| document.text).collect()
    }

    #[test]
    fn authors_are_told_by_their_words() {
        let (full, other) = (texts(Style::Full).join(" "), texts(Style::Unfamiliar).join(" "));
        assert!(OPENINGS.iter().chain(ASIDES).all(|words| full.contains(words)));
        assert!(SOURCES.iter().chain(DOUBTS).all(|words| other.contains(words)));
        assert!(!SOURCES.iter().chain(DOUBTS).any(|words| full.contains(words)));
        assert!(full.contains("Service interval: "));
    }

    #[test]
    fn pages_are_short_long_and_between() {
        let lengths: Vec<usize> =
            texts(Style::Full).iter().map(|text| text.split(' ').count()).collect();
        let share = |range: std::ops::Range<usize>| {
            lengths.iter().filter(|length| range.contains(length)).count()
        };
        assert!(share(0..110) > 200, "{lengths:?}");
        assert!((5..60).contains(&share(170..400)) && (10..70).contains(&share(401..700)));
    }

    #[test]
    fn fillers_vary() {
        let texts = texts(Style::Full);
        let sentences: BTreeSet<&str> = texts.iter().flat_map(|text| text.split(". ")).collect();
        assert!(sentences.len() > 1500, "{}", sentences.len());
    }
}
