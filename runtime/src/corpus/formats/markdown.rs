//! Markdown: sections below its headings; passages are the file's own bytes.

use std::ops::Range;

use super::super::language::Language;
use super::passages::{Bytes, Document, Passages, Place, line};
use super::{Opened, Stop, TEXT_BYTES_MAX, encoding, read_all, stem};

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    let bytes = read_all(opened.bytes, TEXT_BYTES_MAX)?;
    let decoded = encoding::decode(&bytes)?;
    let outline = outline(&decoded.text);
    let title = outline.title.as_deref().unwrap_or_else(|| stem(opened.name));
    let language = outline.language.as_deref().and_then(Language::declared);
    let language = language.or_else(|| Language::detect(&decoded.text)).unwrap_or_default();
    let mut document = Document::new(opened.document, title, language);
    for section in &outline.sections {
        let bytes = Bytes::From((decoded.mark_bytes + section.range.start) as u64);
        let place = Place { heading: &section.heading, bytes, ..Place::default() };
        let body = decoded.text.get(section.range.clone()).unwrap_or_default();
        out.add(&mut document, &place, body)?;
    }
    Ok(())
}

/// A part of a file under one heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Section {
    /// Headings above the text, outermost first.
    heading: Vec<String>,
    /// Bytes of the text below the heading, the heading's own line left out.
    range: Range<usize>,
}

/// A Markdown file taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outline {
    /// `title:` of the front matter, or the heading that opens the file.
    title: Option<String>,
    /// `lang:` or `language:` of the front matter.
    language: Option<String>,
    /// Sections in order, those without text too.
    sections: Vec<Section>,
}

/// Reads headings (`#` to `######`) outside fenced code.
fn outline(text: &str) -> Outline {
    let (front, start) = front_matter(text);
    let mut walk = Walk { front: true, title: front.title, ..Walk::default() };
    walk.section.range = start..start;
    let mut at = start;
    for line in text.get(start..).unwrap_or_default().split_inclusive('\n') {
        walk.line(line, at);
        at += line.len();
    }
    walk.close(at);
    Outline { title: walk.title, language: front.language, sections: walk.sections }
}

/// State between two lines.
#[derive(Default)]
struct Walk {
    title: Option<String>,
    sections: Vec<Section>,
    section: Section,
    /// Level and text of the headings that hold here.
    path: Vec<(usize, String)>,
    /// The characters that opened the fence around this line.
    fence: Option<&'static str>,
    /// Nothing but blank lines so far.
    front: bool,
}

impl Walk {
    fn line(&mut self, line: &str, at: usize) {
        let trimmed = line.trim();
        match (self.fence, heading(line)) {
            (Some(fence), _) if trimmed.starts_with(fence) => self.fence = None,
            (Some(_), _) => {}
            (None, Some((level, text))) => self.open(level, text, at, line.len()),
            (None, None) => {
                self.fence = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
            }
        }
        self.front &= trimmed.is_empty();
    }

    fn open(&mut self, level: usize, text: &str, at: usize, line_bytes: usize) {
        self.close(at);
        if self.front && self.title.is_none() {
            self.title = Some(line(text));
        }
        self.path.retain(|(above, _)| *above < level);
        self.path.push((level, line(text)));
        let start = at + line_bytes;
        self.section = Section {
            heading: self.path.iter().map(|(_, text)| text.clone()).collect(),
            range: start..start,
        };
    }

    fn close(&mut self, end: usize) {
        self.section.range.end = end.max(self.section.range.start);
        self.sections.push(std::mem::take(&mut self.section));
    }
}

/// Level and text of a heading line.
fn heading(line: &str) -> Option<(usize, &str)> {
    let indented = line.trim_start_matches(' ');
    if line.len() - indented.len() > 3 {
        return None;
    }
    let rest = indented.trim_start_matches('#');
    let level = indented.len() - rest.len();
    let text = rest.trim();
    let spaced = rest.starts_with([' ', '\t']);
    let text = text.trim_end_matches('#').trim_end();
    ((1..=6).contains(&level) && spaced && !text.is_empty()).then_some((level, text))
}

/// What YAML front matter says.
#[derive(Default)]
struct FrontMatter {
    title: Option<String>,
    language: Option<String>,
}

/// The front matter, and where the text after it starts.
fn front_matter(text: &str) -> (FrontMatter, usize) {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        return (FrontMatter::default(), 0);
    };
    let (mut front, mut at) = (FrontMatter::default(), first.len());
    for line in lines {
        at += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return (front, at);
        }
        let value =
            |key| line.strip_prefix(key).map(|value| value.trim().trim_matches(['"', '\'']));
        if let Some(title) = value("title:") {
            front.title = Some(title.to_owned());
        } else if let Some(language) = value("lang:").or_else(|| value("language:")) {
            front.language = Some(language.to_owned());
        }
    }
    (FrontMatter::default(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes an outline as lines `heading/path: text`.
    fn check(text: &str, title: Option<&str>, expected: &[&str]) {
        let outline = outline(text);
        assert_eq!(outline.title.as_deref(), title);
        let sections: Vec<String> = outline
            .sections
            .iter()
            .map(|section| (section.heading.join("/"), text[section.range.clone()].trim()))
            .filter(|(_, body)| !body.is_empty())
            .map(|(heading, body)| format!("{heading}: {body}"))
            .collect();
        assert_eq!(sections, expected);
    }

    #[test]
    fn headings_nest() {
        check(
            "# Bridge\nintro\n## Span\nlong\n### Arch\nstone\n## Cost ##\nhigh\n",
            Some("Bridge"),
            &["Bridge: intro", "Bridge/Span: long", "Bridge/Span/Arch: stone", "Bridge/Cost: high"],
        );
    }

    #[test]
    fn code_and_hash_tags_are_no_headings() {
        check(
            "text\n```sh\n# a comment\n```\n#tag\n# Late\nend",
            None,
            &[": text\n```sh\n# a comment\n```\n#tag", "Late: end"],
        );
    }

    #[test]
    fn front_matter_is_not_text() {
        check("---\ntitle: \"A b\"\ntags: x\n---\n# H\nbody", Some("A b"), &["H: body"]);
        check("---\nnever closed", None, &[": ---\nnever closed"]);
        check("---\ntitle: x\nnever closed", None, &[": ---\ntitle: x\nnever closed"]);
    }
}
