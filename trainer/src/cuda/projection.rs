//! Products with a block's matrices, and what adapters add to them.

use std::ops::Range;

use super::machine::{Address, Argument, DeviceError, Operand, Product, Target};
use super::memory::Pass;
use super::network::{Adapters, Network, THREADS, flat, launch};
use crate::model::Site;

impl Network {
    /// Rows and columns of the stacked matrices `range`, a projection of this block.
    fn matrix(&self, range: &Range<usize>) -> Operand {
        let tensor = self.layout.tensors.iter().find(|tensor| tensor.offset == range.start);
        let columns = tensor.map_or(1, |tensor| tensor.columns);
        Operand::new(self.weight(range), range.len() / columns, columns)
    }

    /// `out = input weights^T + keep out`, with what adapters add.
    pub(super) fn project(
        &self,
        weights: &Range<usize>,
        input: Address,
        keep: f32,
        out: Address,
        pass: Pass,
    ) -> Result<(), DeviceError> {
        let b = self.matrix(weights);
        let a = Operand::new(input, pass.tokens, b.columns);
        self.multiply(1.0, a, b.transposed(), keep, halves(out, b.rows))?;
        let Some(Adapters { lora, .. }) = &self.adapters else { return Ok(()) };
        for (index, first_row, site) in lora.of(weights) {
            let [_, inner] = self.inner(index, site, input, pass)?;
            let [_, b_of_site] = self.factors(site);
            let out = halves(out.halves(first_row), b.rows);
            self.multiply(site.scale, inner, b_of_site.transposed(), 1.0, out)?;
        }
        Ok(())
    }

    /// A and B of an adapter.
    fn factors(&self, site: &Site) -> [Operand; 2] {
        let at = |range: &Range<usize>| self.trained.rounded.halves(range.start);
        [
            Operand::new(at(&site.a), site.rank, site.columns),
            Operand::new(at(&site.b), site.rows(), site.rank),
        ]
    }

    /// What an adapter keeps of its input, and `A kept`; a row a token.
    fn inner(
        &self,
        index: usize,
        site: &Site,
        input: Address,
        pass: Pass,
    ) -> Result<[Operand; 2], DeviceError> {
        let kept = self.kept(index, input, pass.tokens * site.columns, pass)?;
        let inner = Operand::new(self.derivatives.inner.at(), pass.tokens, site.rank);
        let kept = Operand::new(kept, pass.tokens, site.columns);
        let [a, _] = self.factors(site);
        self.multiply(1.0, kept, a.transposed(), 0.0, halves(inner.at, site.rank))?;
        Ok([kept, inner])
    }

    /// The inputs that the adapter at `index` sees.
    fn kept(
        &self,
        index: usize,
        input: Address,
        count: usize,
        pass: Pass,
    ) -> Result<Address, DeviceError> {
        let Some(drop) = self.drop(index, pass) else { return Ok(input) };
        let (out, Drop { seed, limit, grown }) = (self.derivatives.kept.at(), drop);
        let grid = flat(count);
        launch!(
            self.machine,
            "dropout",
            grid,
            THREADS,
            out,
            input,
            count as u64,
            seed,
            limit,
            grown,
        )?;
        Ok(out)
    }

    fn drop(&self, index: usize, pass: Pass) -> Option<Drop> {
        let lora = self.adapters.as_ref().map(|adapters| &adapters.lora);
        let (lora, seed) = lora.filter(|lora| lora.dropout > 0.0).zip(pass.seed)?;
        Some(Drop {
            seed: adapter_seed(seed ^ lora.step_seed, index),
            limit: (f64::from(lora.dropout) * f64::from(u32::MAX)) as usize,
            grown: 1.0 / (1.0 - lora.dropout),
        })
    }

    /// The way back: overwrites `d_input`, adds to the gradient.
    pub(super) fn project_backward(
        &self,
        weights: &Range<usize>,
        d_out: Address,
        input: Address,
        d_input: Address,
        pass: Pass,
    ) -> Result<(), DeviceError> {
        let (tokens, matrix) = (pass.tokens, self.matrix(weights));
        let (rows, columns) = (matrix.rows, matrix.columns);
        let all = Operand::new(d_out, tokens, rows);
        self.multiply(1.0, all, matrix, 0.0, halves(d_input, columns))?;
        let Some(Adapters { lora, .. }) = &self.adapters else {
            let input = Operand::new(input, tokens, columns);
            let out = singles(self.gradient(weights), columns);
            return self.multiply(1.0, all.transposed(), input, 1.0, out);
        };
        for (index, first_row, site) in lora.of(weights) {
            let [kept, inner] = self.inner(index, site, input, pass)?;
            let [a, b] = self.factors(site);
            let d_out = Operand::new(d_out.halves(first_row), tokens, b.rows).strided(rows);
            let d_b = singles(self.gradient(&site.b), site.rank);
            self.multiply(site.scale, d_out.transposed(), inner, 1.0, d_b)?;
            let d_inner = Operand::new(self.derivatives.d_inner.at(), tokens, site.rank);
            self.multiply(site.scale, d_out, b, 0.0, halves(d_inner.at, site.rank))?;
            let d_a = singles(self.gradient(&site.a), columns);
            self.multiply(1.0, d_inner.transposed(), kept, 1.0, d_a)?;
            let d_kept = self.derivatives.kept.at();
            self.multiply(1.0, d_inner, a, 0.0, halves(d_kept, columns))?;
            let none = Drop { seed: 0, limit: 0, grown: 1.0 };
            let Drop { seed, limit, grown } = self.drop(index, pass).unwrap_or(none);
            let count = tokens * columns;
            launch!(
                self.machine,
                "dropout_add",
                flat(count),
                THREADS,
                d_input,
                d_kept,
                count as u64,
                seed,
                limit,
                grown,
            )?;
        }
        Ok(())
    }

    pub(super) fn multiply(
        &self,
        factor: f32,
        a: Operand,
        b: Operand,
        keep: f32,
        out: Target,
    ) -> Result<(), DeviceError> {
        self.machine.multiply(&Product { factor, a, b, keep, out })
    }
}

/// What an adapter leaves out: values whose hash is below `limit`; the others grow.
struct Drop {
    seed: u64,
    limit: usize,
    grown: f32,
}

/// What the adapter at `index` leaves out depends on it.
pub(super) fn adapter_seed(seed: u64, index: usize) -> u64 {
    // Not the factor that the kernel gives places: one adapter would leave out what another does,
    // shifted.
    seed.wrapping_add((index as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95))
}

/// A place for bf16 sums.
pub(super) fn halves(at: Address, stride: usize) -> Target {
    Target { at, stride, is_single: false }
}

/// A place for f32 sums.
pub(super) fn singles(at: Address, stride: usize) -> Target {
    Target { at, stride, is_single: true }
}
