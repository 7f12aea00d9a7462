//! The package of an EPUB: what the book is called, and its chapters in order.

use std::collections::HashMap;

use super::super::super::language::Language;
use super::super::Stop;
use super::super::archive::Archive;
use super::super::passages::line;
use super::super::xml::{self, Attributes, Piece};

/// What the package document says.
#[derive(Debug, Default)]
pub(super) struct Package {
    pub title: Option<String>,
    pub language: Option<Language>,
    /// Paths of the chapters inside the archive, in reading order.
    pub spine: Vec<String>,
    /// The table of contents: EPUB 3's page or EPUB 2's list.
    contents: Option<String>,
}

/// One line of the package's list of files.
struct Item {
    path: String,
    is_contents: bool,
}

/// State while the package document is read.
#[derive(Default)]
struct Reading {
    package: Package,
    items: HashMap<String, Item>,
    spine: Vec<String>,
    inside: &'static str,
}

impl Package {
    /// Finds and reads the package document.
    pub(super) fn of(archive: &mut Archive) -> Result<Self, Stop> {
        let container = archive.needed_text("META-INF/container.xml")?;
        let mut path = None;
        xml::read(&container, &mut |piece| {
            if let Piece::Open("rootfile", attributes) = piece {
                path = path.take().or_else(|| attributes.get("full-path"));
            }
        })?;
        let path = path.ok_or("META-INF/container.xml names no package document")?;
        let text = archive.needed_text(&path)?;
        let mut reading = Reading::default();
        xml::read(&text, &mut |piece| reading.take(&folder(&path), &piece))?;
        let mut package = reading.package;
        let items = reading.items;
        package.spine =
            reading.spine.iter().filter_map(|id| Some(items.get(id)?.path.clone())).collect();
        package.contents = items.into_values().find(|item| item.is_contents).map(|item| item.path);
        if package.spine.is_empty() {
            return Err(format!("{path} lists no chapters").into());
        }
        Ok(package)
    }

    /// Names of chapters in the table of contents, by path. A broken one names none.
    pub(super) fn labels(&self, archive: &mut Archive) -> Result<HashMap<String, String>, Stop> {
        let mut labels = Labels::default();
        let Some(path) = &self.contents else {
            return Ok(labels.found);
        };
        if let Some(text) = archive.text(path)? {
            let _ = xml::read(&text, &mut |piece| labels.take(&folder(path), &piece));
        }
        Ok(labels.found)
    }
}

impl Reading {
    fn take(&mut self, folder: &str, piece: &Piece<'_>) {
        match piece {
            Piece::Open("title", _) if self.package.title.is_none() => self.inside = "title",
            Piece::Open("language", _) => self.inside = "language",
            Piece::Open("item", attributes) => self.item(folder, attributes),
            Piece::Open("itemref", attributes) => self.spine.extend(attributes.get("idref")),
            Piece::Open(..) | Piece::Close(_) => self.inside = "",
            Piece::Text(text) if self.inside == "title" => {
                self.package.title.get_or_insert_default().push_str(text);
            }
            Piece::Text(text) if self.inside == "language" => {
                self.package.language = self.package.language.or(Language::declared(text));
            }
            Piece::Text(_) => {}
        }
    }

    fn item(&mut self, folder: &str, attributes: &Attributes<'_>) {
        let (Some(id), Some(href)) = (attributes.get("id"), attributes.get("href")) else {
            return;
        };
        let properties = attributes.get("properties").unwrap_or_default();
        let media_type = attributes.get("media-type").unwrap_or_default();
        let is_contents = properties.split_whitespace().any(|property| property == "nav")
            || media_type == "application/x-dtbncx+xml";
        self.items.insert(id, Item { path: resolve(folder, &href), is_contents });
    }
}

/// State while the table of contents is read.
#[derive(Default)]
struct Labels {
    found: HashMap<String, String>,
    /// The label under way, or the last one.
    label: String,
    href: Option<String>,
    in_label: bool,
}

impl Labels {
    fn take(&mut self, folder: &str, piece: &Piece<'_>) {
        match piece {
            Piece::Open("navLabel", _) => self.begin(None),
            Piece::Close("navLabel") => self.in_label = false,
            Piece::Open("content", attributes) => {
                self.href = attributes.get("src");
                self.end(folder);
            }
            Piece::Open("a", attributes) => self.begin(attributes.get("href")),
            Piece::Close("a") => self.end(folder),
            Piece::Text(text) if self.in_label => self.label.push_str(text),
            _ => {}
        }
    }

    fn begin(&mut self, href: Option<String>) {
        self.label.clear();
        self.href = href;
        self.in_label = true;
    }

    /// The first entry of a chapter names it; those that follow are its parts.
    fn end(&mut self, folder: &str) {
        self.in_label = false;
        let label = line(&self.label);
        if let Some(href) = self.href.take().filter(|_| !label.is_empty()) {
            self.found.entry(resolve(folder, &href)).or_insert(label);
        }
    }
}

/// The folder of a path inside the archive, empty or ending in `/`.
fn folder(path: &str) -> String {
    path.rsplit_once('/').map_or_else(String::new, |(folder, _)| format!("{folder}/"))
}

/// The path that a reference from `folder` names, without its fragment.
pub(super) fn resolve(folder: &str, href: &str) -> String {
    let href = href.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let decoded = percent_decode(href);
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        assert_eq!(resolve("OEBPS/text/", "../my%20chapter.xhtml#p1"), "OEBPS/my chapter.xhtml");
        assert_eq!(resolve("", "./a/b.xhtml"), "a/b.xhtml");
        assert_eq!(resolve("a/", "../../../x"), "x");
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%c3%a4"), "ä");
    }
}
