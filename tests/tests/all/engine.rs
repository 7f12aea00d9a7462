//! The engine against llama.cpp in a real worker process.

use std::path::Path;
use std::time::Duration;

use retort::cancel::Cancel;
use retort::engine::{
    Candidate, Engine, EngineError, Flow, ModelFile, SampleRequest, Sampling, Stop, WorkerEngine,
    WorkerSettings, quantise,
};
use retort::transcript::{Segment, Source};
use retort_tests::{program, random_model};

fn settings() -> WorkerSettings {
    let settings = WorkerSettings { context_tokens: 1024, threads: 1, ..WorkerSettings::default() };
    settings.with_command(vec![program("retort")])
}

fn load(path: &Path) -> Result<WorkerEngine, EngineError> {
    WorkerEngine::load(ModelFile::open(path)?, settings(), Cancel::default())
}

fn prompt(text: &str) -> Vec<Segment> {
    vec![Segment { text: text.to_owned(), source: Source::Content, learned: false }]
}

fn request(candidates: u8, sampling: Sampling) -> SampleRequest {
    SampleRequest {
        candidates,
        sampling,
        seed: 42,
        stops: vec![],
        reply_tokens_max: 24,
        wall_max: None,
    }
}

fn sample(engine: &mut WorkerEngine, request: &SampleRequest) -> Vec<Candidate> {
    engine.sample(request, &mut |_, _| Flow::Continue).unwrap()
}

const NUCLEUS: Sampling = Sampling::Nucleus { temperature: 1.0, top_p: 0.95 };

#[test]
fn candidates_share_a_prefix_and_only_new_text_is_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let mut engine = load(&path).unwrap();

    let first = engine.prefill(&prompt("What is the length of the bridge?")).unwrap();
    assert_eq!(first.reused_tokens, 0);
    let replies = sample(&mut engine, &request(4, NUCLEUS));
    assert_eq!(replies.len(), 4);
    assert!(replies.iter().all(|reply| reply.mean_logprob < 0.0 && reply.tokens > 0));
    assert!(replies.iter().any(|reply| reply.text != replies[0].text), "streams are the same");
    engine.keep(2).unwrap();

    let longer = format!("What is the length of the bridge?{} And then?", replies[2].text);
    let second = engine.prefill(&prompt(&longer)).unwrap();
    assert!(second.reused_tokens >= first.prompt_tokens - 2, "{second:?} after {first:?}");
}

#[test]
fn replies_whose_time_is_over_are_dropped_and_leave_room_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let (mut engine, mut fresh) = (load(&path).unwrap(), load(&path).unwrap());
    engine.prefill(&prompt(&"Where is the bridge? ".repeat(20))).unwrap();
    let hurried = SampleRequest {
        reply_tokens_max: 100,
        wall_max: Some(Duration::ZERO),
        ..request(8, NUCLEUS)
    };
    for reply in sample(&mut engine, &hurried) {
        assert!(reply.stop == Stop::Dropped || reply.tokens == 1, "{reply:?}");
    }
    // Nothing of it is left in the context.
    let after = |engine: &mut WorkerEngine| {
        engine.prefill(&prompt(&"Who made it, and when was that? ".repeat(20))).unwrap();
        sample(engine, &request(1, Sampling::Greedy)).remove(0).text
    };
    assert_eq!(after(&mut engine), after(&mut fresh));
}

#[test]
fn greedy_is_the_same_alone_and_in_a_batch_and_after_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let mut engine = load(&path).unwrap();
    engine.prefill(&prompt("The answer is")).unwrap();
    let alone = sample(&mut engine, &request(1, Sampling::Greedy));
    let together = sample(&mut engine, &request(3, Sampling::Greedy));
    let mut again = load(&path).unwrap();
    again.prefill(&prompt("The answer is")).unwrap();
    let reloaded = sample(&mut again, &request(1, Sampling::Greedy));
    assert_eq!(alone[0].text, reloaded[0].text);
    assert!(together.iter().all(|reply| reply.text == alone[0].text));
}

#[test]
fn a_killed_worker_is_replaced_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let mut engine = load(&path).unwrap();
    engine.prefill(&prompt("The answer is")).unwrap();
    let before = sample(&mut engine, &request(2, NUCLEUS));
    let worker = engine.worker_id().unwrap();
    std::process::Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap();
    let after = sample(&mut engine, &request(2, NUCLEUS));
    assert_eq!(before, after);
    assert_ne!(engine.worker_id(), Some(worker));
}

#[test]
fn a_worker_that_cannot_start_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    for command in ["/nonexistent/worker", "/bin/false"] {
        let settings = settings().with_command(vec![command.into()]);
        let file = ModelFile::open(&path).unwrap();
        let error = WorkerEngine::load(file, settings, Cancel::default()).err().unwrap();
        assert!(matches!(error, EngineError::WorkerDied(_)), "{command}: {error}");
    }
}

#[test]
fn a_set_cancel_token_ends_sampling() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let cancel = Cancel::default();
    let file = ModelFile::open(&path).unwrap();
    let mut engine = WorkerEngine::load(file, settings(), cancel.clone()).unwrap();
    engine.prefill(&prompt("The answer is")).unwrap();
    let request = SampleRequest { reply_tokens_max: 900, ..request(1, NUCLEUS) };
    cancel.cancel();
    match engine.sample(&request, &mut |_, _| Flow::Continue) {
        // A reply that ends before the token is seen is complete.
        Ok(replies) => assert_eq!(replies.len(), 1),
        Err(error) => assert!(matches!(error, EngineError::Cancelled), "{error}"),
    }
}

#[test]
fn broken_models_are_refused_before_llama_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let bytes = std::fs::read(&path).unwrap();
    let broken = dir.path().join("broken.gguf");
    for length in [0, 3, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&broken, &bytes[..length]).unwrap();
        let error = ModelFile::open(&broken).unwrap_err();
        assert!(matches!(error, EngineError::Refused { .. }), "{length}: {error}");
        assert!(error.to_string().contains("broken.gguf"), "{error}");
    }
}

#[test]
fn a_quantised_copy_loads() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("tiny.gguf"), dir.path().join("tiny-q8.gguf"));
    random_model(&from);
    quantise(&from, &to, "Q8_0", vec![], &settings()).unwrap();
    assert!(to.metadata().unwrap().len() < from.metadata().unwrap().len());
    let mut engine = load(&to).unwrap();
    engine.prefill(&prompt("The answer is")).unwrap();
    assert_eq!(sample(&mut engine, &request(1, Sampling::Greedy)).len(), 1);
    let error = quantise(&from, &to, "Q3_X", vec![], &settings()).unwrap_err();
    assert!(error.to_string().contains("Q3_X"), "{error}");
}

/// A `tokenizer.json` as Hugging Face writes it, with the vocabulary that stands in the GGUF file.
fn tokenizer_json(model: &Path, digits: &str) -> serde_json::Value {
    let file = ModelFile::open(model).unwrap();
    let texts = |key: &str| file.header.texts(&format!("tokenizer.ggml.{key}")).unwrap().to_vec();
    let is_control = |token: &String| token.starts_with("<|") && token.ends_with("|>");
    let vocabulary = texts("tokens").into_iter().zip(0..).collect::<Vec<(String, u32)>>();
    let control = vocabulary.iter().filter(|(token, _)| is_control(token)).map(|(content, id)| {
        serde_json::json!({
            "id": id, "content": content, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        })
    });
    let words = vocabulary.iter().filter(|(token, _)| !is_control(token)).cloned();
    let merges = texts("merges");
    let merges = merges.iter().map(|merge| merge.split(' ').collect::<Vec<_>>());
    let letters = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
    let rest = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": control.collect::<Vec<_>>(),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": format!("{letters}{digits}{rest}")},
             "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        ]},
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": false,
            "trim_offsets": false, "use_regex": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false,
            "vocab": words.collect::<std::collections::BTreeMap<_, _>>(),
            "merges": merges.collect::<Vec<_>>()},
    })
}

#[test]
fn a_tokenizer_beside_the_file_is_read_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    random_model(&path);
    let alone = load(&path).unwrap();
    let text = "Born in 1902 <|im_end|> in Heahi.";
    let expected = alone.tokenizer().encode_content(text).unwrap();
    let json = dir.path().join("tokenizer.json");
    std::fs::write(&json, tokenizer_json(&path, r"\p{N}").to_string()).unwrap();
    let with_json = load(&path).unwrap();
    assert_eq!(with_json.tokenizer().encode_content(text).unwrap(), expected);
    let template = |engine: &WorkerEngine| {
        let text = "<|im_start|>user\nWho?<|im_end|>".to_owned();
        let segment = Segment { text, source: Source::Template, learned: false };
        engine.tokenizer().encode(&[segment]).unwrap()
    };
    assert_eq!(template(&with_json), template(&alone));

    // One that cuts otherwise is another model's, one that is no JSON is nobody's.
    let mut other = tokenizer_json(&path, r"\p{N}");
    other["model"]["merges"] = serde_json::json!([]);
    for (text, words) in [(other.to_string(), "disagree"), ("{".to_owned(), "tokenizer.json")] {
        std::fs::write(&json, text).unwrap();
        let error = load(&path).err().unwrap();
        assert!(
            matches!(error, EngineError::Refused { .. }) && error.to_string().contains(words),
            "{error}"
        );
    }
}
