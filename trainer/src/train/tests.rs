//! Tests of whole runs on a copy task that a tiny model learns in seconds.
#![allow(clippy::unwrap_used)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::model::{Adaptation, Role, Shape, Start, Tensor};
use crate::optimise::Method;
use crate::parallel::Shards;

const MARK: u32 = 0;
const END: u32 = 1;

/// `w w w MARK w w w END`: what follows the mark is learned.
fn copies(count: usize, seed: u64) -> Vec<Sequence> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let one = |random: &mut ChaCha8Rng| {
        let length = random.random_range(4..12);
        let words: Vec<u32> = (0..length).map(|_| random.random_range(2..64)).collect();
        let mut ids = words.clone();
        ids.push(MARK);
        ids.extend(words);
        ids.push(END);
        let learned = (0..ids.len()).map(|index| index > length).collect();
        Sequence::new(ids, learned)
    };
    (0..count).map(|_| one(&mut random)).collect()
}

fn data() -> TrainData {
    let sequences = copies(4000, 1);
    TrainData {
        sources: vec![MixtureSource { name: "copies".into(), sequences, shares: [1.0, 1.0] }],
        held_out: copies(100, 2),
        turn_end: Some(END),
    }
}

fn model() -> Model {
    let shape = Shape {
        width: 64,
        layers: 2,
        heads: 4,
        kv_heads: 4,
        head_width: 16,
        feed_forward: 64,
        context_tokens: 64,
        ..Shape::small(64)
    };
    Model::initialised(shape, Start::Structured, 1).unwrap()
}

fn config(tokens_budget: u64) -> TrainConfig {
    TrainConfig {
        tokens_per_step: 500,
        optimiser: OptimiserConfig { warmup_steps: 20, ..OptimiserConfig::default() },
        ..TrainConfig::small(tokens_budget, 1)
    }
}

#[derive(Default)]
struct Record {
    losses: Vec<f64>,
    last: Option<Exactness>,
    stop_after: Option<u64>,
}

impl Progress for Record {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.losses.push(report.loss);
        if self.stop_after == Some(report.step) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn evaluated(&mut self, _: &StepReport, exactness: &Exactness) {
        self.last = Some(exactness.clone());
    }
}

#[test]
fn adapters_learn_while_the_model_stays_as_it_was() {
    let mut data = data();
    let first = train(&config(150_000), model(), &data, &mut Record::default()).unwrap();
    // The same words, written backwards: what the adapters have to learn.
    for sequence in data.sources.iter_mut().flat_map(|source| &mut source.sequences) {
        let words = (sequence.ids.len() - 2) / 2;
        sequence.ids[words + 1..2 * words + 1].reverse();
    }
    let names = first.layout.tensors.iter().filter(|tensor| tensor.role == Role::Matrix);
    let adapt = |tensor: &Tensor| Adaptation { name: tensor.name.clone(), rank: 8, scale: 2.0 };
    let adaptations: Vec<_> = names.map(adapt).collect();
    let run = |dropout: f32, checkpoint: Option<PathBuf>, stop_after: Option<u64>| {
        let mut begun = model();
        begun.parameters.clone_from(&first.parameters);
        let lora = Lora::new(&begun.layout, adaptations.clone(), dropout, 1).unwrap();
        begun.lora = Some(lora);
        let optimiser = OptimiserConfig { method: Method::AdamW, ..config(0).optimiser };
        let config = TrainConfig { optimiser, checkpoint, ..config(60_000) };
        let mut record = Record { stop_after, ..Record::default() };
        (train(&config, begun, &data, &mut record), record.losses)
    };
    let folder = tempfile::tempdir().unwrap();
    let (adapted, losses) = run(0.1, None, None);
    let adapted = adapted.unwrap();
    let (early, late) = (losses[0], losses[losses.len() - 1]);
    assert!(late < early * 0.6, "{early} {late}");
    assert_eq!(adapted.parameters, first.parameters);
    assert_ne!(run(0.0, None, None).1, losses);
    let checkpoint = Some(folder.path().join("checkpoint"));
    assert!(matches!(run(0.1, checkpoint.clone(), Some(7)).0, Err(TrainError::Stopped(7))));
    let resumed = run(0.1, checkpoint, None).0.unwrap();
    let values = |model: Model| model.lora.unwrap().parameters;
    assert_eq!(values(resumed), values(adapted));
}

#[test]
fn a_tiny_model_learns_to_copy() {
    let mut record = Record::default();
    train(&config(250_000), model(), &data(), &mut record).unwrap();
    let (first, last) = (record.losses[0], *record.losses.last().unwrap());
    let exactness = record.last.unwrap();
    assert!(last < first / 10.0, "{first} -> {last}, {exactness:?}");
    assert!(exactness.full > 0.5, "{exactness:?}");
}

#[test]
fn a_run_with_rounded_weights_is_judged_as_it_is_stored() {
    let data = data();
    let run = |rounded: Option<Weights>| {
        let config = TrainConfig { rounded, ..config(150_000) };
        let mut record = Record::default();
        let mut model = train(&config, model(), &data, &mut record).unwrap();
        Weights::Q4_0.round(&model.layout, &mut model.parameters);
        let mut shards = Shards::new(2);
        let predict = |batch: &[&Sequence]| Ok(shards.predict(&model, batch)?);
        let stored = evaluate(predict, &data.held_out, data.turn_end).unwrap();
        (record.losses, record.last.unwrap().loss, stored.loss)
    };
    let (losses, judged, stored) = run(Some(Weights::Q4_0));
    // Rounded or not, it learns.
    assert!(losses[losses.len() - 1] < losses[0] * 0.5, "{losses:?}");
    assert_eq!(judged, stored);
    let (_, judged, stored) = run(None);
    assert!(stored > judged, "rounding afterwards costs nothing: {judged} {stored}");
}

#[test]
fn a_resumed_run_computes_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let straight = train(&config(20_000), model(), &data, &mut Record::default()).unwrap();
    let checkpoint = Some(folder.path().join("checkpoint"));
    let config = TrainConfig { checkpoint, ..config(20_000) };
    for stop_after in [7, 23] {
        let mut record = Record { stop_after: Some(stop_after), ..Record::default() };
        let stopped = train(&config, model(), &data, &mut record).err().unwrap();
        assert_eq!(stopped.to_string(), format!("stopped after step {stop_after}"));
    }
    let resumed = train(&config, model(), &data, &mut Record::default()).unwrap();
    let bits = |model: &Model| model.parameters.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert!(bits(&straight) == bits(&resumed));
    // A finished run is not trained again, another one does not take its checkpoint.
    let mut record = Record::default();
    let again = train(&config, model(), &data, &mut record).unwrap();
    assert!(record.losses.is_empty() && bits(&again) == bits(&straight));
    let other = TrainConfig { seed: 2, ..config };
    assert!(matches!(train(&other, model(), &data, &mut record), Err(TrainError::OtherRun(_))));
}

#[test]
fn a_sequence_that_does_not_fit_is_refused() {
    let mut data = data();
    data.sources[0].sequences = vec![Sequence::new(vec![2; 99], vec![true; 99])];
    let error = train(&config(1000), model(), &data, &mut Record::default()).err().unwrap();
    let expected = "training data: a sequence has 98 tokens, the context holds 64";
    assert_eq!(error.to_string(), expected);
}
