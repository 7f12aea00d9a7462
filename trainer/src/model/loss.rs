//! Cross-entropy at the positions with loss, in chunks of rows: no logits of a whole batch exist.

use super::kernels::{rms_norm, rms_norm_backward};
use super::lanes::{exp_sum, largest, wide};
use super::network::{Batch, Model, Target, linear, linear_backward, weight_gradient};
use super::workspace::{Workspace, fit};

/// Logits held at once, in floats (4 MiB): the rows of a chunk depend on the vocabulary alone.
const LOGITS: usize = 1 << 20;

/// Summed loss only.
pub fn forward(model: &Model, batch: &Batch, workspace: &mut Workspace) -> f64 {
    run(model, batch, None, workspace)
}

/// Summed loss; leaves its derivative times `scale` in `workspace.derivatives.stream`.
pub fn forward_backward(
    model: &Model,
    batch: &Batch,
    scale: f32,
    workspace: &mut Workspace,
) -> f64 {
    let loss = run(model, batch, Some(scale), workspace);
    let width = model.shape.width;
    let Workspace { head, derivatives, gradient, .. } = workspace;
    fit(&mut derivatives.row, width);
    fit(&mut head.d_input, head.input.len());
    head.d_input.fill(0.0);
    let final_gain = &model.layout.final_gain;
    let d_gain = model.sum_of(final_gain, gradient, &mut derivatives.unused);
    rms_norm_backward(
        &head.d_normed,
        &head.input,
        &model.parameters[model.layout.final_gain.clone()],
        &head.inverse,
        &mut head.d_input,
        d_gain,
        &mut derivatives.row,
    );
    fit(&mut derivatives.stream, batch.ids.len() * width);
    derivatives.stream.fill(0.0);
    for (target, row) in batch.targets.iter().zip(head.d_input.chunks_exact(width)) {
        let start = target.position * width;
        derivatives.stream[start..start + width].copy_from_slice(row);
    }
    loss
}

fn run(model: &Model, batch: &Batch, scale: Option<f32>, workspace: &mut Workspace) -> f64 {
    let (width, vocabulary) = (model.shape.width, model.shape.vocabulary);
    let Workspace { output, head, gradient, predicted, .. } = workspace;
    let rows = batch.targets.len();
    fit(&mut head.input, rows * width);
    for (target, row) in batch.targets.iter().zip(head.input.chunks_exact_mut(width)) {
        let start = target.position * width;
        row.copy_from_slice(&output[start..start + width]);
    }
    fit(&mut head.normed, rows * width);
    fit(&mut head.inverse, rows);
    fit(&mut head.d_normed, rows * width);
    let gain = &model.parameters[model.layout.final_gain.clone()];
    rms_norm(&head.input, gain, model.shape.epsilon, &mut head.normed, &mut head.inverse);
    let weights = &model.parameters[model.layout.head.clone()];
    predicted.clear();
    let mut loss = 0.0;
    let chunk_rows = (LOGITS / vocabulary).clamp(16, 256);
    let chunks = batch
        .targets
        .chunks(chunk_rows)
        .zip(head.normed.chunks(chunk_rows * width))
        .zip(head.d_normed.chunks_mut(chunk_rows * width));
    for ((targets, normed), d_normed) in chunks {
        fit(&mut head.logits, targets.len() * vocabulary);
        linear(normed, weights, targets.len(), 0.0, &mut head.logits);
        loss += cross_entropy(&mut head.logits, targets, scale.unwrap_or(0.0), predicted);
        if scale.is_some() {
            linear_backward(&head.logits, weights, targets.len(), d_normed);
            if model.lora.is_none() {
                let d_weights = &mut gradient[model.layout.head.clone()];
                weight_gradient(&head.logits, normed, targets.len(), d_weights);
            }
        }
    }
    loss
}

wide! {
    /// Summed loss of a chunk; the logits become their derivative times `scale`, and the most
    /// probable tokens are appended to `predicted`.
    pub fn cross_entropy(
        logits: &mut [f32],
        targets: &[Target],
        scale: f32,
        predicted: &mut Vec<u32>,
    ) -> f64 {
        let mut loss = 0.0;
        let vocabulary = logits.len() / targets.len().max(1);
        for (row, target) in logits.chunks_exact_mut(vocabulary).zip(targets) {
            let most = largest(row);
            predicted.push(row.iter().position(|logit| *logit == most).unwrap_or(0) as u32);
            let right = row[target.token as usize];
            let sum = exp_sum(row, most);
            loss += f64::from(most - right) + f64::from(sum).ln();
            let factor = scale / sum;
            for x in row.iter_mut() {
                *x *= factor;
            }
            row[target.token as usize] -= scale;
        }
        loss
    }
}
