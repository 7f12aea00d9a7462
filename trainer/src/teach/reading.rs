//! Reading an observation: which passage speaks of an entity, and what it says.

use crate::world::Relation;

/// A fact found in an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of the passage.
    pub passage: u32,
    /// What it says.
    pub value: String,
}

/// The fact `relation` of the entity titled `title`, from lines of the form
/// `Title [n]: Sentence [n]. Sentence [n].`
pub fn find(observation: &str, title: &str, relation: Relation) -> Option<Found> {
    observation.lines().filter_map(|line| passage(line, title)).find_map(|(passage, text)| {
        let value =
            sentences(text, passage).find_map(|sentence| relation.read(title, &sentence))?;
        Some(Found { passage, value })
    })
}

/// The sentences of a passage, without final punctuation: each ends in the passage's number.
fn sentences(text: &str, passage: u32) -> impl Iterator<Item = String> {
    let pieces: Vec<String> = text
        .split(format!(" [{passage}]").as_str())
        .map(|piece| piece.trim_start_matches(['.', '!', '?', ' ']).to_owned())
        .collect();
    pieces.into_iter()
}

/// Number and text of the passage in `line` if it has this title.
fn passage<'a>(line: &'a str, title: &str) -> Option<(u32, &'a str)> {
    let numbered = line.strip_prefix(title)?.strip_prefix(" [")?;
    let (number, text) = numbered.split_once("]: ")?;
    Some((number.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBSERVATION: &str = "Heahi [1]: Heahi was founded in 1400 [1].\n\
        Heahi Bridge [2]: The Heahi Bridge is 240 metres long [2]. The bridge was opened in 1836 [2].";

    #[test]
    fn a_fact_is_found_with_the_number_of_its_passage() {
        let found = find(OBSERVATION, "Heahi Bridge", Relation::OpeningYear);
        assert_eq!(found, Some(Found { passage: 2, value: "1836".to_owned() }));
        let found = find(OBSERVATION, "Heahi", Relation::FoundingYear);
        assert_eq!(found, Some(Found { passage: 1, value: "1400".to_owned() }));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(find(OBSERVATION, "Heahi", Relation::OpeningYear), None);
        assert_eq!(find(OBSERVATION, "Heahi Brid", Relation::OpeningYear), None);
        assert_eq!(find("(no output)", "Heahi", Relation::OpeningYear), None);
    }
}
