//! The rows: a module uses only modules of the rows above it.

use std::path::{Path, PathBuf};

/// Modules of the runtime, row by row. A module may use those of the rows above its own.
const ROWS: [&[&str]; 7] = [
    &["transcript", "cancel"],
    &["profile"],
    &["engine", "corpus", "sandbox", "store"],
    &["agent", "bundled"],
    &["eval"],
    &["server"],
    &["cli"],
];

/// Crates that only these places may name.
const OWNERS: [(&str, &[&str]); 4] = [
    ("llama_cpp", &["engine/llama.rs"]),
    ("wasmi", &["sandbox/wasm/"]),
    ("tantivy", &["corpus/"]),
    ("rusqlite", &["store/", "corpus/ledger.rs"]),
];

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src")
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![source_root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source_root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

#[test]
fn a_module_uses_only_rows_above_it() {
    let mut offenders = Vec::new();
    for (file, text) in sources() {
        let module = file.split(['/', '.']).next().unwrap();
        let Some(own) = row(module) else { continue };
        for line in code_lines(&text) {
            for (_, used) in line.match_indices("crate::").map(|(at, _)| (at, &line[at + 7..])) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if used != module && row(used).is_some_and(|other| other >= own) {
                    offenders.push(format!("{file}: {line}"));
                }
            }
        }
    }
    assert!(offenders.is_empty(), "uses of a row that is not above:\n{}", offenders.join("\n"));
}

#[test]
fn a_library_is_named_in_one_place() {
    let mut offenders = Vec::new();
    for (file, text) in sources() {
        for (library, owners) in OWNERS {
            let is_owner = owners.iter().any(|owner| file.starts_with(owner));
            let paths =
                [format!("{library}::"), format!("{library}_2::"), format!("{library}_sys")];
            let named = |line: &&str| paths.iter().any(|path| line.contains(path.as_str()));
            if !is_owner && code_lines(&text).any(|line| named(&line)) {
                offenders.push(format!("{file} names {library}"));
            }
        }
    }
    assert!(offenders.is_empty(), "{}", offenders.join("\n"));
}
