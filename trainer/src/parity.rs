//! Loss, gradient and ten steps of AdamW against those of PyTorch, recorded by
//! `trainer/fixtures/pytorch.py`.
#![allow(clippy::unwrap_used)]

use serde::Deserialize;

use crate::dataset::Sequence;
use crate::model::{Model, Shape, sum_of_squares};
use crate::optimise::{Method, Optimiser, OptimiserConfig};
use crate::parallel::Shards;

#[derive(Deserialize)]
struct Recorded {
    shape: Shape,
    ids: Vec<Vec<u32>>,
    learned: Vec<Vec<bool>>,
    learning_rate: f32,
    losses: Vec<f64>,
    gradient: Vec<f32>,
    parameters: Vec<f32>,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../fixtures/pytorch.json")).unwrap()
}

/// The values of the script's formula.
fn filled(shape: Shape) -> Model {
    let mut model = Model::zeroed(shape).unwrap();
    let mut state: u64 = 1;
    for value in &mut model.parameters {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        *value = (state >> 15) as f32 / 65_536.0 - 0.5;
    }
    model
}

/// Norm of the difference over the norm.
pub(crate) fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let difference: Vec<f32> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    (sum_of_squares(&difference) / sum_of_squares(theirs)).sqrt()
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let recorded = recorded();
    let mut model = filled(recorded.shape);
    let sequences: Vec<Sequence> = recorded
        .ids
        .into_iter()
        .zip(recorded.learned)
        .map(|(ids, learned)| Sequence::new(ids, learned))
        .collect();
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let config = OptimiserConfig { method: Method::AdamW, ..OptimiserConfig::default() };
    let mut optimiser = Optimiser::new(config, &model.layout.tensors);
    let mut shards = Shards::new(1);
    for (step, expected) in recorded.losses.iter().enumerate() {
        let loss = shards.differentiate(&model, &batch).unwrap().mean();
        assert!((loss - expected).abs() < 2e-6 * expected, "step {step}: {loss}, {expected}");
        if step == 0 {
            let distance = distance(shards.gradient(), &recorded.gradient);
            assert!(distance < 2e-6, "gradient: {distance}");
        }
        let (tensors, parameters) = model.trained();
        optimiser.step(tensors, parameters, shards.gradient(), recorded.learning_rate);
    }
    let distance = distance(&model.parameters, &recorded.parameters);
    assert!(distance < 2e-6, "parameters after ten steps: {distance}");
}
