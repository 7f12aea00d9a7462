//! Good, broken and hostile files of the binary formats.

use proptest::prelude::*;
use retort_test_data::files::{self, ZimCompression};

use super::super::language::Language;
use super::super::source::Outcome;
use super::Kind;
use super::passages::tests::passages;

fn reason(kind: Kind, bytes: &[u8]) -> String {
    let (passages, outcome) = passages(kind, bytes);
    assert_eq!((passages.len(), outcome.skips.total), (0, 1), "{outcome:?}");
    outcome.skips.listed[0].reason.clone()
}

fn book() -> Vec<u8> {
    let chapters = [
        ("The Start", "<h1>The Start</h1><p>It rained.</p>"),
        ("The End", "<h2>Late</h2><p>The sun <i>came</i> out.</p>"),
    ];
    files::epub("A &amp; B", "fr", &chapters)
}

fn letter() -> Vec<u8> {
    let row = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Name</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r>\
               <w:t>Jahr</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
    let body = [
        files::paragraph("Titel", "Der Brief"),
        files::paragraph("berschrift1", "Anfang"),
        files::paragraph("", "Es regnet &amp; regnet."),
        files::paragraph("berschrift2", "Mitte"),
        files::paragraph("", "Die Sonne scheint."),
        row.to_owned(),
    ];
    files::docx("", &body.concat())
}

#[test]
fn an_epub_gives_chapters_in_order() {
    let (passages, outcome) = passages(Kind::Epub, &book());
    let found: Vec<_> =
        passages.iter().map(|p| (p.heading.join("/"), p.text.as_str(), p.ordinal)).collect();
    assert_eq!(
        found,
        [
            ("The Start".to_owned(), "It rained.", 0),
            ("The End/Late".to_owned(), "The sun came out.", 1)
        ]
    );
    let first = &passages[0];
    assert_eq!(
        (&*first.title, &*first.document, first.language),
        ("A & B", "d/f", Language::French)
    );
    assert_eq!(first.byte_range, 0..0);
    assert_eq!((outcome.documents, outcome.skips.total), (1, 0));
}

#[test]
fn a_docx_gives_headings_by_style_and_rows() {
    let (passages, _) = passages(Kind::Docx, &letter());
    let found: Vec<_> = passages.iter().map(|p| (p.heading.join("/"), p.text.as_str())).collect();
    assert_eq!(
        found,
        [
            ("Anfang".to_owned(), "Es regnet & regnet."),
            ("Anfang/Mitte".to_owned(), "Die Sonne scheint.\n\nName | Jahr")
        ]
    );
    assert_eq!((&*passages[0].title, passages[0].language), ("Der Brief", Language::German));
}

#[test]
fn a_pdf_gives_pages() {
    let file = files::pdf("The Bridge", &["It is long.", "", "It is old."]);
    let (passages, outcome) = passages(Kind::Pdf, &file);
    let found: Vec<_> = passages.iter().map(|p| (p.page, p.text.as_str())).collect();
    assert_eq!(found, [(Some(1), "It is long."), (Some(3), "It is old.")]);
    assert_eq!(passages[0].title, "The Bridge");
    assert_eq!((outcome.documents, outcome.skips.total), (1, 0));
}

#[test]
fn a_zim_gives_articles() {
    let articles = [
        ("Heahi", "Heahi Bridge", "<h1>Heahi</h1><p>Eine Brücke.</p><h2>Bau</h2><p>1931.</p>"),
        ("b/Ann", "", "<title>Ann Boll</title><p>Baute sie.</p>"),
    ];
    let (passages, outcome) = passages(Kind::Zim, &files::zim(&articles));
    let found: Vec<_> =
        passages.iter().map(|p| (p.document.as_str(), p.title.as_str(), p.text.as_str())).collect();
    assert_eq!(
        found,
        [
            ("d/f#Heahi", "Heahi Bridge", "Eine Brücke."),
            ("d/f#Heahi", "Heahi Bridge", "1931."),
            ("d/f#b/Ann", "Ann Boll", "Baute sie."),
        ]
    );
    assert_eq!(passages[1].heading, ["Heahi", "Bau"]);
    assert_eq!(passages[2].language, Language::German);
    assert_eq!((outcome.documents, outcome.skips.total), (2, 0));
}

#[test]
fn a_zim_may_be_compressed_in_three_ways() {
    for way in [ZimCompression::None, ZimCompression::Xz, ZimCompression::Zstd] {
        let file = files::zim_with(way, &[("a", "A", "<p>It is long.</p>")]);
        let (passages, outcome) = passages(Kind::Zim, &file);
        let texts: Vec<_> = passages.iter().map(|passage| passage.text.as_str()).collect();
        assert_eq!((texts, outcome.skips.total), (vec!["It is long."], 0), "{way:?} {outcome:?}");
    }
}

#[test]
fn a_file_that_another_program_wrote_is_read() {
    // Written by zimwriterfs; tests/fixtures/zim.sh says how.
    let file = include_bytes!("../../../../tests/fixtures/places.zim");
    let (passages, outcome) = passages(Kind::Zim, file);
    assert_eq!((outcome.documents, outcome.skips.total), (2, 0), "{outcome:?}");
    let bridge = passages.iter().find(|passage| passage.title == "Heahi-Brücke").unwrap();
    assert_eq!(bridge.language, Language::German);
    assert!(bridge.text.contains("wurde 1931 eröffnet"), "{bridge:?}");
    assert!(passages.iter().all(|passage| !passage.text.contains("Startseite")));
}

#[test]
fn what_only_describes_a_file_may_be_broken() {
    let book = files::epub("A", "en", &[("zero\0", "<p>It rained.</p>")]);
    let letter = files::docx("</wrong>", &files::paragraph("", "Es regnet."));
    for (kind, bytes, part, text) in [
        (Kind::Epub, book, "OEBPS/nav.xhtml", "It rained."),
        (Kind::Docx, letter, "broken XML", "Es regnet."),
    ] {
        let (passages, outcome) = passages(kind, &bytes);
        let texts: Vec<_> = passages.iter().map(|passage| passage.text.as_str()).collect();
        assert_eq!((texts, outcome.skips.total), (vec![text], 1), "{outcome:?}");
        assert!(outcome.skips.listed[0].reason.contains(part), "{outcome:?}");
    }
}

#[test]
fn broken_files_say_what_is_wrong() {
    for (kind, whole) in [
        (Kind::Epub, book()),
        (Kind::Docx, letter()),
        (Kind::Pdf, files::pdf("t", &["It is long."])),
        (Kind::Zim, files::zim(&[("a", "A", "<p>It is long.</p>")])),
    ] {
        reason(kind, b"");
        reason(kind, b"something else altogether");
        let cut = whole.get(..whole.len() / 2).unwrap();
        // A reader of PDF may find a page in half a file; no other may.
        let (passages, outcome) = passages(kind, cut);
        assert!(outcome.skips.total > 0 || kind == Kind::Pdf, "{kind:?}");
        assert!(passages.is_empty() || kind == Kind::Pdf, "{kind:?}");
    }
    assert!(reason(Kind::Docx, &book()).contains("word/document.xml is missing"));
    assert!(reason(Kind::Epub, &letter()).contains("META-INF/container.xml is missing"));
    assert!(reason(Kind::Docx, b"\xd0\xcf\x11\xe0 and so on").contains("encrypted"));
    assert!(reason(Kind::Pdf, &files::encrypted_pdf()).contains("encrypted"));
    assert!(reason(Kind::Pdf, &files::pdf("t", &["", ""])).contains("OCR"));
    assert!(reason(Kind::Csv, b"\x00\x01").contains("zero byte"));
}

#[test]
fn bombs_are_small_or_refused() {
    let zeros = vec![b' '; 80 << 20];
    let bomb = files::zip(&[("word/document.xml", &zeros)]);
    assert!(bomb.len() < 1 << 20);
    assert!(reason(Kind::Docx, &bomb).contains("when decompressed"));
    let entities = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>\
                    <!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]>";
    let document = format!("{entities}<w:document>{}</w:document>", files::paragraph("", "o&c;k"));
    let (found, _) =
        passages(Kind::Docx, &files::zip(&[("word/document.xml", document.as_bytes())]));
    assert_eq!(found[0].text, "ok");
    let deep = format!("{}x", "<w:p><w:r><w:t>".repeat(200_000));
    let deep = files::docx("t", &deep);
    assert!(passages(Kind::Docx, &deep).0.len() <= 1);
}

/// A few bytes of a file are others, some are gone, or its end is.
fn mutated(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 1..20);
    (changes, 0..length, 0..64_usize, any::<bool>()).prop_map(move |(changes, at, cut, torn)| {
        let mut bytes = whole.clone();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        if torn {
            bytes.truncate(at);
        } else {
            bytes.drain(at..(at + cut).min(length));
        }
        bytes
    })
}

fn any_file() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let html = b"<html lang=en><title>T</title><table><tr><td>a<td>b</table><pre>x</pre>".to_vec();
    let zim = files::zim(&[("a", "A", "<p>It is long.</p>"), ("b", "", "<h1>B</h1>old")]);
    prop_oneof![
        mutated(html.clone()).prop_map(|bytes| (Kind::Html, bytes)),
        mutated(html).prop_map(|bytes| (Kind::Xhtml, bytes)),
        mutated(b"a;b;c\n1;\"2;x\";3\n4;5\n".to_vec()).prop_map(|bytes| (Kind::Csv, bytes)),
        mutated(b"---\ntitle: x\n---\n# A\n```\nb\n".to_vec()).prop_map(|b| (Kind::Markdown, b)),
        mutated(book()).prop_map(|bytes| (Kind::Epub, bytes)),
        mutated(letter()).prop_map(|bytes| (Kind::Docx, bytes)),
        mutated(zim).prop_map(|bytes| (Kind::Zim, bytes)),
    ]
}

proptest! {
    /// Whatever happened to a file, it ends as passages and reasons, in this very process. (PDF is
    /// tried by the integration tests, in a process of its own: its library may overflow a stack.)
    #[test]
    fn a_mutated_file_is_read_or_refused((kind, bytes) in any_file()) {
        let (found, outcome): (_, Outcome) = passages(kind, &bytes);
        prop_assert_eq!(found.len() as u64, outcome.passages);
        for passage in found {
            prop_assert!(!passage.text.trim().is_empty());
            prop_assert!(passage.text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')));
        }
    }
}
