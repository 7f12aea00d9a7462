//! A larger model that computes what a smaller one does.
//!
//! New blocks stand behind old ones, spread evenly: each is a copy of the block before it whose
//! outputs are zero, so it adds nothing until training moves it (block expansion, arXiv
//! 2401.02415). New units of the feed-forward part read at random and are not yet read themselves.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::network::Model;
use super::shape::{Shape, ShapeError};
use super::start::{deviation, normal, writes_to_stream};

impl Model {
    /// This model with more layers, a wider feed-forward part, or both; its logits stay the same.
    /// Values of new units are drawn from `seed`.
    ///
    /// # Errors
    /// [`ShapeError`] names what would have to shrink, or what does not fit.
    pub fn grown(self, layers: usize, feed_forward: usize, seed: u64) -> Result<Self, ShapeError> {
        let from = &self.shape;
        for (field, said, found) in
            [("layers", layers, from.layers), ("feed_forward", feed_forward, from.feed_forward)]
        {
            if said < found {
                let expected = format!("at least {found}: a model only grows");
                return Err(ShapeError { field, found: said.to_string(), expected });
            }
        }
        if (layers, feed_forward) == (from.layers, from.feed_forward) {
            return Ok(self);
        }
        let mut grown = Model::zeroed(Shape { layers, feed_forward, ..from.clone() })?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut block_before = None;
        for layer in 0..layers {
            let block = layer * from.layers / layers;
            let is_new = block_before.replace(block) == Some(block);
            grown.take_block(layer, &self, block, is_new, &mut random);
        }
        // All that is of no block.
        for tensor in &grown.layout.tensors {
            if !tensor.name.starts_with("blk.")
                && let Some(own) = self.layout.tensor(&tensor.name)
            {
                grown.parameters[tensor.range()].copy_from_slice(&self.parameters[own.range()]);
            }
        }
        Ok(grown)
    }

    /// Fills block `layer` with that of a smaller model, or with its copy that adds nothing.
    fn take_block(
        &mut self,
        layer: usize,
        small: &Model,
        block: usize,
        is_new: bool,
        random: &mut ChaCha8Rng,
    ) {
        let deviation = deviation(&self.shape);
        let own = format!("blk.{layer}.");
        for tensor in self.layout.tensors.iter().filter(|tensor| tensor.name.starts_with(&own)) {
            let part = &tensor.name[own.len()..];
            let Some(from) = small.layout.tensor(&format!("blk.{block}.{part}")) else { continue };
            let values = &mut self.parameters[tensor.range()];
            match part {
                _ if is_new && writes_to_stream(part) => continue,
                "ffn_gate.weight" | "ffn_up.weight" => {
                    values.fill_with(|| normal(random) * deviation);
                }
                _ => {}
            }
            let rows = small.parameters[from.range()].chunks(from.columns);
            for (to, row) in values.chunks_mut(tensor.columns).zip(rows) {
                to[..row.len()].copy_from_slice(row);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{Architecture, Batch, Start, Workspace};

    #[test]
    fn a_grown_model_computes_the_same_and_learns_with_all_it_has() {
        for architecture in [Architecture::Qwen2, Architecture::Qwen3, Architecture::Llama] {
            let tied = architecture != Architecture::Llama;
            let shape = Shape { architecture, tied, layers: 3, ..Shape::small(300) };
            let model = Model::initialised(shape, Start::Plain, 1).unwrap();
            let mut batch = Batch::default();
            batch.push(&(0..40).map(|at| at * 7 % 300).collect::<Vec<u32>>(), &[true; 40]);
            let mut workspace = Workspace::default();
            let before = model.evaluate(&batch, &mut workspace);
            let grown = model.grown(5, 512, 2).unwrap();
            assert_eq!((grown.shape.layers, grown.shape.feed_forward), (5, 512));
            let after = grown.differentiate(&batch, 1.0, &mut workspace);
            assert!((after - before).abs() < 1e-4 * before, "{architecture:?}: {after}, {before}");
            // What adds nothing yet is the first thing to learn.
            let learns = |name: &str| {
                let range = grown.layout.tensor(name).unwrap().range();
                workspace.gradient[range].iter().filter(|value| **value != 0.0).count()
            };
            assert_eq!(learns("blk.1.attn_output.weight"), 128 * 128, "{architecture:?}");
            assert_eq!(learns("blk.0.ffn_down.weight"), 128 * 512, "{architecture:?}");
        }
    }

    #[test]
    fn a_model_does_not_shrink() {
        let model = Model::zeroed(Shape::small(300)).unwrap();
        let told = model.grown(3, 256, 1).err().unwrap().to_string();
        assert_eq!(told, "model shape: layers is 3, expected at least 4: a model only grows");
    }
}
