//! The way back: a trained model as a checkpoint, trained adapters as PEFT has them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use safetensors::{Dtype, View, serialize_to_file};
use serde_json::json;

use super::adapter::{module, stored};
use super::lora::is_named;
use super::{HubError, LoraConfig, Part, parts, read_json};
use crate::durable::{beside, keep_file, replace_file, replace_text};
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

const WHOLE: &str = "model.safetensors";
/// Bytes of a file of weights at most, as transformers had them for long; some file systems hold no
/// larger ones, and a download goes on by the file.
pub(super) const SHARD_BYTES_MAX: usize = 5_000_000_000;

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
            let text = fs::read(&from).map_err(|error| HubError::new(&from, error))?;
            let to = folder.join(name);
            replace_file(&to, |file| file.write_all(&text))
                .map_err(|error: io::Error| HubError::new(&to, error))?;
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
    write_model(folder, model, SHARD_BYTES_MAX)
}

/// Writes all tensors of `model` under the names of a checkpoint: as `model.safetensors`, or where
/// that would have more than `bytes_max` as several files and their index.
pub(super) fn write_model(folder: &Path, model: &Model, bytes_max: usize) -> Result<(), HubError> {
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
    let mut shards = vec![BTreeMap::new()];
    let mut bytes = 0;
    for (name, tensor) in stored {
        bytes += tensor.data_len();
        if bytes > bytes_max && shards.last().is_some_and(|shard| !shard.is_empty()) {
            bytes = tensor.data_len();
            shards.push(BTreeMap::new());
        }
        if let Some(shard) = shards.last_mut() {
            shard.insert(name, tensor);
        }
    }
    write_shards(folder, shards)
}

fn write_shards(folder: &Path, shards: Vec<BTreeMap<String, Written>>) -> Result<(), HubError> {
    let (index, whole) = (folder.join("model.safetensors.index.json"), folder.join(WHOLE));
    let count = shards.len();
    let mut places = serde_json::Map::new();
    let mut total_size = 0;
    for (shard, number) in shards.into_iter().zip(1..) {
        let file = match count {
            1 => WHOLE.to_owned(),
            _ => format!("model-{number:05}-of-{count:05}.safetensors"),
        };
        total_size += shard.values().map(Written::data_len).sum::<usize>();
        places.extend(shard.keys().map(|name| (name.clone(), json!(file))));
        write(&folder.join(file), shard)?;
    }
    // Of an earlier checkpoint in the folder nothing may be taken for this one's.
    let other = if count == 1 { &index } else { &whole };
    match fs::remove_file(other) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(HubError::new(other, error));
        }
        _ => {}
    }
    if count > 1 {
        let metadata = json!({"total_size": total_size});
        write_json(&index, &json!({"metadata": metadata, "weight_map": places}))?;
    }
    Ok(())
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
