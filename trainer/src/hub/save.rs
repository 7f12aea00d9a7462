//! The way back: a trained model as a checkpoint, trained adapters as PEFT has them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use safetensors::{Dtype, View, serialize_to_file};
use serde_json::json;

use super::adapter::{module, stored};
use super::lora::is_named;
use super::{HubError, LoraConfig, Part, parts, read_json};
use crate::durable::{beside, keep_file, replace_text};
use crate::gguf::Weights;
use crate::model::{Lora, Model, Shape, Tensor};

/// What a checkpoint's folder holds beside its weights.
const BESIDE: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// A tensor to be written, in F32: encoded when its turn has come.
struct Written<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        Weights::F32.encode(self.values, &mut bytes);
        bytes.into()
    }

    fn data_len(&self) -> usize {
        Weights::F32.bytes(self.values.len())
    }
}

/// Writes the whole model into `folder`, with what stands beside the weights in `base`, the
/// checkpoint it began as.
///
/// # Errors
/// What cannot be copied or written.
pub fn save_checkpoint(folder: &Path, base: &Path, model: &Model) -> Result<(), HubError> {
    make(folder)?;
    for name in BESIDE {
        let from = base.join(name);
        if from.exists() {
            fs::copy(&from, folder.join(name)).map_err(|error| HubError::new(&from, error))?;
        }
    }
    let config = folder.join("config.json");
    let mut written: serde_json::Value = read_json(&config)?;
    // The trained values need more digits than those they began as.
    written["dtype"] = json!("float32");
    if let Some(written) = written.as_object_mut() {
        written.remove("torch_dtype");
    }
    write_json(&config, &written)?;
    write_model(&folder.join("model.safetensors"), model)
}

/// Writes all tensors of `model` under the names of a checkpoint.
pub(super) fn write_model(path: &Path, model: &Model) -> Result<(), HubError> {
    let tensor = |name: &str, tensor: &Tensor| {
        let shape = match tensor.rows {
            1 => vec![tensor.columns],
            rows => vec![rows, tensor.columns],
        };
        let values = &model.parameters[tensor.range()];
        (name.to_owned(), Written { shape, values })
    };
    let parts = parts(&model.shape);
    let stored = parts.iter().filter_map(|part| {
        Some(tensor(part.stored_name()?, model.layout.tensor(&part.tensor.name)?))
    });
    write(path, stored.collect())
}

/// Writes the adapters of a model of `shape` into `folder`, as PEFT reads them; `base` is the
/// checkpoint they belong to.
///
/// # Errors
/// What cannot be written.
pub fn save_adapter(
    folder: &Path,
    base: &Path,
    config: &LoraConfig,
    shape: &Shape,
    lora: &Lora,
) -> Result<(), HubError> {
    make(folder)?;
    let parts = parts(shape);
    let tensor = |(name, tensor): (String, &Tensor)| {
        let shape = vec![tensor.rows, tensor.columns];
        (name, Written { shape, values: &lora.parameters[tensor.range()] })
    };
    let tensors = stored(&parts, lora).map(tensor).collect();
    write(&folder.join("adapter_model.safetensors"), tensors)?;
    let failed = |error| HubError::new(folder, error);
    let mut written = serde_json::to_value(config).map_err(failed)?;
    let modules: BTreeSet<_> =
        lora.adaptations.iter().filter_map(|own| module(&parts, own)).collect();
    let ends: BTreeSet<_> = modules.iter().filter_map(|own| own.rsplit('.').next()).collect();
    let mut all = parts.iter().filter_map(Part::module);
    // Ends of names are short, but name the layers of every block.
    let says_more =
        all.any(|own| !modules.contains(own) && ends.iter().any(|end| is_named(own, end)));
    let further = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.display().to_string(),
        "target_modules": if says_more { modules } else { ends },
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
    });
    if let (Some(written), serde_json::Value::Object(further)) = (written.as_object_mut(), further)
    {
        written.extend(further);
    }
    write_json(&folder.join("adapter_config.json"), &written)
}

pub(super) fn make(folder: &Path) -> Result<(), HubError> {
    fs::create_dir_all(folder).map_err(|error| HubError::new(folder, error))
}

fn write(path: &Path, tensors: BTreeMap<String, Written>) -> Result<(), HubError> {
    try_write(path, tensors).map_err(|error| HubError::new(path, error))
}

/// By way of a file beside it: a full disk leaves what was there.
fn try_write(path: &Path, tensors: BTreeMap<String, Written>) -> anyhow::Result<()> {
    let beside = beside(path)?.into_temp_path();
    let allowed = fs::metadata(&beside)?.permissions();
    let about = [("format".to_owned(), "pt".to_owned())];
    serialize_to_file(tensors, Some(about.into()), &beside)?;
    // The file is another one now, which only its owner may read.
    fs::set_permissions(&beside, allowed)?;
    Ok(keep_file(beside, path)?)
}

pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), HubError> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    replace_text(path, &text).map_err(|error| HubError::new(path, error))
}
