//! Checkpoints that transformers wrote and adapters that PEFT wrote (`trainer/fixtures/hub.py`),
//! imported, and what the runtime says with them beside what PyTorch said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use retort::cancel::Cancel;
use retort::engine::{
    Engine, Flow, ModelFile, SampleRequest, Sampling, WorkerEngine, WorkerSettings,
};
use retort::transcript::{Segment, Source};
use retort_tests::{error, program, retort};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Recorded {
    prompt: String,
    models: BTreeMap<String, Said>,
}

#[derive(Deserialize)]
struct Said {
    prompt_ids: Vec<u32>,
    ids: Vec<u32>,
    mean_logprob: f32,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/fixtures/hub")
}

fn recorded() -> Recorded {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Imports `qwen2`, or `qwen2-patterns`: the base and an adapter.
fn import(name: &str, kind: &str, out: &Path) {
    let base = name.split('-').next().unwrap();
    let mut command = Command::new(program("retort-train"));
    command.arg("import").arg(fixtures().join(base)).args(["--type", kind, "--out"]).arg(out);
    if base != name {
        command.arg("--adapter").arg(fixtures().join(name));
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What the runtime says: tokens of the prompt, of the reply, and the reply's mean log-probability.
fn said(model: &Path, prompt: &str, reply_tokens_max: u32) -> (u32, u32, f32) {
    let settings = WorkerSettings { context_tokens: 256, threads: 1, ..WorkerSettings::default() };
    let settings = settings.with_command(vec![program("retort")]);
    let file = ModelFile::open(model).unwrap();
    let mut engine = WorkerEngine::load(file, settings, Cancel::default()).unwrap();
    let prompt = Segment { text: prompt.to_owned(), source: Source::Content, learned: false };
    let prefilled = engine.prefill(&[prompt]).unwrap();
    let (sampling, stops) = (Sampling::Greedy, vec![]);
    let request =
        SampleRequest { candidates: 1, sampling, seed: 1, stops, reply_tokens_max, wall_max: None };
    let reply = engine.sample(&request, &mut |_, _| Flow::Continue).unwrap().remove(0);
    (prefilled.prompt_tokens, reply.tokens, reply.mean_logprob)
}

#[test]
fn imported_models_say_what_pytorch_said() {
    let dir = tempfile::tempdir().unwrap();
    let Recorded { prompt, models } = recorded();
    assert_eq!(models.len(), 7);
    for (name, expected) in models {
        let path = dir.path().join(format!("{name}.gguf"));
        import(&name, "F32", &path);
        let length = expected.ids.len() as u32;
        let (prompt_tokens, tokens, logprob) = said(&path, &prompt, length);
        assert_eq!((prompt_tokens as usize, tokens), (expected.prompt_ids.len(), length), "{name}");
        // The runtime keeps keys and values at 16 bits.
        let difference = (logprob - expected.mean_logprob).abs();
        assert!(difference < 1e-3, "{name}: {logprob}, PyTorch {}", expected.mean_logprob);
    }
}

#[test]
fn smaller_types_load_and_are_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let Recorded { prompt, models } = recorded();
    for name in models.keys() {
        let (mut sizes, mut whole) = (Vec::new(), 0.0);
        // How far the log-probability of the likeliest first token may move by rounding.
        for (kind, apart_max) in
            [("F32", 0.0), ("F16", 0.01), ("BF16", 0.05), ("Q8_0", 0.2), ("Q4_0", 1.0)]
        {
            let path = dir.path().join(format!("{name}-{kind}.gguf"));
            import(name, kind, &path);
            sizes.push(path.metadata().unwrap().len());
            let (_, _, logprob) = said(&path, &prompt, 1);
            if kind == "F32" {
                whole = logprob;
            }
            assert!(
                (logprob - whole).abs() <= apart_max,
                "{name} {kind}: {logprob}, whole {whole}"
            );
        }
        assert!(sizes[0] > sizes[1] && sizes[1] == sizes[2], "{name}: {sizes:?}");
        assert!(sizes[2] > sizes[3] && sizes[3] > sizes[4], "{name}: {sizes:?}");
    }
}

#[test]
fn a_model_that_could_not_be_run_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = dir.path().join("checkpoint");
    std::fs::create_dir(&checkpoint).unwrap();
    for entry in std::fs::read_dir(fixtures().join("qwen2")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, checkpoint.join(from.file_name().unwrap())).unwrap();
    }
    let tokenizer = checkpoint.join("tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).unwrap();
    let mut tokens: Value = serde_json::from_str(&text).unwrap();
    tokens["model"]["merges"][0] = "e s t".into();
    std::fs::write(&tokenizer, tokens.to_string()).unwrap();
    let out = dir.path().join("out.gguf");
    let mut command = Command::new(program("retort-train"));
    let done = command.arg("import").arg(&checkpoint).arg("--out").arg(&out).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && !out.exists(), "{told}");
    assert!(told.contains("checkpoint") && told.contains("merge"), "{told}");
}

/// A checkpoint whose turns are marked as Llama 3's are.
fn llama_3(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let marks = [
        ("<|im_start|>", "<|start_header_id|>"),
        ("<|im_end|>", "<|eot_id|>"),
        ("<|endoftext|>", "<|end_header_id|>"),
    ];
    for entry in std::fs::read_dir(fixtures().join("llama")).unwrap() {
        let from = entry.unwrap().path();
        let to = folder.join(from.file_name().unwrap());
        if from.extension().is_some_and(|kind| kind == "json") {
            let text = std::fs::read_to_string(&from).unwrap();
            let text = marks.iter().fold(text, |text, (own, theirs)| text.replace(own, theirs));
            std::fs::write(to, text).unwrap();
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn a_llama_is_taught_and_asked_in_its_own_marks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    llama_3(&at("llama"));
    let row = |id: u32| {
        let question = format!("When was bridge {id} opened?");
        let reply = "Seen.\n```py\nfinal_answer(\"1836\")\n```";
        let transcript =
            json!({"question": question, "steps": [{"reply": reply, "observation": null}]});
        json!({"version": 1, "id": id.to_string(), "question": question, "answer": "1836",
               "generated": "1836", "status": "answered", "dialect": "retort", "dialect_hash": "",
               "transcript": transcript, "teacher": "by heart"})
    };
    let rows: String = (0..40).map(|id| row(id).to_string() + "\n").collect();
    std::fs::write(at("rows.jsonl"), rows).unwrap();
    let recipe = format!(
        "kind = 'finetune'\ncheckpoint = {:?}\ndialect = 'retort'\nseed = 1\nepochs = 30\n\
         context_tokens = 300\ntokens_per_step = 600\nlearning_rate = 1e-2\n\
         data = {{ trajectories = {:?}, held_out_share = 0.0 }}\n",
        at("llama"),
        at("rows.jsonl")
    );
    std::fs::write(at("recipe.toml"), recipe).unwrap();
    let trainer = |arguments: &[&str]| {
        let mut command = Command::new(program("retort-train"));
        let done = command.args(arguments).current_dir(dir.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    trainer(&["run", "recipe.toml", "--out", "out"]);
    let import = ["import", "out/model", "--type", "F16", "--dialect", "retort"];
    trainer(&[&import[..], &["--out", "taught.gguf"]].concat());
    let model = at("taught.gguf");
    let asked =
        ["ask", "When was bridge 7 opened?", "--corpus", "demo", "--samples", "1", "--model"];
    let done = retort(dir.path()).args(asked).arg(&model).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1836\n", "{}", error(&done));
}
