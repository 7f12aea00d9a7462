//! The Python image: the guest's WebAssembly and its two archives of modules, inside this binary.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::snapshot::Key;

const PYTHON: &[u8] = include_bytes!("../../python/image/python.wasm.zst");
const LIBRARY: &[u8] = include_bytes!("../../python/image/library.zst");
const SYMPY: &[u8] = include_bytes!("../../python/image/sympy.zst");
/// Names the hashes of all of the above; a test holds them together.
const MANIFEST: &str = include_str!("../../python/image/MANIFEST.toml");
/// More than any file holds, so that a damaged one cannot ask for all memory.
const CONTENT_BYTES_MAX: usize = 256 << 20;
/// Raised when the host side changes what the initialised interpreter has in its memory.
const HOST_VERSION: u32 = 2;
/// The module that imports what actions with sympy end up importing.
pub const SYMPY_PRELOAD: &str = "_retort_sympy";

/// The guest's WebAssembly module.
///
/// # Errors
/// When the binary's own copy is damaged.
pub fn python() -> std::io::Result<Vec<u8>> {
    decompress(PYTHON)
}

/// What a snapshot of this image is bound to, with `preloaded` imported into it.
pub fn key(preloaded: &str) -> Key {
    let mut digest = Sha256::new();
    digest.update(HOST_VERSION.to_le_bytes());
    digest.update(MANIFEST);
    digest.update(preloaded);
    digest.finalize().into()
}

/// The modules that the guest may import. An archive is unpacked when the first module of it is
/// asked for.
#[derive(Debug, Default)]
pub struct Library {
    standard: OnceLock<Unpacked>,
    sympy: OnceLock<Unpacked>,
}

/// A module as the guest loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LibraryModule<'a> {
    /// Whether modules may lie below it.
    pub is_package: bool,
    /// Its code object, marshalled.
    pub code: &'a [u8],
}

#[derive(Debug, Default)]
struct Unpacked {
    content: Vec<u8>,
    modules: BTreeMap<String, (bool, Range<usize>)>,
}

impl Library {
    /// The module with this dotted name.
    pub fn module(&self, name: &str) -> Option<LibraryModule<'_>> {
        let root = name.split('.').next().unwrap_or_default();
        let unpacked = if [SYMPY_PRELOAD, "sympy", "mpmath"].contains(&root) {
            self.sympy.get_or_init(|| unpack(SYMPY))
        } else {
            self.standard.get_or_init(|| unpack(LIBRARY))
        };
        let (is_package, range) = unpacked.modules.get(name)?;
        let code = unpacked.content.get(range.clone())?;
        Some(LibraryModule { is_package: *is_package, code })
    }
}

/// A damaged library is an empty one: the guest then says which module it lacks.
fn unpack(archive: &[u8]) -> Unpacked {
    let content = decompress(archive).unwrap_or_default();
    let mut modules = BTreeMap::new();
    let mut at = 0;
    while let Some((name, is_package, code)) = entry(&content, at) {
        at = code.end;
        modules.insert(name, (is_package, code));
    }
    Unpacked { content, modules }
}

/// The entry at `at`: length of the name (16 bits), name, package flag, length of the code
/// (32 bits), code.
fn entry(content: &[u8], at: usize) -> Option<(String, bool, Range<usize>)> {
    let (length, rest) = content.get(at..)?.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (is_package, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let start = content.len() - rest.len();
    let code = start..start.checked_add(length).filter(|end| *end <= content.len())?;
    let name: Cow<'_, str> = String::from_utf8_lossy(name);
    Some((name.into_owned(), *is_package == 1, code))
}

fn decompress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = zstd::bulk::Decompressor::upper_bound(bytes).unwrap_or(CONTENT_BYTES_MAX);
    zstd::bulk::decompress(bytes, length.min(CONTENT_BYTES_MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_library_has_the_modules_that_actions_import() {
        let library = Library::default();
        assert!(library.module("json").unwrap().is_package);
        assert!(!library.module("textwrap").unwrap().is_package);
        assert!(library.module("sympy").unwrap().is_package);
        assert!(!library.module("mpmath.libmp.libmpf").unwrap().is_package);
        assert!(library.module(SYMPY_PRELOAD).is_some());
        for name in ["no/such", "sympy.no", ""] {
            assert_eq!(library.module(name), None);
        }
    }

    #[test]
    fn a_cut_archive_ends_before_the_cut() {
        let content =
            [&b"\x01\x00a\x00\x02\x00\x00\x00xy"[..], &b"\x01\x00b\x01\x09\x00"[..]].concat();
        let archive = zstd::bulk::compress(&content, 1).unwrap();
        let modules = unpack(&archive).modules;
        assert_eq!(modules.into_iter().collect::<Vec<_>>(), [("a".to_owned(), (false, 8..10))]);
    }

    /// The image and what it was built from lie in one folder tree; the manifest holds them
    /// together, so that neither changes alone.
    #[test]
    fn the_manifest_names_the_scripts_and_the_image_as_they_are() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let manifest = std::fs::read_to_string(folder.join("image/MANIFEST.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let check = |table: &str, folder: &std::path::Path| {
            for (name, expected) in manifest[table].as_table().unwrap() {
                if name.ends_with(".tar.gz") || name.ends_with(".whl") {
                    continue; // fetched by the build script, which checks its hash
                }
                let digest = hex::encode(Sha256::digest(std::fs::read(folder.join(name)).unwrap()));
                assert_eq!(Some(&*digest), expected.as_str(), "{name} changed: run build.sh");
            }
        };
        check("inputs_sha256", &folder);
        check("outputs_sha256", &folder.join("image"));
        let scripts = ["build.sh", "guest.c", "pack_library.py", "prelude.py", "sympy_actions.py"];
        for name in scripts.into_iter().chain(["Setup.local"]) {
            assert!(manifest["inputs_sha256"].get(name).is_some(), "{name} is not in the manifest");
        }
        let content = hex::encode(Sha256::digest(python().unwrap()));
        assert_eq!(manifest["contents_sha256"]["python.wasm"].as_str(), Some(&*content));
    }
}
