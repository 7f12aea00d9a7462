//! The tantivy index of a corpus: its fields, and how it is created, opened and checked.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::schema::{
    Field, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::{Index, IndexSettings, TantivyDocument};

use super::analyse::{ANALYSER, DocumentAnalyser};
use super::keys::key_of;
use super::language::Language;
use super::{CorpusError, Passage};

/// Times a title is repeated before its text: BM25F with title weight 4 in one field. Two fields
/// with a boost were worse by up to 4 points of recall at 5 on HotpotQA, and cost two lists a term.
const TITLE_WEIGHT: usize = 4;

/// Bytes of stored passages that are compressed together. At 200,000 passages the index is 3 %
/// smaller than with tantivy's 16 KiB and no slower to ask.
pub(super) const STORE_BLOCK_BYTES: usize = 64 << 10;

/// The fields of a passage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Title and text, with frequencies and norms; positions are not needed and not kept.
    pub search: Field,
    /// Absolute path, one term: what deletes the passages of a file.
    pub source: Field,
    /// Code of the language, one term.
    pub language: Field,
    /// What text mentions the page by, one term: see [`key_of`].
    pub key: Field,
    document: Field,
    title: Field,
    heading: Field,
    page: Field,
    start: Field,
    end: Field,
    ordinal: Field,
    text: Field,
}

fn settings() -> IndexSettings {
    IndexSettings { docstore_blocksize: STORE_BLOCK_BYTES, ..IndexSettings::default() }
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    let searched = TextFieldIndexing::default()
        .set_tokenizer(ANALYSER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    schema.add_text_field("search", TextOptions::default().set_indexing_options(searched));
    for name in ["source", "language"] {
        schema.add_text_field(name, STRING | STORED);
    }
    schema.add_text_field("key", STRING);
    for name in ["document", "title", "heading", "text"] {
        schema.add_text_field(name, STORED);
    }
    for name in ["page", "start", "end", "ordinal"] {
        schema.add_u64_field(name, STORED);
    }
    schema.build()
}

impl Fields {
    fn of(schema: &Schema) -> tantivy::Result<Self> {
        let field = |name| schema.get_field(name);
        Ok(Self {
            search: field("search")?,
            source: field("source")?,
            language: field("language")?,
            key: field("key")?,
            document: field("document")?,
            title: field("title")?,
            heading: field("heading")?,
            page: field("page")?,
            start: field("start")?,
            end: field("end")?,
            ordinal: field("ordinal")?,
            text: field("text")?,
        })
    }

    /// The index's form of a passage of the file `source`.
    pub(super) fn to_document(self, source: &str, passage: &Passage) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        let searched = DocumentAnalyser::labelled(passage.language, &searched_text(passage));
        document.add_text(self.search, searched);
        document.add_text(self.source, source);
        document.add_text(self.language, passage.language.code());
        if let Some(key) = key_of(&passage.title) {
            document.add_text(self.key, key);
        }
        document.add_text(self.document, &passage.document);
        document.add_text(self.title, &passage.title);
        for heading in &passage.heading {
            document.add_text(self.heading, heading);
        }
        if let Some(page) = passage.page {
            document.add_u64(self.page, page);
        }
        document.add_u64(self.start, passage.byte_range.start);
        document.add_u64(self.end, passage.byte_range.end);
        document.add_u64(self.ordinal, passage.ordinal);
        document.add_text(self.text, &passage.text);
        document
    }

    /// The passage of a stored document, and the path of its file.
    pub(super) fn read_document(self, stored: &TantivyDocument) -> (String, Passage) {
        StoredFields {
            source: self.source,
            document: self.document,
            title: self.title,
            heading: self.heading,
            page: Some(self.page),
            language: Some(self.language),
            start: self.start,
            end: self.end,
            ordinal: self.ordinal,
            text: self.text,
        }
        .read_document(stored)
    }
}

/// What an index of this or an older format stores of a passage.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredFields {
    source: Field,
    document: Field,
    title: Field,
    heading: Field,
    /// Since format 2.
    page: Option<Field>,
    /// Since format 2.
    language: Option<Field>,
    start: Field,
    end: Field,
    ordinal: Field,
    text: Field,
}

impl StoredFields {
    pub(super) fn of(schema: &Schema) -> tantivy::Result<Self> {
        let field = |name| schema.get_field(name);
        Ok(Self {
            source: field("source")?,
            document: field("document")?,
            title: field("title")?,
            heading: field("heading")?,
            page: field("page").ok(),
            language: field("language").ok(),
            start: field("start")?,
            end: field("end")?,
            ordinal: field("ordinal")?,
            text: field("text")?,
        })
    }

    /// Whether passages say which language they are in.
    pub(super) fn has_language(self) -> bool {
        self.language.is_some()
    }

    /// The passage of a stored document, and the path of its file.
    pub(super) fn read_document(self, stored: &TantivyDocument) -> (String, Passage) {
        let text = |field| {
            stored.get_first(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
        };
        let number = |field| stored.get_first(field).and_then(|value| value.as_u64());
        let heading = stored.get_all(self.heading).filter_map(|value| value.as_str());
        let language = self.language.and_then(|field| Language::of_code(&text(field)));
        let passage = Passage {
            document: text(self.document),
            title: text(self.title),
            heading: heading.map(str::to_owned).collect(),
            page: self.page.and_then(number),
            language: language.unwrap_or_default(),
            byte_range: Range {
                start: number(self.start).unwrap_or_default(),
                end: number(self.end).unwrap_or_default(),
            },
            ordinal: number(self.ordinal).unwrap_or_default(),
            text: text(self.text),
        };
        (text(self.source), passage)
    }
}

/// What a passage is found by: its title, weighted, its headings and its text.
fn searched_text(passage: &Passage) -> String {
    let title = std::iter::repeat_n(passage.title.as_str(), TITLE_WEIGHT);
    let headings = passage.heading.iter().map(String::as_str).filter(|text| *text != passage.title);
    title.chain(headings).chain([passage.text.as_str()]).collect::<Vec<_>>().join("\n")
}

/// An open index with its fields.
#[derive(Clone, Debug)]
pub(super) struct PassageIndex {
    /// The index.
    pub index: Index,
    /// Its fields.
    pub fields: Fields,
}

/// The index's folder inside a corpus folder.
pub(super) fn folder(corpus: &Path) -> PathBuf {
    corpus.join("index")
}

impl PassageIndex {
    /// Opens the index of `corpus` for writing; makes it when there is none.
    pub(super) fn open_or_create(corpus: &Path) -> Result<Self, CorpusError> {
        let folder = folder(corpus);
        std::fs::create_dir_all(&folder).map_err(|error| CorpusError::io(&folder, error))?;
        let directory = MmapDirectory::open(&folder);
        let directory = directory.map_err(|error| CorpusError::index(corpus, error))?;
        let exists = Index::exists(&directory);
        let index = match exists.map_err(|error| CorpusError::index(corpus, error))? {
            true => {
                Index::open(directory).map_err(|error| CorpusError::unreadable(corpus, error))?
            }
            false => Index::create(directory, schema(), settings())
                .map_err(|error| CorpusError::index(corpus, error))?,
        };
        Self::with_analyser(index, corpus)
    }

    /// Opens the index of `corpus` for searching: nothing is written.
    pub(super) fn open(corpus: &Path) -> Result<Self, CorpusError> {
        let directory = MmapDirectory::open(folder(corpus));
        let directory = directory.map_err(|error| CorpusError::unreadable(corpus, error))?;
        let index = Index::open(SearchDirectory(directory));
        let index = index.map_err(|error| CorpusError::unreadable(corpus, error))?;
        Self::with_analyser(index, corpus)
    }

    fn with_analyser(index: Index, corpus: &Path) -> Result<Self, CorpusError> {
        index.tokenizers().register(ANALYSER, DocumentAnalyser::new());
        if index.schema() != schema() {
            return Err(CorpusError::damaged(corpus, "the fields of the index are not a corpus's"));
        }
        let fields = Fields::of(&index.schema());
        let fields = fields.map_err(|error| CorpusError::damaged(corpus, error))?;
        Ok(Self { index, fields })
    }

    /// Compares every file with its checksum. Without it, most single faults stay invisible and
    /// some panic in the reader.
    pub(super) fn validate(&self, corpus: &Path) -> Result<(), CorpusError> {
        let damaged = self.index.validate_checksum();
        let damaged = damaged.map_err(|error| CorpusError::unreadable(corpus, error))?;
        match damaged.into_iter().min() {
            None => Ok(()),
            Some(file) => {
                let reason = format!("index/{} does not match its checksum", file.display());
                Err(CorpusError::damaged(corpus, reason))
            }
        }
    }

    /// The number that the last commit carries; 0 before the first.
    pub(super) fn generation(&self, corpus: &Path) -> Result<u64, CorpusError> {
        let metas = self.index.load_metas();
        let metas = metas.map_err(|error| CorpusError::unreadable(corpus, error))?;
        match metas.payload {
            None => Ok(0),
            Some(payload) => {
                payload.parse().map_err(|_| CorpusError::damaged(corpus, "meta.json has no number"))
            }
        }
    }
}

/// The list of the files that an index consists of, as it is stored; another one after each commit.
pub(super) fn contents(corpus: &Path) -> Option<Vec<u8>> {
    std::fs::read(folder(corpus).join("meta.json")).ok()
}

/// Makes a commit durable: tantivy renames `meta.json` and does not sync its folder, and 7 of 150
/// power cuts lost the last commit for it.
pub(super) fn sync_folder(corpus: &Path) -> Result<(), CorpusError> {
    let folder = folder(corpus);
    let synced = File::open(&folder).and_then(|file| file.sync_all());
    synced.map_err(|error| CorpusError::io(&folder, error))
}

/// A directory for searching: reads pass through, writes are refused, and where the lock that
/// shields a reader from a writer's clean-up cannot be taken because the folder is read-only, the
/// reader goes on without (nobody can clean up there either).
#[derive(Clone, Debug)]
struct SearchDirectory(MmapDirectory);

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the corpus is open for searching only")
}

impl Directory for SearchDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.0.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(refused()), filepath: path.to_path_buf() })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.0.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError { io_error: Arc::new(refused()), filepath: path.to_path_buf() })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.0.atomic_read(path)
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(refused())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        match self.0.acquire_lock(lock) {
            Err(LockError::IoError(error)) if is_read_only(&error) => {
                Ok(DirectoryLock::from(Box::new(())))
            }
            other => other,
        }
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
