//! What entities are, and how text names them.

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
    /// Machine titled `NAME Pump`.
    Pump,
    /// Machine titled `NAME Compressor`.
    Compressor,
    /// Machine titled `NAME Boiler`.
    Boiler,
    /// Spare part titled `NAME Seal`.
    Seal,
    /// Spare part titled `NAME Filter`.
    Filter,
    /// Spare part titled `NAME Bearing`.
    Bearing,
    /// Titled `NAME Hall`.
    Hall,
    /// Supplier titled `NAME Works`.
    Works,
    /// Fault code titled `Fault E417`.
    Fault,
}

/// First word of a fault's title.
const FAULT: &str = "Fault";

impl EntityKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Person,
        Self::Bridge,
        Self::Town,
        Self::River,
        Self::Museum,
        Self::Pump,
        Self::Compressor,
        Self::Boiler,
        Self::Seal,
        Self::Filter,
        Self::Bearing,
        Self::Hall,
        Self::Works,
        Self::Fault,
    ];

    /// The word that follows the name in a title.
    #[must_use]
    pub fn title_word(self) -> Option<&'static str> {
        match self {
            Self::Person | Self::Town | Self::Fault => None,
            Self::Bridge => Some("Bridge"),
            Self::River => Some("River"),
            Self::Museum => Some("Museum"),
            Self::Pump => Some("Pump"),
            Self::Compressor => Some("Compressor"),
            Self::Boiler => Some("Boiler"),
            Self::Seal => Some("Seal"),
            Self::Filter => Some("Filter"),
            Self::Bearing => Some("Bearing"),
            Self::Hall => Some("Hall"),
            Self::Works => Some("Works"),
        }
    }

    /// The title of an entity of this kind called `name`.
    #[must_use]
    pub fn title(self, name: &str) -> String {
        match self.title_word() {
            Some(word) => format!("{name} {word}"),
            None if self == Self::Fault => format!("{FAULT} {name}"),
            None => name.to_owned(),
        }
    }

    /// The kind of the entity with this title.
    #[must_use]
    pub fn of_title(title: &str) -> Self {
        let titled = |kind: &Self| {
            kind.title_word().is_some_and(|word| title.split(' ').next_back() == Some(word))
        };
        let kind = Self::ALL.into_iter().find(titled);
        kind.unwrap_or_else(|| match title.split_once(' ') {
            Some((FAULT, _)) => Self::Fault,
            Some(_) => Self::Person,
            None => Self::Town,
        })
    }

    /// How running text names the entity: `the Heahi Bridge`, `Bokaru Temi`.
    #[must_use]
    pub fn in_text(self, title: &str) -> String {
        if self.title_word().is_some() { format!("the {title}") } else { title.to_owned() }
    }

    /// How later sentences of its own document may name it: `the bridge`, the last name.
    #[must_use]
    pub fn short(self, title: &str) -> String {
        match self {
            Self::Person => title.split(' ').next_back().unwrap_or(title).to_owned(),
            _ => format!("the {}", self.noun()),
        }
    }

    /// What it is called in a question: `bridge`.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Bridge => "bridge",
            Self::Town => "town",
            Self::River => "river",
            Self::Museum => "museum",
            Self::Pump => "pump",
            Self::Compressor => "compressor",
            Self::Boiler => "boiler",
            Self::Seal => "seal",
            Self::Filter => "filter",
            Self::Bearing => "bearing",
            Self::Hall => "hall",
            Self::Works => "works",
            Self::Fault => "fault",
        }
    }

    /// The pronouns of later sentences.
    #[must_use]
    pub fn pronouns(self) -> &'static [&'static str] {
        if self == Self::Person { &["he", "she"] } else { &["it"] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_tell_their_kind() {
        for kind in EntityKind::ALL {
            let name = if kind == EntityKind::Person { "Bokaru Temi" } else { "Heahi" };
            assert_eq!(EntityKind::of_title(&kind.title(name)), kind);
        }
        assert_eq!(EntityKind::Fault.title("E417"), "Fault E417");
    }
}
