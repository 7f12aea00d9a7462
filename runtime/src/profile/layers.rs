//! Layers of values over each other, each value knowing the layer it came from.

use std::collections::BTreeMap;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Provider};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ConfigError;

/// Values from one place.
pub(super) struct Layer {
    /// The file, variable or command line, as messages name it.
    pub origin: String,
    /// The values by key.
    pub values: Dict,
}

impl Layer {
    /// A layer of what is set in `raw`; `None` fields are not.
    pub fn of(origin: &str, raw: &impl Serialize) -> Result<Self, ConfigError> {
        let value =
            Value::serialize(raw).map_err(|error| ConfigError::from_figment(origin, error))?;
        let values = value.into_dict().map(without_empty).unwrap_or_default();
        Ok(Self { origin: origin.to_owned(), values })
    }

    /// A layer of one value.
    pub fn of_value(origin: &str, key: &str, value: Value) -> Self {
        Self { origin: origin.to_owned(), values: Dict::from([(key.to_owned(), value)]) }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<figment::Profile, Dict>, Error> {
        Ok(figment::Profile::Default.collect(self.values.clone()))
    }
}

/// The `Raw…` struct in a TOML text.
pub(super) fn read_toml<Raw: DeserializeOwned>(
    origin: &str,
    text: &str,
) -> Result<Raw, ConfigError> {
    let figment = Figment::from(Toml::string(text));
    figment.extract().map_err(|error| ConfigError::from_figment(origin, error))
}

/// The layers as one, the last one winning.
pub(super) fn stack(layers: impl IntoIterator<Item = Layer>) -> Figment {
    layers.into_iter().fold(Figment::new(), |figment, layer| figment.merge(layer))
}

/// The layer each value came from, by dotted key.
pub(super) fn origins(figment: &Figment) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut keys = Vec::new();
    let values: Dict =
        figment.extract().map_err(|error| ConfigError::from_figment("settings", error))?;
    for (key, value) in values {
        leaf_keys(key, &value, &mut keys);
    }
    let with_origin = |key: String| {
        let origin = figment.find_metadata(&key).map(|metadata| metadata.name.to_string());
        (key, origin.unwrap_or_default())
    };
    Ok(keys.into_iter().map(with_origin).collect())
}

fn leaf_keys(key: String, value: &Value, keys: &mut Vec<String>) {
    match value.as_dict() {
        Some(inner) => {
            inner.iter().for_each(|(name, value)| leaf_keys(format!("{key}.{name}"), value, keys));
        }
        None => keys.push(key),
    }
}

/// A `None` must not cover what a lower layer set.
fn without_empty(values: Dict) -> Dict {
    let kept = values.into_iter().filter(|(_, value)| !matches!(value, Value::Empty(..)));
    kept.map(|(key, value)| match value {
        Value::Dict(tag, inner) => (key, Value::Dict(tag, without_empty(inner))),
        other => (key, other),
    })
    .collect()
}
