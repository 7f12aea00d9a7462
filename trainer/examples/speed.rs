//! Measures tokens per second of one training step, optimiser included.
//!
//! `cargo run --release -p retort-train --example speed [SEQUENCE_TOKENS [SHARDS]]`

use std::time::Instant;

use anyhow::Result;
use retort_train::model::{Model, Shape, Start};
use retort_train::optimise::{Optimiser, OptimiserConfig};
use retort_train::parallel::{Sequence, Shards};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let tokens = arguments.next().transpose()?.unwrap_or(265);
    let shards = arguments.next().transpose()?.unwrap_or(2);
    let mut model = Model::initialised(Shape::small(929), Start::Structured, 1)?;
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), &model.layout);
    let sequence = |start: usize| Sequence {
        ids: (0..tokens).map(|index| ((start * 31 + index * index) % 929) as u32).collect(),
        learned: (0..tokens).map(|index| index % 5 < 2).collect(),
    };
    let sequences: Vec<Sequence> = (0..(2500 / tokens).max(1)).map(sequence).collect();
    let batch: Vec<&Sequence> = sequences.iter().collect();
    let mut shards = Shards::new(shards);
    let step = |model: &mut Model, optimiser: &mut Optimiser, shards: &mut Shards| -> Result<()> {
        shards.differentiate(model, &batch)?;
        optimiser.step(&model.layout, &mut model.parameters, shards.gradient(), 1e-3);
        Ok(())
    };
    for _ in 0..3 {
        step(&mut model, &mut optimiser, &mut shards)?;
    }
    let steps = 30;
    let start = Instant::now();
    for _ in 0..steps {
        step(&mut model, &mut optimiser, &mut shards)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let trained = steps * tokens * sequences.len();
    println!("{} parameters: {:.0} tokens/s", model.parameters.len(), trained as f64 / seconds);
    Ok(())
}
