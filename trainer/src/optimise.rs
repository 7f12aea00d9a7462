//! Muon on the matrices inside blocks, AdamW on everything else; clipping, warm-up and decay.
//!
//! Muon makes the step of a matrix orthogonal by Newton-Schulz iterations. It costs a fifth of the
//! speed and halves the tokens until the student copies names.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::model::{
    Matrix, MatrixMut, Role, Tensor, adam_step, decay_and_add, momentum_step, multiply, scale,
    sum_of_squares,
};

/// Which rule changes the matrices inside blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Orthogonalised momentum; AdamW for embedding, gains and biases.
    Muon,
    /// AdamW for all tensors.
    AdamW,
}

/// Settings of the optimiser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// Rule for the matrices inside blocks.
    pub method: Method,
    /// Peak learning rate, for both rules.
    pub learning_rate: f32,
    /// Decoupled weight decay of the matrices inside blocks.
    pub weight_decay: f32,
    /// Largest norm of the whole gradient.
    pub gradient_norm_max: f32,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        OptimiserConfig {
            method: Method::Muon,
            learning_rate: 3e-3,
            weight_decay: 0.05,
            gradient_norm_max: 1.0,
            warmup_steps: 100,
        }
    }
}

/// Share of Muon's momentum that stays.
pub(crate) const MOMENTUM: f32 = 0.95;
const ADAM_FIRST: f32 = 0.9;
const ADAM_SECOND: f32 = 0.98;
const ADAM_EPSILON: f32 = 1e-8;
/// Coefficients of the quintic Newton-Schulz iteration, and how often it runs.
pub(crate) const NEWTON_SCHULZ: [f32; 3] = [3.4445, -4.775, 2.0315];
pub(crate) const NEWTON_SCHULZ_STEPS: usize = 5;

/// What one AdamW step does to a tensor; the corrections of the moments' zero start are folded into
/// `step` and `epsilon`.
pub(crate) struct AdamTerms {
    /// What stays of the parameters.
    pub keep: f32,
    /// What stays of the moments.
    pub rates: [f32; 2],
    /// Size of the step.
    pub step: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

impl OptimiserConfig {
    /// The learning rate of the step after `steps` when `done` of the budget (0 to 1) is spent.
    #[must_use]
    pub fn rate(&self, steps: u64, done: f64) -> f32 {
        let warm = (steps + 1) as f32 / self.warmup_steps.max(1) as f32;
        self.learning_rate * warm.min(1.0) * (1.0 - done.clamp(0.0, 1.0)) as f32
    }

    /// The rule that changes a tensor.
    pub(crate) fn method_of(&self, role: Role) -> Method {
        if role == Role::Matrix { self.method } else { Method::AdamW }
    }

    /// What a gradient of this norm is multiplied by, so that it is not too large.
    pub(crate) fn clip(&self, norm: f64) -> f32 {
        let most = f64::from(self.gradient_norm_max);
        if norm > most { (most / norm) as f32 } else { 1.0 }
    }

    /// The AdamW step number `steps`, from 1, of a tensor.
    pub(crate) fn adam_terms(&self, role: Role, rate: f32, steps: u64) -> AdamTerms {
        let decay = if role == Role::Matrix { self.weight_decay } else { 0.0 };
        let correction = |rate: f32| 1.0 - rate.powi(i32::try_from(steps).unwrap_or(i32::MAX));
        let second = correction(ADAM_SECOND).sqrt();
        AdamTerms {
            keep: 1.0 - rate * decay,
            rates: [ADAM_FIRST, ADAM_SECOND],
            step: rate * second / correction(ADAM_FIRST),
            epsilon: ADAM_EPSILON * second,
        }
    }
}

/// Steps of every matrix then have the size AdamW's would have.
pub(crate) fn muon_size(rows: usize, columns: usize) -> f32 {
    0.2 * (rows.max(columns) as f32).sqrt()
}

/// The optimiser with its state: two values per parameter.
pub struct Optimiser {
    /// Settings.
    pub config: OptimiserConfig,
    /// Momentum of Muon, first moment of AdamW.
    pub first: Vec<f32>,
    /// Second moment of AdamW; unused for Muon's matrices.
    pub second: Vec<f32>,
    /// Steps taken.
    pub steps: u64,
    scratch: Vec<Scratch>,
}

/// Buffers of one matrix.
#[derive(Default)]
struct Scratch {
    update: Vec<f32>,
    next: Vec<f32>,
    gram: Vec<f32>,
    polynomial: Vec<f32>,
}

/// The slices of one tensor.
struct Job<'a> {
    tensor: &'a Tensor,
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Optimiser {
    /// An optimiser of these tensors that has taken no step.
    #[must_use]
    pub fn new(config: OptimiserConfig, tensors: &[Tensor]) -> Self {
        let values = tensors.iter().map(|tensor| tensor.rows * tensor.columns).sum();
        Optimiser {
            config,
            first: vec![0.0; values],
            second: vec![0.0; values],
            steps: 0,
            scratch: tensors.iter().map(|_| Scratch::default()).collect(),
        }
    }

    /// Changes `parameters` by one step at the learning rate `rate`. Gives the norm of the gradient
    /// before clipping; `gradient` is clipped in place. A gradient that is not finite changes
    /// nothing.
    pub fn step(
        &mut self,
        tensors: &[Tensor],
        parameters: &mut [f32],
        gradient: &mut [f32],
        rate: f32,
    ) -> f64 {
        let norm = sum_of_squares(gradient).sqrt();
        if !norm.is_finite() {
            return norm;
        }
        let clip = self.config.clip(norm);
        if clip < 1.0 {
            scale(gradient, clip);
        }
        self.steps += 1;
        let (config, steps) = (&self.config, self.steps);
        let jobs = jobs(
            tensors,
            parameters,
            gradient,
            &mut self.first,
            &mut self.second,
            &mut self.scratch,
        );
        jobs.into_par_iter().for_each(|job| match config.method_of(job.tensor.role) {
            Method::Muon => muon(job, config, rate),
            Method::AdamW => adam(job, config, rate, steps),
        });
        norm
    }
}

/// Cuts the flat vectors into tensors, which follow one another without gaps.
fn jobs<'a>(
    tensors: &'a [Tensor],
    mut parameters: &'a mut [f32],
    mut gradient: &'a [f32],
    mut first: &'a mut [f32],
    mut second: &'a mut [f32],
    scratch: &'a mut [Scratch],
) -> Vec<Job<'a>> {
    let mut jobs = Vec::with_capacity(tensors.len());
    for (tensor, scratch) in tensors.iter().zip(scratch) {
        let length = tensor.rows * tensor.columns;
        let (own, rest) = parameters.split_at_mut(length);
        parameters = rest;
        let (own_gradient, rest) = gradient.split_at(length);
        gradient = rest;
        let (own_first, rest) = first.split_at_mut(length);
        first = rest;
        let (own_second, rest) = second.split_at_mut(length);
        second = rest;
        jobs.push(Job {
            tensor,
            parameters: own,
            gradient: own_gradient,
            first: own_first,
            second: own_second,
            scratch,
        });
    }
    jobs
}

fn adam(job: Job<'_>, config: &OptimiserConfig, rate: f32, steps: u64) {
    let AdamTerms { keep, rates, step, epsilon } = config.adam_terms(job.tensor.role, rate, steps);
    scale(job.parameters, keep);
    adam_step(job.parameters, job.gradient, job.first, job.second, rates, step, epsilon);
}

fn muon(job: Job<'_>, config: &OptimiserConfig, rate: f32) {
    let (rows, columns) = (job.tensor.rows, job.tensor.columns);
    let Scratch { update, .. } = job.scratch;
    update.resize(rows * columns, 0.0);
    momentum_step(job.first, job.gradient, MOMENTUM, update);
    orthogonalise(rows, columns, job.scratch);
    let size = muon_size(rows, columns);
    let keep = 1.0 - rate * config.weight_decay;
    decay_and_add(job.parameters, keep, &job.scratch.update, -rate * size);
}

/// Replaces `scratch.update` by the nearest matrix whose singular values are about 1.
fn orthogonalise(rows: usize, columns: usize, scratch: &mut Scratch) {
    let Scratch { update, next, gram, polynomial } = scratch;
    let norm = sum_of_squares(update).sqrt() as f32 + 1e-7;
    scale(update, 1.0 / norm);
    let small = rows.min(columns);
    next.resize(rows * columns, 0.0);
    gram.resize(small * small, 0.0);
    polynomial.resize(small * small, 0.0);
    let [linear, cubic, quintic] = NEWTON_SCHULZ;
    for _ in 0..NEWTON_SCHULZ_STEPS {
        let now = Matrix::new(update, rows, columns);
        let (left, right) =
            if rows <= columns { (now, now.transposed()) } else { (now.transposed(), now) };
        multiply(1.0, left, right, 0.0, MatrixMut::new(gram, small, small));
        polynomial.copy_from_slice(gram);
        let square = Matrix::new(gram, small, small);
        multiply(quintic, square, square, cubic, MatrixMut::new(polynomial, small, small));
        next.copy_from_slice(update);
        let factor = Matrix::new(polynomial, small, small);
        let out = MatrixMut::new(next, rows, columns);
        if rows <= columns {
            multiply(1.0, factor, now, linear, out);
        } else {
            multiply(1.0, now, factor, linear, out);
        }
        std::mem::swap(update, next);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Model, Shape, Start};

    #[test]
    fn orthogonal_steps_have_singular_values_near_one() {
        for (rows, columns) in [(12, 5), (5, 12), (7, 7)] {
            let update = (0..rows * columns).map(|i| ((i * i * 37 + i) % 101) as f32).collect();
            let mut scratch = Scratch { update, ..Scratch::default() };
            orthogonalise(rows, columns, &mut scratch);
            // The trace of the Gram matrix is the sum of the squared singular values.
            let small = rows.min(columns) as f64;
            let mean = sum_of_squares(&scratch.update) / small;
            assert!((0.5..1.4).contains(&mean), "{rows}x{columns}: {mean}");
        }
    }

    #[test]
    fn the_first_adam_step_is_the_rate_and_clipping_keeps_the_direction() {
        let shape = Shape { layers: 1, ..Shape::small(20) };
        let mut model = Model::initialised(shape, Start::Plain, 1).unwrap();
        let before = model.parameters.clone();
        let config =
            OptimiserConfig { weight_decay: 0.0, method: Method::AdamW, ..Default::default() };
        let mut optimiser = Optimiser::new(config, &model.layout.tensors);
        let mut gradient: Vec<f32> =
            (0..before.len()).map(|i| if i % 2 == 0 { 1.0 } else { -2.0 }).collect();
        let norm =
            optimiser.step(&model.layout.tensors, &mut model.parameters, &mut gradient, 0.01);
        assert!((norm - (before.len() as f64 * 2.5).sqrt()).abs() < 1e-3 * norm);
        assert!((sum_of_squares(&gradient) - 1.0).abs() < 1e-4);
        for (index, (now, before)) in model.parameters.iter().zip(&before).enumerate() {
            let expected = if index % 2 == 0 { -0.01 } else { 0.01 };
            assert!((now - before - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn the_rate_warms_up_and_falls_to_zero() {
        let config = OptimiserConfig::default();
        assert!((config.rate(0, 0.0) - 3e-5).abs() < 1e-9);
        assert!((config.rate(500, 0.5) - 1.5e-3).abs() < 1e-8);
        assert_eq!(config.rate(500, 1.0), 0.0);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut model = Model::zeroed(Shape { layers: 1, ..Shape::small(20) }).unwrap();
        let mut optimiser = Optimiser::new(OptimiserConfig::default(), &model.layout.tensors);
        let mut gradient = vec![f32::NAN; model.parameters.len()];
        let norm = optimiser.step(&model.layout.tensors, &mut model.parameters, &mut gradient, 1.0);
        assert!(
            norm.is_nan() && optimiser.steps == 0 && model.parameters.iter().all(|x| *x == 0.0)
        );
    }
}
