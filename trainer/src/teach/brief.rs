//! Brief runs: the teacher's way through a task over passages cut to what they are needed for, so
//! that a student sees more questions for as many tokens.

use rand::RngExt;
use rand::seq::{IteratorRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use retort_transcript::{Dialect, Observation, Passage, Step, Transcript};

use super::policy::{Manner, next_action, wanted};
use crate::world::{EntityKind, Plan, Relation, Task, World, reads};

/// The first search of a run shows nothing of what it is for this often, in percent.
const MISSED_PERCENT: u32 = 25;
/// What a search shows holds the next page that the plan leads to this often, in percent, as one
/// that follows links does: whether it is there must be looked up, not guessed.
const LINKED_PERCENT: u32 = 40;
/// Sentences of a passage beside those that say what is needed.
const ASIDES_MAX: usize = 2;

/// The run of a task of `world`; `None` when the task has no plan. What `search` finds for a title
/// stands beside its page; where it finds nothing, pages of the same kind do.
pub(super) fn run(
    world: &World,
    dialect: &Dialect,
    task: &Task,
    search: &dyn Fn(&str) -> Vec<Passage>,
    rng: &mut ChaCha8Rng,
) -> Option<Transcript> {
    let plan = task.plan.as_ref()?;
    let mut misses = rng.random_ratio(MISSED_PERCENT, 100);
    let (mut steps, mut seen) = (Vec::new(), Vec::<String>::new());
    loop {
        let observed: Vec<&str> = seen.iter().map(String::as_str).collect();
        let action = next_action(plan, Manner::default(), &observed).ok()?;
        let reply = dialect.compose_reply(&action);
        let Some(title) = wanted(plan, &observed) else {
            steps.push(Step { reply, observation: None });
            break;
        };
        let found = search(&title);
        let beside = |title: &str| found.iter().any(|passage| passage.title == title);
        let passages = shown(world, plan, &title, std::mem::take(&mut misses), &beside, rng);
        let logs = dialect.render_passages(&title, &passages);
        seen.push(logs.clone());
        let observation = Observation::Output { logs, value: None, assigned: None };
        steps.push(Step { reply, observation: Some(observation) });
    }
    Some(Transcript { question: task.question.clone(), steps, answer_requested: false })
}

/// One to four passages: that of `title`, if there is such a page and the search does not miss it,
/// at times the page that the plan leads to next, and others: those `beside` it, or of their kind.
fn shown(
    world: &World,
    plan: &Plan,
    title: &str,
    misses: bool,
    beside: &dyn Fn(&str) -> bool,
    rng: &mut ChaCha8Rng,
) -> Vec<Passage> {
    let titled = |title: &str| world.entities.iter().position(|entity| entity.title == title);
    let (read, _) = reads(plan, &world.entities);
    let mut after = read.iter().skip_while(|fact| fact.title != title);
    let next = after.find(|fact| fact.title != title).and_then(|fact| titled(&fact.title));
    let next = next.filter(|_| rng.random_ratio(LINKED_PERCENT, 100));
    let gold: Vec<usize> = match misses {
        true => Vec::new(),
        false => titled(title).into_iter().chain(next).collect(),
    };
    let others = world
        .entities
        .iter()
        .enumerate()
        .filter(|(index, entity)| entity.title != title && !gold.contains(index));
    let kind = EntityKind::of_title(title);
    let (near, far): (Vec<_>, Vec<_>) = others
        .filter(|(_, entity)| beside(&entity.title) || entity.kind == kind)
        .partition(|(_, entity)| beside(&entity.title));
    let others = if near.is_empty() { far } else { near };
    let count = rng.random_range(0..=2) + usize::from(gold.is_empty());
    let mut chosen: Vec<usize> = others.into_iter().map(|(index, _)| index).sample(rng, count);
    chosen.extend(&gold);
    chosen.shuffle(rng);
    let needed = plan.relations();
    let passage = |index: &usize| {
        let document = world.documents.get(*index)?;
        let needed: &[Relation] = if gold.contains(index) { &needed } else { &[] };
        let text = sentences(&document.title, &document.text, needed, rng);
        Some(Passage { title: document.title.clone(), text, score: 0.0 })
    };
    chosen.iter().filter_map(passage).collect()
}

/// The sentences of a page that state `needed`, with a few others, in their order.
fn sentences(title: &str, text: &str, needed: &[Relation], rng: &mut ChaCha8Rng) -> String {
    let all: Vec<&str> = text.split_inclusive(". ").collect();
    let says = |sentence: &str| {
        let sentence = sentence.trim_end().trim_end_matches(['.', '!', '?']);
        needed.iter().any(|relation| relation.read(title, sentence).is_some())
    };
    let count = rng.random_range(1..=ASIDES_MAX);
    let asides = (0..all.len()).sample(rng, count);
    let kept =
        all.iter().enumerate().filter(|(index, sentence)| asides.contains(index) || says(sentence));
    kept.map(|(_, sentence)| *sentence).collect::<String>().trim_end().to_owned()
}
