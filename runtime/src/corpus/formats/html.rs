//! HTML and XHTML: what a reader reads, without scripts, navigation and hidden parts.
//!
//! Only the tokenizer of a browser's parser is used, no tree is built: how deep a page nests its
//! elements costs nothing. Unclosed elements are no harm to text that is read in order.

mod elements;
mod extract;

use super::passages::{Document, Passages};
use super::{Opened, Stop, TEXT_BYTES_MAX, encoding, read_all, stem};

pub(super) use extract::page;

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `<script/>` opens an element.
    Html,
    /// `<script/>` is a whole element, and `<![CDATA[…]]>` is text.
    Xml,
}

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, syntax: Syntax, out: &mut Passages<'_>) -> Result<(), Stop> {
    let bytes = read_all(opened.bytes, TEXT_BYTES_MAX)?;
    let decoded = encoding::decode_markup(&bytes)?;
    let page = page(&decoded.text, syntax);
    let title = page.title.as_deref().or(page.first_heading.as_deref());
    let title = title.unwrap_or_else(|| stem(opened.name));
    let mut document = Document::new(opened.document, title, page.language());
    page.send(None, &mut document, out)
}
