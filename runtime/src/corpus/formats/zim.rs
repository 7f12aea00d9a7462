//! ZIM (Kiwix): every article a document, read as HTML.
//!
//! Articles are taken cluster by cluster, so that each cluster is decompressed once; of a large
//! file only its directory is held in memory, 16 bytes an article.

mod archive;
mod cluster;

use std::io;

use super::super::language::Language;
use super::passages::{Document, Passages};
use super::{Opened, Stop, encoding, html, stem};

use archive::{Archive, Entry};
use cluster::Cluster;

/// Entries about the whole file that are kept; files have about twenty.
const METADATA_MAX: usize = 1_000;
/// Where metadata lie, in old files and in new ones.
const METADATA: u8 = b'M';
/// Namespaces of articles: of old files, and of new ones.
const ARTICLES: [u8; 2] = [b'A', b'C'];
/// Bytes of one piece of metadata at most.
const METADATA_BYTES_MAX: usize = 4 << 10;

/// Reads the file.
pub(super) fn read(opened: Opened<'_>, out: &mut Passages<'_>) -> Result<(), Stop> {
    // Everything passes the hash first; then the file is read here and there.
    io::copy(opened.bytes, &mut io::sink())?;
    let mut archive = Archive::open(opened.file)?;
    let (articles, metadata) = contents(&mut archive, out)?;
    let declared = language(&mut archive, &metadata, out)?;
    let mut open: Option<(u32, Cluster)> = None;
    for article in articles {
        if open.as_ref().is_none_or(|(number, _)| *number != article.cluster) {
            open = match archive.cluster(article.cluster) {
                Ok(cluster) => Some((article.cluster, cluster)),
                Err(reason) => {
                    out.skip(None, format!("cluster {}: {reason}", article.cluster));
                    // Its other articles are told with it.
                    Some((article.cluster, Cluster::default()))
                }
            };
            out.alive();
        }
        let blob = open.as_ref().and_then(|(_, cluster)| cluster.blob(article.blob));
        if let Some(blob) = blob {
            let entry = archive.entry(article.at)?;
            send(&entry, blob, declared, &opened, out)?;
        }
    }
    Ok(())
}

/// Where an article lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Article {
    cluster: u32,
    blob: u32,
    /// Byte of its directory entry.
    at: u64,
}

type Contents = (Vec<Article>, Vec<Entry>);

/// The articles in the order in which they lie, and the entries of the metadata.
fn contents(archive: &mut Archive<'_>, out: &mut Passages<'_>) -> Result<Contents, Stop> {
    let (mut articles, mut metadata) = (Vec::new(), Vec::new());
    for number in 0..archive.entries {
        let at = archive.entry_position(number)?;
        let entry = archive.entry(at)?;
        let Some((cluster, blob)) = entry.content else {
            continue;
        };
        if ARTICLES.contains(&entry.namespace) && archive.is_html(entry.media_type) {
            articles.push(Article { cluster, blob, at });
        } else if entry.namespace == METADATA && metadata.len() < METADATA_MAX {
            metadata.push(entry);
        }
        if number.is_multiple_of(10_000) {
            out.alive();
        }
    }
    articles.sort_unstable();
    Ok((articles, metadata))
}

/// What the metadata say the language is: `deu`, or several of them, of which none then counts.
fn language(
    archive: &mut Archive<'_>,
    metadata: &[Entry],
    out: &mut Passages<'_>,
) -> Result<Option<Language>, Stop> {
    let Some(entry) = metadata.iter().find(|entry| entry.path == "Language") else {
        return Ok(None);
    };
    let Some((cluster, blob)) = entry.content else {
        return Ok(None);
    };
    let cluster = match archive.cluster(cluster) {
        Ok(cluster) => cluster,
        Err(reason) => {
            out.skip(None, format!("the metadata: {reason}"));
            return Ok(None);
        }
    };
    let value = cluster.blob(blob).filter(|value| value.len() <= METADATA_BYTES_MAX);
    Ok(value.and_then(|value| Language::declared(std::str::from_utf8(value).ok()?)))
}

fn send(
    entry: &Entry,
    blob: &[u8],
    declared: Option<Language>,
    opened: &Opened<'_>,
    out: &mut Passages<'_>,
) -> Result<(), Stop> {
    let name = format!("{}#{}", opened.document, entry.path);
    let text = match encoding::decode_markup(blob) {
        Ok(decoded) => decoded.text,
        Err(reason) => {
            out.skip(None, format!("{}: {reason}", entry.path));
            return Ok(());
        }
    };
    let page = html::page(&text, html::Syntax::Html);
    let title = if entry.title.is_empty() {
        page.title.as_deref().or(page.first_heading.as_deref()).unwrap_or_else(|| stem(&entry.path))
    } else {
        &entry.title
    };
    let language = declared.or(page.language).unwrap_or_else(|| page.language());
    let mut document = Document::new(name, title, language);
    page.send(None, &mut document, out)
}
