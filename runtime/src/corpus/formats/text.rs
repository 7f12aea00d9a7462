//! Plain text: one section, titled by the file's name.

use super::super::language::Language;
use super::passages::{Bytes, Document, Passages, Place};
use super::{Opened, Stop, TEXT_BYTES_MAX, encoding, read_all, stem};

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    let bytes = read_all(opened.bytes, TEXT_BYTES_MAX)?;
    let decoded = encoding::decode(&bytes)?;
    let language = Language::detect(&decoded.text).unwrap_or_default();
    let mut document = Document::new(opened.document, stem(opened.name), language);
    let bytes = Bytes::From(decoded.mark_bytes as u64);
    out.add(&mut document, &Place { bytes, ..Place::default() }, &decoded.text)
}
