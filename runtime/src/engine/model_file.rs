//! A model's bytes, checked before any C++ sees them: hash, header, family.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest, Sha256};

use super::EngineError;
use super::adapter_file::AdapterFile;
use super::family::{self, Family};
use super::gguf::Header;

/// A model of fewer bytes is decoded by one thread.
const SMALL_BYTES: u64 = 32 << 20;

/// A checked model file.
#[derive(Debug)]
pub struct ModelFile {
    /// File stem, or the name given to embedded bytes.
    pub name: String,
    /// Path for messages.
    pub display: String,
    /// SHA-256 of all bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
    /// The header.
    pub header: Header,
    /// What the profile check learnt.
    pub family: Family,
    /// What is laid over it.
    pub adapter: Option<AdapterFile>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Path(String),
    /// Sealed anonymous memory that the worker inherits.
    Memory(File),
}

impl ModelFile {
    /// Opens and checks a GGUF file.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with what is wrong.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let display = path.display().to_string();
        let refused = |reason: String| EngineError::Refused { path: display.clone(), reason };
        let file = File::open(path).map_err(|error| refused(error.to_string()))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(refused("not a file".to_owned()));
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let absolute = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
        let place = Place::Path(absolute.to_string_lossy().into_owned());
        Self::check(name, display.clone(), file, place)
    }

    /// Checks a model that is part of the program, and hands it to workers as sealed memory.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when it is no model or memory is short.
    pub fn embedded(name: &str, bytes: &[u8]) -> Result<Self, EngineError> {
        let display = format!("the bundled model {name}");
        let file = sealed_memory(name, bytes).map_err(|error| EngineError::Refused {
            path: display.clone(),
            reason: error.to_string(),
        })?;
        let reader = file.try_clone().map_err(|error| EngineError::Refused {
            path: display.clone(),
            reason: error.to_string(),
        })?;
        Self::check(name.to_owned(), display, reader, Place::Memory(file))
    }

    fn check(
        name: String,
        display: String,
        mut file: File,
        place: Place,
    ) -> Result<Self, EngineError> {
        let refused = |reason: String| EngineError::Refused { path: display.clone(), reason };
        let header = Header::read(BufReader::new(&file)).map_err(|e| refused(e.to_string()))?;
        let bytes = file.metadata().map_err(|error| refused(error.to_string()))?.len();
        let family = family::check(&header, bytes).map_err(|error| refused(error.to_string()))?;
        let sha256 = hash(&mut file).map_err(|error| refused(error.to_string()))?;
        Ok(Self { name, display, sha256, bytes, header, family, adapter: None, place })
    }

    /// The model with a LoRA adapter (GGUF) laid over it.
    ///
    /// # Errors
    /// [`EngineError::Refused`] when it is none, or not for this model.
    pub fn with_adapter(self, path: &Path) -> Result<Self, EngineError> {
        let adapter = AdapterFile::open(path, &self.header)?;
        Ok(Self { adapter: Some(adapter), ..self })
    }

    /// Name and SHA-256; with an adapter `MODEL+ADAPTER`, and the hash of both hashes, a line each.
    #[must_use]
    pub fn identity(&self) -> (String, String) {
        let Some(adapter) = &self.adapter else { return (self.name.clone(), self.sha256.clone()) };
        let both = format!("{}\n{}\n", self.sha256, adapter.sha256);
        let name = format!("{}+{}", self.name, adapter.name);
        (name, hex::encode(Sha256::digest(both)))
    }

    /// How many of `threads` serve it: a small model spends more on waking threads than it gains.
    #[must_use]
    pub fn useful_threads(&self, threads: u16) -> u16 {
        if self.bytes < SMALL_BYTES { 1 } else { threads }
    }

    /// The `tokenizer.json` beside the file, if there is one.
    pub(super) fn tokenizer_json(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Path(path) => Some(Path::new(path).with_file_name("tokenizer.json")),
            Place::Memory(_) => None,
        }
        .filter(|path| path.is_file())
    }

    /// The path under which a worker opens it.
    pub(super) fn worker_path(&self) -> String {
        match &self.place {
            Place::Path(path) => path.clone(),
            Place::Memory(file) => format!("/proc/self/fd/{}", file.as_raw_fd()),
        }
    }
}

pub(super) fn hash(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Not close-on-exec: the worker opens it by the same number.
fn sealed_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    file.rewind()?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(file)
}
