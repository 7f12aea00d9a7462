//! Models of every family in every type: what the runtime says with them beside what the trainer
//! computes from the same file; and what calibration, adapters and the gate do on the way there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use retort::cancel::Cancel;
use retort::engine::{
    Engine, Flow, ModelFile, SampleRequest, Sampling, Tokenizer, WorkerEngine, WorkerSettings,
};
use retort::transcript::{Dialect, Segment, Source, Transcript};
use retort_tests::{program, retort};
use retort_train::dataset::encode_transcripts;
use retort_train::gguf::Tensors;
use retort_train::hub::{Checkpoint, HubConfig, parts, save_checkpoint};
use retort_train::model::{Batch, Importance, Model, Role, Start, Target, Workspace};
use serde_json::{Value, json};

const FAMILIES: [&str; 3] = ["qwen2", "qwen3", "llama"];
/// Types, and how far log-probabilities may lie apart.
const TYPES: [(&str, f32); 8] = [
    ("F32", 2e-3),
    ("F16", 1e-2),
    ("BF16", 5e-2),
    ("Q8_0", 0.15),
    ("Q6_K", 0.15),
    ("Q5_K_M", 0.15),
    ("Q4_K_M", 0.15),
    ("Q4_0", 0.15),
];
const PROMPTS: [&str; 4] = [
    "The Heahi Bridge was opened in 1836; it's 472 metres long.",
    "print(search(\"Heahi\"))",
    "1836 - 1790",
    "Who designed",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../trainer/fixtures/hub").join(name)
}

/// A checkpoint of random weights that reads a fixture's words, wide enough for types whose blocks
/// have 256 values.
fn wide(family: &str, layers: usize, folder: &Path) -> PathBuf {
    let (base, out) = (folder.join("base"), folder.join(family));
    std::fs::create_dir_all(&base).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        std::fs::copy(fixture(family).join(name), base.join(name)).unwrap();
    }
    let config = std::fs::read(fixture(family).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    for key in ["hidden_size", "intermediate_size"] {
        config[key] = json!(256);
    }
    config["num_hidden_layers"] = json!(layers);
    if let Some(head) = config.get_mut("head_dim").filter(|_| family == "llama") {
        *head = json!(64);
    }
    std::fs::write(base.join("config.json"), config.to_string()).unwrap();
    let shape = HubConfig::read(&base).unwrap().shape;
    let mut model = Model::initialised(shape, Start::Plain, 3).unwrap();
    // So that what is said hangs on every part.
    for tensor in &model.layout.tensors.clone() {
        let factor = if tensor.role == Role::Embedding { 1.0 } else { 1.5 };
        let values = model.parameters.get_mut(tensor.range()).unwrap();
        values.iter_mut().for_each(|value| *value *= factor);
    }
    save_checkpoint(&out, &base, &model).unwrap();
    out
}

fn trainer(arguments: &[&str]) -> Output {
    Command::new(program("retort-train")).args(arguments).output().unwrap()
}

fn import(checkpoint: &Path, kind: &str, out: &Path, further: &[&str]) {
    let [checkpoint, path] = [checkpoint, out].map(|path| path.to_str().unwrap());
    let first = ["import", checkpoint, "--type", kind, "--out", path];
    let done = trainer(&[&first, further].concat());
    assert!(done.status.success(), "{kind}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The most probable token's log-probability behind each prompt, by the runtime.
fn said(file: ModelFile) -> Vec<f32> {
    let settings = WorkerSettings { context_tokens: 256, threads: 1, ..WorkerSettings::default() };
    let settings = settings.with_command(vec![program("retort")]);
    let mut engine = WorkerEngine::load(file, settings, Cancel::default()).unwrap();
    let mut say = |prompt: &&str| {
        engine.prefill(&[segment(prompt)]).unwrap();
        let request = SampleRequest {
            candidates: 1,
            sampling: Sampling::Greedy,
            seed: 1,
            stops: vec![],
            reply_tokens_max: 1,
            wall_max: None,
        };
        engine.sample(&request, &mut |_, _| Flow::Continue).unwrap().remove(0).mean_logprob
    };
    PROMPTS.iter().map(&mut say).collect()
}

fn segment(prompt: &str) -> Segment {
    Segment { text: prompt.to_owned(), source: Source::Content, learned: false }
}

/// The same, computed here from the weights in the file.
fn computed(file: &Path, checkpoint: &Path) -> Vec<f32> {
    let stored = Tensors::open(file).unwrap();
    let shape = Checkpoint::open(checkpoint, None).unwrap().shape;
    let mut model = Model::zeroed(shape).unwrap();
    for part in parts(&model.shape) {
        let Some(own) = model.layout.tensor(&part.tensor.name).map(|own| own.range()) else {
            continue;
        };
        let mut values = vec![0.0; own.len()];
        stored.read(&part.tensor, &mut values).unwrap();
        let columns = part.tensor.columns;
        for (row, values) in values.chunks(columns).enumerate() {
            let start = own.start + part.stored_row(row) * columns;
            model.parameters[start..start + columns].copy_from_slice(values);
        }
    }
    let words = Tokenizer::from_json(&checkpoint.join("tokenizer.json")).unwrap();
    let mut workspace = Workspace::default();
    let mut compute = |prompt: &&str| {
        let ids = words.encode(&[segment(prompt)]).unwrap();
        let position = ids.len() - 1;
        let mut loss = |token| {
            let targets = vec![Target { position, token }];
            let batch =
                Batch { lengths: vec![ids.len()], ids: ids.clone(), targets, ..Batch::default() };
            (model.evaluate(&batch, &mut workspace), workspace.predicted[0])
        };
        let (_, best) = loss(0);
        -loss(best).0 as f32
    };
    PROMPTS.iter().map(&mut compute).collect()
}

#[test]
fn every_family_says_in_every_type_what_its_weights_say() {
    let dir = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let checkpoint = wide(family, 2, dir.path());
        // The runtime rounds what a matrix reads as it rounds the matrix: keys and values to 16 bits,
        // everything to 8 where weights have fewer.
        for (kind, error_max) in TYPES {
            let path = dir.path().join("model.gguf");
            import(&checkpoint, kind, &path, &[]);
            let (said, computed) =
                (said(ModelFile::open(&path).unwrap()), computed(&path, &checkpoint));
            let pairs = said.iter().zip(&computed);
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < error_max, "{family} {kind}: {worst}: {said:?} {computed:?}");
        }
    }
}

#[test]
fn an_adapter_by_itself_does_what_the_merged_one_does() {
    let dir = tempfile::tempdir().unwrap();
    for (base, name) in [("qwen2", "qwen2-patterns"), ("llama", "llama-rslora")] {
        let [plain, merged, alone] = ["plain", "merged", "alone"].map(|own| dir.path().join(own));
        let adapter = fixture(name);
        let adapter = ["--adapter", adapter.to_str().unwrap()];
        import(&fixture(base), "F32", &plain, &[]);
        import(&fixture(base), "F32", &merged, &adapter);
        import(&fixture(base), "F32", &alone, &[&adapter[..], &["--adapter-only"]].concat());
        let open = |path: &Path| ModelFile::open(path).unwrap();
        let (changed, expected) = (open(&plain).with_adapter(&alone).unwrap(), open(&merged));
        assert_eq!(changed.identity().0, "plain+alone");
        assert_ne!(changed.identity().1, open(&plain).identity().1);
        let (changed, expected, before) = (said(changed), said(expected), said(open(&plain)));
        let apart = |others: &[f32]| {
            changed.iter().zip(others).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(apart(&expected) < 5e-3, "{name}: {changed:?}, merged {expected:?}");
        assert!(apart(&before) > 0.1, "{name}: {changed:?}, before {before:?}");
        // The other family's model refuses it by name.
        let other = dir.path().join("other");
        import(&fixture("qwen3"), "F32", &other, &[]);
        let told = open(&other).with_adapter(&alone).unwrap_err().to_string();
        assert!(told.contains(&format!("general.architecture is {base}, the model's is qwen3")));
    }
}

/// Trajectories of one step each, in dialect retort.
fn trajectories(folder: &Path) -> (PathBuf, Vec<Transcript>) {
    let texts = PROMPTS.map(|question| {
        let step = json!({"reply": format!("Thought: {question}"), "observation": null});
        json!({"question": question, "steps": [step]})
    });
    let rows = texts.iter().zip(0..).map(|(transcript, id)| {
        let row = json!({"version": 1, "id": id.to_string(), "question": "Q", "answer": "A",
                         "generated": "A", "status": "answered", "dialect": "retort",
                         "dialect_hash": "", "transcript": transcript, "teacher": "t"});
        row.to_string() + "\n"
    });
    let path = folder.join("rows.jsonl");
    std::fs::write(&path, rows.collect::<String>()).unwrap();
    (path, texts.into_iter().map(|own| serde_json::from_value(own).unwrap()).collect())
}

/// What a model's matrices read over transcripts.
fn importance(checkpoint: &Path, transcripts: &[Transcript]) -> (Model, Vec<(String, Vec<f32>)>) {
    let model = Checkpoint::open(checkpoint, None).unwrap().model(checkpoint).unwrap();
    let words = Tokenizer::from_json(&checkpoint.join("tokenizer.json")).unwrap();
    let dialect = Dialect::named("retort").unwrap();
    let mut importance = Importance::default();
    for sequence in encode_transcripts(transcripts, &dialect, &words, 512).unwrap() {
        let mut batch = Batch::default();
        batch.push(&sequence.ids, &sequence.learned);
        importance.add(Importance::measure(&model, &batch));
    }
    let means = importance.means(&model.layout);
    (model, means)
}

#[test]
fn calibrated_weights_err_less_where_it_matters() {
    let dir = tempfile::tempdir().unwrap();
    // From eight layers on, llama.cpp stores some matrices of a calibrated Q4_0 file as Q4_1.
    let checkpoint = wide("qwen2", 8, dir.path());
    let (rows, transcripts) = trajectories(dir.path());
    let (model, importance) = importance(&checkpoint, &transcripts);
    let error = |path: &Path| -> f64 {
        let stored = Tensors::open(path).unwrap();
        let of = |(name, columns): &(String, Vec<f32>)| -> f64 {
            let tensor = model.layout.tensor(name).unwrap();
            let (own, mut rounded) =
                (&model.parameters[tensor.range()], vec![0.0; tensor.range().len()]);
            stored.read(tensor, &mut rounded).unwrap();
            let errors = own.iter().zip(&rounded).zip(columns.iter().cycle());
            errors.map(|((own, rounded), weight)| f64::from(weight * (own - rounded).powi(2))).sum()
        };
        importance.iter().map(of).sum()
    };
    let further = ["--dialect", "retort", "--calibrate", rows.to_str().unwrap()];
    for kind in ["Q4_0", "Q4_K_M"] {
        let [plain, calibrated] = ["plain.gguf", "calibrated.gguf"].map(|own| dir.path().join(own));
        import(&checkpoint, kind, &plain, &[]);
        import(&checkpoint, kind, &calibrated, &further);
        let (before, after) = (error(&plain), error(&calibrated));
        assert!(after < 0.98 * before, "{kind}: {before}, calibrated {after}");
        let header = ModelFile::open(&calibrated).unwrap().header;
        assert_eq!(header.integer("quantize.imatrix.entries_count").unwrap(), 56);
    }
    let none = dir.path().join("none.gguf");
    let [from, out] = [&checkpoint, &none].map(|own| own.to_str().unwrap());
    let refused = trainer(&[&["import", from, "--out", out][..], &further].concat());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("--calibrate changes nothing in type Q8_0"), "{told}");
}

#[test]
fn a_model_of_any_origin_is_quantised_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (whole, few) = (at("whole.gguf"), at("whole-Q4_0.gguf"));
    import(&wide("qwen3", 2, dir.path()), "F16", Path::new(&whole), &[]);
    let into = |model: &str, out: &str| {
        let done = trainer(&["quantise", model, "--type", "Q4_0", "--out", out]);
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (is_done, told) = into(&whole, &at("./"));
    assert!(is_done, "{told}");
    let (before, after) = (said(ModelFile::open(whole.as_ref()).unwrap()), few.as_ref());
    let after = said(ModelFile::open(after).unwrap());
    assert!(before.iter().zip(&after).all(|(a, b)| a != b && (a - b).abs() < 1.0), "{after:?}");
    let (is_done, told) = into(&few, &at("again.gguf"));
    assert!(!is_done && told.contains("is quantised already"), "{told}");
    let (is_done, told) = into(&whole, &whole);
    assert!(!is_done && told.contains("would be replaced"), "{told}");
}

#[test]
fn a_model_that_lost_too_much_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let student = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small.gguf");
    let checkpoint = at("small");
    let done = trainer(&["export-checkpoint", student.to_str().unwrap(), "--out", &checkpoint]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let world = at("world");
    let drawn = ["--seed", "31", "--documents", "100", "--tasks", "60", "--style", "plain"];
    let done = trainer(&[&["world", "--out", &world][..], &drawn].concat());
    assert!(done.status.success());
    let (tasks, corpus) = (at("tasks.jsonl"), format!("{world}/corpus.jsonl"));
    // The 47th is one that rounding to four bits costs this student.
    let all = std::fs::read_to_string(format!("{world}/test.jsonl")).unwrap();
    let few: Vec<&str> = all.lines().skip(44).take(4).collect();
    std::fs::write(&tasks, few.join("\n")).unwrap();
    let out = at("models/");
    let gated = |further: &[&str]| {
        let first = ["import", &checkpoint, "--out", &out, "--dialect", "retort", "--license"];
        let gate = ["Apache-2.0", "--gate", &tasks, "--corpus", &corpus];
        trainer(&[&first[..], &gate, further].concat())
    };
    let done = gated(&["--type", "Q8_0"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let file = dir.path().join("models/small-755K-v1.0-Q8_0.gguf");
    let card = std::fs::read_to_string(file.with_extension("md")).unwrap();
    let sha256 = ModelFile::open(&file).unwrap().sha256;
    for expected in ["license: \"apache-2.0\"", "| all | 100.0 % | 100.0 % |", &sha256] {
        assert!(card.contains(expected), "{expected}: {card}");
    }
    let done = gated(&["--type", "Q4_0"]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && told.contains("100.0 % of 4 questions"), "{told}");
    assert!(told.contains("Q4_0 75.0 %") && told.contains("Nothing was written"), "{told}");
    let names = std::fs::read_dir(dir.path().join("models")).unwrap().count();
    assert_eq!(names, 2, "nothing else was written");
}

#[test]
fn a_question_is_answered_through_an_adapter() {
    let home = tempfile::tempdir().unwrap();
    let models = home.path().join(".local/share/retort/models");
    std::fs::create_dir_all(&models).unwrap();
    let [base, skill] = ["base", "skill"].map(|name| models.join(name).with_extension("gguf"));
    let adapter = fixture("qwen2-patterns");
    let alone = ["--adapter", adapter.to_str().unwrap(), "--adapter-only", "--dialect", "retort"];
    import(&fixture("qwen2"), "F32", &base, &[]);
    import(&fixture("qwen2"), "F32", &skill, &alone);
    let folder = home.path().join("named").join("");
    import(&fixture("qwen2"), "F32", &folder, &[&alone[..], &["--name", "skill"]].concat());
    let named = |end: &str| {
        let found = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        found.into_iter().find(|path| path.to_string_lossy().ends_with(end)).unwrap()
    };
    let card = std::fs::read_to_string(named("-F32-LoRA.md")).unwrap();
    let use_it = format!("--adapter {}", named("-LoRA.gguf").file_name().unwrap().display());
    for expected in ["base_model_relation: \"adapter\"", "| adapter | qwen2-patterns |", &use_it] {
        assert!(card.contains(expected), "{expected}: {card}");
    }
    let ask = |further: &[&str], adapter: &str| {
        let first =
            ["ask", "Who?", "--json", "--corpus", "demo", "--samples", "1", "--steps-max", "1"];
        let mut command = retort(home.path());
        command.args(first).args(["--reply-tokens-max", "4", "--model", "base"]).args(further);
        let done = command.env("RETORT_ADAPTER", adapter).output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        serde_json::from_slice::<Value>(&done.stdout).map_err(|_| told)
    };
    let changed = ask(&[], "skill").unwrap();
    let expected = ModelFile::open(&base).unwrap().with_adapter(&skill).unwrap().identity();
    assert_eq!(changed["model"], json!({"name": expected.0, "sha256": expected.1}));
    // It brings the dialect it was trained in; the base by itself is one for chats. Both prompts of
    // a run count, the second with a reply of four tokens at most.
    let apart = |other: &Value| {
        let tokens = |run: &Value| run["usage"]["prompt_tokens"].as_u64().unwrap();
        tokens(&changed).abs_diff(tokens(other))
    };
    let plain = ask(&["--dialect", "retort"], "").unwrap();
    assert!(plain["model"]["name"] == "base" && apart(&plain) <= 4, "{changed} {plain}");
    let chat = ask(&[], "").unwrap();
    assert!(apart(&chat) > 40, "{changed} {chat}");
    let bytes = base.metadata().unwrap().len().to_string();
    let told = ask(&["--memory-bytes-max", &bytes], "skill").unwrap_err();
    assert!(told.contains("MiB of memory for its weights"), "{told}");
    assert!(ask(&[], "nothing").unwrap_err().contains("no such model in"));
}
