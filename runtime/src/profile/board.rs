//! Board files, and a profile resolved from one and what it inherits.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Profile;
use super::error::{ConfigError, hint};
use super::layers::{self, Layer};

/// The files of `firmware-configs/`, by path without extension.
const EMBEDDED: [(&str, &str); 6] = [
    ("base", include_str!("../../../firmware-configs/base.toml")),
    ("socs/bcm2712", include_str!("../../../firmware-configs/socs/bcm2712.toml")),
    ("socs/tegra234", include_str!("../../../firmware-configs/socs/tegra234.toml")),
    ("boards/generic", include_str!("../../../firmware-configs/boards/generic.toml")),
    ("boards/raspberry-pi-5", include_str!("../../../firmware-configs/boards/raspberry-pi-5.toml")),
    (
        "boards/jetson-orin-nano",
        include_str!("../../../firmware-configs/boards/jetson-orin-nano.toml"),
    ),
];

/// Only these can be chosen; all other files are there to be inherited.
const BOARDS_FOLDER: &str = "boards/";

/// Files of one folder that are read; a folder with more is not one of boards.
const FILES_MAX: usize = 1000;

/// A board file as written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBoard {
    inherit: Option<String>,
    /// Texts of the device tree's model string that tell this board.
    detect: Option<Vec<String>>,
    /// The board taken where none is recognised.
    fallback: Option<bool>,
    memory_bytes_max: Option<u64>,
    threads: Option<u16>,
    context_tokens: Option<u32>,
    candidates: Option<u8>,
    corpus_cache_bytes: Option<u64>,
    #[serde(default)]
    sandbox: RawSandbox,
    #[serde(default)]
    run: RawRun,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSandbox {
    wall_seconds_max: Option<u32>,
    fuel_max: Option<u64>,
    memory_bytes_max: Option<u64>,
    output_bytes_max: Option<u64>,
    source_bytes_max: Option<u64>,
    host_calls_max: Option<u32>,
    query_bytes_max: Option<u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    steps_max: Option<u16>,
    reply_tokens_max: Option<u32>,
    run_tokens_max: Option<u32>,
    searches_max: Option<u32>,
    fuel_max: Option<u64>,
    wall_seconds_max: Option<u32>,
}

/// All board files, each read and free of unknown keys.
#[derive(Clone, Debug)]
pub struct Boards {
    files: BTreeMap<String, File>,
}

#[derive(Clone, Debug)]
struct File {
    /// As messages name it.
    origin: String,
    raw: RawBoard,
}

impl Boards {
    /// The boards in the binary.
    ///
    /// # Errors
    /// None, unless the binary was built from broken files.
    pub fn embedded() -> Result<Self, ConfigError> {
        let mut boards = Self { files: BTreeMap::new() };
        for (path, text) in EMBEDDED {
            boards.add(path, &format!("firmware-configs/{path}.toml"), text)?;
        }
        Ok(boards)
    }

    /// These boards and those of a folder laid out like `firmware-configs/`, whose files win.
    ///
    /// # Errors
    /// [`ConfigError`] names the file that cannot be read or is refused.
    pub fn with_folder(mut self, folder: &Path) -> Result<Self, ConfigError> {
        let files = walkdir::WalkDir::new(folder).max_depth(2).sort_by_file_name();
        for entry in files.into_iter().take(FILES_MAX) {
            let entry = entry.map_err(|error| unreadable(folder, error.into()))?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text =
                    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
                let relative = path.strip_prefix(folder).unwrap_or(path).with_extension("");
                self.add(&relative.to_string_lossy(), &path.to_string_lossy(), &text)?;
            }
        }
        Ok(self)
    }

    /// Names of the boards that can be chosen.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.files.keys().filter_map(|path| path.strip_prefix(BOARDS_FOLDER))
    }

    /// The board of a device-tree model string (`/proc/device-tree/model`): the one with the longest
    /// text that occurs in it, or the fallback.
    #[must_use]
    pub fn detect(&self, model: Option<&str>) -> Option<&str> {
        let found = model.and_then(|model| self.detected(model));
        found.or_else(|| self.chosen_by(|raw| raw.fallback == Some(true)))
    }

    /// The profile of the board called `name`.
    ///
    /// # Errors
    /// [`ConfigError`] when there is no such board, it inherits what does not exist, or a value is
    /// missing or out of range.
    pub fn profile(&self, name: &str) -> Result<Profile, ConfigError> {
        let chain = self.chain(name)?;
        let mut stacked = Vec::with_capacity(chain.len());
        for file in chain.iter().rev() {
            stacked.push(Layer::of(&file.origin, &limits_of(&file.raw))?);
        }
        let origin = chain.first().map(|file| file.origin.clone()).unwrap_or_default();
        let figment = layers::stack(stacked);
        let profile: Profile =
            figment.extract().map_err(|error| ConfigError::from_figment(&origin, error))?;
        let origins = layers::origins(&figment)?;
        check(&Profile { name: name.to_owned(), origins, ..profile })
    }

    fn add(&mut self, path: &str, origin: &str, text: &str) -> Result<(), ConfigError> {
        let raw = layers::read_toml(origin, text)?;
        self.files.insert(path.to_owned(), File { origin: origin.to_owned(), raw });
        Ok(())
    }

    /// The board's file and what it inherits, nearest first.
    fn chain(&self, name: &str) -> Result<Vec<&File>, ConfigError> {
        let path = format!("{BOARDS_FOLDER}{name}");
        let Some(mut file) = self.files.get(&path) else {
            return Err(ConfigError::UnknownBoard {
                name: name.to_owned(),
                hint: hint(name, self.names()),
            });
        };
        let mut chain = vec![file];
        while let Some(parent) = &file.raw.inherit {
            let unknown = || ConfigError::Malformed {
                origin: file.origin.clone(),
                reason: inherits_unknown(parent, self.files.keys()),
            };
            file = self.files.get(parent).ok_or_else(unknown)?;
            chain.push(file);
            if chain.len() > self.files.len() {
                return Err(ConfigError::InheritsItself { origin: file.origin.clone() });
            }
        }
        Ok(chain)
    }

    fn detected(&self, model: &str) -> Option<&str> {
        let texts = self.files.iter().flat_map(|(path, file)| {
            file.raw.detect.iter().flatten().map(move |text| (text, path))
        });
        let found = texts.filter(|(text, _)| model.contains(text.as_str()));
        let (_, path) = found.max_by_key(|(text, _)| text.len())?;
        path.strip_prefix(BOARDS_FOLDER)
    }

    fn chosen_by(&self, is_chosen: impl Fn(&RawBoard) -> bool) -> Option<&str> {
        let (path, _) = self.files.iter().find(|(_, file)| is_chosen(&file.raw))?;
        path.strip_prefix(BOARDS_FOLDER)
    }
}

/// Without the keys that are about the file and not about the device.
fn limits_of(raw: &RawBoard) -> RawBoard {
    RawBoard { inherit: None, detect: None, fallback: None, ..raw.clone() }
}

fn inherits_unknown<'a>(parent: &str, known: impl Iterator<Item = &'a String> + Clone) -> String {
    format!(
        "`inherit` names `{parent}`, which does not exist; {}",
        hint(parent, known.map(String::as_str))
    )
}

fn unreadable(path: &Path, source: std::io::Error) -> ConfigError {
    ConfigError::Unreadable { path: path.to_string_lossy().into_owned(), source }
}

/// Refuses values that no run could work with.
fn check(profile: &Profile) -> Result<Profile, ConfigError> {
    let least_one = [
        ("threads", u64::from(profile.threads)),
        ("context_tokens", u64::from(profile.context_tokens)),
        ("candidates", u64::from(profile.candidates)),
        ("sandbox.wall_seconds_max", u64::from(profile.sandbox.wall_seconds_max)),
        ("sandbox.fuel_max", profile.sandbox.fuel_max),
        ("run.steps_max", u64::from(profile.run.steps_max)),
        ("run.reply_tokens_max", u64::from(profile.run.reply_tokens_max)),
        ("run.run_tokens_max", u64::from(profile.run.run_tokens_max)),
        ("run.wall_seconds_max", u64::from(profile.run.wall_seconds_max)),
    ];
    let refused = |key: &str, value: u64, expected| ConfigError::OutOfRange {
        origin: profile.origins.get(key).cloned().unwrap_or_default(),
        key: key.to_owned(),
        value: value.to_string(),
        expected,
    };
    if let Some((key, value)) = least_one.into_iter().find(|(_, value)| *value == 0) {
        return Err(refused(key, value, "at least 1"));
    }
    let cache = profile.corpus_cache_bytes;
    if cache > profile.memory_bytes_max {
        return Err(refused("corpus_cache_bytes", cache, "at most `memory_bytes_max`"));
    }
    Ok(profile.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Boards, ConfigError, EMBEDDED};

    fn with_file(path: &str, text: &str) -> Result<Boards, ConfigError> {
        let mut boards = Boards::embedded().unwrap();
        boards.add(path, &format!("{path}.toml"), text).map(|()| boards)
    }

    #[track_caller]
    fn check_refused(path: &str, text: &str, expected: &str) {
        let refused = with_file(path, text).and_then(|boards| boards.profile("test")).unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn every_board_resolves() {
        let boards = Boards::embedded().unwrap();
        let names: Vec<&str> = boards.names().collect();
        assert_eq!(names, ["generic", "jetson-orin-nano", "raspberry-pi-5"]);
        for name in names {
            let profile = boards.profile(name).unwrap();
            assert_eq!(profile.name, name);
            let sandboxes = profile.sandbox.memory_bytes_max;
            assert!(sandboxes + profile.corpus_cache_bytes < profile.memory_bytes_max, "{name}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware-configs");
        let read = Boards { files: Default::default() }.with_folder(folder.as_ref()).unwrap();
        let embedded = EMBEDDED.map(|(path, _)| path);
        assert_eq!(read.files.len(), embedded.len());
        assert!(embedded.iter().all(|path| read.files.contains_key(*path)));
    }

    #[test]
    fn a_value_comes_from_the_nearest_file() {
        let profile = Boards::embedded().unwrap().profile("raspberry-pi-5").unwrap();
        let origin = |key: &str| profile.origins.get(key).unwrap().as_str();
        assert_eq!(
            (profile.candidates, origin("candidates")),
            (4, "firmware-configs/socs/bcm2712.toml")
        );
        assert_eq!(origin("run.wall_seconds_max"), "firmware-configs/boards/raspberry-pi-5.toml");
        assert_eq!(origin("run.steps_max"), "firmware-configs/base.toml");
        assert_eq!(profile.origins.len(), 18);
    }

    #[test]
    fn a_board_is_detected_by_its_model_string() {
        let boards = Boards::embedded().unwrap();
        for (model, expected) in [
            (Some("Raspberry Pi 5 Model B Rev 1.0\0"), "raspberry-pi-5"),
            (Some("NVIDIA Jetson Orin Nano Developer Kit"), "jetson-orin-nano"),
            (Some("Raspberry Pi 4 Model B"), "generic"),
            (None, "generic"),
        ] {
            assert_eq!(boards.detect(model), Some(expected), "{model:?}");
        }
    }

    #[test]
    fn broken_files_are_refused() {
        check_refused(
            "boards/test",
            "thread = 4",
            "boards/test.toml: unknown key `thread`; did you mean `threads`?",
        );
        check_refused(
            "boards/test",
            "[run]\nstep_max = 4",
            "boards/test.toml: unknown key `run.step_max`; did you mean `steps_max`?",
        );
        check_refused(
            "boards/test",
            "threads = \"four\"",
            "boards/test.toml: `threads`: invalid type: found string \"four\", expected u16",
        );
        check_refused(
            "boards/test",
            "inherit = \"bases\"",
            "boards/test.toml: `inherit` names `bases`, which does not exist; did you mean `base`?",
        );
        check_refused(
            "boards/test",
            "inherit = \"boards/test\"",
            "boards/test.toml: `inherit` leads back to a file that inherits this one",
        );
        check_refused(
            "boards/test",
            "inherit = \"base\"\nthreads = 0",
            "boards/test.toml: `threads` is 0; expected at least 1",
        );
        check_refused("boards/tset", "", "unknown board `test`; did you mean `tset`?");
    }

    #[test]
    fn an_incomplete_board_names_what_is_missing() {
        let refused = with_file("boards/test", "threads = 2").unwrap().profile("test").unwrap_err();
        let message = refused.to_string();
        assert!(
            message.starts_with("boards/test.toml: ") && message.contains("missing field"),
            "{message}"
        );
    }
}
