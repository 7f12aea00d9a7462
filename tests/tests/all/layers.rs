//! The rows: a module uses only modules of the rows above it.

use std::path::{Path, PathBuf};

/// A crate whose modules stand in rows. A module may use those of the rows above its own.
struct Crate {
    source: &'static str,
    rows: &'static [&'static [&'static str]],
}

const RUNTIME: Crate = Crate {
    source: "../runtime/src",
    rows: &[
        &["transcript", "cancel"],
        &["profile"],
        &["engine", "corpus", "sandbox", "store"],
        &["agent", "bundled"],
        &["eval"],
        &["server"],
        &["cli"],
    ],
};

const TRAINER: Crate = Crate {
    source: "../trainer/src",
    rows: &[
        &["durable", "hash", "method", "model", "remote", "tokenizer", "world"],
        &["dataset", "environment", "gguf", "optimise", "trajectory"],
        &["cuda", "filter", "parallel", "score", "teach"],
        &["classroom", "hub", "teachers", "train"],
        &["bench", "collect", "questions", "report", "student"],
        &["distil", "finetune", "paper"],
        &["recipe"],
    ],
};

/// Crates that only these places may name.
const OWNERS: [(&str, &[&str]); 4] = [
    ("llama_cpp", &["engine/llama.rs"]),
    ("wasmi", &["sandbox/wasm/"]),
    ("tantivy", &["corpus/"]),
    ("rusqlite", &["store/", "corpus/ledger.rs"]),
];

impl Crate {
    fn root(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.source)
    }

    /// Every source file by its path, with its text.
    fn sources(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(self.root()).unwrap().display().to_string();
                    found.push((name, std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found
    }

    fn row(&self, module: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.contains(&module))
    }
}

/// The code of a file without its tests.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

/// The names after each `crate::` of a line.
fn used(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

#[test]
fn a_module_uses_only_rows_above_it() {
    let mut offenders = Vec::new();
    for part in [RUNTIME, TRAINER] {
        for (file, text) in part.sources() {
            let module = file.split(['/', '.']).next().unwrap();
            // The programs and what names their modules; a comparison for tests alone.
            let is_above_all = ["main", "lib", "parity"].contains(&module);
            if is_above_all || file.ends_with("tests.rs") || file.contains("/tests/") {
                continue;
            }
            let own = part.row(module);
            let is_bad = |used: &str| used != module && part.row(used) >= own;
            for line in code_lines(&text).filter(|line| used(line).any(&is_bad)) {
                offenders.push(format!("{}/{file}: {line}", part.source));
            }
            if own.is_none() {
                offenders.push(format!("{}/{file} stands in no row", part.source));
            }
        }
    }
    assert!(offenders.is_empty(), "uses of a row that is not above:\n{}", offenders.join("\n"));
}

#[test]
fn a_library_is_named_in_one_place() {
    let mut offenders = Vec::new();
    for (file, text) in RUNTIME.sources() {
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
