//! Any bytes as a file of tasks, trajectories, a corpus or a training run; the first byte says which.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use retort::cancel::Cancel;
use retort::{corpus, eval};
use retort_train::train::checkpoint;
use retort_train::trajectory::{from_published, read_trajectories, to_published};
use retort_transcript::Dialect;
use sha2::{Digest, Sha256};

/// Parameters of the model that a checkpoint is for.
const PARAMETERS: usize = 2;

/// A folder in memory for each process.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let own = PathBuf::from(format!("/dev/shm/retort-fuzz-rows-{}", std::process::id()));
    fs::create_dir_all(&own).expect("there is room in memory");
    own
});
static DIALECT: LazyLock<Dialect> =
    LazyLock::new(|| Dialect::named("smolagents").expect("a dialect of ours"));

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let file = FOLDER.join("file");
    let written = |bytes: &[u8]| fs::write(&file, bytes).expect("there is room in memory");
    match which % 5 {
        0 => {
            written(bytes);
            let _ = eval::read_tasks(&file);
        }
        1 => {
            let Ok(row) = serde_json::from_slice(bytes) else { return };
            if let Ok(trajectory) = from_published(&row, "1", &DIALECT) {
                let _ = to_published(&trajectory, &DIALECT, true);
            }
        }
        2 => {
            written(bytes);
            let _ = read_trajectories(&file);
        }
        3 => {
            // With the hash that fits, what it holds is looked at.
            written(&[bytes, &Sha256::digest(bytes)].concat());
            let _ = checkpoint::load(&file, PARAMETERS);
        }
        _ => {
            written(bytes);
            let corpus = FOLDER.join("corpus");
            if corpus::import(&file, &corpus, &Cancel::default()).is_ok() {
                fs::remove_dir_all(&corpus).expect("its own folder");
            }
        }
    }
});
