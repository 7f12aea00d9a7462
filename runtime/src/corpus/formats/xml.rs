//! XML as a stream of tags and text. Entities other than XML's own five are left out: nothing a
//! document declares is ever expanded.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What a document holds, in order. Names are without their prefixes.
pub(super) enum Piece<'a> {
    /// An element begins.
    Open(&'a str, &'a Attributes<'a>),
    /// An element ends.
    Close(&'a str),
    /// Text between tags, entities resolved.
    Text(&'a str),
}

/// The attributes of an element.
pub(super) struct Attributes<'a>(&'a BytesStart<'a>);

impl Attributes<'_> {
    /// The value of the attribute with this name, whatever its prefix.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let mut all = self.0.attributes();
        let mut attributes = all.with_checks(false).filter_map(Result::ok);
        let found = attributes.find(|attribute| attribute.key.local_name().as_ref() == name)?;
        let value = quick_xml::escape::unescape(&found.value).ok()?;
        Some(value.into_owned())
    }
}

/// Hands a document to `take`, piece by piece.
///
/// # Errors
/// What breaks the document, and where.
pub(super) fn read(text: &str, take: &mut dyn FnMut(Piece<'_>)) -> Result<(), String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().allow_dangling_amp = true;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| format!("broken XML at byte {}: {error}", reader.error_position()))?;
        match event {
            Event::Start(tag) => {
                let name = tag.local_name();
                take(Piece::Open(name.as_ref(), &Attributes(&tag)));
            }
            Event::Empty(tag) => {
                let name = tag.local_name();
                take(Piece::Open(name.as_ref(), &Attributes(&tag)));
                take(Piece::Close(name.as_ref()));
            }
            Event::End(tag) => take(Piece::Close(tag.local_name().as_ref())),
            Event::Text(text) => take(Piece::Text(&text.xml10_content())),
            Event::CData(text) => take(Piece::Text(&text.xml10_content())),
            Event::GeneralRef(reference) => take(Piece::Text(&resolve(&reference))),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let known = quick_xml::escape::resolve_predefined_entity(&reference.xml10_content());
    known.unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(xml: &str) -> Result<String, String> {
        let mut text = String::new();
        read(xml, &mut |piece| {
            if let Piece::Text(part) = piece {
                text.push_str(part);
            }
        })?;
        Ok(text)
    }

    #[test]
    fn entities_are_resolved_and_never_expanded() {
        assert_eq!(text("<a>x &amp; &#x41;&#66;<![CDATA[<b>]]></a>").unwrap(), "x & AB<b>");
        let bomb = "<!DOCTYPE a [<!ENTITY x 'ha'><!ENTITY y '&x;&x;&x;&x;'>]><a>o&y;&nbsp;k</a>";
        assert_eq!(text(bomb).unwrap(), "ok");
    }

    #[test]
    fn attributes_are_found_without_their_prefix() {
        let mut values = Vec::new();
        read("<w:a w:val='1 &lt; 2'/>", &mut |piece| {
            if let Piece::Open(name, attributes) = piece {
                values.push((name.to_owned(), attributes.get("val")));
            }
        })
        .unwrap();
        assert_eq!(values, [("a".to_owned(), Some("1 < 2".to_owned()))]);
    }

    #[test]
    fn broken_xml_says_where() {
        assert!(text("<a><b></a>").unwrap_err().contains("at byte 6"));
        assert_eq!(text(&"<a>".repeat(100_000)).unwrap_or_default(), "");
    }
}
