//! The device's path against the processor's: the same kernels, run on the processor, and on a real
//! device where there is one.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;

use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::host::{Meeting, Processor};
use super::machine::{Argument, Machine};
use super::*;
use crate::dataset::Sequence;
use crate::model::{Adaptation, Lora, Model, Role, Shape, Start, attention, reference};
use crate::optimise::{self, Method, OptimiserConfig};
use crate::parallel::{Loss, Shards};
use crate::parity::distance;
use crate::train::{
    Exactness, Learner, LogitsConfig, MixtureSource, OnDevice, Progress, StepReport, TrainConfig,
    TrainData, TrainError, train_with,
};

const PLENTY: u64 = 1 << 30;

/// A model whose parameters are bf16 values, so that both sides begin alike. They are small:
/// large ones make any rounding grow from block to block.
fn model(shape: usize) -> Model {
    let shape = reference::shapes()[shape].clone();
    let mut model = Model::initialised(shape, Start::Plain, 3).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for value in &mut model.parameters {
        *value += (random.random::<f32>() - 0.5) * 0.1;
    }
    round(&mut model.parameters);
    model
}

fn round(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
}

fn sequences(seed: u64) -> Vec<Sequence> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Long enough for three tiles of attention, and several sequences within one tile.
    let lengths = [150, 3, 40, 17, 2, 90];
    let one = |length: usize| {
        let ids = (0..length).map(|_| random.random_range(0..40)).collect();
        let learned = (0..length).map(|index| index + 1 == length || index % 3 == 0);
        Sequence::new(ids, learned.collect())
    };
    lengths.map(one).to_vec()
}

fn config(method: Method) -> TrainConfig {
    let optimiser = OptimiserConfig { method, learning_rate: 1e-3, ..OptimiserConfig::default() };
    TrainConfig { optimiser, ..TrainConfig::small(1000, 1) }
}

/// A learner on one device.
fn on(
    config: &TrainConfig,
    model: Model,
    open: impl Fn() -> Rc<dyn Machine> + Send + Sync + 'static,
) -> Result<OnDevice, DeviceError> {
    let open = move |_| Ok(open());
    OnDevice::with(config, model, |settings, model| Team::open(1, open, settings, model))
}

fn on_device(model: &Model, config: &TrainConfig) -> OnDevice {
    on(config, copy(model), || Processor::of(PLENTY)).unwrap()
}

/// The kernels on the processor; and on a real device.
fn machines() -> Vec<Rc<dyn Machine>> {
    let real = (devices() > 0).then(|| Rc::new(driver::Cuda::open(0).unwrap()) as Rc<dyn Machine>);
    [Processor::of(PLENTY)].into_iter().chain(real).collect()
}

/// A learner on each.
fn on_devices(model: &Model, config: &TrainConfig) -> Vec<OnDevice> {
    let real = (devices() > 0).then(|| OnDevice::open(0, 0, config, copy(model)).unwrap());
    [on_device(model, config)].into_iter().chain(real).collect()
}

fn copy(model: &Model) -> Model {
    let mut copy = Model::zeroed(model.shape.clone()).unwrap();
    copy.parameters.clone_from(&model.parameters);
    copy.lora.clone_from(&model.lora);
    copy
}

/// Loss, gradient and predictions on both sides.
fn compare(model: &Model, recompute: bool) -> Vec<f32> {
    compare_on(&sequences(3), model, recompute)
}

fn compare_on(sequences: &[Sequence], model: &Model, recompute: bool) -> Vec<f32> {
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let mut shards = Shards::new(2);
    let expected = shards.differentiate(model, &batch).unwrap();
    let config = TrainConfig { recompute, shards: 2, ..config(Method::AdamW) };
    let devices = on_devices(model, &config).into_iter();
    let gradients: Vec<_> =
        devices.map(|device| held_beside(model, &batch, device, &mut shards, expected)).collect();
    gradients[0].clone()
}

/// Loss, gradient and predictions of a device beside those of `shards`.
fn held_beside(
    model: &Model,
    batch: &[&Sequence],
    mut device: OnDevice,
    shards: &mut Shards,
    expected: Loss,
) -> Vec<f32> {
    let loss = device.differentiate(batch, 0).unwrap();
    assert_eq!(loss.positions, expected.positions);
    assert!((loss.sum / expected.sum - 1.0).abs() < 1e-2, "{} {}", loss.sum, expected.sum);
    let gradient = device.gradient().unwrap();
    let tensors = match &model.lora {
        Some(lora) => &lora.tensors,
        None => &model.layout.tensors,
    };
    for tensor in tensors {
        let (found, expected) = (&gradient[tensor.range()], &shards.gradient()[tensor.range()]);
        let error = distance(found, expected);
        assert!(error < 4e-2, "{}: {error}", tensor.name);
    }
    let (_, expected) = shards.predict(model, batch).unwrap();
    let (_, predicted) = device.predict(batch).unwrap();
    let pairs = || predicted.iter().flatten().zip(expected.iter().flatten());
    let equal = pairs().filter(|(a, b)| a == b).count();
    assert!(equal * 100 >= pairs().count() * 95, "{equal} of {}", pairs().count());
    gradient
}

/// Values between -1 and 1 as bf16, and what they are.
fn halves(count: usize, seed: u64) -> (Vec<u16>, Vec<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let values = (0..count).map(|_| bf16::from_f32(random.random::<f32>() * 2.0 - 1.0));
    let values: Vec<bf16> = values.collect();
    let bits = values.iter().map(|value| value.to_bits()).collect();
    (bits, values.iter().map(|value| value.to_f32()).collect())
}

/// Attention alone, over packed sequences: both ways, for each width that it is compiled for.
#[test]
fn attention_is_the_processors() {
    let shapes = [(6, 4, 2), (32, 2, 2), (48, 3, 1), (128, 2, 1)];
    for (machine, (head_width, heads, kv_heads)) in
        machines().iter().flat_map(|machine| shapes.map(|shape| (machine, shape)))
    {
        let shape = Shape { heads, kv_heads, head_width, ..Shape::small(40) };
        let lengths = [70, 1, 20, 5, 100];
        let (tokens, scale) = (lengths.iter().sum::<usize>(), 1.0 / (head_width as f32).sqrt());
        let (qkv_bits, qkv) = halves(tokens * shape.qkv_width(), 1);
        let (d_out_bits, d_out) = halves(tokens * shape.query_width(), 2);
        let mut starts: Vec<u32> = Vec::new();
        lengths.iter().for_each(|length| starts.extend(vec![starts.len() as u32; *length]));

        let bring = |bytes: &[u8]| {
            let region = machine.allocate(bytes.len()).unwrap();
            machine.upload(region.at, bytes).unwrap();
            region
        };
        let [on_qkv, on_d_out, on_starts] = [
            bring(bytemuck::cast_slice(&qkv_bits)),
            bring(bytemuck::cast_slice(&d_out_bits)),
            bring(bytemuck::cast_slice(&starts)),
        ];
        let [on_out, on_d_qkv] =
            [&d_out_bits, &qkv_bits].map(|like| machine.allocate(like.len() * 2).unwrap());
        let [log_sums, along] = [0, 1].map(|_| machine.allocate(tokens * heads * 4).unwrap());
        let width = network::HEAD_WIDTHS.into_iter().find(|width| head_width <= *width).unwrap();
        let tiles = tokens.div_ceil(64);
        network::launch!(
            machine,
            &format!("attention_{width}"),
            [tiles, heads],
            128,
            on_out.at,
            log_sums.at,
            on_qkv.at,
            on_starts.at,
            tokens,
            heads,
            kv_heads,
            head_width,
            scale,
        )
        .unwrap();
        network::launch!(
            machine,
            "row_dots",
            [tokens, 1],
            256,
            along.at,
            on_out.at,
            on_d_out.at,
            tokens,
            heads,
            head_width,
        )
        .unwrap();
        for (part, grid) in [("queries", heads), ("keys", kv_heads)] {
            network::launch!(
                machine,
                &format!("attention_{part}_{width}"),
                [tiles, grid],
                128,
                on_d_qkv.at,
                on_qkv.at,
                log_sums.at,
                along.at,
                on_d_out.at,
                on_starts.at,
                tokens,
                heads,
                kv_heads,
                head_width,
                scale,
            )
            .unwrap();
        }
        let fetch = |region: &machine::Region, count: usize| -> Vec<f32> {
            let mut bits = vec![0_u16; count];
            machine.download(region.at, bytemuck::cast_slice_mut(&mut bits)).unwrap();
            bits.iter().map(|bits| bf16::from_bits(*bits).to_f32()).collect()
        };
        let (found, d_found) = (fetch(&on_out, d_out.len()), fetch(&on_d_qkv, qkv.len()));

        let mut scratch = attention::Scratch::default();
        let mut first = 0;
        for length in lengths {
            let rows = first * shape.qkv_width()..(first + length) * shape.qkv_width();
            let outs = first * shape.query_width()..(first + length) * shape.query_width();
            let mut out = vec![0.0; outs.len()];
            let mut sums = vec![0.0; length * heads];
            let mut d_qkv = vec![0.0; rows.len()];
            attention::forward(&shape, &qkv[rows.clone()], &mut out, &mut sums, &mut scratch);
            attention::backward(
                &shape,
                &qkv[rows.clone()],
                &out,
                &sums,
                &d_out[outs.clone()],
                &mut d_qkv,
                &mut scratch,
            );
            let errors = [distance(&found[outs], &out), distance(&d_found[rows], &d_qkv)];
            assert!(errors.iter().all(|error| *error < 6e-3), "{head_width} {length}: {errors:?}");
            first += length;
        }
    }
}

#[test]
fn loss_and_gradient_are_the_processors() {
    for shape in 0..reference::shapes().len() {
        let kept = compare(&model(shape), false);
        let again = compare(&model(shape), true);
        assert!(kept == again, "computing blocks again gives other bits");
    }
}

#[test]
fn soft_targets_are_learned_as_on_the_processor() {
    let (teacher, sequences) = (model(1), sequences(3));
    let hard = compare_on(&sequences, &teacher, false);
    let mut sources = [MixtureSource { name: String::new(), sequences, shares: [1.0; 2] }];
    let logits = LogitsConfig { teacher: PathBuf::new(), share: 0.7, top_k: 5 };
    logits.soften(&teacher, 40, &mut sources).unwrap();
    // The token that follows is not among the most probable everywhere; here it is.
    for sequence in &mut sources[0].sequences {
        let learned = sequence.ids.iter().zip(&sequence.learned).skip(1);
        let following = learned.filter(|(_, learned)| **learned).map(|(id, _)| *id);
        sequence.soft.tokens.iter_mut().step_by(5).zip(following).for_each(|(to, id)| *to = id);
    }
    let soft = compare_on(&sources[0].sequences, &teacher, false);
    assert!(distance(&soft, &hard) > 0.1);
}

fn adapted(dropout: f32) -> Model {
    let mut model = model(1);
    let matrices = model.layout.tensors.iter().filter(|tensor| tensor.role == Role::Matrix);
    let adaptation = |(index, name): (usize, String)| Adaptation {
        name,
        rank: 2 + index % 3,
        scale: 0.5 + index as f32 / 10.0,
    };
    let adaptations =
        matrices.map(|tensor| tensor.name.clone()).enumerate().map(adaptation).collect();
    let mut lora = Lora::new(&model.layout, adaptations, dropout, 5).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(6);
    lora.parameters.iter_mut().for_each(|value| *value += (random.random::<f32>() - 0.5) * 0.2);
    round(&mut lora.parameters);
    model.lora = Some(lora);
    model
}

#[test]
fn adapters_learn_as_on_the_processor() {
    compare(&adapted(0.0), false);
}

#[test]
fn dropout_depends_on_the_seed_and_ends_when_judged() {
    let sequences = sequences(4);
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let (whole, dropping) = (adapted(0.0), adapted(0.4));
    let config = config(Method::AdamW);
    let mut device = on_device(&dropping, &config);
    let mut loss = |seed| device.differentiate(&batch, seed).unwrap().sum;
    let (first, other, again) = (loss(1), loss(2), loss(1));
    assert_eq!(first, again);
    assert!((first - other).abs() > 1e-3, "{first} {other}");
    let judged = device.predict(&batch).unwrap();
    let expected = on_device(&whole, &config).predict(&batch).unwrap();
    assert_eq!(judged, expected);
}

#[test]
fn about_the_share_of_inputs_is_left_out() {
    for machine in machines() {
        let count = 10_000;
        let [from, out] = [0, 1].map(|_| machine.allocate(count * 2).unwrap());
        machine.upload(from.at, bytemuck::cast_slice(&vec![bf16::ONE.to_bits(); count])).unwrap();
        let limit = (0.3 * f64::from(u32::MAX)) as usize;
        let left_out = |adapter: usize| {
            network::launch!(
                machine,
                "dropout",
                network::flat(count),
                256,
                out.at,
                from.at,
                count as u64,
                projection::adapter_seed(7, adapter),
                limit,
                2.0_f32,
            )
            .unwrap();
            let mut bits = vec![0_u16; count];
            machine.download(out.at, bytemuck::cast_slice_mut(&mut bits)).unwrap();
            let is_known = |bits: &u16| [0.0, 2.0].contains(&bf16::from_bits(*bits).to_f32());
            assert!(bits.iter().all(is_known));
            bits.iter().map(|bits| *bits == 0).collect::<Vec<_>>()
        };
        let (a, b) = (left_out(0), left_out(1));
        let share = |list: &[bool]| list.iter().filter(|is| **is).count() as f64 / count as f64;
        assert!((share(&a) - 0.3).abs() < 0.02 && (share(&b) - 0.3).abs() < 0.02);
        for (a, b) in [(&a[..], &b[..]), (&a[1..], &b[..]), (&a[..], &b[1..])] {
            let both: Vec<bool> = a.iter().zip(b).map(|(a, b)| *a && *b).collect();
            assert!((share(&both) - 0.09).abs() < 0.02, "{}", share(&both));
        }
    }
}

#[test]
fn steps_are_the_processors() {
    let sequences = sequences(5);
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let methods = [(Method::AdamW, 1e-4), (Method::Muon, 2e-2)];
    let start = model(1);
    let devices = methods.map(|(method, allowed)| {
        let devices = on_devices(&start, &config(method)).into_iter();
        devices.map(move |device| (method, allowed, device))
    });
    for (method, allowed, mut device) in devices.into_iter().flatten() {
        let (config, mut model) = (config(method), copy(&start));
        let before = model.parameters.clone();
        let mut optimiser =
            optimise::Optimiser::new(config.optimiser.clone(), &model.layout.tensors);
        for _ in 0..3 {
            device.differentiate(&batch, 0).unwrap();
            let mut gradient = device.gradient().unwrap();
            let norm = device.step(1e-3).unwrap();
            let (tensors, parameters) = model.trained();
            let expected = optimiser.step(tensors, parameters, &mut gradient, 1e-3);
            assert!((norm / expected - 1.0).abs() < 1e-6, "{norm} {expected}");
        }
        let found = Box::new(device).finish().unwrap().parameters;
        let changes = |after: &[f32]| -> Vec<f32> {
            after.iter().zip(&before).map(|(after, before)| after - before).collect()
        };
        let error = distance(&changes(&found), &changes(&model.parameters));
        // Changes are small differences of larger numbers.
        assert!(error < allowed, "{method:?}: {error}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let mut model = model(1);
    model.parameters[7] = f32::NAN;
    let mut device = on_device(&model, &config(Method::AdamW));
    let sequences = sequences(5);
    let batch: Vec<&Sequence> = sequences.iter().collect();
    device.differentiate(&batch, 0).unwrap();
    assert!(!device.step(1e-3).unwrap().is_finite() && device.steps() == 0);
    let after = Box::new(device).finish().unwrap().parameters;
    assert!(after.iter().zip(&model.parameters).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl Progress for Losses {
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push(report.loss);
        ControlFlow::Continue(())
    }

    fn evaluated(&mut self, _: &StepReport, _: &Exactness) {}
}

#[test]
fn a_run_that_the_device_broke_off_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(3);
    let source =
        MixtureSource { name: "rows".to_owned(), sequences: sequences(6), shares: [1.0, 1.0] };
    let data = TrainData { sources: vec![source], held_out: sequences(7), turn_end: None };
    let run = |file: &str, launches: usize| {
        let optimiser =
            OptimiserConfig { learning_rate: 1e-2, warmup_steps: 1, ..OptimiserConfig::default() };
        let config = TrainConfig {
            optimiser,
            tokens_budget: 700,
            tokens_per_step: 100,
            checkpoint_every_steps: 1,
            checkpoint: Some(folder.path().join(file)),
            ..config(Method::Muon)
        };
        let mut losses = Losses::default();
        let trained = train_with(&config, copy(&model), &data, &mut losses, |config, model| {
            let open = move || Processor::failing_after(PLENTY, launches);
            Ok(Box::new(on(config, model, open)?))
        });
        (trained, losses.0)
    };
    let (straight, losses) = run("straight", usize::MAX);
    let straight = straight.unwrap();
    assert!(losses.last().unwrap() < &(losses[0] * 0.97), "{losses:?}");
    let (broken, before) = run("broken", 300);
    let told = broken.err().unwrap().to_string();
    assert!(
        told.contains("an illegal address") && told.contains("the same command goes on"),
        "{told}"
    );
    assert!(!before.is_empty() && before.len() < losses.len(), "{}", before.len());
    let (resumed, after) = run("broken", usize::MAX);
    assert_eq!([before, after].concat(), losses);
    let pairs = || straight.parameters.iter().zip(&resumed.as_ref().unwrap().parameters);
    assert!(pairs().all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn a_full_device_says_what_fits() {
    let sequences = sequences(7);
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let model = model(1);
    let mut told = Vec::new();
    for recompute in [false, true] {
        let config = TrainConfig { recompute, shards: 1, ..config(Method::AdamW) };
        // Enough for the model and its optimiser, not for the whole batch.
        let bytes = model.parameters.len() as u64 * 18 + 150_000;
        let mut device = on(&config, copy(&model), move || Processor::of(bytes)).unwrap();
        let refused = device.differentiate(&batch, 0).unwrap_err();
        assert!(matches!(refused, TrainError::Device(DeviceError::OutOfMemory { .. })));
        told.push(refused.to_string());
        // What fits is fitting indeed.
        device.differentiate(&batch[1..2], 0).unwrap();
    }
    assert!(told[0].contains("tokens of one part of a step are too many, about"), "{}", told[0]);
    assert!(told[0].contains("recompute = true") && !told[1].contains("recompute"));
}

#[test]
fn devices_are_named() {
    for (text, device) in [
        ("auto", Device::Auto),
        ("cpu", Device::Cpu),
        ("cuda", Device::Cuda { first: 0, last: 0 }),
        ("cuda:3", Device::Cuda { first: 3, last: 3 }),
        ("cuda:1-4", Device::Cuda { first: 1, last: 4 }),
    ] {
        assert_eq!(text.parse(), Ok(device));
    }
    assert_eq!(Device::Cuda { first: 3, last: 3 }.to_string(), "cuda:3");
    assert_eq!(Device::Cuda { first: 1, last: 4 }.to_string(), "cuda:1-4");
    for text in ["gpu", "cuda:", "cuda:x", "cuda3", "cuda:2-1", ""] {
        assert!(text.parse::<Device>().unwrap_err().contains("expected"), "{text}");
    }
    assert_eq!(found(&model(1)), Device::Cpu);
}

#[test]
fn shapes_that_the_kernels_do_not_take_are_refused() {
    let shape = reference::shapes()[1].clone();
    let wide = Shape { head_width: 160, ..shape.clone() };
    let odd = Shape { width: 25, ..shape };
    for (shape, expected) in [(wide, "heads are 160 wide"), (odd, "width is 25")] {
        let model = Model::zeroed(shape).unwrap();
        let refused = on(&config(Method::AdamW), model, || Processor::of(PLENTY));
        let told = refused.err().unwrap().to_string();
        assert!(told.contains(expected) && told.contains("--device cpu"), "{told}");
    }
}

#[test]
fn several_devices_take_the_step_that_one_takes() {
    let sequences = sequences(8);
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let model = model(1);
    let config = TrainConfig { shards: 3, ..config(Method::AdamW) };
    let meeting = Meeting::of(2);
    let open = move |rank| Ok(Processor::at(PLENTY, rank, meeting.clone()));
    let opened = |settings: &Settings, model: &_| Team::open(2, open, settings, model);
    let mut two = OnDevice::with(&config, copy(&model), opened).unwrap();
    let mut one = on_device(&model, &config);
    for _ in 0..2 {
        let [loss, expected] = [&mut two, &mut one].map(|it| it.differentiate(&batch, 1).unwrap());
        assert!((loss.sum / expected.sum - 1.0).abs() < 1e-5, "{} {}", loss.sum, expected.sum);
        let error = distance(&two.gradient().unwrap(), &one.gradient().unwrap());
        assert!(error < 1e-3, "{error}");
        two.step(1e-3).unwrap();
        one.step(1e-3).unwrap();
    }
    assert_eq!(two.predict(&batch).unwrap().1.len(), batch.len());
    let [two, one] = [two, one].map(|it| Box::new(it).finish().unwrap().parameters);
    assert!(distance(&two, &one) < 1e-4);
}

/// Where NVRTC is: every kernel compiles for the oldest devices.
#[test]
fn kernels_compile() {
    let compiled = driver::compile();
    let is_missing = |told: &DeviceError| told.to_string().starts_with("libnvrtc is not found");
    if compiled.as_ref().err().is_some_and(is_missing) {
        return retort_test_data::skip("libnvrtc");
    }
    assert!(compiled.unwrap().to_src().contains(".target sm_80"));
}
