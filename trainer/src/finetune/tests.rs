//! LoRA against PEFT's own steps, and whole recipes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::dataset::Sequence;
use crate::hub::LoraConfig;
use crate::model::Lora;
use crate::optimise::Optimiser;
use crate::parallel::Shards;
use crate::parity::distance;

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// What `trainer/fixtures/lora.py` recorded.
#[derive(Deserialize)]
struct Recorded {
    learning_rate: f32,
    weight_decay: f32,
    ids: Vec<Vec<u32>>,
    learned: Vec<Vec<bool>>,
    runs: BTreeMap<String, Run>,
}

#[derive(Deserialize)]
struct Run {
    losses: Vec<f64>,
    values: BTreeMap<String, Vec<f32>>,
}

#[test]
fn twenty_steps_of_every_architecture_are_those_of_peft() {
    let text = std::fs::read_to_string(fixtures("lora/expected.json")).unwrap();
    let recorded: Recorded = serde_json::from_str(&text).unwrap();
    let rows = recorded.ids.iter().zip(&recorded.learned);
    let sequences: Vec<Sequence> =
        rows.map(|(ids, learned)| Sequence::new(ids.clone(), learned.clone())).collect();
    let batch: Vec<&Sequence> = sequences.iter().collect();
    assert_eq!(recorded.runs.len(), 3);
    for (family, run) in &recorded.runs {
        let checkpoint = fixtures("hub").join(family);
        let adapter = fixtures("lora").join(family);
        let recipe = FinetuneRecipe {
            adapter: Some(adapter),
            ..recipe(&checkpoint, Path::new("unread.jsonl"), "")
        };
        let mut model = model(&recipe).unwrap().0;
        let config = OptimiserConfig {
            method: Method::AdamW,
            weight_decay: recorded.weight_decay,
            ..OptimiserConfig::default()
        };
        let mut optimiser = Optimiser::new(config, model.trained().0);
        // Parts that no sequence is left for do nothing.
        let parts = Shards::new(8).differentiate(&model, &batch).unwrap().mean();
        assert!((parts / run.losses[0] - 1.0).abs() < 1e-5, "{family}: {parts}");
        let mut shards = Shards::new(1);
        for (step, expected) in run.losses.iter().enumerate() {
            let loss = shards.differentiate(&model, &batch).unwrap().mean();
            let error = (loss / expected - 1.0).abs();
            assert!(error < 1e-5, "{family}, step {step}: {loss}, expected {expected}");
            let (tensors, values) = model.trained();
            optimiser.step(tensors, values, shards.gradient(), recorded.learning_rate);
        }
        let out = tempfile::tempdir().unwrap();
        let config = Adapter::open(recipe.adapter.as_deref().unwrap()).unwrap().config().clone();
        save_adapter(out.path(), &checkpoint, &config, &model.shape, model.lora.as_ref().unwrap())
            .unwrap();
        let stored = crate::hub::Shards::open(out.path(), "adapter_model").unwrap();
        assert_eq!(stored.names().count(), run.values.len());
        for (name, theirs) in &run.values {
            let mut ours = vec![0.0; theirs.len()];
            let tensor = stored.find(name).unwrap();
            tensor.read(0..tensor.shape[0], &mut ours).unwrap();
            let distance = distance(&ours, theirs);
            assert!(distance < 1e-4, "{family}, {name}: {distance}");
        }
    }
}

/// A recipe over `checkpoint` with further lines.
fn recipe(checkpoint: &Path, data: &Path, further: &str) -> FinetuneRecipe {
    FinetuneRecipe::parse(&text(checkpoint, data, further)).unwrap()
}

fn text(checkpoint: &Path, data: &Path, further: &str) -> String {
    format!(
        "kind = \"finetune\"\ncheckpoint = {checkpoint:?}\ndialect = \"retort\"\nseed = 1\n\
         context_tokens = 300\ntokens_per_step = 500\nlearning_rate = 5e-3\nepochs = 6\n\
         data.trajectories = {data:?}\n{further}"
    )
}

/// Trajectories that all say the same.
fn rows(folder: &Path) -> PathBuf {
    let path = folder.join("rows.jsonl");
    let row = |id: usize| {
        let steps =
            json!([{"reply": "One.\n```py\nfinal_answer(\"1836\")\n```", "observation": null}]);
        let question = format!("When was bridge {id} opened?");
        json!({"version": 1, "id": id.to_string(), "question": question, "answer": "1836",
               "generated": "1836", "status": "answered", "dialect": "retort", "dialect_hash": "",
               "transcript": {"question": question, "steps": steps}, "teacher": "t"})
    };
    let text: String = (0..60).map(|id| row(id).to_string() + "\n").collect();
    std::fs::write(&path, text).unwrap();
    path
}

/// Cross-entropy of the training rows under a model.
fn loss(recipe: &FinetuneRecipe, checkpoint: &Path, adapter: Option<&Path>) -> f64 {
    let mut opened = Checkpoint::open(checkpoint, adapter).unwrap();
    opened.shape.context_tokens = 300;
    let model = opened.model(checkpoint).unwrap();
    let data = data(recipe).unwrap();
    let sequences: Vec<&Sequence> = data.sources[0].sequences.iter().collect();
    Shards::new(1).predict(&model, &sequences).unwrap().0.mean()
}

#[test]
fn adapters_and_whole_models_learn_and_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let base = fixtures("hub/llama");
    let lora = recipe(&base, &data, "lora = { r = 4, lora_alpha = 8, lora_dropout = 0.1 }");
    let before = loss(&lora, &base, None);
    let out = folder.path().join("lora");
    run(&lora, &out, Device::Cpu).unwrap();
    let adapter = out.join("adapter");
    let told = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    assert!(told.contains(".safetensors\": \"") && told.contains("\"learned\": "), "{told}");
    let learned = loss(&lora, &base, Some(&adapter));
    assert!(learned < before * 0.7, "{before} {learned}");
    // It is done: again changes nothing. And it can be gone on from.
    let bytes = || std::fs::read(adapter.join("adapter_model.safetensors")).unwrap();
    let first = bytes();
    run(&lora, &out, Device::Cpu).unwrap();
    assert_eq!(bytes(), first);
    let further = recipe(&base, &data, &format!("adapter = {adapter:?}"));
    let out = folder.path().join("further");
    run(&further, &out, Device::Cpu).unwrap();
    let longer = loss(&lora, &base, Some(&out.join("adapter")));
    assert!(longer < learned, "{learned} {longer}");

    let base = fixtures("hub/qwen3");
    let whole = recipe(&base, &data, "");
    let before = loss(&whole, &base, None);
    let out = folder.path().join("whole");
    run(&whole, &out, Device::Cpu).unwrap();
    let learned = loss(&whole, &out.join("model"), None);
    assert!(learned < before * 0.7, "{before} {learned}");
}

#[test]
fn what_is_read_is_not_replaced_by_what_is_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let own = folder.path().join("model");
    std::fs::create_dir(&own).unwrap();
    for entry in std::fs::read_dir(fixtures("hub/qwen2")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), own.join(entry.file_name())).unwrap();
    }
    let told = run(&recipe(&own, &data, ""), folder.path(), Device::Cpu).unwrap_err().to_string();
    assert!(told.contains("would be replaced"), "{told}");
    // An adapter goes elsewhere.
    let lora = "lora = { r = 2, lora_alpha = 4 }";
    let recipe = FinetuneRecipe { epochs: 0.1, ..recipe(&own, &data, lora) };
    run(&recipe, folder.path(), Device::Cpu).unwrap();
}

#[test]
fn a_tokenizer_without_marks_of_turns_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let base = fixtures("hub/qwen2").join("tokenizer.json");
    let text = std::fs::read_to_string(base).unwrap().replace("<|im_end|>", "<|end_turn|>");
    std::fs::write(folder.path().join("tokenizer.json"), text).unwrap();
    let told = super::data(&recipe(folder.path(), &data, "")).unwrap_err().to_string();
    assert!(told.contains("expected <|im_start|>, <|im_end|>; or <|start_header_id|>"), "{told}");
}

#[test]
fn few_data_are_not_seen_more_often_than_asked() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(&fixtures("hub/qwen2"), &rows(folder.path()), "");
    let recipe = FinetuneRecipe { epochs: 0.5, tokens_per_step: 1 << 20, ..recipe };
    let data = data(&recipe).unwrap();
    let config = train_config(&recipe, &data, folder.path(), Device::Cpu);
    assert_eq!(config.tokens_per_step as u64, config.tokens_budget);
}

#[test]
fn logits_are_learned_of_a_teacher_with_the_same_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let base = fixtures("hub/llama");
    let whole = recipe(&base, &data, "");
    run(&whole, &folder.path().join("teacher"), Device::Cpu).unwrap();
    let teacher = folder.path().join("teacher/model");
    let logits = |share: f32, teacher: &Path| {
        recipe(&base, &data, &format!("logits = {{ teacher = {teacher:?}, share = {share} }}"))
    };
    // Of the data's own tokens it learns nothing.
    let alone = logits(1.0, &teacher);
    run(&alone, &folder.path().join("student"), Device::Cpu).unwrap();
    let [before, taught, learned] = [&base, &teacher, &folder.path().join("student/model")]
        .map(|checkpoint| loss(&whole, checkpoint, None));
    assert!(learned < before * 0.7 && learned > taught * 0.9, "{before} {taught} {learned}");
    let other = fixtures("hub/qwen3");
    let told = run(&logits(0.5, &other), &folder.path().join("other"), Device::Cpu).unwrap_err();
    assert!(format!("{told:#}").contains("its tokenizer makes other tokens"), "{told:#}");
    let told =
        FinetuneRecipe::parse(&text(&base, &data, "logits = { teacher = 't', share = 2.0 }"));
    assert!(told.unwrap_err().to_string().contains("logits.share is 2"));
}

#[test]
fn layers_are_chosen_by_pattern_and_an_adapter_of_some_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let base = fixtures("hub/llama");
    let modules = |further: &str| {
        let out = folder.path().join(further.len().to_string());
        let recipe = FinetuneRecipe { epochs: 1.0, ..recipe(&base, &data, further) };
        run(&recipe, &out, Device::Cpu).unwrap();
        let adapter = out.join("adapter");
        let config = std::fs::read(adapter.join("adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        (adapter, config["target_modules"].clone())
    };
    let lora = |target: &str| {
        modules(&format!("lora = {{ r = 2, lora_alpha = 4, target_modules = {target} }}"))
    };
    // Of one block alone: the end of the name would be all blocks'.
    let one = json!(["model.layers.1.self_attn.q_proj"]);
    let (adapter, named) = lora("'.*1\\.self_attn\\.q_proj'");
    assert_eq!(named, one);
    let (_, further) = modules(&format!("adapter = {adapter:?}"));
    assert_eq!(further, one);
    assert_eq!(lora("['1.self_attn.q_proj']").1, one);
    assert_eq!(lora("'.*[qk]_proj'").1, json!(["k_proj", "q_proj"]));
}

#[test]
fn a_recipe_is_refused_by_its_key() {
    let base = fixtures("hub/qwen2");
    let data = Path::new("rows.jsonl");
    let parsed = |further: &str| {
        let told = FinetuneRecipe::parse(&text(&base, data, further)).unwrap_err();
        format!("{told:#}")
    };
    assert!(parsed("rank = 3").contains("unknown field `rank`"));
    assert!(parsed("lora = { r = 4, lora_alpha = 8, alpha = 3 }").contains("alpha"));
    assert!(parsed("weight_decay = 1.5").contains("weight_decay is 1.5, expected 0 to below 1"));
    assert!(parsed("adapter = \"a\"\nlora = { r = 4, lora_alpha = 8 }").contains("name one"));
    let refused = |further: &str| {
        let told = model(&recipe(&base, data, further)).err().unwrap();
        format!("{told:#}")
    };
    let lora = |further: &str| refused(&format!("lora = {{ lora_alpha = 8, {further} }}"));
    assert!(lora("r = 0").contains("r: the rank of model.layers.0.self_attn.q_proj is 0"));
    assert!(lora("r = 4, target_modules = []").contains("target_modules is an empty list"));
    let alpha = refused("lora = { r = 4, lora_alpha = 0 }");
    assert!(alpha.contains("lora_alpha is 0, expected more than 0"), "{alpha}");
    let endless = text(&base, data, "").replace("tokens_per_step = 500", "tokens_per_step = 0");
    let told = FinetuneRecipe::parse(&endless).unwrap_err().to_string();
    assert!(told.contains("tokens_per_step is 0, expected 1 to"), "{told}");
    assert!(lora("r = 4, lora_dropout = 1.0").contains("lora_dropout is 1, expected 0 to below 1"));
    assert!(lora("r = 4, target_modules = [\"qproj\"]").contains("qproj is no linear layer"));
    assert!(lora("r = 4, target_modules = \".*qproj\"").contains("\".*qproj\" fits no whole name"));
    assert!(lora("r = 4, target_modules = \"(\"").contains("target_modules: regex parse error"));
    assert!(lora("r = 4, rank_pattern = { \"(\" = 2 }").contains("regex parse error"));
    let other = fixtures("lora/qwen3");
    assert!(refused(&format!("adapter = {other:?}")).contains("is it for another base?"));
    let long = FinetuneRecipe { context_tokens: 1000, ..recipe(&base, data, "") };
    let told = format!("{:#}", model(&long).err().unwrap());
    assert!(told.contains("context_tokens is 1000, the checkpoint was made for 512"));
}

#[test]
fn what_is_written_is_what_peft_has() {
    let config: LoraConfig =
        serde_json::from_value(json!({"r": 4, "lora_alpha": 8.0, "rank_pattern": {"q_proj": 2}}))
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let base = fixtures("hub/qwen2");
    let mut model = model(&recipe(&base, Path::new("unread.jsonl"), "")).unwrap().0;
    let adaptations = config.adaptations(&model.shape).unwrap();
    model.lora = Some(Lora::new(&model.layout, adaptations, 0.0, 1).unwrap());
    save_adapter(folder.path(), &base, &config, &model.shape, model.lora.as_ref().unwrap())
        .unwrap();
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path.join("adapter_config.json")).unwrap()).unwrap()
    };
    let (ours, theirs) = (read(folder.path()), read(&fixtures("hub/qwen2-patterns")));
    for (key, value) in ours.as_object().unwrap() {
        let expected = theirs.get(key).unwrap();
        assert_eq!(value.is_object(), expected.is_object(), "{key}");
        assert_eq!(value.is_array(), expected.is_array(), "{key}");
    }
    let names = |path: &Path| -> Vec<String> {
        let shards = crate::hub::Shards::open(path, "adapter_model").unwrap();
        shards.names().map(str::to_owned).collect()
    };
    assert_eq!(names(folder.path()), names(&fixtures("hub/qwen2-patterns")));
}
