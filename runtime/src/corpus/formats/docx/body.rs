//! The text of a WordprocessingML part.

use super::super::page::{Flow, Headings, Page, Section};
use super::super::xml::{self, Attributes, Piece};
use super::styles::{Rank, Styles, rank_of_outline};

/// Reads a part into `page`.
pub(super) fn read(text: &str, styles: &Styles, page: &mut Page) -> Result<(), String> {
    let mut body = Body {
        styles,
        page,
        flow: Flow::default(),
        headings: Headings::default(),
        paragraph: String::new(),
        rank: None,
        in_text: false,
        rows: 0,
        cell_done: false,
        left_out: 0,
    };
    xml::read(text, &mut |piece| body.take(&piece))?;
    body.end_section();
    Ok(())
}

/// State between two pieces.
struct Body<'a> {
    styles: &'a Styles,
    page: &'a mut Page,
    flow: Flow,
    headings: Headings,
    /// Text of the paragraph under way.
    paragraph: String,
    rank: Option<Rank>,
    in_text: bool,
    /// Table rows around this point.
    rows: usize,
    /// A cell was closed on this row: a bar comes before the next one.
    cell_done: bool,
    /// Elements around this point that repeat what stands elsewhere.
    left_out: usize,
}

impl Body<'_> {
    fn take(&mut self, piece: &Piece<'_>) {
        match piece {
            // What an old program shows instead of the drawing that came before.
            Piece::Open("Fallback", _) => self.left_out += 1,
            Piece::Close("Fallback") => self.left_out = self.left_out.saturating_sub(1),
            _ if self.left_out > 0 => {}
            Piece::Open(name, attributes) => self.open(name, attributes),
            Piece::Close(name) => self.close(name),
            Piece::Text(text) if self.in_text => self.paragraph.push_str(text),
            Piece::Text(_) => {}
        }
    }

    fn open(&mut self, name: &str, attributes: &Attributes<'_>) {
        match name {
            "t" => self.in_text = true,
            "tab" => self.paragraph.push(' '),
            "br" | "cr" => self.paragraph.push('\n'),
            "noBreakHyphen" => self.paragraph.push('-'),
            "pStyle" => {
                let style = attributes.get("val").unwrap_or_default();
                self.rank = self.styles.rank(&style).or(self.rank);
            }
            "outlineLvl" => {
                let level = attributes.get("val").unwrap_or_default();
                self.rank = self.rank.or(rank_of_outline(&level));
            }
            "numPr" if self.paragraph.is_empty() => self.paragraph.push_str("- "),
            "tr" => {
                self.rows += 1;
                self.cell_done = false;
                self.flow.end_line();
            }
            "tc" if std::mem::take(&mut self.cell_done) => self.flow.push_as_is(" | "),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
            "tc" => self.cell_done = true,
            "tr" => {
                self.rows = self.rows.saturating_sub(1);
                self.flow.end_line();
            }
            "tbl" => self.flow.end_block(),
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let (text, rank) = (std::mem::take(&mut self.paragraph), self.rank.take());
        let unmarked = text.strip_prefix("- ").unwrap_or(&text).trim();
        match rank {
            _ if unmarked.is_empty() => {}
            _ if self.rows > 0 => self.flow.push(&format!(" {text} ")),
            Some(Rank::Title) if self.page.title.is_none() => {
                self.page.title = Some(unmarked.to_owned());
            }
            Some(Rank::Heading(level)) => {
                self.end_section();
                self.page.first_heading.get_or_insert_with(|| unmarked.to_owned());
                self.headings.open(level, unmarked);
            }
            Some(Rank::Title) | None => {
                self.flow.push_as_is(text.trim());
                if text.starts_with("- ") { self.flow.end_line() } else { self.flow.end_block() }
            }
        }
    }

    fn end_section(&mut self) {
        let text = self.flow.take();
        if !text.trim().is_empty() {
            self.page.sections.push(Section { heading: self.headings.path(), text });
        }
    }
}
