//! What is refused, and by which words.

use std::path::{Path, PathBuf};

use retort::engine::{ModelFile, Tokenizer};
use serde_json::{Value as Json, json};

use super::*;
use crate::gguf::{Labels, Weights};
use crate::model::Llama3Rope;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hub").join(name)
}

/// A copy that a test may spoil.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// Changes a JSON file in place.
fn change(path: &Path, edit: impl FnOnce(&mut Json)) {
    let mut json: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

/// Changes the header of a safetensors file in place; the data stay as they are.
fn change_header(path: &Path, edit: impl FnOnce(&mut Json)) {
    let bytes = std::fs::read(path).unwrap();
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Json = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    edit(&mut header);
    let header = header.to_string().into_bytes();
    let size = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&size[..], &header, &bytes[8 + bytes_before(&bytes)..]].concat())
        .unwrap();
}

fn bytes_before(file: &[u8]) -> usize {
    u64::from_le_bytes(file[..8].try_into().unwrap()) as usize
}

fn refusal(folder: &Path, adapter: Option<&Path>) -> String {
    Checkpoint::open(folder, adapter).err().unwrap().to_string()
}

#[test]
fn a_configuration_is_refused_by_its_key() {
    let nested = json!({"full_attention": {"rope_type": "default"}});
    let both = json!({"rope_type": "default", "type": "yarn"});
    let spoilt: [(&str, Json, &str); 13] = [
        ("architectures", json!(["GPT2LMHeadModel"]), "architectures is GPT2LMHeadModel, expected"),
        ("hidden_act", json!("gelu"), "hidden_act is gelu, expected silu"),
        ("use_sliding_window", json!(true), "use_sliding_window: expected false"),
        ("quantization_config", json!({"bits": 4}), "quantization_config: expected a checkpoint"),
        ("rope_parameters", json!({"rope_type": "yarn"}), "rope_type is yarn, expected default"),
        ("num_key_value_heads", json!(3), "kv_heads is 3, expected a divisor of 4"),
        ("hidden_size", json!(0), "width is 0, expected 1 to"),
        ("rope_parameters", nested, "rope_parameters differ by kind of layer"),
        ("rope_parameters", both, "rope_type is default and type yarn"),
        ("layer_types", json!(["sliding_attention"]), "layer_types holds sliding_attention"),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor is 0.5, expected 1"),
        ("hidden_size", json!("32"), "hidden_size: invalid type: string"),
        ("vocab_size", Json::Null, "vocab_size: invalid type: null"),
    ];
    for (key, value, expected) in spoilt {
        let folder = copy("qwen2");
        change(&folder.path().join("config.json"), |config| config[key] = value);
        let told = refusal(folder.path(), None);
        assert!(told.contains("config.json: ") && told.contains(expected), "{key}: {told}");
    }
}

#[test]
fn damaged_tensors_are_refused_by_file_and_name() {
    let weights = "model.safetensors";
    let spoil = |edit: &dyn Fn(&Path)| {
        let folder = copy("qwen2");
        edit(&folder.path().join(weights));
        refusal(folder.path(), None)
    };
    let cut = |length: usize| {
        move |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len().min(length)]).unwrap();
        }
    };
    assert!(spoil(&cut(5)).contains("5 bytes are too few"));
    assert!(spoil(&cut(100)).contains("in a file of 100: no safetensors file"));
    assert!(spoil(&cut(50_000)).ends_with("fetch it anew"));
    let huge = |path: &Path| std::fs::write(path, [255; 64]).unwrap();
    assert!(spoil(&huge).contains("no safetensors file"));
    let norm = "model.norm.weight";
    let overlapping =
        |path: &Path| change_header(path, |header| header[norm]["data_offsets"] = json!([0, 64]));
    assert!(spoil(&overlapping).contains("header: "), "{}", spoil(&overlapping));
    let reshaped =
        |path: &Path| change_header(path, |header| header[norm]["shape"] = json!([4, 8]));
    let told = spoil(&reshaped);
    assert!(
        told.ends_with(
            "model.norm.weight has shape [4, 8], expected 1 rows of 32 by the base's config.json"
        ),
        "{told}"
    );
    let renamed = |path: &Path| {
        change_header(path, |header| {
            let moved = header.as_object_mut().unwrap().remove(norm).unwrap();
            header["model.gone"] = moved;
        });
    };
    let told = spoil(&renamed);
    assert!(told.ends_with("model.gone is no tensor of the architecture in config.json"), "{told}");
    let gone_wrong = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.len() - 4;
        bytes[at..].fill(0xff);
        std::fs::write(path, bytes).unwrap();
    };
    // What shows only when the rows are read.
    let spoil_rows = |edit: &dyn Fn(&Path)| {
        let folder = copy("qwen2");
        edit(&folder.path().join(weights));
        let out = folder.path().join("out.gguf");
        let opened = Checkpoint::open(folder.path(), None).unwrap();
        let told = write::write(&opened, &out, &Labels::default(), &vec![], Weights::F32);
        assert!(!out.exists());
        format!("{:#}", told.unwrap_err())
    };
    let told = spoil_rows(&gone_wrong);
    assert!(told.contains(" holds NaN: a training that went wrong"), "{told}");
    let integers = |path: &Path| change_header(path, |header| header[norm]["dtype"] = json!("I16"));
    let told = spoil(&integers);
    assert!(told.contains("model.norm.weight is of type I16, expected F32"), "{told}");
    let pointer =
        |path: &Path| std::fs::write(path, "version https://git-lfs.github.com/").unwrap();
    assert!(spoil(&pointer).ends_with("git lfs pull fetches it"), "{}", spoil(&pointer));
}

#[test]
fn an_index_names_files_beside_it_and_what_they_hold() {
    let folder = copy("llama");
    let index = folder.path().join("model.safetensors.index.json");
    change(&index, |index| {
        index["weight_map"]["model.extra"] = json!("model-00001-of-00003.safetensors")
    });
    assert!(refusal(folder.path(), None).ends_with("weight_map: no file holds model.extra"));
    change(&index, |index| index["weight_map"]["model.extra"] = json!("../elsewhere"));
    assert!(refusal(folder.path(), None).ends_with("\"../elsewhere\" is no file beside it"));
    let folder = copy("llama");
    let shard = folder.path().join("model-00002-of-00003.safetensors");
    std::fs::remove_file(&shard).unwrap();
    assert!(refusal(folder.path(), None).starts_with(&shard.display().to_string()));
}

#[test]
fn an_old_index_beside_the_single_file_is_not_looked_at() {
    let folder = copy("qwen2");
    let index = folder.path().join("model.safetensors.index.json");
    let weight_map = json!({"model.norm.weight": "model-00001-of-00002.safetensors"});
    std::fs::write(&index, json!({"weight_map": weight_map}).to_string()).unwrap();
    assert!(Checkpoint::open(folder.path(), None).is_ok());
}

#[test]
fn pickles_are_refused_with_the_command_that_converts_them() {
    let folder = copy("qwen2-patterns");
    let from = folder.path().join("adapter_model.safetensors");
    std::fs::rename(from, folder.path().join("adapter_model.bin")).unwrap();
    let told = refusal(&fixture("qwen2"), Some(folder.path()));
    assert!(
        told.contains("weights_only=True") && told.contains("adapter_model.safetensors"),
        "{told}"
    );
}

#[test]
fn an_adapter_must_fit_its_base() {
    let told = refusal(&fixture("qwen3"), Some(&fixture("qwen2-patterns")));
    assert!(told.contains("is it for another base"), "{told}");
    let spoilt = [
        ("use_dora", json!(true), "use_dora is set, which is not done here"),
        ("alora_invocation_tokens", json!([1]), "alora_invocation_tokens is set"),
        ("bias", json!("lora_only"), "bias is \"lora_only\", expected \"none\""),
        ("init_lora_weights", json!("pissa"), "\"pissa\", which changed the base's weights too"),
        ("init_lora_weights", json!("olora"), "\"olora\", which changed the base's weights too"),
        ("peft_type", json!("LOHA"), "peft_type is LOHA, expected LORA"),
        ("r", json!(8), "expected [8, 32]: is it for"),
        ("rank_pattern", json!({"(": 2}), "regex parse error"),
        ("alpha_pattern", json!({"q_proj": "two"}), "q_proj: \"two\", expected a number"),
        ("target_modules", json!(["o_proj"]), "adapter_config.json does not name it"),
        ("layers_to_transform", json!([0]), "adapter_config.json does not name it"),
        ("exclude_modules", json!(["k_proj"]), "adapter_config.json does not name it"),
        ("new_magic", json!({"x": 1}), "new_magic is {\"x\":1}, which is not known here"),
    ];
    for (key, value, expected) in spoilt {
        let folder = copy("qwen2-patterns");
        change(&folder.path().join("adapter_config.json"), |config| config[key] = value);
        let told = refusal(&fixture("qwen2"), Some(folder.path()));
        assert!(told.contains(expected), "{key}: {told}");
    }
    let folder = copy("qwen2-patterns");
    let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
    change_header(&folder.path().join("adapter_model.safetensors"), |header| {
        let moved = header.as_object_mut().unwrap().remove(name).unwrap();
        header["base_model.model.model.layers.9.mlp.up_proj.lora_A.weight"] = moved;
    });
    let told = refusal(&fixture("qwen2"), Some(folder.path()));
    assert!(told.contains("layers.9.mlp.up_proj.lora_A.weight belongs to no tensor"), "{told}");
}

#[test]
fn layers_are_named_in_as_many_ways_as_peft_has() {
    let config = fixture("qwen2-patterns").join("adapter_config.json");
    let config: Json = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    let ends: Vec<&str> = config["target_modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|end| end.as_str().unwrap())
        .collect();
    let whole = format!(".*\\.({})", ends.join("|"));
    let with_head = [&ends[..], &["lm_head"]].concat();
    for (targets, excluded, layers) in [
        (json!(whole), Json::Null, json!([])),
        (json!(ends), json!([]), json!([0, 1])),
        (json!(with_head), json!("lm_head"), Json::Null),
        // No expression of Rust's: it tells nothing.
        (json!("(?=x)y"), Json::Null, Json::Null),
        (json!(ends), json!("(?!x)y"), Json::Null),
    ] {
        let folder = copy("qwen2-patterns");
        change(&folder.path().join("adapter_config.json"), |config| {
            config["target_modules"] = targets.clone();
            config["exclude_modules"] = excluded;
            config["layers_to_transform"] = layers;
        });
        let opened = Checkpoint::open(&fixture("qwen2"), Some(folder.path()));
        assert!(opened.is_ok(), "{targets}: {:?}", opened.err());
    }
}

#[test]
fn half_an_adapter_is_refused() {
    let folder = copy("qwen2-patterns");
    let file = folder.path().join("adapter_model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let header: Json = serde_json::from_slice(&bytes[8..8 + bytes_before(&bytes)]).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let kept = |keeps: &dyn Fn(&str) -> bool| {
        let names = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
        let views: Vec<_> = names
            .filter(|name| keeps(name))
            .map(|name| (name.clone(), tensors.tensor(name).unwrap()))
            .collect();
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
        refusal(&fixture("qwen2"), Some(folder.path()))
    };
    let told = kept(&|_| false);
    assert!(told.ends_with("it holds no tensor: it adapts nothing"), "{told}");
    let told = kept(&|name| !name.contains("layers.1."));
    assert!(told.contains("holds no adapter of model.layers.1."), "{told}");
}

#[test]
fn an_adapter_by_itself_holds_nothing_whole() {
    let folder = copy("qwen2-patterns");
    let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
    change_header(&folder.path().join("adapter_model.safetensors"), |header| {
        let moved = header.as_object_mut().unwrap().remove(name).unwrap();
        header["base_model.model.model.embed_tokens.weight"] = moved;
    });
    let base = Checkpoint::open(&fixture("qwen2"), None).unwrap();
    let out = folder.path().join("out.gguf");
    let written = write_adapter(&base, folder.path(), &out, &Labels::default(), Weights::F32);
    let told = format!("{:#}", written.unwrap_err());
    assert!(told.contains("model.embed_tokens.weight is there whole"), "{told}");
    assert!(!out.exists());
}

#[test]
fn a_tokenizer_must_fit_the_model() {
    let spoilt: [(&str, Json, &str); 8] = [
        ("/model/ignore_merges", json!(false), "model.ignore_merges is false, expected true"),
        ("/pre_tokenizer/pretokenizers/1/add_prefix_space", json!(true), "expected Split"),
        ("/added_tokens/0/lstrip", json!(true), "takes the blanks beside it"),
        ("/model/type", json!("Unigram"), "model.type is Unigram, expected BPE"),
        ("/pre_tokenizer/pretokenizers/0/pattern/Regex", json!("\\s"), "pre_tokenizer cuts by \\s"),
        ("/added_tokens/0/id", json!(5), "both have id 5"),
        ("/normalizer", json!({"type": "Lowercase"}), "normalizer.type is \"Lowercase\""),
        ("/added_tokens/0/id", json!(320), "has id 320, but the model has 320 tokens"),
    ];
    let folder = copy("llama");
    let composed = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]});
    change(&folder.path().join("tokenizer.json"), |json| json["normalizer"] = composed);
    assert_eq!(words(folder.path(), 320).unwrap(), words(&fixture("llama"), 320).unwrap());
    for (pointer, value, expected) in spoilt {
        let folder = copy("llama");
        change(&folder.path().join("tokenizer.json"), |tokenizer| {
            *tokenizer.pointer_mut(pointer).unwrap() = value;
        });
        let told = refusal(folder.path(), None);
        assert!(told.contains("tokenizer.json: ") && told.contains(expected), "{pointer}: {told}");
    }
    let folder = copy("llama");
    for file in ["tokenizer_config.json", "generation_config.json", "config.json"] {
        change(&folder.path().join(file), |json| {
            json.as_object_mut().unwrap().retain(|key, _| !key.starts_with("eos"));
        });
    }
    assert!(
        refusal(folder.path(), None).contains("eos_token: expected the token that ends a reply")
    );
}

#[test]
fn a_head_is_expected_where_the_configuration_says_so() {
    let folder = copy("qwen2");
    let config = folder.path().join("config.json");
    change(&config, |config| config["tie_word_embeddings"] = json!(false));
    assert!(refusal(folder.path(), None).ends_with("no file holds lm_head.weight"));
    change(&config, |config| {
        config.as_object_mut().unwrap().remove("tie_word_embeddings");
    });
    assert!(Checkpoint::open(folder.path(), None).is_ok());
}

#[test]
fn a_second_head_is_one_only_where_it_differs() {
    let folder = copy("qwen3");
    change(&folder.path().join("config.json"), |config| {
        config["tie_word_embeddings"] = json!(true)
    });
    assert!(!Checkpoint::open(folder.path(), None).unwrap().shape.tied);
    let weights = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let start = 8 + bytes_before(&bytes);
    let header: Json = serde_json::from_slice(&bytes[8..start]).unwrap();
    let range = |name: &str| {
        let place = |end: usize| header[name]["data_offsets"][end].as_u64().unwrap() as usize;
        start + place(0)..start + place(1)
    };
    bytes.copy_within(range("model.embed_tokens.weight"), range("lm_head.weight").start);
    std::fs::write(&weights, bytes).unwrap();
    assert!(Checkpoint::open(folder.path(), None).unwrap().shape.tied);
}

#[test]
fn older_spellings_are_read() {
    let folder = copy("llama");
    change(&folder.path().join("config.json"), |config| {
        let mut rope = config.as_object_mut().unwrap().remove("rope_parameters").unwrap();
        config["rope_theta"] = rope.as_object_mut().unwrap().remove("rope_theta").unwrap();
        rope["type"] = rope["rope_type"].clone();
        config["rope_scaling"] = rope;
    });
    assert_eq!(
        HubConfig::read(folder.path()).unwrap(),
        HubConfig::read(&fixture("llama")).unwrap()
    );
    change(&folder.path().join("tokenizer.json"), |tokenizer| {
        for merge in tokenizer["model"]["merges"].as_array_mut().unwrap() {
            *merge =
                json!(format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()));
        }
    });
    let template = folder.path().join("chat_template.jinja");
    let text = std::fs::read_to_string(&template).unwrap();
    std::fs::remove_file(template).unwrap();
    change(&folder.path().join("tokenizer_config.json"), |config| {
        let rag = json!({"name": "rag", "template": "no"});
        config["chat_template"] = json!([rag, {"name": "default", "template": text}]);
    });
    assert_eq!(words(folder.path(), 320).unwrap(), words(&fixture("llama"), 320).unwrap());
}

#[test]
fn a_token_before_every_text_is_the_same_in_both_files() {
    let folder = copy("llama");
    let json = folder.path().join("tokenizer.json");
    let file = folder.path().join("model.gguf");
    let begins = || {
        let checkpoint = Checkpoint::open(folder.path(), None).unwrap();
        let labels = Labels::of("llama".to_owned(), None, None);
        write::write(&checkpoint, &file, &labels, &Vec::new(), Weights::F16).unwrap();
        let header = ModelFile::open(&file).unwrap().header;
        let all = [Tokenizer::from_json(&json).unwrap(), Tokenizer::from_header(&header).unwrap()];
        all.map(|own| own.begin())
    };
    assert_eq!(begins(), [Some(303); 2]);
    change(&json, |tokenizer| tokenizer["post_processor"] = Json::Null);
    assert_eq!(begins(), [None; 2]);
    // A token behind the text is none before it.
    change(&json, |tokenizer| {
        let end = json!({"SpecialToken": {"id": "<|im_end|>", "type_id": 0}});
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let named = json!({"id": "<|im_end|>", "ids": [302], "tokens": ["<|im_end|>"]});
        tokenizer["post_processor"] = json!({
            "type": "TemplateProcessing", "single": [text, end], "pair": [text, end],
            "special_tokens": {"<|im_end|>": named},
        });
    });
    assert_eq!(begins(), [None; 2]);
}

#[test]
fn fast_pairs_keep_their_angle_and_slow_ones_are_stretched() {
    let rope = Llama3Rope {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    };
    let factors = rope.factors(500_000.0, 64);
    assert_eq!((factors.len(), factors[0], factors[31]), (32, 1.0, 8.0));
    assert!(factors.is_sorted());
    assert!(factors.iter().any(|factor| (1.1..7.9).contains(factor)));
}
