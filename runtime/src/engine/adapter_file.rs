//! A LoRA adapter's bytes, checked against the model it is laid over before any C++ sees them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::EngineError;
use super::family::{check_extents, wrong};
use super::gguf::{GgufError, Header, TensorInfo, Value};
use super::model_file::hash;

/// A checked adapter: a GGUF file of `general.type` adapter, with a pair `NAME.lora_a`, `NAME.lora_b`
/// for each matrix of the model that it changes.
#[derive(Debug)]
pub struct AdapterFile {
    /// File stem.
    pub name: String,
    /// SHA-256 of all bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
    /// The header.
    pub header: Header,
    /// The path under which a worker opens it.
    pub(super) path: String,
}

impl AdapterFile {
    /// Opens an adapter of the model that has `base` as its header.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with what is wrong.
    pub fn open(path: &Path, base: &Header) -> Result<Self, EngineError> {
        let display = path.display().to_string();
        let refused = |reason: String| EngineError::Refused { path: display.clone(), reason };
        let mut file = File::open(path).map_err(|error| refused(error.to_string()))?;
        let header = Header::read(BufReader::new(&file)).map_err(|e| refused(e.to_string()))?;
        let bytes = file.metadata().map_err(|error| refused(error.to_string()))?.len();
        check(&header, base, bytes).map_err(|error| refused(error.to_string()))?;
        let sha256 = hash(&mut file).map_err(|error| refused(error.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let absolute = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
        let path = absolute.to_string_lossy().into_owned();
        Ok(Self { name, sha256, bytes, header, path })
    }

    /// Whether the header of a file says that it is an adapter, sound or not.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        let header = File::open(path).map(|file| Header::read(BufReader::new(file)));
        matches!(header, Ok(Ok(header)) if header.text("general.type").is_ok_and(|kind| kind == "adapter"))
    }
}

/// Checks an adapter of `file_bytes` against the header of its base.
fn check(header: &Header, base: &Header, file_bytes: u64) -> Result<(), GgufError> {
    for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = header.text(key)?;
        if found != expected {
            return Err(wrong(format!("{key} is {found}, expected {expected}")));
        }
    }
    let key = "general.architecture";
    let (found, expected) = (header.text(key)?, base.text(key)?);
    if found != expected {
        return Err(wrong(format!("{key} is {found}, the model's is {expected}")));
    }
    let key = "adapter.lora.alpha";
    let alpha = header.float(key)?;
    // llama.cpp takes 0 for 1, and aborts at a longer float.
    if !alpha.is_finite() || alpha == 0.0 {
        return Err(wrong(format!("{key} is {alpha}, expected a number but 0")));
    }
    if let Some(Value::Double(_)) = header.metadata.get(key) {
        return Err(wrong(format!("{key} is a 64-bit float, expected one of 32 bits")));
    }
    check_pairs(&header.tensors, base)?;
    check_extents(header, file_bytes)
}

fn check_pairs(tensors: &[TensorInfo], base: &Header) -> Result<(), GgufError> {
    let mut pairs: BTreeMap<&str, [Option<&TensorInfo>; 2]> = BTreeMap::new();
    for tensor in tensors {
        let name = &tensor.name;
        let (adapted, part) = match (name.strip_suffix(".lora_a"), name.strip_suffix(".lora_b")) {
            (Some(adapted), _) => (adapted, 0),
            (_, Some(adapted)) => (adapted, 1),
            _ => return Err(wrong(format!("tensor {name}: expected NAME.lora_a or NAME.lora_b"))),
        };
        if let Some(place) = pairs.entry(adapted).or_default().get_mut(part)
            && place.replace(tensor).is_some()
        {
            return Err(wrong(format!("tensor {name} stands twice")));
        }
    }
    if pairs.is_empty() {
        return Err(wrong("it adapts nothing: there is no tensor in it".to_owned()));
    }
    for (name, [a, b]) in pairs {
        let (Some(a), Some(b)) = (a, b) else {
            return Err(wrong(format!("{name} has only one of lora_a and lora_b")));
        };
        let matrix = base.tensors.iter().find(|own| own.name == name);
        let matrix = matrix.filter(|own| own.dimensions.len() == 2 && name.starts_with("blk."));
        let Some(matrix) = matrix else {
            return Err(wrong(format!("{name} is no matrix of the model's blocks")));
        };
        let (of_a, of_b, of_base) = (&a.dimensions, &b.dimensions, &matrix.dimensions);
        let fits = match (of_a.as_slice(), of_b.as_slice(), of_base.as_slice()) {
            ([columns, rank], [inner, rows], [base_columns, base_rows]) => {
                rank == inner && *rank > 0 && (columns, rows) == (base_columns, base_rows)
            }
            _ => false,
        };
        if !fits {
            return Err(wrong(format!(
                "{name}: lora_a of {of_a:?} and lora_b of {of_b:?} do not fit the model's {of_base:?}: \
                 is the adapter for another?"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tensor(name: &str, dimensions: &[u64], offset: u64) -> TensorInfo {
        TensorInfo { name: name.to_owned(), dimensions: dimensions.to_vec(), kind: 0, offset }
    }

    fn header(pairs: &[(&str, &str)], tensors: Vec<TensorInfo>) -> Header {
        let text =
            |(key, value): &(&str, &str)| ((*key).to_owned(), Value::Text((*value).to_owned()));
        Header { metadata: pairs.iter().map(text).collect(), tensors, data_offset: 0 }
    }

    fn told(edit: impl FnOnce(&mut Header)) -> Option<String> {
        let matrix = tensor("blk.0.attn_q.weight", &[64, 32], 0);
        let base = header(&[("general.architecture", "qwen2")], vec![matrix]);
        let about = [
            ("general.type", "adapter"),
            ("adapter.type", "lora"),
            ("general.architecture", "qwen2"),
        ];
        let pair = vec![
            tensor("blk.0.attn_q.weight.lora_a", &[64, 4], 0),
            tensor("blk.0.attn_q.weight.lora_b", &[4, 32], 1024),
        ];
        let mut adapter = header(&about, pair);
        adapter.metadata.insert("adapter.lora.alpha".to_owned(), Value::Float(8.0));
        edit(&mut adapter);
        check(&adapter, &base, 1536).err().map(|error| error.to_string())
    }

    #[test]
    fn an_adapter_is_refused_by_what_does_not_fit() {
        assert_eq!(told(|_| ()), None);
        let set = |key: &'static str, value: &'static str| {
            told(move |own| {
                own.metadata.insert(key.to_owned(), Value::Text(value.to_owned()));
            })
            .unwrap()
        };
        assert_eq!(set("general.type", "model"), "general.type is model, expected adapter");
        assert!(set("general.architecture", "llama").ends_with("the model's is qwen2"));
        assert!(set("adapter.lora.alpha", "8").contains("adapter.lora.alpha"));
        let alpha = |alpha: Value| {
            told(move |own| {
                own.metadata.insert("adapter.lora.alpha".to_owned(), alpha);
            })
            .unwrap()
        };
        assert!(alpha(Value::Float(0.0)).contains("expected a number but 0"));
        assert!(alpha(Value::Double(8.0)).contains("expected one of 32 bits"));
        let changed = |index: usize, name: &'static str, dimensions: &'static [u64]| {
            told(move |own| {
                let offset = own.tensors[index].offset;
                own.tensors[index] = tensor(name, dimensions, offset);
            })
            .unwrap()
        };
        assert!(changed(1, "blk.0.attn_q.weight.lora_b", &[8, 32]).contains("for another?"));
        assert!(changed(1, "blk.0.attn_q.weight", &[4, 32]).contains("expected NAME.lora_a"));
        assert!(changed(1, "blk.0.attn_k.weight.lora_b", &[4, 32]).contains("only one of"));
        assert!(changed(1, "blk.0.attn_q.weight.lora_a", &[64, 4]).contains("stands twice"));
        let beyond = told(|own| own.tensors[1].offset = 1056).unwrap();
        assert!(beyond.contains("beyond the end of the file"), "{beyond}");
        assert!(told(|own| own.tensors.clear()).unwrap().contains("adapts nothing"));
    }
}
