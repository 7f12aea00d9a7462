//! `retort-train bench`: tokens per second of a training step, on one core beside PyTorch or on a
//! device beside PEFT.

mod device;
mod peer;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::cuda::Device;
use crate::dataset::Sequence;
use crate::model::{Model, Shape, Start};
use crate::optimise::{Method, Optimiser, OptimiserConfig};
use crate::parallel::Shards;

/// Tokens of the vocabulary, as the bundled student's.
const VOCABULARY: usize = 1400;
const PEER: &str = include_str!("peer.py");
/// Of a sequence, every fifth and the token after it have loss: two fifths, as in trajectories.
const LEARNED_EVERY: usize = 5;
/// Rate of the measured steps; of no account for the speed.
const LEARNING_RATE: f32 = 1e-3;
/// Steps before those that are timed.
const WARM_UP_STEPS: usize = 3;

/// Measure the speed of training on one core, or of LoRA training on a device.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Timed steps of each model [default: 30, on a device 5].
    #[arg(long, value_parser = at_most(1 << 20))]
    steps: Option<usize>,
    /// Tokens of a sequence [default: 256, on a device 4096].
    #[arg(long, value_parser = at_most(1 << 20))]
    sequence_tokens: Option<usize>,
    /// Sequences of a step [default: 10, on a device 4].
    #[arg(long, value_parser = at_most(1 << 16))]
    sequences: Option<usize>,
    /// cpu: small students on one core. An NVIDIA device as cuda:0: LoRA of rank 64 at the shapes of
    /// Qwen2.5 0.5B, 1.5B and 3B.
    #[arg(long, value_name = "DEVICE", default_value_t = Device::Cpu)]
    device: Device,
    /// On a device: compute every block again on the way back, on both sides.
    #[arg(long)]
    recompute: bool,
    /// A Python with PyTorch (on a device also transformers and PEFT): the same step there, in the
    /// same run.
    #[arg(long, value_name = "PATH")]
    peer_python: Option<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A count from 1 to `most`.
fn at_most(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// What is trained, by both sides alike.
#[derive(Clone, Debug, Serialize)]
struct Work {
    shape: Shape,
    steps: usize,
    warm_up_steps: usize,
    ids: Vec<Vec<u32>>,
    learned: Vec<Vec<bool>>,
}

/// How fast, and in how much memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Speed {
    /// Tokens a second, forward, backward and optimiser, on one thread.
    tokens_per_second: f64,
    /// Most memory that the process held at once, in MiB.
    peak_mib: f64,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Row {
    parameters: usize,
    system: &'static str,
    optimiser: Method,
    #[serde(flatten)]
    speed: Speed,
}

/// Runs the command.
///
/// # Errors
/// A model that cannot be built, or a peer that does not answer.
pub fn run(args: &BenchArgs) -> Result<()> {
    match args.device {
        Device::Cuda { first, last } => {
            let amount = device::Amount {
                steps: args.steps.unwrap_or(5),
                sequences: args.sequences.unwrap_or(4),
                sequence_tokens: args.sequence_tokens.unwrap_or(4096),
                recompute: args.recompute,
            };
            device::run((first, last), &amount, args.peer_python.as_deref(), args.json)
        }
        Device::Cpu if args.recompute => bail!("--recompute is for a --device such as cuda:0"),
        Device::Cpu => on_one_core(args),
        Device::Auto => bail!("--device auto: name what is measured, cpu or cuda:0"),
    }
}

fn on_one_core(args: &BenchArgs) -> Result<()> {
    let bar = ProgressBar::new_spinner();
    let mut rows = Vec::new();
    for shape in [Shape::small(VOCABULARY), larger()] {
        let work = work(args, shape);
        for optimiser in [Method::AdamW, Method::Muon] {
            bar.set_message(format!("{} wide, {optimiser:?}", work.shape.width));
            bar.tick();
            rows.push(own(&work, optimiser)?);
        }
        if let Some(python) = &args.peer_python {
            bar.set_message(format!("{} wide, PyTorch", work.shape.width));
            bar.tick();
            let (parameters, speed) = peer::measure(python, PEER, &work, None)
                .with_context(|| format!("{} with PyTorch", python.display()))?;
            rows.push(Row { parameters, system: "PyTorch", optimiser: Method::AdamW, speed });
        }
    }
    bar.finish_and_clear();
    for row in &rows {
        outln!("{}", if args.json { serde_json::to_string(row)? } else { line(row, &rows) });
    }
    Ok(())
}

/// A student of 3 M parameters.
fn larger() -> Shape {
    Shape { width: 256, heads: 8, kv_heads: 8, feed_forward: 512, ..Shape::small(VOCABULARY) }
}

fn work(args: &BenchArgs, shape: Shape) -> Work {
    let tokens = 0..args.sequence_tokens.unwrap_or(256).clamp(2, shape.context_tokens);
    let id = |sequence: usize, index: usize| ((sequence * 31 + index * index) % VOCABULARY) as u32;
    let sequences = 0..args.sequences.unwrap_or(10).max(1);
    Work {
        steps: args.steps.unwrap_or(30).max(1),
        warm_up_steps: WARM_UP_STEPS,
        ids: sequences
            .clone()
            .map(|sequence| tokens.clone().map(|index| id(sequence, index)).collect())
            .collect(),
        learned: sequences
            .map(|_| tokens.clone().map(|index| index % LEARNED_EVERY < 2).collect())
            .collect(),
        shape,
    }
}

/// The trainer's own step, in this process, on one thread.
fn own(work: &Work, method: Method) -> Result<Row> {
    forget_peak();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut model = Model::initialised(work.shape.clone(), Start::Plain, 1)?;
    let config = OptimiserConfig { method, ..OptimiserConfig::default() };
    let mut optimiser = Optimiser::new(config, &model.layout.tensors);
    let sequences = work.ids.iter().zip(&work.learned);
    let sequences: Vec<Sequence> =
        sequences.map(|(ids, learned)| Sequence::new(ids.clone(), learned.clone())).collect();
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let mut shards = Shards::new(1);
    let mut steps = |count: usize| -> Result<f64> {
        let begun = Instant::now();
        for _ in 0..count {
            shards.differentiate(&model, &batch)?;
            let (tensors, parameters) = model.trained();
            optimiser.step(tensors, parameters, shards.gradient(), LEARNING_RATE);
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    let seconds = pool.install(|| steps(work.warm_up_steps).and_then(|_| steps(work.steps)))?;
    let tokens: usize = work.ids.iter().map(Vec::len).sum();
    let tokens_per_second = (tokens * work.steps) as f64 / seconds;
    let speed = Speed { tokens_per_second, peak_mib: peak_mib()? };
    Ok(Row { parameters: model.parameters.len(), system: "retort-train", optimiser: method, speed })
}

/// Lets the kernel count the most memory held from now on. Where it cannot, the figure includes
/// the smaller models that were measured before.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.context("/proc/self/status gives no VmHWM")? / 1024.0)
}

/// A row, with its ratio to the peer's at the same size.
fn line(row: &Row, rows: &[Row]) -> String {
    let peer = rows
        .iter()
        .find(|other| other.system == "PyTorch" && other.parameters == row.parameters)
        .filter(|_| row.system != "PyTorch");
    let ratio = peer.map_or(String::new(), |peer| {
        let speed = row.speed.tokens_per_second / peer.speed.tokens_per_second;
        let memory = row.speed.peak_mib / peer.speed.peak_mib;
        format!("  {speed:.2} times the tokens in {memory:.2} of the memory")
    });
    format!(
        "{:>9} parameters  {:<12} {:<5} {:>8.0} tokens/s {:>8.0} MiB{ratio}",
        row.parameters,
        row.system,
        format!("{:?}", row.optimiser),
        row.speed.tokens_per_second,
        row.speed.peak_mib
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_measured() {
        let args = BenchArgs {
            steps: Some(1),
            sequence_tokens: Some(8),
            sequences: Some(2),
            device: Device::Cpu,
            recompute: false,
            peer_python: None,
            json: false,
        };
        let work = work(&args, Shape { layers: 1, ..Shape::small(VOCABULARY) });
        let row = own(&work, Method::AdamW).unwrap();
        assert!(row.speed.tokens_per_second > 0.0 && row.speed.peak_mib > 1.0);
        let peer = Row {
            system: "PyTorch",
            speed: Speed { tokens_per_second: 1.0, peak_mib: 1e6 },
            ..row.clone()
        };
        let text = line(&row, &[row.clone(), peer]);
        assert!(text.ends_with("in 0.00 of the memory"), "{text}");
    }
}
