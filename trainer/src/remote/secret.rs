//! The key of a server.

use anyhow::{Context as _, Result, ensure};

/// A key. It shows itself in no message.
pub struct Secret(String);

impl Secret {
    /// The value of the environment variable `name`.
    ///
    /// # Errors
    /// Names the variable when it is not set or can be no key.
    pub fn from_environment(name: &str) -> Result<Self> {
        let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let value = value.with_context(|| {
            format!("the environment variable {name} (teacher.api_key_env) holds no key; set it")
        })?;
        Self::new(&value).with_context(|| format!("the environment variable {name}"))
    }

    /// A key.
    ///
    /// # Errors
    /// When it could not stand in a header.
    pub fn new(value: &str) -> Result<Self> {
        let value = value.trim();
        let fits = value.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(fits, "the key holds characters that a key cannot have");
        Ok(Self(value.to_owned()))
    }

    /// The header that carries it.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without the key: servers repeat what they were sent.
    pub fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Secret;

    #[test]
    fn a_key_shows_itself_nowhere() {
        let key = Secret::new("sk-12\n").unwrap();
        assert_eq!(format!("{key:?} {}", key.hidden_in("bad key sk-12!")), "Secret bad key [key]!");
        assert_eq!(key.header(), "Bearer sk-12");
        assert!(Secret::new("a b").is_err());
        let unset = Secret::from_environment("RETORT_TEST_NO_SUCH_KEY").unwrap_err().to_string();
        assert!(unset.contains("RETORT_TEST_NO_SUCH_KEY"), "{unset}");
    }
}
