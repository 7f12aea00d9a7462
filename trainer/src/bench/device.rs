//! `retort-train bench --device cuda:0`: LoRA training at the shapes of published students, beside
//! transformers and PEFT.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use indicatif::ProgressBar;
use rayon::prelude::*;
use serde::Serialize;

use super::{Speed, peer};
use crate::dataset::Sequence;
use crate::method;
use crate::model::{Adaptation, Lora, Model, Role, Shape};
use crate::optimise::{Method, OptimiserConfig};
use crate::train::{Learner as _, OnDevice, TrainConfig};

const SCRIPT: &str = include_str!("peer_lora.py");
/// Steps before those that are timed.
const WARM_UP_STEPS: usize = 2;
/// Values of the sequences: of no account for the speed.
const IDS: usize = 50_000;

/// How much is measured.
pub(super) struct Amount {
    pub steps: usize,
    pub sequences: usize,
    pub sequence_tokens: usize,
    pub recompute: bool,
}

/// What both sides train: adapters on all linear layers, one sequence at a time.
#[derive(Serialize)]
struct Work {
    shape: Shape,
    steps: usize,
    warm_up_steps: usize,
    sequences: usize,
    sequence_tokens: usize,
    ids: usize,
    recompute: bool,
    rank: usize,
    alpha: u32,
    dropout: f64,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
struct Row {
    model: &'static str,
    system: &'static str,
    #[serde(flatten)]
    speed: Speed,
    /// Floating-point operations a second that the model itself takes, in 10^12: forward, and
    /// backward through frozen weights; what is computed again is not counted.
    teraflops: f64,
    /// Model FLOP utilisation, 0..=1: part of what the devices can (PaLM, arXiv 2204.02311,
    /// appendix B); `None` for a device that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    utilisation: Option<f64>,
}

/// Dense bf16 operations a second with f32 sums, in 10^12, of devices by how their names begin:
/// NVIDIA's data sheets. The first that fits counts.
const PEAKS: [(&str, f64); 10] = [
    ("NVIDIA H100 PCIe", 756.0),
    ("NVIDIA H100 NVL", 835.0),
    ("NVIDIA H100", 989.4),
    ("NVIDIA H200 NVL", 835.0),
    ("NVIDIA H200", 989.4),
    ("NVIDIA A100", 312.0),
    ("NVIDIA L40S", 362.0),
    ("NVIDIA L40", 181.0),
    ("NVIDIA L4", 121.0),
    ("NVIDIA GeForce RTX 4090", 165.2),
];

/// What a device of this name can, where that is known.
fn peak_teraflops(device: &str) -> Option<f64> {
    // Parts of a device, and slower ones of a similar name.
    if [" MIG ", " Laptop", " 4090 D"].iter().any(|other| device.contains(other)) {
        return None;
    }
    PEAKS.iter().find(|(name, _)| device.starts_with(name)).map(|(_, peak)| *peak)
}

/// Qwen2.5's shapes.
fn shapes() -> [(&'static str, Shape); 3] {
    let half = Shape::qwen2_half_billion();
    let heads = |width, layers, heads, feed_forward| Shape {
        width,
        layers,
        heads,
        head_width: 128,
        feed_forward,
        ..half.clone()
    };
    [
        ("0.5B", half.clone()),
        ("1.5B", heads(1536, 28, 12, 8960)),
        ("3B", heads(2048, 36, 16, 11_008)),
    ]
}

/// Measures every shape on the devices `first` to `last` and prints a line each.
pub(super) fn run(
    devices: (usize, usize),
    amount: &Amount,
    python: Option<&Path>,
    json: bool,
) -> Result<()> {
    ensure!(
        python.is_none() || devices.0 == devices.1,
        "--peer-python trains on one device: name one"
    );
    let bar = ProgressBar::new_spinner();
    for (name, shape) in shapes() {
        let work = work(shape, amount);
        bar.set_message(format!("{name}, retort-train"));
        bar.tick();
        let (device, speed) = own(devices, &work)?;
        let count = (devices.1 - devices.0 + 1) as f64;
        let peak = peak_teraflops(&device).map(|peak| peak * count);
        let row = |system, speed| row(name, system, &work, speed, peak);
        let own = row("retort-train", speed);
        say(&own, None, json)?;
        if let Some(python) = python {
            bar.set_message(format!("{name}, PEFT"));
            bar.tick();
            let (_, speed) = peer::measure(python, SCRIPT, &work, Some(devices.0))
                .with_context(|| format!("{} with PEFT", python.display()))?;
            say(&row("PEFT", speed), Some(&own), json)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn work(shape: Shape, amount: &Amount) -> Work {
    let sequence_tokens = amount.sequence_tokens.clamp(2, shape.context_tokens);
    Work {
        steps: amount.steps.max(1),
        warm_up_steps: WARM_UP_STEPS,
        sequences: amount.sequences.max(1),
        sequence_tokens,
        ids: IDS.min(shape.vocabulary),
        recompute: amount.recompute,
        rank: method::LORA_RANK,
        alpha: method::LORA_ALPHA,
        dropout: method::LORA_DROPOUT,
        // Tables of angles are as long as the context.
        shape: Shape { context_tokens: sequence_tokens, ..shape },
    }
}

/// Weights of about the size that training begins with.
fn model(work: &Work) -> Result<Model> {
    let mut model = Model::zeroed(work.shape.clone())?;
    model.parameters.par_iter_mut().enumerate().for_each(|(index, value)| {
        let mixed = (index as u32).wrapping_mul(2_654_435_761) ^ (index as u32 >> 7);
        *value = (mixed as f32 / u32::MAX as f32 - 0.5) * 0.06;
    });
    for tensor in model.layout.tensors.iter().filter(|tensor| tensor.role == Role::Gain) {
        model.parameters[tensor.range()].fill(1.0);
    }
    let matrices = model.layout.tensors.iter().filter(|tensor| tensor.role == Role::Matrix);
    let adaptations = matrices.map(|tensor| Adaptation {
        name: tensor.name.clone(),
        rank: work.rank,
        scale: work.alpha as f32 / work.rank as f32,
    });
    let lora = Lora::new(&model.layout, adaptations.collect(), work.dropout as f32, 1);
    model.lora = Some(lora.map_err(|name| anyhow::anyhow!("{name} is no matrix"))?);
    Ok(model)
}

/// The name of the first device, and how fast it was.
fn own((first, last): (usize, usize), work: &Work) -> Result<(String, Speed)> {
    let optimiser = OptimiserConfig { method: Method::AdamW, ..OptimiserConfig::default() };
    let config = TrainConfig {
        optimiser,
        recompute: work.recompute,
        shards: work.sequences,
        ..TrainConfig::small(0, 1)
    };
    let mut learner = OnDevice::open(first, last, &config, model(work)?)?;
    let sequence = |sequence: usize| {
        let ids = (0..work.sequence_tokens)
            .map(|at| ((sequence * 31 + at * at) % work.ids) as u32)
            .collect();
        Sequence::new(ids, vec![true; work.sequence_tokens])
    };
    let sequences: Vec<Sequence> = (0..work.sequences).map(sequence).collect();
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let mut steps = |count: usize| -> Result<f64> {
        let begun = Instant::now();
        for step in 0..count {
            learner.differentiate(&batch, step as u64)?;
            learner.step(1e-4)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    steps(work.warm_up_steps)?;
    let seconds = steps(work.steps)?;
    let tokens = work.steps * work.sequences * work.sequence_tokens;
    let peak_mib = learner.held_bytes()? as f64 / f64::from(1 << 20);
    let speed = Speed { tokens_per_second: tokens as f64 / seconds, peak_mib };
    Ok((learner.device_name()?, speed))
}

fn row(
    model: &'static str,
    system: &'static str,
    work: &Work,
    speed: Speed,
    peak: Option<f64>,
) -> Row {
    let teraflops = flops(work) * speed.tokens_per_second / 1e12;
    Row { model, system, speed, teraflops, utilisation: peak.map(|peak| teraflops / peak) }
}

/// Operations a token: two for each weight of a matrix and each way, twice as many for adapters'
/// own gradients; two products along half of the scores of a sequence forward, four on the way back.
fn flops(work: &Work) -> f64 {
    let shape = &work.shape;
    let block = shape.width * (shape.qkv_width() + shape.query_width() + 3 * shape.feed_forward);
    let rows = 7 * shape.width + shape.qkv_width() + shape.query_width() + 3 * shape.feed_forward;
    let scores = shape.query_width() * work.sequence_tokens;
    let frozen = 4 * (shape.layers * block + shape.vocabulary * shape.width);
    let adapters = 6 * shape.layers * work.rank * rows;
    (frozen + adapters + shape.layers * scores * 6) as f64
}

fn say(row: &Row, own: Option<&Row>, json: bool) -> Result<()> {
    if json {
        outln!("{}", serde_json::to_string(row)?);
        return Ok(());
    }
    let Row { model, system, speed, teraflops, utilisation } = row;
    let utilisation = utilisation.map_or(String::new(), |part| format!(" {:>3.0} %", part * 100.0));
    let ratio = own.map_or(String::new(), |own| {
        let faster = own.speed.tokens_per_second / speed.tokens_per_second;
        let memory = own.speed.peak_mib / speed.peak_mib;
        format!("  retort-train: {faster:.2} times the tokens in {memory:.2} of the memory")
    });
    outln!(
        "{model:<5} {system:<12} {:>8.0} tokens/s {:>8.0} MiB {teraflops:>6.1} TFLOP/s{utilisation}{ratio}",
        speed.tokens_per_second,
        speed.peak_mib
    );
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_the_published_sizes() {
        let amount = Amount { steps: 1, sequences: 1, sequence_tokens: 64, recompute: false };
        // Rank 64 on all linear layers: 35.2 and 73.9 million parameters.
        let [half, larger, _] = shapes().map(|(_, shape)| work(shape, &amount));
        for (work, expected) in [(half, 35_192_832), (larger, 73_859_072)] {
            let shape = &work.shape;
            let layout = crate::model::Layout::new(shape);
            let matrices = layout.tensors.iter().filter(|tensor| tensor.role == Role::Matrix);
            let adapters: usize =
                matrices.map(|tensor| work.rank * (tensor.rows + tensor.columns)).sum();
            assert_eq!(adapters, expected);
            assert!(flops(&work) > 4.0 * (layout.parameters as f64 * 0.9));
        }
    }

    #[test]
    fn the_part_of_what_a_device_can_is_told_where_it_is_known() {
        assert_eq!(peak_teraflops("NVIDIA H100 80GB HBM3"), Some(989.4));
        assert_eq!(peak_teraflops("NVIDIA L40S"), Some(362.0));
        assert_eq!(peak_teraflops("NVIDIA L4"), Some(121.0));
        assert_eq!(peak_teraflops("NVIDIA H100 80GB HBM3 MIG 1g.10gb"), None);
        assert_eq!(peak_teraflops("the processor"), None);
        let amount = Amount { steps: 1, sequences: 1, sequence_tokens: 4096, recompute: false };
        let [(name, half), ..] = shapes();
        let work = work(half, &amount);
        let tokens_per_second = 0.4 * 989.4e12 / flops(&work);
        let speed = Speed { tokens_per_second, peak_mib: 1.0 };
        let row = row(name, "retort-train", &work, speed, Some(989.4));
        assert!((row.utilisation.unwrap() - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_small_shape_is_given_adapters_and_weights() {
        let amount = Amount { steps: 1, sequences: 2, sequence_tokens: 8, recompute: true };
        let work = work(Shape { layers: 1, ..Shape::small(50) }, &amount);
        let model = model(&work).unwrap();
        assert!(model.lora.is_some() && model.parameters.iter().all(|value| value.is_finite()));
    }
}
