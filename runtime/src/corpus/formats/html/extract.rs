//! Tokens to text: what is read, where lines end, which heading holds.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::super::super::language::Language;
use super::super::page::{Flow, Headings, Page, Section};
use super::Syntax;
use super::elements::{Role, attribute, ends_itself, is_hidden, raw_kind, role};

/// Takes a page apart.
pub(in super::super) fn page(text: &str, syntax: Syntax) -> Page {
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from_slice(text));
    let extract = RefCell::new(Extract::new(syntax));
    let tokenizer = Tokenizer::new(Sink(extract), TokenizerOpts::default());
    // Scripts do not run: whatever the tokenizer hands over, it goes on.
    while matches!(tokenizer.feed(&queue), html5ever::TokenizerResult::Script(())) {}
    tokenizer.end();
    tokenizer.sink.0.into_inner().finish()
}

struct Sink(RefCell<Extract>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut extract = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return extract.open(&tag),
            Token::TagToken(tag) => extract.close(&tag.name),
            Token::CharacterTokens(text) => extract.text(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.0.borrow().syntax == Syntax::Xml
    }
}

/// An element whose content is left out, and how many of its name are open inside.
struct Left {
    name: String,
    depth: usize,
    headings_too: bool,
}

/// State between two tokens.
struct Extract {
    syntax: Syntax,
    page: Page,
    flow: Flow,
    headings: Headings,
    left_out: Option<Left>,
    /// Level of the heading under way, and its text.
    heading: Option<(u8, String)>,
    /// Level of [`Page::first_heading`].
    first_level: u8,
    title: Option<String>,
    preformatted: usize,
    /// A cell was begun on this row: a bar comes before the next one.
    has_cell: bool,
}

impl Extract {
    fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            page: Page::default(),
            flow: Flow::default(),
            headings: Headings::default(),
            left_out: None,
            heading: None,
            first_level: u8::MAX,
            title: None,
            preformatted: 0,
            has_cell: false,
        }
    }

    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let empty = self.syntax == Syntax::Xml && tag.self_closing;
        let role = role(name);
        if !empty && role != Role::Void {
            self.enter(tag, role);
        } else if role == Role::Break {
            self.flow.end_line();
        }
        match raw_kind(name).filter(|_| !empty) {
            // XHTML may hold markup where HTML holds none; the tokenizer needs to see its end.
            Some(kind) if self.syntax == Syntax::Html || name == "script" || name == "style" => {
                TokenSinkResult::RawData(kind)
            }
            _ => TokenSinkResult::Continue,
        }
    }

    fn enter(&mut self, tag: &Tag, role: Role) {
        let name: &str = &tag.name;
        if name == "html" && self.page.language.is_none() {
            let tag = attribute(tag, ["lang", "xml:lang"]);
            self.page.language = tag.and_then(Language::declared);
        }
        if self.is_left_out_still(name, role) {
            return;
        }
        let headings_too = role == Role::HeadingsOnly;
        if (role == Role::Hidden || headings_too || is_hidden(tag)) && role != Role::Break {
            let headings_too = headings_too && !is_hidden(tag);
            self.left_out = Some(Left { name: name.to_owned(), depth: 1, headings_too });
            self.flow.end_block();
            return;
        }
        self.begin(role);
    }

    /// Whether the element stands inside one that is left out.
    fn is_left_out_still(&mut self, name: &str, role: Role) -> bool {
        let Some(left) = &mut self.left_out else {
            return false;
        };
        if left.name == name && ends_itself(name) {
            self.left_out = None;
            return false;
        }
        left.depth += usize::from(left.name == name);
        if left.headings_too && matches!(role, Role::Heading(_)) {
            self.begin(role);
        }
        true
    }

    fn begin(&mut self, role: Role) {
        match role {
            Role::Block => self.flow.end_block(),
            Role::Line => self.flow.end_line(),
            Role::Item => self.flow.start_line("- "),
            Role::Break => self.flow.end_line(),
            Role::Row => {
                self.flow.end_line();
                self.has_cell = false;
            }
            Role::Cell => {
                if std::mem::replace(&mut self.has_cell, true) {
                    self.flow.push_as_is(" | ");
                }
            }
            Role::Preformatted => {
                self.flow.end_block();
                self.preformatted += 1;
            }
            Role::Heading(level) => {
                self.end_heading();
                self.end_section();
                self.heading = Some((level, String::new()));
            }
            Role::Title if self.page.title.is_none() && self.title.is_none() => {
                self.title = Some(String::new());
            }
            Role::Title | Role::Inline | Role::Hidden | Role::HeadingsOnly | Role::Void => {}
        }
    }

    fn close(&mut self, name: &str) {
        let role = role(name);
        if let Some(left) = &mut self.left_out {
            left.depth -= usize::from(left.name == name);
            if left.depth == 0 {
                self.left_out = None;
            }
            if !matches!(role, Role::Heading(_)) {
                return;
            }
        }
        match role {
            Role::Block => self.flow.end_block(),
            Role::Line | Role::Item | Role::Row => self.flow.end_line(),
            Role::Break => self.flow.end_line(),
            Role::Preformatted => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.flow.end_block();
            }
            Role::Heading(_) => self.end_heading(),
            Role::Title => self.page.title = self.title.take().or(self.page.title.take()),
            Role::Cell | Role::Inline | Role::Hidden | Role::HeadingsOnly | Role::Void => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some((_, heading)) = &mut self.heading {
            heading.push_str(text);
        } else if let Some(title) = &mut self.title {
            title.push_str(text);
        } else if self.left_out.is_none() {
            match self.preformatted {
                0 => self.flow.push(text),
                _ => self.flow.push_as_is(text),
            }
        }
    }

    fn end_heading(&mut self) {
        let Some((level, text)) = self.heading.take().filter(|(_, text)| !text.trim().is_empty())
        else {
            return;
        };
        if level < self.first_level {
            self.first_level = level;
            self.page.first_heading = Some(text.clone());
        }
        self.headings.open(level, &text);
    }

    fn end_section(&mut self) {
        let text = self.flow.take();
        if !text.trim().is_empty() {
            self.page.sections.push(Section { heading: self.headings.path(), text });
        }
    }

    fn finish(mut self) -> Page {
        self.end_heading();
        self.end_section();
        self.page.title = self.page.title.filter(|title| !title.trim().is_empty());
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page's sections as lines `heading/path: text`.
    fn sections(html: &str, syntax: Syntax) -> Vec<String> {
        let page = page(html, syntax);
        let section =
            |section: &Section| format!("{}: {}", section.heading.join("/"), section.text.trim());
        page.sections.iter().map(section).collect()
    }

    #[test]
    fn a_page_gives_title_language_headings_and_text() {
        let html = "<!DOCTYPE html><html lang=de-AT><head><title>Die &amp; Br&uuml;cke</title>\
                    <style>p { color: red }</style><script>if (a < b) { '</p>' }</script></head>\
                    <body><nav><a href=x>Home</a></nav><header><p>Logo</p><h1>Bridge</h1></header>\
                    <p>It <b>is</b> long, see <a href=y>the map</a>.<p>New.\
                    <h2>Span <i>now</i></h2><div>Wide.</div><footer>(c)</footer>End</body></html>";
        let page = page(html, Syntax::Html);
        assert_eq!(page.title.as_deref(), Some("Die & Brücke"));
        assert_eq!(page.first_heading.as_deref(), Some("Bridge"));
        assert_eq!(page.language, Some(Language::German));
        assert_eq!(
            sections(html, Syntax::Html),
            ["Bridge: It is long, see the map.\n\nNew.", "Bridge/Span now: Wide.\n\nEnd"]
        );
    }

    #[test]
    fn tables_lists_and_code_keep_their_lines() {
        let html = "<table><tr><th>Name<th>Built</tr><tr><td>Heahi</td>\n<td>1931</td></tr></table>\
                    <ul><li>one<li>two <ul><li>deep</ul></ul><dl><dt>Arch<dd>A curve.</dl>\
                    <pre>a\n  b</pre>end";
        assert_eq!(
            sections(html, Syntax::Html),
            [
                ": Name | Built\nHeahi | 1931\n\n- one\n- two\n\n- deep\n\nArch\nA curve.\n\na\n  b\n\n\
              end"
            ]
        );
    }

    #[test]
    fn hidden_parts_are_left_out() {
        let html = "<p hidden>a</p><div style='display: none'><div>b</div>c</div>\
                    <span aria-hidden=true>d</span><div role=navigation>e</div>\
                    <ul><li hidden>f<li>kept</ul><aside>g<aside>h</aside>i</aside>seen";
        assert_eq!(sections(html, Syntax::Html), [": - kept\n\nseen"]);
    }

    #[test]
    fn xhtml_may_close_at_once() {
        let text = "<?xml version='1.0'?><html xmlns='x' xml:lang='fr'><head><title/>\
                    <script src='a'/></head><body><p>Un <![CDATA[<pont>]]></p></body></html>";
        assert_eq!(sections(text, Syntax::Xml), [": Un <pont>"]);
        assert_eq!(page(text, Syntax::Xml).language, Some(Language::French));
    }

    #[test]
    fn depth_and_size_cost_no_stack() {
        let deep = format!("{}text", "<div><table><tr><td><b>".repeat(200_000));
        assert_eq!(sections(&deep, Syntax::Html), [": text"]);
        assert!(sections(&"<!--<![CDATA[<script>&#x".repeat(1_000), Syntax::Html).is_empty());
    }
}
