//! Cross-entropy at the positions with loss, in chunks of rows: no logits of a whole batch exist.

use super::batch::{Batch, SoftTargets, Target};
use super::kernels::{rms_norm, rms_norm_backward};
use super::lanes::{exp_sum, largest, wide};
use super::network::{Model, linear, linear_backward, weight_gradient};
use super::workspace::{HeadTape, Workspace, fit};

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

/// The most probable tokens of each position with loss, as [`Model::most_probable`] says.
pub fn most_probable(
    model: &Model,
    batch: &Batch,
    count: usize,
    workspace: &mut Workspace,
) -> SoftTargets {
    let (width, vocabulary) = (model.shape.width, model.shape.vocabulary);
    let per_position = count.min(vocabulary);
    norm(model, batch, workspace);
    let HeadTape { normed, logits, .. } = &mut workspace.head;
    let weights = &model.parameters[model.layout.head.clone()];
    let mut soft = SoftTargets { per_position, ..SoftTargets::default() };
    let mut order: Vec<u32> = Vec::new();
    for normed in normed.chunks(chunk_rows(vocabulary) * width) {
        let rows = normed.len() / width;
        fit(logits, rows * vocabulary);
        linear(normed, weights, rows, 0.0, logits);
        for row in logits.chunks_exact(vocabulary) {
            let falling = |a: &u32, b: &u32| {
                row[*b as usize].total_cmp(&row[*a as usize]).then_with(|| a.cmp(b))
            };
            order.clear();
            order.extend(0..vocabulary as u32);
            if per_position < vocabulary {
                order.select_nth_unstable_by(per_position, falling);
            }
            let first = &mut order[..per_position];
            first.sort_unstable_by(falling);
            let most = row[first[0] as usize];
            let weight = |token: &u32| (row[*token as usize] - most).exp();
            let all: f32 = first.iter().map(weight).sum();
            soft.shares.extend(first.iter().map(|token| weight(token) / all));
            soft.tokens.extend_from_slice(first);
        }
    }
    soft
}

/// Rows of logits that are held at once.
fn chunk_rows(vocabulary: usize) -> usize {
    (LOGITS / vocabulary).clamp(16, 256)
}

/// What the head reads: the output at the positions with loss, normed.
fn norm(model: &Model, batch: &Batch, workspace: &mut Workspace) {
    let width = model.shape.width;
    let Workspace { output, head, .. } = workspace;
    let rows = batch.targets.len();
    fit(&mut head.input, rows * width);
    for (target, row) in batch.targets.iter().zip(head.input.chunks_exact_mut(width)) {
        let start = target.position * width;
        row.copy_from_slice(&output[start..start + width]);
    }
    fit(&mut head.normed, rows * width);
    fit(&mut head.inverse, rows);
    let gain = &model.parameters[model.layout.final_gain.clone()];
    rms_norm(&head.input, gain, model.shape.epsilon, &mut head.normed, &mut head.inverse);
}

fn run(model: &Model, batch: &Batch, scale: Option<f32>, workspace: &mut Workspace) -> f64 {
    let (width, vocabulary) = (model.shape.width, model.shape.vocabulary);
    norm(model, batch, workspace);
    let Workspace { head, gradient, predicted, .. } = workspace;
    fit(&mut head.d_normed, batch.targets.len() * width);
    let weights = &model.parameters[model.layout.head.clone()];
    predicted.clear();
    let mut loss = 0.0;
    let chunk_rows = chunk_rows(vocabulary);
    let chunks = batch
        .targets
        .chunks(chunk_rows)
        .zip(head.normed.chunks(chunk_rows * width))
        .zip(head.d_normed.chunks_mut(chunk_rows * width));
    for (chunk, ((targets, normed), d_normed)) in chunks.enumerate() {
        let soft = batch.soft.slice(chunk * chunk_rows, targets.len());
        fit(&mut head.logits, targets.len() * vocabulary);
        linear(normed, weights, targets.len(), 0.0, &mut head.logits);
        loss += cross_entropy(&mut head.logits, targets, soft, scale.unwrap_or(0.0), predicted);
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
    /// Summed loss of a chunk, of whose positions `soft` has as many tokens and shares each; the
    /// logits become their derivative times `scale`, and the most
    /// probable tokens are appended to `predicted`.
    pub fn cross_entropy(
        logits: &mut [f32],
        targets: &[Target],
        soft: (&[u32], &[f32]),
        scale: f32,
        predicted: &mut Vec<u32>,
    ) -> f64 {
        let mut loss = 0.0;
        let vocabulary = logits.len() / targets.len().max(1);
        let per_position = soft.0.len() / targets.len().max(1);
        let rows = logits.chunks_exact_mut(vocabulary).zip(targets).enumerate();
        for (index, (row, target)) in rows {
            let own = index * per_position..(index + 1) * per_position;
            let (tokens, shares) = (&soft.0[own.clone()], &soft.1[own]);
            let rest = 1.0 - shares.iter().sum::<f32>();
            let most = largest(row);
            predicted.push(row.iter().position(|logit| *logit == most).unwrap_or(0) as u32);
            let mut right = rest * row[target.token as usize];
            for (token, share) in tokens.iter().zip(shares) {
                right += share * row[*token as usize];
            }
            let sum = exp_sum(row, most);
            loss += f64::from(most - right) + f64::from(sum).ln();
            let factor = scale / sum;
            for x in row.iter_mut() {
                *x *= factor;
            }
            row[target.token as usize] -= scale * rest;
            for (token, share) in tokens.iter().zip(shares) {
                row[*token as usize] -= scale * share;
            }
        }
        loss
    }
}
