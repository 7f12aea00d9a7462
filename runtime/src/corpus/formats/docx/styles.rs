//! Which paragraph styles are headings. A style's id is a word of the writer's language; its name
//! is not.

use std::collections::HashMap;

use super::super::super::language::Language;
use super::super::xml::{self, Piece};

/// What a paragraph's style makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// The document's title.
    Title,
    /// A heading of a level from 1.
    Heading(u8),
}

/// Styles by id.
#[derive(Debug, Default)]
pub(super) struct Styles {
    ranks: HashMap<String, Rank>,
    /// The default language of the text.
    pub language: Option<Language>,
}

impl Styles {
    /// Reads `word/styles.xml`.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let (mut styles, mut id) = (Self::default(), None::<String>);
        xml::read(text, &mut |piece| match piece {
            Piece::Open("style", attributes) => id = attributes.get("styleId"),
            Piece::Close("style") => id = None,
            Piece::Open("name", attributes) => {
                let rank = attributes.get("val").and_then(|name| rank_of_name(&name));
                if let (Some(id), Some(rank)) = (&id, rank) {
                    styles.ranks.insert(id.clone(), rank);
                }
            }
            Piece::Open("outlineLvl", attributes) => {
                let level = attributes.get("val").and_then(|level| rank_of_outline(&level));
                if let (Some(id), Some(rank)) = (&id, level) {
                    styles.ranks.entry(id.clone()).or_insert(rank);
                }
            }
            Piece::Open("lang", attributes) if styles.language.is_none() => {
                styles.language = attributes.get("val").as_deref().and_then(Language::declared);
            }
            _ => {}
        })?;
        Ok(styles)
    }

    /// The rank of paragraphs of a style; of one that is not described, by its id.
    pub(super) fn rank(&self, id: &str) -> Option<Rank> {
        self.ranks.get(id).copied().or_else(|| rank_of_name(id))
    }
}

fn rank_of_name(name: &str) -> Option<Rank> {
    let name = name.to_ascii_lowercase();
    if name == "title" {
        return Some(Rank::Title);
    }
    let level = name.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=9).contains(&level).then_some(Rank::Heading(level))
}

/// `outlineLvl` counts from 0; 9 is body text.
pub(super) fn rank_of_outline(level: &str) -> Option<Rank> {
    let level: u8 = level.parse().ok()?;
    (level < 9).then_some(Rank::Heading(level + 1))
}
