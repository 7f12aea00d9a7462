//! `tokenizer.json` and what stands beside it, as GGUF metadata.

use std::collections::BTreeMap;
use std::path::Path;

use retort::engine::{PreTokenizer, Tokenizer};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{HubError, read_json, read_json_if_any};
use crate::gguf::{Metadata, Value};

/// ggml's token types.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

#[derive(Deserialize)]
struct Written {
    model: Bpe,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Json>,
    pre_tokenizer: Json,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(rename = "type")]
    kind: String,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    byte_fallback: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    /// Since tokenizers 0.20.
    Pair(String, String),
    /// Before: two tokens, a space between.
    Text(String),
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

/// `generation_config.json` and `config.json`: what ends a reply. Numbers, or lists of them.
#[derive(Default, Deserialize)]
struct Ends {
    eos_token_id: Option<Json>,
    bos_token_id: Option<Json>,
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct Framing {
    eos_token: Option<Json>,
    bos_token: Option<Json>,
    pad_token: Option<Json>,
    chat_template: Option<Templates>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    /// For several purposes; the one named `default` is for talking.
    Named(Vec<Template>),
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
}

impl Templates {
    fn for_talking(self) -> Option<String> {
        match self {
            Templates::One(template) => Some(template),
            Templates::Named(all) => {
                all.into_iter().find(|own| own.name == "default").map(|own| own.template)
            }
        }
    }
}

/// The vocabulary in `folder`, for a model of `vocabulary` tokens, as `tokenizer.*` keys. Ids that
/// no token has (published models pad their embeddings) become unused tokens.
///
/// # Errors
/// A tokenizer that is no byte-level BPE of the kinds the runtime knows, or has more tokens than
/// the model.
pub fn words(folder: &Path, vocabulary: usize) -> Result<Metadata, HubError> {
    let path = folder.join("tokenizer.json");
    let written: Written = read_json(&path)?;
    let refused = |reason: String| HubError::new(&path, reason);
    if written.model.kind != "BPE" {
        return Err(refused(format!("model.type is {}, expected BPE", written.model.kind)));
    }
    let (tokens, kinds) = tokens(&written, vocabulary).map_err(refused)?;
    let pre_tokenizer = pre_tokenizer(&written.pre_tokenizer).map_err(refused)?;
    check_merging(&written, pre_tokenizer).map_err(refused)?;
    check_normaliser(written.normalizer.as_ref()).map_err(refused)?;
    let merges = written.model.merges.iter().map(|merge| match merge {
        Merge::Pair(left, right) => Ok(format!("{left} {right}")),
        Merge::Text(text) if text.split(' ').count() == 2 => Ok(text.clone()),
        Merge::Text(text) => Err(format!("merge {text:?}: expected two tokens, a space between")),
    });
    let merges = merges.collect::<Result<_, _>>().map_err(refused)?;
    let special = Special::read(folder, &tokens)?;
    let begin = Tokenizer::from_json(&path).map_err(|error| refused(error.to_string()))?.begin();
    let keys = [
        ("model", Some(Value::Text("gpt2".to_owned()))),
        ("pre", Some(Value::Text(pre_tokenizer.name().to_owned()))),
        ("eos_token_id", Some(Value::U32(special.eos))),
        ("bos_token_id", begin.or(special.bos).map(Value::U32)),
        ("padding_token_id", special.pad.map(Value::U32)),
        ("add_bos_token", Some(Value::Bool(begin.is_some()))),
        ("tokens", Some(Value::Texts(tokens))),
        ("token_type", Some(Value::I32s(kinds))),
        ("merges", Some(Value::Texts(merges))),
    ];
    let keys = keys.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value));
    let template = special.chat_template.map(Value::Text);
    let all = keys.chain([("tokenizer.chat_template".to_owned(), template)]);
    Ok(all.filter_map(|(key, value)| Some((key, value?))).collect())
}

fn tokens(written: &Written, vocabulary: usize) -> Result<(Vec<String>, Vec<i32>), String> {
    let mut tokens: Vec<String> = (0..vocabulary).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![UNUSED; vocabulary];
    let ordinary = written.model.vocab.iter().map(|(token, id)| (*id, token, NORMAL));
    let added = written.added_tokens.iter().map(|token| {
        (token.id, &token.content, if token.special { CONTROL } else { USER_DEFINED })
    });
    for (id, token, kind) in ordinary.chain(added) {
        let at = id as usize;
        let (Some(own), Some(own_kind)) = (tokens.get_mut(at), kinds.get_mut(at)) else {
            return Err(format!(
                "token {token:?} has id {id}, but the model has {vocabulary} tokens: is this \
                 another model's tokenizer?"
            ));
        };
        if *own_kind != UNUSED && own != token {
            return Err(format!("tokens {own:?} and {token:?} both have id {id}"));
        }
        own.clone_from(token);
        *own_kind = kind;
    }
    Ok((tokens, kinds))
}

/// How text is cut before merging: by an expression, then nothing but bytes become letters.
fn pre_tokenizer(written: &Json) -> Result<PreTokenizer, String> {
    let steps = steps(written, "pretokenizers");
    let pattern = steps.iter().find_map(|step| step.pointer("/pattern/Regex")?.as_str());
    let known = PreTokenizer::ALL.into_iter().find(|own| pattern == Some(&own.pattern()));
    let known = known.ok_or_else(|| {
        format!(
            "pre_tokenizer cuts by {}, expected the expression of Qwen2 or of Llama 3",
            pattern.unwrap_or("no expression")
        )
    })?;
    let is = |step: &Json, key: &str, value: Json| step.get(key) == Some(&value);
    match steps {
        [split, bytes]
            if is(split, "type", json!("Split"))
                && is(split, "behavior", json!("Isolated"))
                && is(split, "invert", json!(false))
                && is(bytes, "type", json!("ByteLevel"))
                && is(bytes, "add_prefix_space", json!(false))
                && is(bytes, "use_regex", json!(false)) =>
        {
            Ok(known)
        }
        _ => {
            Err("pre_tokenizer: expected Split (behavior Isolated, invert false), then ByteLevel \
                  (add_prefix_space false, use_regex false), as Qwen2 and Llama 3 have it: others \
                  make other tokens than the runtime does"
                .to_owned())
        }
    }
}

/// Refuses merging that the runtime would do otherwise.
fn check_merging(written: &Written, pre_tokenizer: PreTokenizer) -> Result<(), String> {
    let Bpe { ignore_merges, byte_fallback, .. } = written.model;
    let expected = pre_tokenizer.ignores_merges();
    if ignore_merges != expected {
        let name = pre_tokenizer.name();
        return Err(format!(
            "model.ignore_merges is {ignore_merges}, expected {expected} with the pre_tokenizer of \
             {name}: take the tokenizer.json of its base, or save it anew with tokenizers 0.20"
        ));
    }
    if byte_fallback {
        return Err("model.byte_fallback is true, expected false".to_owned());
    }
    let Bpe { continuing_subword_prefix, end_of_word_suffix, .. } = &written.model;
    for (key, affix) in [
        ("continuing_subword_prefix", continuing_subword_prefix),
        ("end_of_word_suffix", end_of_word_suffix),
    ] {
        if let Some(affix) = affix.as_deref().filter(|affix| !affix.is_empty()) {
            return Err(format!("model.{key} is {affix:?}, expected none"));
        }
    }
    match written.added_tokens.iter().find(|token| token.lstrip || token.rstrip) {
        Some(token) => Err(format!(
            "added_tokens: {:?} takes the blanks beside it (lstrip, rstrip), expected false: the \
             runtime keeps them",
            token.content
        )),
        None => Ok(()),
    }
}

/// Refuses what would read other text than the runtime does. NFC passes: the published models have
/// it, and text is composed already nearly everywhere.
fn check_normaliser(written: Option<&Json>) -> Result<(), String> {
    let changes = |step: &&Json| !step.is_null() && step["type"] != "NFC";
    match written.map(|written| steps(written, "normalizers").iter().find(changes)) {
        Some(Some(step)) => Err(format!(
            "normalizer.type is {}, expected none or NFC: the runtime reads text as it stands",
            step["type"]
        )),
        _ => Ok(()),
    }
}

/// The parts of a sequence, named so; or the one that stands alone.
fn steps<'a>(written: &'a Json, parts: &str) -> &'a [Json] {
    let all = written.get(parts).and_then(Json::as_array);
    all.map_or(std::slice::from_ref(written), Vec::as_slice)
}

/// Tokens with a meaning of their own.
struct Special {
    eos: u32,
    bos: Option<u32>,
    pad: Option<u32>,
    chat_template: Option<String>,
}

impl Special {
    fn read(folder: &Path, tokens: &[String]) -> Result<Self, HubError> {
        let path = folder.join("tokenizer_config.json");
        let framing: Framing = read_json_if_any(&path)?.unwrap_or_default();
        let generation: Ends =
            read_json_if_any(&folder.join("generation_config.json"))?.unwrap_or_default();
        let config: Ends = read_json(&folder.join("config.json"))?;
        let template = folder.join("chat_template.jinja");
        let chat_template = match std::fs::read_to_string(&template) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                framing.chat_template.and_then(Templates::for_talking)
            }
            Err(error) => return Err(HubError::new(&template, error)),
        };
        let named = |token: &Option<Json>| {
            let token = token.as_ref()?;
            let name = token.as_str().or_else(|| token.get("content")?.as_str())?;
            tokens.iter().position(|own| own == name).and_then(|id| u32::try_from(id).ok())
        };
        // The tokenizer's own end of a reply comes first: base models end texts with another.
        let eos = named(&framing.eos_token);
        let eos =
            eos.or_else(|| first(&generation.eos_token_id)).or_else(|| first(&config.eos_token_id));
        let eos = eos.filter(|id| (*id as usize) < tokens.len()).ok_or_else(|| {
            HubError::new(&path, "eos_token: expected the token that ends a reply")
        })?;
        let bos = named(&framing.bos_token).or_else(|| first(&config.bos_token_id));
        let bos = bos.filter(|id| (*id as usize) < tokens.len());
        Ok(Self { eos, bos, pad: named(&framing.pad_token), chat_template })
    }
}

/// A number, or the first of a list.
fn first(ids: &Option<Json>) -> Option<u32> {
    let ids = ids.as_ref()?;
    let id = ids.as_u64().or_else(|| ids.get(0)?.as_u64())?;
    u32::try_from(id).ok()
}
