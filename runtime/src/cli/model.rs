//! The model of a run: its file, and what its manifest says of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::exit::UsageError;
use crate::bundled;
use crate::engine::{EngineError, ModelFile};
use crate::profile::{Manifest, Settings, SystemPromptFile};
use crate::transcript::Dialect;

/// A checked model file and its manifest.
pub struct Model {
    /// The file.
    pub file: ModelFile,
    /// Where the manifest is, or would be.
    pub manifest_path: PathBuf,
    /// What it says; empty without one.
    pub manifest: Manifest,
}

/// The GGUF file that `named` means: a path, or a name in the models folder.
///
/// # Errors
/// [`EngineError::Refused`] when there is neither.
pub fn locate(named: &Path, settings: &Settings) -> Result<PathBuf, EngineError> {
    if named.is_file() {
        return Ok(named.to_path_buf());
    }
    let models = settings.data_dir.as_deref().map(|dir| dir.join("models"));
    let path = models.as_deref().map(|models| models.join(named).with_added_extension("gguf"));
    match path {
        Some(path) if path.is_file() => Ok(path),
        // What is wrong with a folder of that name is said where it is opened.
        _ if named.exists() => Ok(named.to_path_buf()),
        _ => {
            let searched =
                models.map_or("the models folder".to_owned(), |m| m.display().to_string());
            let reason = format!("no such file, and no such model in {searched}");
            Err(EngineError::Refused { path: named.display().to_string(), reason })
        }
    }
}

/// The manifest of the model that `settings` name, with its path; `None` where there is none.
///
/// # Errors
/// When it cannot be read, or says what it must not.
pub fn manifest(settings: &Settings) -> Result<Option<(PathBuf, Manifest)>> {
    match settings.model.as_deref().map(|named| locate(Path::new(named), settings)) {
        None => Ok(Some(bundled_manifest()?)),
        Some(Ok(path)) => manifest_beside(&path),
        // Whoever needs the model will say that it is not there.
        Some(Err(_)) => Ok(None),
    }
}

fn manifest_beside(gguf: &Path) -> Result<Option<(PathBuf, Manifest)>> {
    let path = gguf.with_extension("toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let manifest = Manifest::read(&path.to_string_lossy(), &text)?;
            Ok(Some((path, manifest)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn bundled_manifest() -> Result<(PathBuf, Manifest)> {
    let manifest = Manifest::read(bundled::STUDENT_MANIFEST_PATH, bundled::STUDENT_MANIFEST)?;
    Ok((bundled::STUDENT_MANIFEST_PATH.into(), manifest))
}

impl Model {
    /// The student that is part of the program.
    ///
    /// # Errors
    /// When the program was built without it.
    pub fn bundled() -> Result<Self> {
        let (manifest_path, manifest) = bundled_manifest()?;
        Self::checked(bundled::student()?, manifest_path, manifest)
    }

    /// A GGUF file and the manifest beside it.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for a file that is no sound model or not the manifest's.
    pub fn open(path: &Path) -> Result<Self> {
        let file = ModelFile::open(path)?;
        let manifest = manifest_beside(path)?;
        let (manifest_path, manifest) =
            manifest.unwrap_or_else(|| (path.with_extension("toml"), Manifest::default()));
        Self::checked(file, manifest_path, manifest)
    }

    fn checked(file: ModelFile, manifest_path: PathBuf, manifest: Manifest) -> Result<Self> {
        if let Some(expected) = &manifest.sha256
            && *expected != file.sha256
        {
            let reason = format!(
                "its sha256 is {}, but {} says {expected}: get the file again, or correct the manifest",
                file.sha256,
                manifest_path.display()
            );
            return Err(EngineError::Refused { path: file.display.clone(), reason }.into());
        }
        Ok(Self { file, manifest_path, manifest })
    }

    /// The template of the system prompt that the manifest names.
    ///
    /// # Errors
    /// When its file cannot be read or does not hold it.
    pub fn system_prompt(&self) -> Result<Option<String>> {
        let Some(SystemPromptFile { file, key }) = &self.manifest.system_prompt else {
            return Ok(None);
        };
        let folder = self.manifest_path.parent().unwrap_or(Path::new("."));
        read_system_prompt(&folder.join(file), key.as_deref()).map(Some)
    }
}

/// A template in a file of its own, or under a key of a YAML file.
///
/// # Errors
/// When the file cannot be read or has no such text.
pub fn read_system_prompt(path: &Path, key: Option<&str>) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("system prompt {} cannot be read", path.display()))?;
    let Some(key) = key else { return Ok(text) };
    let table: std::collections::BTreeMap<String, serde_json::Value> =
        serde_saphyr::from_str(&text)
            .map_err(|error| UsageError(format!("{} is not YAML: {error}", path.display())))?;
    match table.get(key).and_then(|value| value.as_str()) {
        Some(template) => Ok(template.to_owned()),
        None => {
            let keys: Vec<&str> = table.keys().map(String::as_str).collect();
            let (path, keys) = (path.display(), keys.join(", "));
            Err(UsageError(format!("{path} has no text under `{key}`; it has: {keys}")).into())
        }
    }
}

/// The dialect with a system prompt over its own tools.
///
/// # Errors
/// When the template is malformed.
pub fn prompted(dialect: Dialect, template: &str) -> Result<Dialect> {
    let tools = dialect.tools().to_vec();
    Ok(dialect.with_system_prompt(template, &tools)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_system_prompt_stands_in_a_file_or_under_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code_agent.yaml");
        std::fs::write(
            &path,
            "planning:\n  a: 1\nsystem_prompt_short: |-\n  You are {{ x }}.\n  Go.\n",
        )
        .unwrap();
        let prompt = read_system_prompt(&path, Some("system_prompt_short")).unwrap();
        assert_eq!(prompt, "You are {{ x }}.\nGo.");
        assert!(read_system_prompt(&path, None).unwrap().starts_with("planning"));
        let error = read_system_prompt(&path, Some("system_prompt")).unwrap_err().to_string();
        assert!(
            error.contains("`system_prompt`") && error.contains("system_prompt_short"),
            "{error}"
        );
    }
}
