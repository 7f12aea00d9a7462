//! Where files belong, by the XDG base directory rules.

use std::path::PathBuf;

/// Folder of this program below each base folder.
const PROGRAM: &str = "retort";

/// The settings file of a project, in the folder where the program is run.
pub const PROJECT_SETTINGS_FILE: &str = "retort.toml";

/// The user's folders. `None` where the environment names neither the folder nor a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// Settings: `~/.config/retort`.
    pub config: Option<PathBuf>,
    /// Models, corpora, the record of runs: `~/.local/share/retort`.
    pub data: Option<PathBuf>,
    /// What can be made again: `~/.cache/retort`.
    pub cache: Option<PathBuf>,
}

impl Folders {
    /// The folders that these environment variables name. Nothing is created or looked at.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        // The rules say that a relative path is to be ignored.
        let absolute =
            |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let folder = |name: &str, below_home: &str| {
            let base = absolute(name).or_else(|| home.as_ref().map(|home| home.join(below_home)));
            base.map(|base| base.join(PROGRAM))
        };
        Self {
            config: folder("XDG_CONFIG_HOME", ".config"),
            data: folder("XDG_DATA_HOME", ".local/share"),
            cache: folder("XDG_CACHE_HOME", ".cache"),
        }
    }

    /// The user's settings file.
    #[must_use]
    pub fn settings_file(&self) -> Option<PathBuf> {
        self.config.as_deref().map(|folder| folder.join("config.toml"))
    }

    /// The user's own board files, laid out like `firmware-configs/`.
    #[must_use]
    pub fn boards(&self) -> Option<PathBuf> {
        self.config.as_deref().map(|folder| folder.join("firmware-configs"))
    }
}

#[cfg(test)]
mod tests {
    use super::Folders;

    #[test]
    fn folders_follow_the_environment() {
        let folders = Folders::from_environment(|name| match name {
            "HOME" => Some("/home/ada".to_owned()),
            "XDG_DATA_HOME" => Some("/srv/data".to_owned()),
            "XDG_CACHE_HOME" => Some("relative".to_owned()),
            _ => None,
        });
        assert_eq!(folders.config.as_deref(), Some("/home/ada/.config/retort".as_ref()));
        assert_eq!(folders.data.as_deref(), Some("/srv/data/retort".as_ref()));
        assert_eq!(folders.cache.as_deref(), Some("/home/ada/.cache/retort".as_ref()));
        assert_eq!(folders.settings_file(), Some("/home/ada/.config/retort/config.toml".into()));
    }

    #[test]
    fn without_a_home_there_are_no_folders() {
        assert_eq!(Folders::from_environment(|_| None), Folders::default());
    }
}
