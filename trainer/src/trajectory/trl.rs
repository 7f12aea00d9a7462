//! `retort-train export-trl`: trajectories as conversations, with what TRL and axolotl need to
//! train on them. The result comes back by `retort-train import`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use retort::engine::Tokenizer;
use retort_transcript::{Dialect, Message, Source, Transcript};
use serde::Serialize;
use serde_json::json;

use super::manifest::refuse_same;
use super::read::{read_trajectories, write_rows};
use crate::durable::replace_text;
use crate::hash::file_sha256;
use crate::method;
use crate::tokenizer::{CONTROL, MESSAGE_START, conversational};

/// Write trajectories and a ready configuration for TRL and axolotl.
#[derive(Debug, Args)]
pub struct ExportTrlArgs {
    /// File of trajectories.
    trajectories: PathBuf,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model they are to train: a folder, or a name on the hub.
    #[arg(long)]
    model: String,
    /// Train the whole model instead of LoRA adapters.
    #[arg(long)]
    full: bool,
    /// Tokens of the longest conversation; longer ones are cut by the trainer.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    context_tokens: u32,
    /// Processes on one machine, one for each GPU.
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,
}

#[derive(Serialize)]
struct Conversation {
    messages: Vec<Message>,
}

/// Runs the export.
///
/// # Errors
/// A file that cannot be read or written, trajectories of several dialects, or none at all.
pub fn export_trl(args: &ExportTrlArgs) -> Result<()> {
    let from = args.trajectories.display();
    refuse_same(&args.trajectories, &args.out.join("train.jsonl"))?;
    refuse_same(Path::new(&args.model), &args.out)?;
    let trajectories = read_trajectories(&args.trajectories)?;
    let first = trajectories.first().with_context(|| format!("{from}: no trajectory"))?;
    let dialect = Dialect::named(&first.dialect)?;
    if let Some(other) = trajectories.iter().find(|other| other.dialect != first.dialect) {
        bail!(
            "{from}: row {:?} is in dialect {}, the first in {}; a student learns one",
            other.id,
            other.dialect,
            first.dialect
        );
    }
    let words = words(&args.model)?;
    let all = trajectories.iter().map(|trajectory| &trajectory.transcript);
    // Such a text would become the control token itself there.
    let is_plain = |own: &&Transcript| !spells_control(&dialect, own, words.as_ref());
    let kept: Vec<&Transcript> = all.filter(is_plain).collect();
    if kept.len() < trajectories.len() {
        let spelt = trajectories.len() - kept.len();
        errln!("{spelt} of {} left out: their text spells a control token", trajectories.len());
    }
    let written = |name: &str| args.out.join(name);
    fs::create_dir_all(&args.out)
        .with_context(|| format!("{} cannot be made", args.out.display()))?;
    let conversation = |own: &&Transcript| Conversation { messages: dialect.message_sequence(own) };
    let path = written("train.jsonl");
    write_rows(&path, kept.iter().map(conversation))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    write(&written("chat_template.jinja"), &chat_template(&dialect, words.as_ref()))?;
    write(&written("sft.yaml"), &sft(args)?)?;
    write(&written("fsdp.yaml"), &fsdp(args.processes))?;
    let turn_end = spell(words.as_ref(), dialect.turn_end());
    write(&written("axolotl.yaml"), &axolotl(args, turn_end)?)?;
    outln!("{} conversations: {}", kept.len(), args.out.display());
    Ok(())
}

/// The tokenizer of a model that is here.
fn words(model: &str) -> Result<Option<Tokenizer>> {
    let folder = Path::new(model);
    if !folder.is_dir() {
        errln!(
            "note: --model {model} is no folder here: it is taken for one whose turns begin with \
             {MESSAGE_START}; name its folder if they do not (Llama 3)"
        );
        return Ok(None);
    }
    let path = folder.join("tokenizer.json");
    Ok(Some(conversational(&path)?))
}

fn chat_template(dialect: &Dialect, words: Option<&Tokenizer>) -> String {
    let begin = words.and_then(Tokenizer::begin_text).unwrap_or_default();
    dialect.chat_template(begin, |text| spell(words, text).to_owned())
}

fn spell<'a>(words: Option<&Tokenizer>, text: &'a str) -> &'a str {
    words.map_or(text, |words| words.spell(text))
}

fn spells_control(dialect: &Dialect, transcript: &Transcript, words: Option<&Tokenizer>) -> bool {
    let segments = dialect.render_training(transcript);
    let mut content = segments.iter().filter(|segment| segment.source == Source::Content);
    content.any(|own| match words {
        Some(words) => words.spells_control(&own.text),
        None => CONTROL.iter().any(|control| own.text.contains(control)),
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    replace_text(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Keys and values as YAML, of which JSON is a part.
fn yaml(pairs: &[(&str, serde_json::Value)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}: {value}\n")).collect()
}

fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

/// A folder by its whole path, as the other files are; else a name on the hub.
fn model(args: &ExportTrlArgs) -> Result<String> {
    let folder = Path::new(&args.model);
    if folder.is_dir() { absolute(folder) } else { Ok(args.model.clone()) }
}

/// Steps that a process of several adds up, a conversation each.
fn steps_together(processes: u32) -> u32 {
    method::STEP_CONVERSATIONS.div_ceil(processes.max(1))
}

/// For `trl sft --config`, with the values of the published method.
fn sft(args: &ExportTrlArgs) -> Result<String> {
    let file = |name: &str| absolute(&args.out.join(name));
    let mut pairs = vec![
        ("model_name_or_path", json!(model(args)?)),
        (
            "datasets",
            json!([{"path": "json", "data_files": file("train.jsonl")?, "split": "train"}]),
        ),
        ("chat_template_path", json!(file("chat_template.jinja")?)),
        ("assistant_only_loss", json!(true)),
        ("max_length", json!(args.context_tokens)),
        ("num_train_epochs", json!(method::EPOCHS)),
        ("per_device_train_batch_size", json!(1)),
        ("gradient_accumulation_steps", json!(steps_together(args.processes))),
        ("learning_rate", json!(method::LEARNING_RATE)),
        ("lr_scheduler_type", json!("linear")),
        ("max_grad_norm", json!(method::GRADIENT_NORM_MAX)),
        ("seed", json!(method::SEED)),
        ("logging_steps", json!(1)),
        ("save_strategy", json!("epoch")),
        ("report_to", json!("none")),
        ("output_dir", json!(file("trained")?)),
    ];
    if !args.full {
        pairs.extend([
            ("use_peft", json!(true)),
            ("lora_r", json!(method::LORA_RANK)),
            ("lora_alpha", json!(method::LORA_ALPHA)),
            ("lora_dropout", json!(method::LORA_DROPOUT)),
            ("lora_target_modules", json!(["all-linear"])),
        ]);
    }
    Ok(yaml(&pairs))
}

/// For `accelerate launch --config_file`: one machine, the model's parts over its GPUs.
fn fsdp(processes: u32) -> String {
    let parts = json!({
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_cpu_ram_efficient_loading": true,
        "fsdp_reshard_after_forward": true,
        "fsdp_state_dict_type": "FULL_STATE_DICT",
    });
    yaml(&[
        ("compute_environment", json!("LOCAL_MACHINE")),
        ("distributed_type", json!("FSDP")),
        ("fsdp_config", parts),
        ("machine_rank", json!(0)),
        ("main_training_function", json!("main")),
        ("mixed_precision", json!("bf16")),
        ("num_machines", json!(1)),
        ("num_processes", json!(processes)),
        ("rdzv_backend", json!("static")),
        ("same_network", json!(true)),
        ("use_cpu", json!(false)),
    ])
}

/// For `axolotl train`, with the same values.
fn axolotl(args: &ExportTrlArgs, turn_end: &str) -> Result<String> {
    let file = |name: &str| absolute(&args.out.join(name));
    let template = fs::read_to_string(args.out.join("chat_template.jinja"))?;
    let rows = file_sha256(&args.out.join("train.jsonl"))?;
    let prepared = file(&format!("prepared-{}", rows.get(..16).unwrap_or_default()))?;
    let dataset = json!([{
        "path": file("train.jsonl")?,
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }]);
    let mut pairs = vec![
        ("base_model", json!(model(args)?)),
        ("chat_template", json!("jinja")),
        ("chat_template_jinja", json!(template)),
        ("datasets", dataset),
        // The end of a reply is learnt even where the model's texts end otherwise.
        ("eot_tokens", json!([turn_end])),
        // It would take tokens of earlier rows from the current folder.
        ("dataset_prepared_path", json!(prepared)),
        ("sequence_len", json!(args.context_tokens)),
        ("excess_length_strategy", json!("truncate")),
        ("num_epochs", json!(method::EPOCHS)),
        ("micro_batch_size", json!(1)),
        ("gradient_accumulation_steps", json!(steps_together(args.processes))),
        ("learning_rate", json!(method::LEARNING_RATE)),
        ("lr_scheduler", json!("linear")),
        ("warmup_steps", json!(0)),
        ("optimizer", json!("adamw_torch")),
        ("max_grad_norm", json!(method::GRADIENT_NORM_MAX)),
        ("bf16", json!("auto")),
        ("gradient_checkpointing", json!(true)),
        ("seed", json!(method::SEED)),
        ("logging_steps", json!(1)),
        ("save_strategy", json!("epoch")),
        ("output_dir", json!(file("trained")?)),
    ];
    if !args.full {
        pairs.extend([
            ("adapter", json!("lora")),
            ("lora_r", json!(method::LORA_RANK)),
            ("lora_alpha", json!(method::LORA_ALPHA)),
            ("lora_dropout", json!(method::LORA_DROPOUT)),
            ("lora_target_linear", json!(true)),
        ]);
    }
    Ok(yaml(&pairs))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use minijinja::Value;
    use retort_transcript::{Observation, Step};

    use super::*;
    use crate::trajectory::{Mode, TRAJECTORY_VERSION, Trajectory};

    fn trajectory(id: &str, dialect: &str, logs: &str) -> Trajectory {
        let told = Observation::Output { logs: logs.to_owned(), value: None, assigned: None };
        let step = |reply: &str, observation| Step { reply: reply.to_owned(), observation };
        let steps = vec![
            step("Look.\n```py\nprint(search(\"a\"))\n```", Some(told)),
            step("Done.\n```py\nfinal_answer(\"b\")\n```", None),
        ];
        let transcript = Transcript {
            question: "a \"quoted\" question?".into(),
            steps,
            answer_requested: false,
        };
        Trajectory {
            version: TRAJECTORY_VERSION,
            id: id.to_owned(),
            kind: None,
            mode: Mode::Agent,
            question: transcript.question.clone(),
            answer: "b".to_owned(),
            aliases: Vec::new(),
            generated: Some("b".to_owned()),
            status: "answered".to_owned(),
            forced: false,
            prefix: None,
            dialect: dialect.to_owned(),
            dialect_hash: String::new(),
            transcript,
            teacher: "t".to_owned(),
            spent: crate::remote::Spent::default(),
        }
    }

    fn exported(rows: &[Trajectory], folder: &Path) -> Result<PathBuf> {
        let trajectories = folder.join("rows.jsonl");
        write_rows(&trajectories, rows.iter()).unwrap();
        let out = folder.join("out");
        let model = "a model".to_owned();
        let (full, context_tokens, processes) = (false, 512, 2);
        export_trl(&ExportTrlArgs {
            trajectories,
            out: out.clone(),
            model,
            full,
            context_tokens,
            processes,
        })?;
        Ok(out)
    }

    #[test]
    fn the_template_renders_messages_as_students_read_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in Dialect::names() {
            let dialect = Dialect::named(name).unwrap();
            let row = trajectory("1", name, "seen [1].");
            let out = exported(std::slice::from_ref(&row), folder.path()).unwrap();
            let text = fs::read_to_string(out.join("chat_template.jinja")).unwrap();
            // What transformers makes of its own tags is marked here by characters of no text.
            let text =
                text.replace("{% generation %}", "\u{1}").replace("{% endgeneration %}", "\u{2}");
            let line = fs::read_to_string(out.join("train.jsonl")).unwrap();
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            let message = |message: &serde_json::Value| {
                let text = |key: &'static str| (key, Value::from(message[key].as_str().unwrap()));
                Value::from_pairs([text("role"), text("content")])
            };
            let messages: Vec<Value> =
                read["messages"].as_array().unwrap().iter().map(message).collect();
            let row_read = Value::from_pairs([("messages", Value::from(messages))]);
            let rendered = minijinja::Environment::new().render_str(&text, row_read).unwrap();
            let mut expected = String::new();
            for segment in dialect.render_training(&row.transcript) {
                // Marks within an observation, such as ` [1]`, are learned but no reply.
                let is_reply = segment.learned && segment.text.len() > 4;
                match (is_reply, segment.source) {
                    (true, Source::Content) => expected += &format!("\u{1}{}", segment.text),
                    (true, Source::Template) => expected += &format!("{}\u{2}", segment.text),
                    _ => expected += &segment.text,
                }
            }
            assert_eq!(rendered, expected, "{name}");
        }
    }

    #[test]
    fn a_model_that_is_here_is_read_in_its_own_marks() {
        let folder = tempfile::tempdir().unwrap();
        let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hub/llama/tokenizer.json");
        let text = std::fs::read_to_string(hub).unwrap();
        let text = text.replace("<|im_start|>", "<|start_header_id|>");
        let text =
            text.replace("<|im_end|>", "<|end_header_id|>").replace("<|endoftext|>", "<|eot_id|>");
        let path = folder.path().join("tokenizer.json");
        fs::write(&path, text).unwrap();
        let words = conversational(&path).unwrap();
        let template = chat_template(&Dialect::named("retort").unwrap(), Some(&words));
        assert!(template.starts_with("{{ \"<|begin_of_text|>\" }}{% for message"), "{template}");
        let opens = "{{ \"<|start_header_id|>assistant<|end_header_id|>\\n\\n\" }}{% generation %}";
        let learned = "{{ message.content }}{{ \"<|eot_id|>\" }}{% endgeneration %}{% else %}";
        assert!(template.contains(&format!("{opens}{learned}")), "{template}");
        assert!(!template.contains("im_"), "{template}");
        let spelt = trajectory("1", "retort", "<|eot_id|>");
        let dialect = Dialect::named("retort").unwrap();
        assert!(spells_control(&dialect, &spelt.transcript, Some(&words)));
        assert!(!spells_control(&dialect, &spelt.transcript, None));
    }

    #[test]
    fn what_would_be_learnt_otherwise_is_left_out_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let plain = trajectory("1", "retort", "seen [1].");
        let control = trajectory("2", "retort", "<|im_end|> [1].");
        let out = exported(&[plain.clone(), control], folder.path()).unwrap();
        let axolotl = fs::read_to_string(out.join("axolotl.yaml")).unwrap();
        assert!(axolotl.contains("eot_tokens: [\"<|im_end|>\"]\n"), "{axolotl}");
        assert_eq!(fs::read_to_string(out.join("train.jsonl")).unwrap().lines().count(), 1);
        let other = trajectory("3", "smolagents", "seen.");
        let told = exported(&[plain, other], folder.path()).unwrap_err().to_string();
        assert!(told.contains("row \"3\" is in dialect smolagents, the first in retort"), "{told}");
    }
}
