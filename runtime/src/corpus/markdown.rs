//! Finds the title and the sections of a Markdown file.

use std::ops::Range;

/// A part of a file under one heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Headings above the text, outermost first.
    pub heading: Vec<String>,
    /// Bytes of the text below the heading, the heading's own line left out.
    pub range: Range<usize>,
}

impl Section {
    /// A whole text without headings.
    pub(super) fn all(text: &str) -> Self {
        Self { heading: Vec::new(), range: 0..text.len() }
    }
}

/// A Markdown file taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// `title:` of the front matter, or the heading that opens the file.
    pub title: Option<String>,
    /// Sections in order, those without text too.
    pub sections: Vec<Section>,
}

/// Reads headings (`#` to `######`) outside fenced code.
pub(super) fn outline(text: &str) -> Outline {
    let (front_title, start) = front_matter(text);
    let mut walk = Walk { front: true, title: front_title, ..Walk::default() };
    walk.section.range = start..start;
    let mut at = start;
    for line in text.get(start..).unwrap_or_default().split_inclusive('\n') {
        walk.line(line, at);
        at += line.len();
    }
    walk.close(at);
    Outline { title: walk.title, sections: walk.sections }
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
            self.title = Some(text.to_owned());
        }
        self.path.retain(|(above, _)| *above < level);
        self.path.push((level, text.to_owned()));
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

/// The title that YAML front matter names, and where the text after it starts.
fn front_matter(text: &str) -> (Option<String>, usize) {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        return (None, 0);
    };
    let (mut title, mut at) = (None, first.len());
    for line in lines {
        at += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return (title, at);
        }
        if let Some(value) = line.strip_prefix("title:") {
            title = Some(value.trim().trim_matches(['"', '\'']).to_owned());
        }
    }
    (None, 0)
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
