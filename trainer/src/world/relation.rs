//! What can be said of entities, in which words.

use super::kind::EntityKind;
use super::names::capitalised;
use super::value;
use super::wording::{gazetteer, machine, site, stores};

/// What the value of a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// Digits.
    Number,
    /// Title of another entity of the world.
    Title,
    /// A day: `3 May 1902`.
    Date,
    /// Titles: `A, B and C`.
    List,
    /// A few words of `CAUSES` of the values.
    Phrase,
}

/// The words for one relation. `{x}` stands for the entity, `{X}` for it at the start of a
/// sentence, `{v}` for the value.
pub struct Words {
    /// What a thought calls the fact.
    pub key: &'static str,
    /// What a thought says after title and document number.
    pub evidence: &'static str,
    /// What the value is.
    pub value: ValueKind,
    /// What follows the value in a data sheet, with the blank before it.
    pub unit: &'static str,
    /// Words of all its sentences: what to search for when the title alone did not do.
    pub search: &'static str,
    /// Sentences of documents, without the full stop.
    pub sentences: &'static [&'static str],
    /// Questions for the fact.
    pub questions: &'static [&'static str],
}

/// Declares the relations with their words.
macro_rules! relations {
    ($($(#[$doc:meta])* $name:ident: $words:path,)*) => {
        /// A fact about an entity.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Relation {
            $($(#[$doc])* $name,)*
        }

        impl Relation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its words.
            #[must_use]
            pub fn words(self) -> &'static Words {
                match self {
                    $(Self::$name => &$words,)*
                }
            }
        }
    };
}

relations! {
    /// Person: year.
    BirthYear: gazetteer::BIRTH_YEAR,
    /// Person: town.
    BirthTown: gazetteer::BIRTH_TOWN,
    /// Person: year.
    DeathYear: gazetteer::DEATH_YEAR,
    /// Person: an older person.
    Teacher: gazetteer::TEACHER,
    /// Bridge: person.
    Designer: gazetteer::DESIGNER,
    /// Bridge or museum: year.
    OpeningYear: gazetteer::OPENING_YEAR,
    /// Bridge: year.
    RebuildingYear: gazetteer::REBUILDING_YEAR,
    /// Bridge: metres.
    BridgeLength: gazetteer::BRIDGE_LENGTH,
    /// Bridge: river.
    Crosses: gazetteer::CROSSES,
    /// Town: year.
    FoundingYear: gazetteer::FOUNDING_YEAR,
    /// Town: people.
    Population: gazetteer::POPULATION,
    /// Town: year.
    RailwayYear: gazetteer::RAILWAY_YEAR,
    /// Town: river.
    OnRiver: gazetteer::ON_RIVER,
    /// River: kilometres.
    RiverLength: gazetteer::RIVER_LENGTH,
    /// River: metres.
    Depth: gazetteer::DEPTH,
    /// River: town.
    Mouth: gazetteer::MOUTH,
    /// Museum: person.
    Founder: gazetteer::FOUNDER,
    /// Museum: count.
    Rooms: gazetteer::ROOMS,
    /// Museum: town.
    InTown: gazetteer::IN_TOWN,
    /// Bridge or museum: day.
    FirstStone: gazetteer::FIRST_STONE,
    /// Bridge or museum: day.
    Handover: gazetteer::HANDOVER,
    /// River: all its bridges.
    Bridges: gazetteer::BRIDGES,
    /// Machine: year.
    CommissionYear: machine::COMMISSION_YEAR,
    /// Machine: year.
    OverhaulYear: machine::OVERHAUL_YEAR,
    /// Machine: bar.
    Pressure: machine::PRESSURE,
    /// Machine: kilowatts.
    Power: machine::POWER,
    /// Machine: hours.
    Interval: machine::INTERVAL,
    /// Machine: day.
    LastService: machine::LAST_SERVICE,
    /// Machine: day.
    NextService: machine::NEXT_SERVICE,
    /// Machine: hall.
    InHall: machine::IN_HALL,
    /// Machine: person.
    ServicedBy: machine::SERVICED_BY,
    /// Machine: all its parts.
    Parts: machine::PARTS,
    /// Part: number.
    PartNumber: stores::PART_NUMBER,
    /// Part: grams.
    Weight: stores::WEIGHT,
    /// Part: hours.
    Lifetime: stores::LIFETIME,
    /// Part: works.
    Supplier: stores::SUPPLIER,
    /// Works: people.
    Employees: stores::EMPLOYEES,
    /// Works: number.
    Phone: stores::PHONE,
    /// Works: year.
    WorksYear: stores::WORKS_YEAR,
    /// Hall: square metres.
    Area: site::AREA,
    /// Hall: year.
    BuildYear: site::BUILD_YEAR,
    /// Hall: person.
    Foreman: site::FOREMAN,
    /// Person of a plant: year.
    HireYear: site::HIRE_YEAR,
    /// Person of a plant: number.
    Extension: site::EXTENSION,
    /// Person of a plant: hall.
    Workshop: site::WORKSHOP,
    /// Person of a plant: an older person.
    Instructor: site::INSTRUCTOR,
    /// Fault: machine.
    FaultMachine: site::FAULT_MACHINE,
    /// Fault: a phrase.
    FaultCause: site::FAULT_CAUSE,
    /// Fault: part.
    FaultPart: site::FAULT_PART,
}

impl Relation {
    /// Whether the value is a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        self.words().value == ValueKind::Number
    }

    /// The sentence number `wording` for the entity called `subject`, without the full stop.
    #[must_use]
    pub fn sentence(self, wording: usize, subject: &str, value: &str) -> String {
        let sentences = self.words().sentences;
        let template = sentences.get(wording % sentences.len()).copied().unwrap_or_default();
        fill(template, subject, value)
    }

    /// Whether the sentence number `wording` starts with the entity.
    #[must_use]
    pub fn names_subject_first(self, wording: usize) -> bool {
        let sentences = self.words().sentences;
        sentences.get(wording % sentences.len()).is_some_and(|words| words.starts_with("{X}"))
    }

    /// The sentence as it stands after opening words.
    #[must_use]
    pub fn clause(self, wording: usize, subject: &str, value: &str) -> String {
        let sentences = self.words().sentences;
        let template = sentences.get(wording % sentences.len()).copied().unwrap_or_default();
        if template.starts_with("{X}") {
            fill(&template.replace("{X}", "{x}"), subject, value)
        } else {
            value::decapitalised(&fill(template, subject, value))
        }
    }

    /// The entry of a data sheet, without the full stop.
    #[must_use]
    pub fn entry(self, value: &str) -> String {
        let Words { key, unit, .. } = self.words();
        format!("{}: {value}{unit}", capitalised(key))
    }

    /// The value that `sentence` (without the full stop) gives for this relation of the entity
    /// with this title, if it says so: in one of the relation's sentences, alone, after some
    /// opening words or as a second half that begins with `and`, or as an entry of a data sheet.
    #[must_use]
    pub fn read(self, title: &str, sentence: &str) -> Option<String> {
        let words = self.words();
        let kind = EntityKind::of_title(title);
        let mut subjects = vec![kind.in_text(title), kind.short(title)];
        subjects.extend(kind.pronouns().iter().map(|pronoun| (*pronoun).to_owned()));
        let forms = words.sentences.iter().flat_map(|template| {
            let named = subjects.iter().map(move |subject| fill(template, subject, "{v}"));
            let joined = template.strip_prefix("{X} ").map(|rest| format!("and {rest}"));
            named.chain(joined)
        });
        let sheet = std::iter::once(self.entry("{v}"));
        forms.chain(sheet).find_map(|form| value_in(&form, sentence, words.value))
    }
}

/// `template` with its blanks filled.
fn fill(template: &str, subject: &str, value: &str) -> String {
    template.replace("{X}", &capitalised(subject)).replace("{x}", subject).replace("{v}", value)
}

/// What stands in `sentence` where `form` has `{v}`.
fn value_in(form: &str, sentence: &str, kind: ValueKind) -> Option<String> {
    let (before, after) = form.split_once("{v}")?;
    let lower = value::decapitalised(before);
    let starts = [before, lower.as_str()].into_iter().flat_map(|before| {
        sentence.match_indices(before).map(move |(start, _)| (start, start + before.len()))
    });
    starts.filter(|(start, _)| begins_clause(sentence, *start, before)).find_map(|(_, end)| {
        let rest = sentence.get(end..)?;
        let found = value::at_start(kind, rest)?;
        let ends = rest.get(found.len()..)?.starts_with(after);
        ends.then(|| found.to_owned())
    })
}

/// Whether a clause that starts with `before` may start at `at`: at the start of the sentence,
/// after a comma or `that`; a second half, after any word.
fn begins_clause(sentence: &str, at: usize, before: &str) -> bool {
    let earlier = sentence.get(..at).unwrap_or_default();
    if before.starts_with("and ") {
        return earlier.ends_with(' ');
    }
    earlier.is_empty() || earlier.ends_with(", ") || earlier.ends_with("that ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(kind: ValueKind) -> &'static str {
        match kind {
            ValueKind::Number => "1836",
            ValueKind::Title => "Zokeni",
            ValueKind::Date => "3 May 1902",
            ValueKind::List => "Lu Seal, Pa Filter and Zo Bearing",
            ValueKind::Phrase => "low oil pressure",
        }
    }

    #[test]
    fn every_relation_has_four_wordings_of_fact_and_question() {
        for relation in Relation::ALL {
            let words = relation.words();
            assert!(words.sentences.len() >= 4, "{relation:?}");
            assert!(words.questions.len() >= 4, "{relation:?}");
            for sentence in words.sentences {
                let (before, _) = sentence.split_once("{v}").unwrap();
                let names = before.to_lowercase().contains("{x}") || sentence.contains("{x}");
                assert!(names, "{sentence}");
            }
            assert!(words.questions.iter().all(|s| s.contains("{x}") && s.ends_with('?')));
            assert!(words.evidence.contains("{v}"));
        }
    }

    #[test]
    fn a_sentence_is_read_back_and_as_nothing_else() {
        for relation in Relation::ALL {
            let value = sample(relation.words().value);
            for wording in 0..relation.words().sentences.len() {
                for title in ["Bokaru Temi", "Heahi Bridge", "Lu Museum", "Fault E417", "Vaze"] {
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
    fn a_clause_is_found_in_its_sentence() {
        let read = |sentence| Relation::OpeningYear.read("Lu Bridge", sentence);
        let year = Some("1836".to_owned());
        assert_eq!(read("As a plate says, the Lu Bridge was opened in 1836, to much joy"), year);
        assert_eq!(read("It leads over the Tomu River and was opened in 1836"), year);
        assert_eq!(read("People say that it has been open since 1836"), year);
        assert_eq!(read("Opening year: 1836"), year);
        assert_eq!(read("The Vo Bridge was opened in 1836"), None);
        assert_eq!(read("The old Lu Bridge was opened in 18366th place"), None);
    }
}
