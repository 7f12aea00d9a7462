//! `retort-train export-checkpoint`: a student trained here as transformers reads it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value as Json, json};

use super::save::{SHARD_BYTES_MAX, make, write_json, write_model};
use crate::gguf;
use crate::model::Shape;
use crate::tokenizer::{END_OF_TEXT, MESSAGE_END, Vocabulary};

/// Write a student (GGUF) as a Hugging Face checkpoint.
#[derive(Debug, Args)]
pub struct ExportCheckpointArgs {
    /// The student.
    student: PathBuf,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A student that cannot be read, or a file that cannot be written.
pub fn export_checkpoint(args: &ExportCheckpointArgs) -> Result<()> {
    let (model, vocabulary) = gguf::read(&args.student)
        .with_context(|| format!("{} cannot be exported", args.student.display()))?;
    let config_at = args.out.join("config.json");
    ensure!(
        !config_at.exists(),
        "{} is there already: name another folder, so that no checkpoint is lost",
        config_at.display()
    );
    make(&args.out)?;
    write_vocabulary(&args.out, &vocabulary)?;
    write_model(&args.out, &model, SHARD_BYTES_MAX)?;
    write_json(&config_at, &config(&model.shape, &vocabulary))?;
    outln!("{}", args.out.display());
    Ok(())
}

fn config(shape: &Shape, vocabulary: &Vocabulary) -> Json {
    json!({
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "dtype": "float32",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": shape.context_tokens,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": shape.rope_base,
        "hidden_act": "silu",
        "use_sliding_window": false,
        "tie_word_embeddings": true,
        "bos_token_id": null,
        "eos_token_id": vocabulary.id(MESSAGE_END),
        "pad_token_id": vocabulary.id(END_OF_TEXT),
    })
}

fn write_vocabulary(folder: &Path, vocabulary: &Vocabulary) -> Result<()> {
    let tokenizer: Json = serde_json::from_str(&vocabulary.json()?)?;
    write_json(&folder.join("tokenizer.json"), &tokenizer)?;
    let framing = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": MESSAGE_END,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": false,
    });
    Ok(write_json(&folder.join("tokenizer_config.json"), &framing)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Checkpoint;
    use super::*;
    use crate::gguf::{Labels, Value, Weights};
    use crate::model::{Model, Start};
    use crate::tokenizer::train_tokenizer;

    #[test]
    fn a_student_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let student = folder.path().join("student.gguf");
        let vocabulary = train_tokenizer(["some text, some text"], &[], 310).unwrap();
        let shape = Shape { layers: 2, ..Shape::small(vocabulary.len()) };
        let model = Model::initialised(shape.clone(), Start::Structured, 1).unwrap();
        gguf::export(&student, &model, &vocabulary, &Labels::default(), Weights::F32).unwrap();
        let out = folder.path().join("checkpoint");
        export_checkpoint(&ExportCheckpointArgs { student, out: out.clone() }).unwrap();
        let back = Checkpoint::open(&out, None).unwrap();
        assert_eq!(back.shape, shape);
        assert_eq!(back.model(&out).unwrap().parameters, model.parameters);
        // In several files, and in one again.
        for (bytes_max, index) in [(400_000, true), (usize::MAX, false)] {
            write_model(&out, &model, bytes_max).unwrap();
            assert_eq!(out.join("model.safetensors.index.json").exists(), index);
            assert_ne!(out.join("model.safetensors").exists(), index);
            let again = Checkpoint::open(&out, None).unwrap();
            assert_eq!(again.model(&out).unwrap().parameters, model.parameters);
        }
        let of = |key: &str| {
            let key = format!("tokenizer.ggml.{key}");
            back.words.iter().find(|(own, _)| *own == key).unwrap().1.clone()
        };
        let texts = vocabulary.tokens.iter().chain(&vocabulary.control).cloned().collect();
        assert_eq!(of("tokens"), Value::Texts(texts));
        let merges = vocabulary.merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
        assert_eq!(of("merges"), Value::Texts(merges));
        assert_eq!(of("eos_token_id"), Value::U32(vocabulary.id(MESSAGE_END).unwrap()));
        assert_eq!(of("pre"), Value::Text(vocabulary.pre_tokenizer.name().to_owned()));
    }
}
