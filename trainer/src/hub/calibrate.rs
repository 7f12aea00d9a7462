//! What the weights of a checkpoint do while it acts: the importance matrix of trajectories.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use retort::engine::Tokenizer;
use retort_transcript::{Dialect, Transcript};

use super::Checkpoint;
use crate::dataset;
use crate::dataset::Sequence;
use crate::gguf::{Metadata, Value};
use crate::hash::file_sha256;
use crate::model::{Batch, Importance, Model};
use crate::trajectory::read_in;

/// How much each column of each matrix weighs, by the matrix' name, and metadata that say so.
pub(super) struct Calibration {
    pub importance: Vec<(String, Vec<f32>)>,
    pub metadata: Metadata,
    /// For the model card.
    pub said: String,
}

impl Calibration {
    /// Nothing: all columns weigh the same.
    pub fn none() -> Self {
        Self { importance: Vec::new(), metadata: Vec::new(), said: String::new() }
    }

    /// Has the whole model read the first trajectories of a file, `tokens_max` tokens in all.
    ///
    /// # Errors
    /// Trajectories that cannot be read, in another dialect, or all longer than that.
    pub fn measure(
        folder: &Path,
        checkpoint: &Checkpoint,
        trajectories: &Path,
        dialect: &Dialect,
        tokens_max: usize,
    ) -> Result<Self> {
        let at = || format!("--calibrate {}", trajectories.display());
        let rows = read_in(trajectories, dialect).with_context(at)?;
        let rows: Vec<Transcript> = rows.into_iter().map(|row| row.transcript).collect();
        let words = Tokenizer::from_json(&folder.join("tokenizer.json"))?;
        let context = checkpoint.shape.context_tokens.min(tokens_max);
        let mut sequences = dataset::encode_transcripts(&rows, dialect, &words, context)?;
        sequences.truncate(first(&sequences, tokens_max));
        if sequences.is_empty() {
            bail!("{}: no row is of at most {context} tokens: raise --calibrate-tokens", at());
        }
        let model = checkpoint.model(folder)?;
        let importance = over(&model, &sequences)?;
        let (tokens, count) = (importance.tokens(), sequences.len());
        let importance = importance.means(&model.layout);
        let number = |value: usize| Value::U32(u32::try_from(value).unwrap_or(u32::MAX));
        let about = file_sha256(trajectories)?;
        // The keys of llama.cpp's quantiser.
        let metadata = vec![
            ("quantize.imatrix.dataset".to_owned(), Value::Text(format!("sha256:{about}"))),
            ("quantize.imatrix.entries_count".to_owned(), number(importance.len())),
            ("quantize.imatrix.chunks_count".to_owned(), number(count)),
        ];
        let said = format!("calibrated on {tokens} tokens of {count} trajectories");
        Ok(Self { importance, metadata, said })
    }
}

/// How many of the first sequences have at most `tokens_max` tokens together.
fn first(sequences: &[Sequence], tokens_max: usize) -> usize {
    let mut tokens = 0;
    let fits = |sequence: &&Sequence| {
        tokens += sequence.ids.len();
        tokens <= tokens_max
    };
    sequences.iter().take_while(fits).count()
}

/// Added in the order of the sequences, however many threads there are.
fn over(model: &Model, sequences: &[Sequence]) -> Result<Importance> {
    let style = ProgressStyle::with_template("calibrating {bar:30} {pos}/{len} tokens {eta}")?;
    let tokens: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
    let bar = ProgressBar::new(tokens as u64).with_style(style);
    let mut importance = Importance::default();
    for together in sequences.chunks(rayon::current_num_threads()) {
        let parts = together.par_iter().map(|sequence| {
            let mut batch = Batch::default();
            sequence.add_to(&mut batch);
            batch.check(&model.shape)?;
            let part = Importance::measure(model, &batch);
            bar.inc(sequence.ids.len() as u64);
            Ok(part)
        });
        for part in parts.collect::<Result<Vec<_>>>()? {
            importance.add(part);
        }
    }
    bar.finish_and_clear();
    Ok(importance)
}
