//! What entities are and what can be said of them, in which words.

use super::names::capitalised;
use super::wording;

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    /// Somebody, named by two words.
    Person,
    /// Titled `NAME Bridge`.
    Bridge,
    /// Named by one word.
    Town,
    /// Titled `NAME River`.
    River,
    /// Titled `NAME Museum`.
    Museum,
}

impl EntityKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Person, Self::Bridge, Self::Town, Self::River, Self::Museum];

    /// The word that follows the name in a title.
    pub fn title_word(self) -> Option<&'static str> {
        match self {
            Self::Person | Self::Town => None,
            Self::Bridge => Some("Bridge"),
            Self::River => Some("River"),
            Self::Museum => Some("Museum"),
        }
    }

    /// The kind of the entity with this title.
    pub fn of_title(title: &str) -> Self {
        let titled = |kind: &Self| {
            kind.title_word().is_some_and(|word| title.split(' ').next_back() == Some(word))
        };
        let kind = Self::ALL.into_iter().find(titled);
        kind.unwrap_or(if title.contains(' ') { Self::Person } else { Self::Town })
    }

    /// How running text names the entity: `the Heahi Bridge`, `Bokaru Temi`.
    pub fn in_text(self, title: &str) -> String {
        if self.title_word().is_some() { format!("the {title}") } else { title.to_owned() }
    }

    /// How later sentences of its own document may name it: `the bridge`, the last name.
    pub fn short(self, title: &str) -> String {
        match self {
            Self::Person => title.split(' ').next_back().unwrap_or(title).to_owned(),
            Self::Bridge => "the bridge".to_owned(),
            Self::Town => "the town".to_owned(),
            Self::River => "the river".to_owned(),
            Self::Museum => "the museum".to_owned(),
        }
    }
}

/// A fact about an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// Person: year.
    BirthYear,
    /// Person: town.
    BirthTown,
    /// Person: year.
    DeathYear,
    /// Person: an older person.
    Teacher,
    /// Bridge: person.
    Designer,
    /// Bridge or museum: year.
    OpeningYear,
    /// Bridge: year.
    RebuildingYear,
    /// Bridge: metres.
    BridgeLength,
    /// Bridge: river.
    Crosses,
    /// Town: year.
    FoundingYear,
    /// Town: people.
    Population,
    /// Town: year.
    RailwayYear,
    /// Town: river.
    OnRiver,
    /// River: kilometres.
    RiverLength,
    /// River: metres.
    Depth,
    /// River: town.
    Mouth,
    /// Museum: person.
    Founder,
    /// Museum: count.
    Rooms,
    /// Museum: town.
    InTown,
}

/// The words for one relation. `{x}` stands for the entity, `{X}` for it at the start of a
/// sentence, `{v}` for the value.
pub struct Words {
    /// What a thought calls the fact.
    pub key: &'static str,
    /// What a thought says after title and document number.
    pub evidence: &'static str,
    /// Sentences of documents, without the full stop.
    pub sentences: &'static [&'static str],
    /// Questions for the fact.
    pub questions: &'static [&'static str],
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::BirthYear,
        Self::BirthTown,
        Self::DeathYear,
        Self::Teacher,
        Self::Designer,
        Self::OpeningYear,
        Self::RebuildingYear,
        Self::BridgeLength,
        Self::Crosses,
        Self::FoundingYear,
        Self::Population,
        Self::RailwayYear,
        Self::OnRiver,
        Self::RiverLength,
        Self::Depth,
        Self::Mouth,
        Self::Founder,
        Self::Rooms,
        Self::InTown,
    ];

    /// Whether the value is a number; else it is the title of another entity.
    pub fn is_number(self) -> bool {
        !matches!(
            self,
            Self::BirthTown
                | Self::Teacher
                | Self::Designer
                | Self::Crosses
                | Self::OnRiver
                | Self::Mouth
                | Self::Founder
                | Self::InTown
        )
    }

    /// Its words.
    pub fn words(self) -> &'static Words {
        match self {
            Self::BirthYear => &wording::BIRTH_YEAR,
            Self::BirthTown => &wording::BIRTH_TOWN,
            Self::DeathYear => &wording::DEATH_YEAR,
            Self::Teacher => &wording::TEACHER,
            Self::Designer => &wording::DESIGNER,
            Self::OpeningYear => &wording::OPENING_YEAR,
            Self::RebuildingYear => &wording::REBUILDING_YEAR,
            Self::BridgeLength => &wording::BRIDGE_LENGTH,
            Self::Crosses => &wording::CROSSES,
            Self::FoundingYear => &wording::FOUNDING_YEAR,
            Self::Population => &wording::POPULATION,
            Self::RailwayYear => &wording::RAILWAY_YEAR,
            Self::OnRiver => &wording::ON_RIVER,
            Self::RiverLength => &wording::RIVER_LENGTH,
            Self::Depth => &wording::DEPTH,
            Self::Mouth => &wording::MOUTH,
            Self::Founder => &wording::FOUNDER,
            Self::Rooms => &wording::ROOMS,
            Self::InTown => &wording::IN_TOWN,
        }
    }

    /// The sentence number `wording` for the entity called `subject`, without the full stop.
    pub fn sentence(self, wording: usize, subject: &str, value: &str) -> String {
        let sentences = self.words().sentences;
        let template = sentences.get(wording % sentences.len()).copied().unwrap_or_default();
        fill(template, subject, value)
    }

    /// The value that `sentence` (without the full stop) gives for this relation of the entity
    /// with this title, if it is a sentence about it.
    pub fn read(self, title: &str, sentence: &str) -> Option<String> {
        let kind = EntityKind::of_title(title);
        let subjects = [kind.in_text(title), kind.short(title)];
        let forms = self.words().sentences.iter().flat_map(|template| {
            subjects.iter().map(move |subject| fill(template, subject, "{v}"))
        });
        forms.filter_map(|form| value_in(&form, sentence)).find(|value| self.allows(value))
    }

    fn allows(self, value: &str) -> bool {
        if self.is_number() {
            !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
        } else {
            value.split(' ').all(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        }
    }
}

fn fill(template: &str, subject: &str, value: &str) -> String {
    template.replace("{X}", &capitalised(subject)).replace("{x}", subject).replace("{v}", value)
}

fn value_in(form: &str, sentence: &str) -> Option<String> {
    let (before, after) = form.split_once("{v}")?;
    Some(sentence.strip_prefix(before)?.strip_suffix(after)?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_has_four_wordings_of_fact_and_question() {
        for relation in Relation::ALL {
            let words = relation.words();
            assert!(words.sentences.len() >= 4, "{relation:?}");
            assert!(words.questions.len() >= 4, "{relation:?}");
            assert!(
                words
                    .sentences
                    .iter()
                    .all(|s| s.contains("{v}") && s.to_lowercase().contains("{x}"))
            );
            assert!(words.questions.iter().all(|s| s.contains("{x}") && s.ends_with('?')));
            assert!(words.evidence.contains("{v}"));
        }
    }

    #[test]
    fn a_sentence_is_read_back_and_as_nothing_else() {
        for relation in Relation::ALL {
            let value = if relation.is_number() { "1836" } else { "Zokeni" };
            for wording in 0..relation.words().sentences.len() {
                for title in ["Bokaru Temi", "Heahi Bridge", "Lu Museum", "Tomu River", "Vaze"] {
                    let kind = EntityKind::of_title(title);
                    for subject in [kind.in_text(title), kind.short(title)] {
                        let sentence = relation.sentence(wording, &subject, value);
                        assert_eq!(relation.read(title, &sentence).as_deref(), Some(value));
                        assert_eq!(relation.read("Other Name", &sentence), None);
                    }
                }
            }
        }
    }

    #[test]
    fn titles_tell_their_kind() {
        for (title, kind) in [
            ("Heahi Bridge", EntityKind::Bridge),
            ("Heahi", EntityKind::Town),
            ("Bokaru Temi", EntityKind::Person),
            ("Tomu River", EntityKind::River),
        ] {
            assert_eq!(EntityKind::of_title(title), kind);
        }
    }
}
