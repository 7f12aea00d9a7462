//! DOCX: paragraphs, headings by their styles, tables row by row, notes.

mod body;
mod styles;

use super::archive::Archive;
use super::page::Page;
use super::passages::{Document, Passages};
use super::xml::{self, Piece};
use super::{BINARY_BYTES_MAX, Opened, Stop, read_all, stem};

use super::super::language::Language;
use styles::Styles;

/// The main part, and those with notes. What a document writer calls otherwise is not found.
const MAIN: &str = "word/document.xml";
const NOTES: [&str; 2] = ["word/footnotes.xml", "word/endnotes.xml"];

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    let bytes = read_all(opened.bytes, BINARY_BYTES_MAX)?;
    // What Office encrypts is no longer a zip archive but an OLE file.
    if bytes.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err("encrypted, or an old .doc file; save it as .docx without a password".into());
    }
    let mut archive = Archive::open(bytes)?;
    let core = Stop::tolerated(core(&mut archive), out)?;
    let styles = Stop::tolerated(styles(&mut archive), out)?;
    let mut page = Page::default();
    body::read(&archive.needed_text(MAIN)?, &styles, &mut page)?;
    for part in NOTES {
        if let Some(notes) = archive.text(part)? {
            let mut below = Page::default();
            body::read(&notes, &styles, &mut below)?;
            page.sections.extend(below.sections);
        }
    }
    page.language = core.language.or(styles.language);
    let title = core.title.as_deref().or(page.title.as_deref()).or(page.first_heading.as_deref());
    let title = title.unwrap_or_else(|| stem(opened.name));
    let mut document = Document::new(opened.document, title, page.language());
    page.send(None, &mut document, out)
}

fn styles(archive: &mut Archive) -> Result<Styles, Stop> {
    Ok(Styles::of(archive.text("word/styles.xml")?.as_deref().unwrap_or_default())?)
}

/// What the document says about itself.
#[derive(Default)]
struct Core {
    title: Option<String>,
    language: Option<Language>,
}

fn core(archive: &mut Archive) -> Result<Core, Stop> {
    let mut core = Core::default();
    let Some(text) = archive.text("docProps/core.xml")? else {
        return Ok(core);
    };
    let mut inside = String::new();
    xml::read(&text, &mut |piece| match piece {
        Piece::Open(name, _) => name.clone_into(&mut inside),
        Piece::Close(_) => inside.clear(),
        Piece::Text(text) if text.trim().is_empty() => {}
        Piece::Text(text) if inside == "title" => {
            core.title.get_or_insert_default().push_str(text);
        }
        Piece::Text(text) if inside == "language" => core.language = Language::declared(text),
        Piece::Text(_) => {}
    })?;
    Ok(core)
}
