//! EPUB: the chapters in reading order, each an XHTML page below its name in the table of
//! contents.

mod package;

use super::archive::Archive;
use super::page::Page;
use super::passages::{Document, Passages};
use super::xml::{self, Piece};
use super::{BINARY_BYTES_MAX, Opened, Stop, html, read_all, stem};

use package::{Package, resolve};

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    let mut archive = Archive::open(read_all(opened.bytes, BINARY_BYTES_MAX)?)?;
    let package = Package::of(&mut archive)?;
    refuse_encrypted(&mut archive, &package)?;
    let labels = Stop::tolerated(package.labels(&mut archive), out)?;
    let mut document = None;
    for path in &package.spine {
        let text = match archive.text(path) {
            Ok(Some(text)) => text,
            Ok(None) => {
                out.skip(None, format!("the chapter {path} is missing in the archive"));
                continue;
            }
            Err(Stop::Refused(reason)) => {
                out.skip(None, reason);
                continue;
            }
            Err(stop) => return Err(stop),
        };
        let page = html::page(&text, html::Syntax::Xml);
        let document =
            document.get_or_insert_with(|| named(&package, &page, opened.document, opened.name));
        page.send(labels.get(path).map(String::as_str), document, out)?;
        out.alive();
    }
    Ok(())
}

/// The book, as its package or else its first chapter calls it.
fn named(package: &Package, first: &Page, document: &str, file_name: &str) -> Document {
    let title = package.title.as_deref().unwrap_or_else(|| stem(file_name));
    Document::new(document, title, package.language.unwrap_or_else(|| first.language()))
}

/// Chapters that are encrypted are no text. Fonts may be; nobody reads them here.
fn refuse_encrypted(archive: &mut Archive, package: &Package) -> Result<(), Stop> {
    let Some(text) = archive.text("META-INF/encryption.xml")? else {
        return Ok(());
    };
    let mut encrypted = false;
    xml::read(&text, &mut |piece| {
        if let Piece::Open("CipherReference", attributes) = piece {
            let path = attributes.get("URI").map(|uri| resolve("", &uri));
            encrypted |= path.is_some_and(|path| package.spine.contains(&path));
        }
    })?;
    if encrypted { Err("the chapters are encrypted (DRM)".into()) } else { Ok(()) }
}
