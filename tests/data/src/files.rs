//! Small files of each format of documents, good and bad, as bytes.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

/// A zip archive of named entries.
///
/// # Panics
/// When it cannot be written, which memory does not do.
#[must_use]
pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        archive.write_all(bytes).expect("its bytes");
    }
    archive.finish().expect("an archive").into_inner()
}

/// An EPUB 3 book: a title, a language, and chapters of a name and an XHTML body.
#[must_use]
pub fn epub(title: &str, language: &str, chapters: &[(&str, &str)]) -> Vec<u8> {
    let container =
        r#"<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>"#;
    let (mut items, mut spine, mut contents) = (String::new(), String::new(), String::new());
    let mut pages = Vec::new();
    for (number, (name, body)) in chapters.iter().enumerate() {
        items += &format!(r#"<item id="c{number}" href="text/c%20{number}.xhtml"/>"#);
        spine += &format!(r#"<itemref idref="c{number}"/>"#);
        contents += &format!(r#"<li><a href="text/c%20{number}.xhtml#top">{name}</a></li>"#);
        let page = format!(
            "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/></head>\
             <body>{body}</body></html>"
        );
        pages.push((format!("OEBPS/text/c {number}.xhtml"), page));
    }
    let package = format!(
        "<package xmlns:dc='http://purl.org/dc/elements/1.1/'><metadata><dc:title>{title}\
         </dc:title><dc:language>{language}</dc:language></metadata><manifest>\
         <item id='nav' href='nav.xhtml' properties='nav'/>{items}</manifest>\
         <spine>{spine}</spine></package>"
    );
    let contents = format!("<html><body><nav><ol>{contents}</ol></nav></body></html>");
    let mut entries: Vec<(&str, &[u8])> = vec![
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", container.as_bytes()),
        ("OEBPS/book.opf", package.as_bytes()),
        ("OEBPS/nav.xhtml", contents.as_bytes()),
    ];
    entries.extend(pages.iter().map(|(name, page)| (name.as_str(), page.as_bytes())));
    zip(&entries)
}

/// A paragraph of a DOCX file in a style; an empty style is plain text.
#[must_use]
pub fn paragraph(style: &str, text: &str) -> String {
    let style = if style.is_empty() {
        String::new()
    } else {
        format!("<w:pPr><w:pStyle w:val=\"{style}\"/></w:pPr>")
    };
    format!("<w:p>{style}<w:r><w:t>{text}</w:t></w:r></w:p>")
}

/// A DOCX file whose body is this markup. Its styles are those of a German Word: `Titel` is the
/// title, `berschrift1` and `berschrift2` are headings.
#[must_use]
pub fn docx(title: &str, body: &str) -> Vec<u8> {
    let document = format!("<w:document xmlns:w='w'><w:body>{body}</w:body></w:document>");
    let core = format!("<cp:coreProperties><dc:title>{title}</dc:title></cp:coreProperties>");
    let styles = "<w:styles><w:docDefaults><w:lang w:val='de-DE'/></w:docDefaults>\
                  <w:style w:styleId='Titel'><w:name w:val='Title'/></w:style>\
                  <w:style w:styleId='berschrift1'><w:name w:val='heading 1'/></w:style>\
                  <w:style w:styleId='berschrift2'><w:name w:val='x'/><w:outlineLvl w:val='1'/>\
                  </w:style></w:styles>";
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/document.xml", document.as_bytes()),
        ("word/styles.xml", styles.as_bytes()),
        ("docProps/core.xml", core.as_bytes()),
    ])
}

/// A PDF file of one line of text per page. `trailer` is put into its trailer.
#[must_use]
pub fn pdf_with(title: &str, pages: &[&str], trailer: &str) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 5 + 2 * page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!("<< /Type /Pages /Count {} /Kids [{}] >>", pages.len(), kids.join(" ")),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
        format!("<< /Title ({title}) >>"),
    ];
    for (page, text) in pages.iter().enumerate() {
        objects.push(format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>",
            6 + 2 * page
        ));
        let stream = if text.is_empty() {
            String::new()
        } else {
            format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET")
        };
        objects.push(format!("<< /Length {} >>\nstream\n{stream}\nendstream", stream.len()));
    }
    let mut file = String::from("%PDF-1.4\n");
    let mut positions = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        positions.push(file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let table = file.len();
    file += &format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for position in positions {
        file += &format!("{position:010} 00000 n \n");
    }
    file += &format!(
        "trailer\n<< /Size {} /Root 1 0 R /Info 4 0 R {trailer} >>\nstartxref\n{table}\n%%EOF\n",
        objects.len() + 1
    );
    file.into_bytes()
}

/// A PDF file of one line of text per page.
#[must_use]
pub fn pdf(title: &str, pages: &[&str]) -> Vec<u8> {
    pdf_with(title, pages, "")
}

/// A PDF file that a password protects.
#[must_use]
pub fn encrypted_pdf() -> Vec<u8> {
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let trailer = format!(
        "/ID [<{key}> <{key}>] /Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -44 \
         /O <{key}> /U <{key}> >>"
    );
    pdf_with("Secret", &["Nobody reads this."], &trailer)
}

/// A PDF file whose tree of pages is its own child.
#[must_use]
pub fn circular_pdf() -> Vec<u8> {
    let file = String::from_utf8(pdf("Ring", &["One."])).unwrap_or_default();
    file.replace("/Kids [5 0 R]", "/Kids [2 0 R]").into_bytes()
}

/// A PDF file that nests arrays so deeply.
#[must_use]
pub fn deep_pdf(depth: usize) -> Vec<u8> {
    let deep = format!("/Deep {}{}", "[".repeat(depth), "]".repeat(depth));
    pdf_with("Deep", &["One."], &deep)
}

/// An article of a ZIM file: path, title, HTML.
pub type Article<'a> = (&'a str, &'a str, &'a str);

/// A ZIM file of articles in the language `deu`, with a redirect to the first; its one cluster is
/// compressed with zstd.
#[must_use]
pub fn zim(articles: &[Article<'_>]) -> Vec<u8> {
    let mut blobs: Vec<&[u8]> = articles.iter().map(|(_, _, html)| html.as_bytes()).collect();
    blobs.push(b"deu");
    let entries = entries(articles);
    let media_types = b"text/html\0text/plain\0\0";
    let mut body = media_types.to_vec();
    let mut positions = Vec::new();
    for entry in &entries {
        positions.push(80 + body.len() as u64);
        body.extend(entry);
    }
    let entry_table = 80 + body.len() as u64;
    body.extend(positions.iter().flat_map(|position| position.to_le_bytes()));
    let cluster_table = 80 + body.len() as u64;
    body.extend((cluster_table + 8).to_le_bytes());
    body.push(5);
    body.extend(zstd::encode_all(&cluster(&blobs)[..], 3).unwrap_or_default());
    let checksum = 80 + body.len() as u64;
    body.extend([0; 16]);
    let mut file = header(entries.len() as u32, entry_table, cluster_table, checksum);
    file.extend(body);
    file
}

fn entries(articles: &[Article<'_>]) -> Vec<Vec<u8>> {
    let texts = |namespace: char, path: &str, title: &str| format!("{namespace}{path}\0{title}\0");
    let content = |kind: u16, blob: usize, text: String| {
        let (namespace, names) = text.split_at(1);
        let mut entry = kind.to_le_bytes().to_vec();
        entry.push(0);
        entry.extend(namespace.bytes());
        entry.extend([0; 4]);
        entry.extend(0_u32.to_le_bytes());
        entry.extend((blob as u32).to_le_bytes());
        entry.extend(names.bytes());
        entry
    };
    let mut entries: Vec<Vec<u8>> = articles
        .iter()
        .enumerate()
        .map(|(blob, (path, title, _))| content(0, blob, texts('C', path, title)))
        .collect();
    let mut redirect = vec![0xff, 0xff, 0, b'C', 0, 0, 0, 0, 0, 0, 0, 0];
    redirect.extend(b"elsewhere\0\0");
    entries.push(redirect);
    entries.push(content(1, articles.len(), texts('M', "Language", "")));
    entries
}

fn cluster(blobs: &[&[u8]]) -> Vec<u8> {
    let mut offset = 4 * (blobs.len() as u32 + 1);
    let mut bytes = offset.to_le_bytes().to_vec();
    for blob in blobs {
        offset += blob.len() as u32;
        bytes.extend(offset.to_le_bytes());
    }
    bytes.extend(blobs.concat());
    bytes
}

fn header(entries: u32, entry_table: u64, cluster_table: u64, checksum: u64) -> Vec<u8> {
    let mut header = 0x044d_495a_u32.to_le_bytes().to_vec();
    header.extend(6_u16.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend([7; 16]);
    header.extend(entries.to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    header.extend(entry_table.to_le_bytes());
    header.extend(entry_table.to_le_bytes());
    header.extend(cluster_table.to_le_bytes());
    header.extend(80_u64.to_le_bytes());
    header.extend(u32::MAX.to_le_bytes());
    header.extend(u32::MAX.to_le_bytes());
    header.extend(checksum.to_le_bytes());
    header
}
