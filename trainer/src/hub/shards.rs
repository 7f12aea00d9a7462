//! Tensors in safetensors files, read row by row where they lie.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::{HubError, read_json};
use crate::gguf::Weights;

/// The format's own limit, of the `safetensors` crate.
const HEADER_MAX: u64 = 100_000_000;

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub struct Stored {
    name: String,
    /// Sizes, the slowest first.
    pub shape: Vec<usize>,
    dtype: Dtype,
    file: Arc<(PathBuf, File)>,
    start: u64,
}

/// All tensors of a folder.
#[derive(Debug, Default)]
pub struct Shards(BTreeMap<String, Stored>);

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Opens `STEM.safetensors` in `folder`, or else the files that `STEM.safetensors.index.json`
    /// names: transformers looks in that order too, and leaves old indices behind.
    ///
    /// # Errors
    /// A file that is missing, cut off, or whose header does not describe it.
    pub fn open(folder: &Path, stem: &str) -> Result<Self, HubError> {
        let mut shards = Self::default();
        let single = folder.join(format!("{stem}.safetensors"));
        let index = folder.join(format!("{stem}.safetensors.index.json"));
        if single.exists() {
            shards.add(&single)?;
            return Ok(shards);
        }
        if !index.exists() {
            return Err(nothing(folder, stem));
        }
        let Index { weight_map } = read_json(&index)?;
        for name in weight_map.values().collect::<BTreeSet<_>>() {
            if Path::new(name).file_name() != Some(name.as_ref()) {
                let reason = format!("weight_map: {name:?} is no file beside it");
                return Err(HubError::new(&index, reason));
            }
            shards.add(&folder.join(name))?;
        }
        match weight_map.keys().find(|name| !shards.0.contains_key(*name)) {
            Some(name) => Err(HubError::new(&index, format!("weight_map: no file holds {name}"))),
            None => Ok(shards),
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), HubError> {
        let failed = |reason: String| HubError::new(path, reason);
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        let (metadata, data_start) = header(&file).map_err(failed)?;
        let file = Arc::new((path.to_owned(), file));
        for (name, info) in metadata.tensors() {
            let start = data_start + info.data_offsets.0 as u64;
            let shape = info.shape.clone();
            let (name, file) = (name.clone(), file.clone());
            let stored = Stored { name: name.clone(), shape, dtype: info.dtype, file, start };
            if let Some(twice) = self.0.insert(name, stored) {
                return Err(failed(format!("{} stands in another file too", twice.name)));
            }
        }
        Ok(())
    }

    /// Where the tensor of a name lies.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Stored> {
        self.0.get(name)
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Stored {
    /// How its values are stored.
    ///
    /// # Errors
    /// A type that is not F32, F16 or BF16.
    pub fn weights(&self) -> Result<Weights, HubError> {
        match self.dtype {
            Dtype::F32 => Ok(Weights::F32),
            Dtype::F16 => Ok(Weights::F16),
            Dtype::BF16 => Ok(Weights::BF16),
            other => Err(self.refused(format!(
                "is of type {other:?}, expected F32, F16 or BF16: save the model in bfloat16"
            ))),
        }
    }

    /// That this tensor cannot be used, by its file and name.
    pub fn refused(&self, reason: impl std::fmt::Display) -> HubError {
        HubError::new(&self.file.0, format!("{} {reason}", self.name))
    }

    /// Reads some of its rows, each of as many values as its last size, into `values`.
    ///
    /// # Errors
    /// When the file cannot be read, or holds numbers of a type that is not F32, F16 or BF16, or
    /// what is no number.
    pub fn read(&self, rows: Range<usize>, values: &mut [f32]) -> Result<(), HubError> {
        let weights = self.weights()?;
        let (path, file) = &*self.file;
        let mut bytes = vec![0; weights.bytes(values.len())];
        let columns = self.shape.last().copied().unwrap_or(1);
        let offset = self.start + weights.bytes(rows.start * columns) as u64;
        file.read_exact_at(&mut bytes, offset).map_err(|error| HubError::new(path, error))?;
        weights.decode(&bytes, values);
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                let (row, value) = (rows.start + at / columns, values[at]);
                let reason = format!(
                    "{}: row {row} holds {value}: a training that went wrong wrote it, take an earlier checkpoint",
                    self.name
                );
                Err(HubError::new(path, reason))
            }
            None => Ok(()),
        }
    }
}

/// That there are no tensors, and what to do with pickles where those are there.
fn nothing(folder: &Path, stem: &str) -> HubError {
    let pickled = match stem {
        "adapter_model" => "adapter_model.bin",
        _ => "pytorch_model.bin",
    };
    let parts = folder.join(format!("{pickled}.index.json"));
    let old = if parts.exists() { parts } else { folder.join(pickled) };
    match old.exists() {
        true if old.extension().is_some_and(|name| name == "json") => HubError::new(
            &old,
            "pickles, which may run anything when they are read. Where you trust them, in their \
             folder: python3 -c 'from transformers import AutoModelForCausalLM as M, AutoTokenizer \
             as T; [own.from_pretrained(\".\").save_pretrained(\"safetensors\") for own in (M, T)]', \
             then import the folder safetensors",
        ),
        true => HubError::new(
            &old,
            format!(
                "a pickle, which may run anything when it is read. Where you trust it, in its folder: \
                 python3 -c 'import torch; from safetensors.torch import save_file; \
                 save_file({{k: v.contiguous().clone() for k, v in torch.load(\"{pickled}\", \
                 weights_only=True).items()}}, \"{stem}.safetensors\")'"
            ),
        ),
        false => HubError::new(folder, format!("it holds no {stem}.safetensors")),
    }
}

/// The tensors a file has, and where its data begin. The header must describe every byte.
fn header(file: &File) -> Result<(Metadata, u64), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut size = [0; 8];
    let cut_off = |_| format!("{length} bytes are too few for a safetensors file");
    file.read_exact_at(&mut size, 0).map_err(cut_off)?;
    if size == *b"version " {
        return Err("a pointer of Git LFS in place of the file: git lfs pull fetches it".to_owned());
    }
    let size = u64::from_le_bytes(size);
    if size > HEADER_MAX || size > length - 8 {
        return Err(format!("a header of {size} bytes in a file of {length}: no safetensors file"));
    }
    let mut text = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut text, 8).map_err(|error| error.to_string())?;
    let metadata: Metadata =
        serde_json::from_slice(&text).map_err(|error| format!("header: {error}"))?;
    let (found, expected) = (length - 8 - size, metadata.data_len() as u64);
    if found != expected {
        return Err(format!("{found} bytes of data, expected {expected}: fetch it anew"));
    }
    Ok((metadata, 8 + size))
}
