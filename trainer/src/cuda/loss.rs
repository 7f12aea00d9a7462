//! Cross-entropy at the positions with loss, in chunks of rows: no logits of a whole batch exist.

use super::machine::{Argument, DeviceError, HALF, Operand};
use super::memory::Pass;
use super::network::{Network, THREADS, launch};
use super::projection::{halves, singles};

/// Logits held at once: 256 MiB in f32, and half of that for their derivatives.
const LOGITS: usize = 1 << 26;

impl Network {
    /// Rows of logits that are computed at once.
    pub(super) fn chunk_rows(&self) -> usize {
        (LOGITS / self.shape.vocabulary).clamp(16, 8192)
    }

    /// Losses and predictions; with `scale`, leaves the derivative of the last block's output.
    pub(super) fn loss(&self, pass: Pass, scale: Option<f32>) -> Result<(), DeviceError> {
        let (machine, head, width) = (&self.machine, &self.head, self.shape.width);
        let (vocabulary, targets) = (self.shape.vocabulary, pass.targets);
        let (positions, output) = (self.rows.positions.at(), self.streams[self.shape.layers].at());
        let [soft_tokens, soft_shares] = &self.rows.soft;
        let input = head.input.at();
        launch!(machine, "gather", [targets, 1], THREADS, input, output, positions, width)?;
        let (normed, inverse, gain) =
            (head.normed.at(), head.inverse.at(), &self.layout.final_gain);
        let all = self.whole_rows(targets);
        self.norm(normed, inverse, input, gain, all)?;
        let weights = Operand::new(self.weight(&self.layout.head), vocabulary, width);
        let chunk = self.chunk_rows();
        for first in (0..targets).step_by(chunk) {
            let rows = chunk.min(targets - first);
            let normed = Operand::new(normed.halves(first * width), rows, width);
            let (logits, d_logits) = (head.logits.at(), head.d_logits.at());
            self.multiply(1.0, normed, weights.transposed(), 0.0, singles(logits, vocabulary))?;
            launch!(
                machine,
                "cross_entropy",
                [rows, 1],
                THREADS,
                d_logits,
                head.losses.at().singles(first),
                head.predicted.at().singles(first),
                logits,
                self.rows.targets.at().singles(first),
                soft_tokens.at().singles(first * pass.soft_per_target),
                soft_shares.at().singles(first * pass.soft_per_target),
                pass.soft_per_target,
                vocabulary,
                scale.unwrap_or(0.0),
            )?;
            if scale.is_some() {
                let d_logits = Operand::new(d_logits, rows, vocabulary);
                let d_normed = head.d_normed.at().halves(first * width);
                self.multiply(1.0, d_logits, weights, 0.0, halves(d_normed, width))?;
                if self.is_whole() {
                    let out = singles(self.gradient(&self.layout.head), width);
                    self.multiply(1.0, d_logits.transposed(), normed, 1.0, out)?;
                }
            }
        }
        if scale.is_none() {
            return Ok(());
        }
        let (d_normed, d_input) = (head.d_normed.at(), head.d_input.at());
        self.norm_backward(d_input, d_normed, [input, inverse], gain, all, false)?;
        let d_stream = self.derivatives.stream.at();
        machine.zero(d_stream, pass.tokens * width * HALF)?;
        launch!(machine, "scatter", [targets, 1], THREADS, d_stream, d_input, positions, width)
    }
}
