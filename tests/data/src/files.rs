//! Small files of each format of documents, good and bad, as bytes.

use std::io::{Cursor, Write};

use lzma_rust2::{XzOptions, XzWriter};
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

/// A PDF file of these objects, the first of them the catalog. `trailer` is put into its trailer.
#[must_use]
pub fn pdf_of(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", file.len());
        file.extend(format!("{} 0 obj\n", number + 1).bytes());
        file.extend(object);
        file.extend(b"\nendobj\n");
    }
    let start = file.len();
    let count = objects.len() + 1;
    let end = format!("<< /Size {count} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n");
    file.extend(format!("{table}trailer\n{end}").bytes());
    file
}

/// A stream object with these entries in its dictionary.
#[must_use]
pub fn stream(entries: &str, bytes: &[u8]) -> Vec<u8> {
    let start = format!("<< {entries} /Length {} >>\nstream\n", bytes.len());
    [start.as_bytes(), bytes, b"\nendstream"].concat()
}

/// A PDF file of one line of text per page. `trailer` is put into its trailer.
#[must_use]
pub fn pdf_with(title: &str, pages: &[&str], trailer: &str) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 5 + 2 * page)).collect();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Count {} /Kids [{}] >>", pages.len(), kids.join(" ")).into(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".into(),
        format!("<< /Title ({title}) >>").into(),
    ];
    for (page, text) in pages.iter().enumerate() {
        let content = 6 + 2 * page;
        objects.push(page_object(content, "/Font << /F1 3 0 R >>"));
        let text = if text.is_empty() {
            String::new()
        } else {
            format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET")
        };
        objects.push(stream("", text.as_bytes()));
    }
    pdf_of(&objects, &format!("/Info 4 0 R {trailer}"))
}

fn page_object(content: usize, resources: &str) -> Vec<u8> {
    format!(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R \
         /Resources << {resources} >> >>"
    )
    .into()
}

/// A PDF file of one page with this stream as its content.
fn pdf_of_page(content: Vec<u8>, resources: &str, more: Option<Vec<u8>>) -> Vec<u8> {
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>".to_vec(),
        page_object(4, resources),
        content,
    ];
    objects.extend(more);
    pdf_of(&objects, "")
}

/// A PDF file whose page draws a form that draws itself: its reader runs out of stack.
#[must_use]
pub fn looping_pdf() -> Vec<u8> {
    let form = stream(
        "/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 5 0 R >> >>",
        b"/X Do",
    );
    pdf_of_page(stream("", b"/X Do"), "/XObject << /X 5 0 R >>", Some(form))
}

/// A PDF file whose page is so many blanks when it is decompressed.
///
/// # Panics
/// When they cannot be compressed, which memory does not do.
#[must_use]
pub fn inflating_pdf(bytes: usize) -> Vec<u8> {
    let archive = zip(&[("p", &vec![b' '; bytes])]);
    // A zip entry is a deflate stream behind its header; PDF wants zlib's frame around it.
    let start = 30 + usize::from(archive[26]) + usize::from(archive[28]);
    let directory = archive.windows(4).rposition(|window| window == b"PK\x01\x02");
    let deflated = &archive[start..directory.expect("a directory")];
    let content = [b"\x78\x9c", deflated].concat();
    pdf_of_page(stream("/Filter /FlateDecode", &content), "", None)
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

/// How the cluster of a ZIM file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZimCompression {
    /// As it is.
    None,
    /// In older files.
    Xz,
    /// In today's.
    Zstd,
}

/// A ZIM file of articles in the language `deu`, with a redirect to the first; its one cluster is
/// compressed with zstd.
#[must_use]
pub fn zim(articles: &[Article<'_>]) -> Vec<u8> {
    zim_with(ZimCompression::Zstd, articles)
}

/// As [`zim`], compressed in another way.
#[must_use]
pub fn zim_with(compression: ZimCompression, articles: &[Article<'_>]) -> Vec<u8> {
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
    body.extend(compressed(compression, &cluster(&blobs)));
    let checksum = 80 + body.len() as u64;
    body.extend([0; 16]);
    let mut file = header(entries.len() as u32, entry_table, cluster_table, checksum);
    file.extend(body);
    file
}

/// A cluster behind the byte that names its compression.
fn compressed(compression: ZimCompression, cluster: &[u8]) -> Vec<u8> {
    let (number, bytes) = match compression {
        ZimCompression::None => (1, cluster.to_vec()),
        ZimCompression::Xz => (4, xz(cluster)),
        ZimCompression::Zstd => (5, zstd::encode_all(cluster, 3).unwrap_or_default()),
    };
    [vec![number], bytes].concat()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let written = XzWriter::new(Vec::new(), XzOptions::with_preset(6)).and_then(|mut writer| {
        writer.write_all(bytes)?;
        writer.finish()
    });
    written.expect("memory can be written")
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
