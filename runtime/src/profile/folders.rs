//! Where files belong, by the XDG base directory rules, and as a service where systemd says so.

use std::path::PathBuf;

/// Folder of this program below each base folder.
const PROGRAM: &str = "retort";

/// The settings file of a project, in the folder where the program is run.
pub const PROJECT_SETTINGS_FILE: &str = "retort.toml";

/// Settings of the machine, where a service is not given others.
const OF_THE_MACHINE: &str = "/etc/retort";

/// The user's folders. `None` where the environment names neither the folder nor a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// Settings of the machine, which those of the user cover: `/etc/retort`.
    pub system: Option<PathBuf>,
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
        // A service's own folders (systemd.exec); of several the first.
        let of_service = |name: &str| {
            let paths = variable(name)?;
            let first = PathBuf::from(paths.split(':').next().unwrap_or_default());
            first.is_absolute().then_some(first)
        };
        // What a user names comes first: a service's variables reach all that it starts.
        let folder = |name: &str, service: &str, below_home: &str| {
            let own = absolute(name).map(|base| base.join(PROGRAM));
            let below_home = || Some(home.as_ref()?.join(below_home).join(PROGRAM));
            own.or_else(|| of_service(service)).or_else(below_home)
        };
        let system = of_service("CONFIGURATION_DIRECTORY");
        Self {
            system: Some(system.unwrap_or_else(|| PathBuf::from(OF_THE_MACHINE))),
            config: folder("XDG_CONFIG_HOME", "", ".config"),
            data: folder("XDG_DATA_HOME", "STATE_DIRECTORY", ".local/share"),
            cache: folder("XDG_CACHE_HOME", "CACHE_DIRECTORY", ".cache"),
        }
    }

    /// The settings files of the machine and of the user; the second covers the first.
    #[must_use]
    pub fn settings_files(&self) -> [Option<PathBuf>; 2] {
        self.below_each("config.toml")
    }

    /// Board files of the machine and of the user, laid out like `firmware-configs/`; the second
    /// cover the first.
    #[must_use]
    pub fn boards(&self) -> [Option<PathBuf>; 2] {
        self.below_each("firmware-configs")
    }

    fn below_each(&self, name: &str) -> [Option<PathBuf>; 2] {
        [&self.system, &self.config].map(|folder| folder.as_deref().map(|folder| folder.join(name)))
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
            // Of a service that started this program.
            "STATE_DIRECTORY" => Some("/var/lib/other".to_owned()),
            "XDG_CACHE_HOME" => Some("relative".to_owned()),
            _ => None,
        });
        assert_eq!(folders.config.as_deref(), Some("/home/ada/.config/retort".as_ref()));
        assert_eq!(folders.data.as_deref(), Some("/srv/data/retort".as_ref()));
        assert_eq!(folders.cache.as_deref(), Some("/home/ada/.cache/retort".as_ref()));
        let files = ["/etc/retort/config.toml", "/home/ada/.config/retort/config.toml"];
        assert_eq!(folders.settings_files(), files.map(|file| Some(file.into())));
    }

    #[test]
    fn a_service_has_the_folders_that_systemd_made_for_it() {
        let folders = Folders::from_environment(|name| match name {
            "HOME" => Some("/home/ada".to_owned()),
            "CONFIGURATION_DIRECTORY" => Some("/etc/answers".to_owned()),
            "STATE_DIRECTORY" => Some("/var/lib/answers:/var/lib/second".to_owned()),
            "CACHE_DIRECTORY" => Some("relative".to_owned()),
            _ => None,
        });
        assert_eq!(folders.system.as_deref(), Some("/etc/answers".as_ref()));
        assert_eq!(folders.data.as_deref(), Some("/var/lib/answers".as_ref()));
        assert_eq!(folders.cache.as_deref(), Some("/home/ada/.cache/retort".as_ref()));
    }

    #[test]
    fn without_a_home_there_are_no_folders_of_a_user() {
        let system = Some("/etc/retort".into());
        let none = Folders { system, ..Folders::default() };
        assert_eq!(Folders::from_environment(|_| None), none);
    }
}
