//! A text with headings, as HTML, EPUB chapters and DOCX have them.

use super::super::language::Language;
use super::Stop;
use super::passages::{Document, Passages, Place, line};

/// A text taken apart at its headings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// What the document calls itself.
    pub title: Option<String>,
    /// The first heading of the highest level.
    pub first_heading: Option<String>,
    /// What the document says its language is.
    pub language: Option<Language>,
    /// Sections in order.
    pub sections: Vec<Section>,
}

/// The text below one heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Headings above the text, outermost first.
    pub heading: Vec<String>,
    /// The text.
    pub text: String,
}

impl Page {
    /// The declared language, or the one the text looks like.
    pub(super) fn language(&self) -> Language {
        self.language.or_else(|| self.detected()).unwrap_or_default()
    }

    fn detected(&self) -> Option<Language> {
        let longest = self.sections.iter().max_by_key(|section| section.text.len())?;
        Language::detect(&longest.text)
    }

    /// Gives all sections, below the headings `above`.
    pub(super) fn send(
        &self,
        above: Option<&str>,
        document: &mut Document,
        out: &mut Passages<'_>,
    ) -> Result<(), Stop> {
        for section in &self.sections {
            let first = section.heading.first().map(String::as_str);
            let above = above.filter(|above| first != Some(above)).map(str::to_owned);
            let heading: Vec<String> =
                above.into_iter().chain(section.heading.iter().cloned()).collect();
            let place = Place { heading: &heading, ..Place::default() };
            out.add(document, &place, &section.text)?;
        }
        Ok(())
    }
}

/// The headings that hold at a point of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Headings(Vec<(u8, String)>);

impl Headings {
    /// A heading of a level from 1 begins; those of its level and below end.
    pub(super) fn open(&mut self, level: u8, text: &str) {
        self.0.retain(|(above, _)| *above < level);
        self.0.push((level, line(text)));
    }

    /// Outermost first.
    pub(super) fn path(&self) -> Vec<String> {
        self.0.iter().map(|(_, text)| text.clone()).collect()
    }
}

/// Puts text together: runs of white space become one blank, blocks end in a line end.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    text: String,
    blank_due: bool,
}

impl Flow {
    /// Running text.
    pub(super) fn push(&mut self, text: &str) {
        for (index, word) in text.split(char::is_whitespace).enumerate() {
            self.blank_due |= index > 0;
            if word.is_empty() {
                continue;
            }
            if self.blank_due && !self.text.is_empty() && !self.text.ends_with(['\n', ' ']) {
                self.text.push(' ');
            }
            self.blank_due = false;
            self.text.push_str(word);
        }
    }

    /// Text whose white space counts.
    pub(super) fn push_as_is(&mut self, text: &str) {
        self.blank_due = false;
        self.text.push_str(text);
    }

    /// A line ends here, when one has begun.
    pub(super) fn end_line(&mut self) {
        self.blank_due = false;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
            self.text.push('\n');
        }
    }

    /// A paragraph ends here: a blank line follows.
    pub(super) fn end_block(&mut self) {
        self.end_line();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A mark at the start of a line.
    pub(super) fn start_line(&mut self, mark: &str) {
        self.end_line();
        self.text.push_str(mark);
    }

    /// What was put together since the last call.
    pub(super) fn take(&mut self) -> String {
        self.blank_due = false;
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_blocks_are_normal() {
        let mut flow = Flow::default();
        flow.push("  one\n two");
        flow.push(" three");
        flow.push("four ");
        flow.end_block();
        flow.end_block();
        flow.push(" five");
        flow.start_line("- ");
        flow.push(" six");
        assert_eq!(flow.take(), "one two threefour\n\nfive\n- six");
    }

    #[test]
    fn headings_nest_by_level() {
        let mut headings = Headings::default();
        headings.open(1, "A");
        headings.open(3, "B");
        headings.open(2, "C");
        assert_eq!(headings.path(), ["A", "C"]);
    }
}
