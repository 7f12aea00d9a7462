//! What each HTML element means for its text.

use html5ever::tokenizer::Tag;
use html5ever::tokenizer::states::RawKind;

/// What an element does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: its text runs on.
    Inline,
    /// Its text is a paragraph of its own.
    Block,
    /// Its text is a line of its own.
    Line,
    /// A line that begins with a mark.
    Item,
    /// A table's row.
    Row,
    /// A table's cell.
    Cell,
    /// White space in it counts.
    Preformatted,
    /// A heading of a level.
    Heading(u8),
    /// The document's title.
    Title,
    /// A line end without content.
    Break,
    /// It is not read.
    Hidden,
    /// Only its headings are read: a page's head often holds the title of an article.
    HeadingsOnly,
    /// It has no content at all.
    Void,
}

/// The role of an element by its name.
pub(super) fn role(name: &str) -> Role {
    match name {
        "h1" => Role::Heading(1),
        "h2" => Role::Heading(2),
        "h3" => Role::Heading(3),
        "h4" => Role::Heading(4),
        "h5" => Role::Heading(5),
        "h6" => Role::Heading(6),
        "title" => Role::Title,
        "header" => Role::HeadingsOnly,
        "nav" | "footer" | "aside" | "script" | "style" | "template" | "noscript" | "iframe"
        | "object" | "audio" | "video" | "canvas" | "svg" | "select" | "textarea" | "button"
        | "dialog" | "menu" | "noembed" | "noframes" | "xmp" => Role::Hidden,
        "br" | "hr" => Role::Break,
        "img" | "input" | "link" | "meta" | "area" | "base" | "col" | "embed" | "source"
        | "track" | "wbr" | "param" => Role::Void,
        "li" => Role::Item,
        "tr" => Role::Row,
        "td" | "th" => Role::Cell,
        "pre" => Role::Preformatted,
        "dt" | "dd" | "caption" | "figcaption" | "legend" | "summary" | "option" => Role::Line,
        "p" | "div" | "section" | "article" | "main" | "blockquote" | "ul" | "ol" | "dl"
        | "table" | "thead" | "tbody" | "tfoot" | "figure" | "form" | "fieldset" | "address"
        | "details" | "body" | "head" | "html" | "center" | "hgroup" => Role::Block,
        _ => Role::Inline,
    }
}

/// Elements whose content is no markup.
pub(super) fn raw_kind(name: &str) -> Option<RawKind> {
    match name {
        "script" => Some(RawKind::ScriptData),
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => Some(RawKind::Rawtext),
        "title" | "textarea" => Some(RawKind::Rcdata),
        _ => None,
    }
}

/// Elements that the next of their kind ends, where nobody wrote the end.
pub(super) fn ends_itself(name: &str) -> bool {
    matches!(name, "p" | "li" | "dt" | "dd" | "tr" | "td" | "th" | "option")
}

/// Whether the page itself hides the element.
pub(super) fn is_hidden(tag: &Tag) -> bool {
    tag.attrs.iter().any(|attribute| {
        let value = attribute.value.to_ascii_lowercase();
        match &*attribute.name.local {
            "hidden" => value != "until-found",
            "aria-hidden" => value == "true",
            "role" => matches!(value.as_str(), "navigation" | "banner" | "contentinfo" | "search"),
            "style" => {
                let style: String = value.split_whitespace().collect();
                style.contains("display:none") || style.contains("visibility:hidden")
            }
            _ => false,
        }
    })
}

/// The value of an attribute.
pub(super) fn attribute<'a>(tag: &'a Tag, names: [&str; 2]) -> Option<&'a str> {
    let found = tag.attrs.iter().find(|attribute| names.contains(&&*attribute.name.local));
    found.map(|attribute| &*attribute.value)
}
