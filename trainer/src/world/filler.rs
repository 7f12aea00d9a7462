//! Sentences that say nothing anybody asks: they make pages long and different.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::kind::EntityKind;

const PERSON_SUBJECTS: &[&str] = &["A colleague", "A neighbour", "Somebody in the family"];
const PERSON_VERBS: &[&str] =
    &["remembers a kind word", "kept a letter", "tells a good story", "speaks of a quiet voice"];
const PLACE_SUBJECTS: &[&str] = &["A narrow path", "The view", "An old wall", "A row of trees"];
const PLACE_VERBS: &[&str] =
    &["pleases visitors", "leads nowhere", "is best in the morning", "gives some shade"];
const THING_SUBJECTS: &[&str] =
    &["The paint", "A small lamp", "The cover", "A grey cable", "The handle"];
const THING_VERBS: &[&str] =
    &["is still bright", "was wiped clean", "gives no trouble", "hangs a little loose"];
const ENDS: &[&str] = &[
    "on dry days",
    "after the rain",
    "in most weeks",
    "when nobody looks",
    "at the far side",
    "near the door",
    "for a short while",
    "now and then",
    "without any reason",
    "as it should",
    "in the cold season",
    "between two shifts",
];
const MORE: &[&str] = &[
    "",
    ", so people say",
    ", as before",
    " and little else is known",
    ", which is a pity",
    ", to the joy of many",
];

/// What is said of the entity itself, `{x}`: such sentences match a search for its title.
const ABOUT: &[&str] = &[
    "Few people think of {x}",
    "Most people pass by {x}",
    "Nobody here would miss {x}",
    "There is a drawing of {x}",
    "A short note about {x} was found",
    "People are glad of {x}",
];
/// Sentences that name the entity, in percent.
const ABOUT_PERCENT: u32 = 40;

/// A sentence without the full stop, fit for a page about an entity of this kind that text calls
/// `name`.
pub fn sentence(kind: EntityKind, name: &str, rng: &mut ChaCha8Rng) -> String {
    let (subjects, verbs) = match kind {
        EntityKind::Person => (PERSON_SUBJECTS, PERSON_VERBS),
        EntityKind::Bridge
        | EntityKind::Town
        | EntityKind::River
        | EntityKind::Museum
        | EntityKind::Hall
        | EntityKind::Works => (PLACE_SUBJECTS, PLACE_VERBS),
        _ => (THING_SUBJECTS, THING_VERBS),
    };
    let pick = |words: &[&'static str], rng: &mut ChaCha8Rng| {
        words.choose(rng).copied().unwrap_or_default()
    };
    let clause = if rng.random_ratio(ABOUT_PERCENT, 100) {
        pick(ABOUT, rng).replace("{x}", name)
    } else {
        format!("{} {}", pick(subjects, rng), pick(verbs, rng))
    };
    format!("{clause} {}{}", pick(ENDS, rng), pick(MORE, rng))
}
