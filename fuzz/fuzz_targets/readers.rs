//! Any bytes as a file of a model, a checkpoint or an adapter; the first byte says which.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use retort::engine::{AdapterFile, ModelFile};
use retort_train::hub::{Adapter, Checkpoint, words};

/// Files of a checkpoint, then of an adapter, that are replaced one at a time.
const CHECKPOINT: [&str; 4] =
    ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"];
const ADAPTER: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];
/// Tokens of the fixture's model.
const VOCABULARY: usize = 320;

/// Copies of the fixtures in memory, one set for each process.
struct Folders {
    checkpoint: PathBuf,
    adapter: PathBuf,
    gguf: PathBuf,
    base: ModelFile,
}

static FOLDERS: LazyLock<Folders> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/fixtures/hub");
    let own = Path::new("/dev/shm").join(format!("retort-fuzz-{}", std::process::id()));
    let copy = |from: &str, names: &[&str]| {
        let folder = own.join(from);
        fs::create_dir_all(&folder).expect("there is room in memory");
        for name in names {
            fs::copy(fixtures.join(from).join(name), folder.join(name)).expect("a fixture");
        }
        folder
    };
    let student = include_bytes!("../../models/small.gguf");
    Folders {
        checkpoint: copy("qwen2", &CHECKPOINT),
        adapter: copy("qwen2-patterns", &ADAPTER),
        gguf: own.join("file.gguf"),
        base: ModelFile::embedded("base", student).expect("the student is sound"),
    }
});

/// Puts `bytes` in the place of a file while `read` runs.
fn replaced(path: &Path, bytes: &[u8], read: impl FnOnce()) {
    let whole = fs::read(path).expect("a fixture");
    fs::write(path, bytes).expect("there is room in memory");
    read();
    fs::write(path, whole).expect("there is room in memory");
}

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let Folders { checkpoint, adapter, gguf, base } = &*FOLDERS;
    let open = || {
        if let Ok(opened) = Checkpoint::open(checkpoint, Some(adapter)) {
            // Small enough to be read whole: every row that the header promises is there.
            let tokens = opened.shape.vocabulary;
            if tokens == VOCABULARY && opened.shape.layers <= 2 && opened.shape.width <= 64 {
                let _ = opened.model(checkpoint);
            }
        }
    };
    match which % 8 {
        0 => drop(ModelFile::embedded("fuzzed", bytes)),
        1 | 2 => {
            fs::write(gguf, bytes).expect("there is room in memory");
            if which % 8 == 1 {
                let _ = retort_train::gguf::read(gguf);
            } else {
                let _ = AdapterFile::open(gguf, &base.header);
            }
        }
        file @ 3..=6 => {
            let path = checkpoint.join(CHECKPOINT[usize::from(file - 3)]);
            replaced(&path, bytes, || {
                open();
                let _ = words(checkpoint, VOCABULARY);
            });
        }
        _ => {
            let json = bytes.first().is_some_and(|first| *first == b'{');
            replaced(&adapter.join(ADAPTER[usize::from(json)]), bytes, || {
                let _ = Adapter::open(adapter);
                open();
            });
        }
    }
});
