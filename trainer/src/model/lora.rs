//! Low-rank adapters beside frozen matrices: `y = W x + scale B A drop(x)` (LoRA, arXiv 2106.09685).

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::gemm::{Matrix, MatrixMut, multiply};
use super::shape::{Layout, Role, Tensor};
use super::workspace::fit;

/// How one matrix is adapted.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptation {
    /// The matrix's name in the layout.
    pub name: String,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Factor of the product.
    pub scale: f32,
}

/// The adapters of a model. While a model has them, they alone are trained.
#[derive(Clone)]
pub struct Lora {
    /// What is adapted, in the order of the layout.
    pub adaptations: Vec<Adaptation>,
    /// A (`rank x columns`) and B (`rows x rank`) of each adapted matrix, `NAME.lora_a` and
    /// `NAME.lora_b`.
    pub tensors: Vec<Tensor>,
    /// Their values.
    pub parameters: Vec<f32>,
    /// Share of an adapter's inputs that a training step leaves out, 0 to below 1; the others grow
    /// by as much.
    pub dropout: f32,
    /// Seed of what the next step leaves out.
    pub step_seed: u64,
    sites: Vec<Site>,
}

/// An adapted matrix and its parts.
#[derive(Clone)]
pub(crate) struct Site {
    /// The matrix in the model's parameters.
    pub weights: Range<usize>,
    /// Its columns, and those of A.
    pub columns: usize,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Factor of the product.
    pub scale: f32,
    /// A in the adapters' parameters.
    pub a: Range<usize>,
    /// B there.
    pub b: Range<usize>,
}

/// Buffers of one adapter.
#[derive(Default)]
pub struct Scratch {
    kept: Vec<f32>,
    inner: Vec<f32>,
    d_inner: Vec<f32>,
    d_kept: Vec<f32>,
}

/// What an adapter leaves out: `None` where nothing is, as when a model is judged.
pub type Seed = Option<u64>;

impl Lora {
    /// Adapters as PEFT begins them: A uniform within `1 / sqrt(columns)`, B zero.
    ///
    /// # Errors
    /// The name of an adaptation that is no matrix of a block.
    pub fn new(
        layout: &Layout,
        adaptations: Vec<Adaptation>,
        dropout: f32,
        seed: u64,
    ) -> Result<Self, String> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut tensors, mut sites, mut parameters) = (Vec::new(), Vec::new(), Vec::new());
        for Adaptation { name, rank, scale } in &adaptations {
            let matrix = layout.tensor(name).filter(|tensor| tensor.role == Role::Matrix);
            let Some(Tensor { rows, columns, .. }) = matrix else { return Err(name.clone()) };
            let mut add = |part: &str, rows: usize, columns: usize| {
                let (name, offset) = (format!("{name}.{part}"), parameters.len());
                parameters.resize(offset + rows * columns, 0.0);
                let tensor = Tensor { name, rows, columns, offset, role: Role::Matrix };
                let range = tensor.range();
                tensors.push(tensor);
                range
            };
            let (a, b) = (add("lora_a", *rank, *columns), add("lora_b", *rows, *rank));
            let bound = 1.0 / (*columns as f32).sqrt();
            let uniform = |random: &mut ChaCha8Rng| {
                let unit = random.next_u32() as f32 / u32::MAX as f32;
                (2.0 * unit - 1.0) * bound
            };
            parameters[a.clone()].fill_with(|| uniform(&mut random));
            let weights = matrix.map_or(0..0, Tensor::range);
            sites.push(Site { weights, columns: *columns, rank: *rank, scale: *scale, a, b });
        }
        Ok(Self { adaptations, tensors, parameters, dropout, step_seed: 0, sites })
    }

    /// The largest rank.
    pub(crate) fn rank_max(&self) -> usize {
        self.sites.iter().map(|site| site.rank).max().unwrap_or(0)
    }

    /// The adapters of the stacked matrices in `group`, with the row at which each begins.
    pub(crate) fn of<'a>(
        &'a self,
        group: &'a Range<usize>,
    ) -> impl Iterator<Item = (usize, usize, &'a Site)> {
        let sites = self.sites.iter().enumerate();
        sites
            .filter(|(_, site)| group.contains(&site.weights.start))
            .map(|(index, site)| (index, (site.weights.start - group.start) / site.columns, site))
    }

    /// Adds to `out`, of `tokens` rows, what the adapters of `group` make of `input`.
    pub(super) fn forward(
        &self,
        group: &Range<usize>,
        input: &[f32],
        tokens: usize,
        out: &mut [f32],
        seed: Seed,
        scratch: &mut Scratch,
    ) {
        let Some(width) = out.len().checked_div(tokens) else { return };
        for (index, first_row, site) in self.of(group) {
            let kept = self.kept(index, input, seed, &mut scratch.kept);
            self.inner(site, kept, tokens, &mut scratch.inner);
            let out = &mut out[first_row..];
            let out = MatrixMut::strided(out, tokens, site.rows(), width);
            let b = Matrix::new(&self.parameters[site.b.clone()], site.rows(), site.rank);
            let inner = Matrix::new(&scratch.inner, tokens, site.rank);
            multiply(site.scale, inner, b.transposed(), 1.0, out);
        }
    }

    /// Adds to `d_input` and `gradient` what the derivative `d_out` means for the adapters of
    /// `group`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn backward(
        &self,
        group: &Range<usize>,
        d_out: &[f32],
        input: &[f32],
        tokens: usize,
        d_input: &mut [f32],
        gradient: &mut [f32],
        seed: Seed,
        scratch: &mut Scratch,
    ) {
        let Some(width) = d_out.len().checked_div(tokens) else { return };
        for (index, first_row, site) in self.of(group) {
            let (rows, rank, columns) = (site.rows(), site.rank, site.columns);
            let kept = self.kept(index, input, seed, &mut scratch.kept);
            self.inner(site, kept, tokens, &mut scratch.inner);
            let d_out = Matrix::strided(&d_out[first_row..], tokens, rows, width);
            let inner = Matrix::new(&scratch.inner, tokens, rank);
            let d_b = MatrixMut::new(&mut gradient[site.b.clone()], rows, rank);
            multiply(site.scale, d_out.transposed(), inner, 1.0, d_b);
            fit(&mut scratch.d_inner, tokens * rank);
            let b = Matrix::new(&self.parameters[site.b.clone()], rows, rank);
            let d_inner = MatrixMut::new(&mut scratch.d_inner, tokens, rank);
            multiply(site.scale, d_out, b, 0.0, d_inner);
            let d_inner = Matrix::new(&scratch.d_inner, tokens, rank);
            let d_a = MatrixMut::new(&mut gradient[site.a.clone()], rank, columns);
            multiply(1.0, d_inner.transposed(), Matrix::new(kept, tokens, columns), 1.0, d_a);
            let a = Matrix::new(&self.parameters[site.a.clone()], rank, columns);
            fit(&mut scratch.d_kept, tokens * columns);
            multiply(1.0, d_inner, a, 0.0, MatrixMut::new(&mut scratch.d_kept, tokens, columns));
            self.drop(index, seed, &mut scratch.d_kept);
            d_input.iter_mut().zip(&scratch.d_kept).for_each(|(sum, d)| *sum += d);
        }
    }

    /// `A kept`, of `tokens` rows.
    fn inner(&self, site: &Site, kept: &[f32], tokens: usize, inner: &mut Vec<f32>) {
        fit(inner, tokens * site.rank);
        let a = Matrix::new(&self.parameters[site.a.clone()], site.rank, site.columns);
        let kept = Matrix::new(kept, tokens, site.columns);
        multiply(1.0, kept, a.transposed(), 0.0, MatrixMut::new(inner, tokens, site.rank));
    }

    /// The inputs that the adapter at `index` sees.
    fn kept<'a>(
        &self,
        index: usize,
        input: &'a [f32],
        seed: Seed,
        buffer: &'a mut Vec<f32>,
    ) -> &'a [f32] {
        if seed.is_none() || self.dropout == 0.0 {
            return input;
        }
        buffer.clear();
        buffer.extend_from_slice(input);
        self.drop(index, seed, buffer);
        buffer
    }

    fn drop(&self, index: usize, seed: Seed, values: &mut [f32]) {
        let Some(seed) = seed.filter(|_| self.dropout > 0.0) else { return };
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ self.step_seed);
        random.set_stream(index as u64);
        let limit = (f64::from(self.dropout) * f64::from(u32::MAX)) as u32;
        let grown = 1.0 / (1.0 - self.dropout);
        for value in values {
            *value *= if random.next_u32() < limit { 0.0 } else { grown };
        }
    }
}

impl Site {
    /// Rows of the matrix, and of B.
    pub fn rows(&self) -> usize {
        self.weights.len() / self.columns
    }
}
