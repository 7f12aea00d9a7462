//! Buffers of a pass in the device's memory, kept between passes.

use super::machine::{Address, DeviceError, HALF, Machine, Region, SINGLE};
use crate::model::{Batch, Shape};

/// A pass over one batch.
#[derive(Clone, Copy)]
pub struct Pass {
    pub tokens: usize,
    pub targets: usize,
    /// Tokens that share the loss of each target with it.
    pub soft_per_target: usize,
    /// Seed of what adapters leave out.
    pub seed: Option<u64>,
}

/// Memory that grows when more is needed.
#[derive(Default)]
pub struct Buffer {
    region: Option<Region>,
}

impl Buffer {
    /// Its size.
    pub fn bytes(&self) -> usize {
        self.region.as_ref().map_or(0, |region| region.bytes)
    }

    /// Where it begins.
    pub fn at(&self) -> Address {
        self.region.as_ref().map_or(Address(0), |region| region.at)
    }

    /// Makes it at least so large. What it held is lost.
    pub fn fit(&mut self, machine: &dyn Machine, bytes: usize) -> Result<(), DeviceError> {
        if self.bytes() < bytes {
            // The old memory goes first, so that both are never held.
            self.region = None;
            self.region = Some(machine.allocate(bytes)?);
        }
        Ok(())
    }
}

/// Buffers with the bytes that a pass needs of them.
pub type Wanted<'a> = Vec<(&'a mut Buffer, usize)>;

/// What one block leaves behind for the way back. Rows are tokens.
#[derive(Default)]
pub struct Tape {
    pub attention_normed: Buffer,
    pub attention_inverse: Buffer,
    pub qkv: Buffer,
    pub attended: Buffer,
    pub log_sums: Buffer,
    /// Queries, keys and values before the norms of heads, where there are some.
    pub heads: Buffer,
    pub heads_inverse: Buffer,
    pub middle: Buffer,
    pub feed_forward_normed: Buffer,
    pub feed_forward_inverse: Buffer,
    pub gate_up: Buffer,
    pub activated: Buffer,
}

impl Tape {
    pub fn wanted<'a>(&'a mut self, shape: &Shape, tokens: usize, wanted: &mut Wanted<'a>) {
        let (width, inner, qkv) = (shape.width, shape.feed_forward, shape.qkv_width());
        let gains = usize::from(shape.architecture.has_head_gains());
        let mut add = |buffer, values: usize, size| wanted.push((buffer, tokens * values * size));
        add(&mut self.attention_normed, width, HALF);
        add(&mut self.attention_inverse, 1, SINGLE);
        add(&mut self.qkv, qkv, HALF);
        add(&mut self.attended, shape.query_width(), HALF);
        add(&mut self.log_sums, shape.heads, SINGLE);
        add(&mut self.heads, gains * qkv, HALF);
        add(&mut self.heads_inverse, gains * (shape.heads + shape.kv_heads), SINGLE);
        add(&mut self.middle, width, HALF);
        add(&mut self.feed_forward_normed, width, HALF);
        add(&mut self.feed_forward_inverse, 1, SINGLE);
        add(&mut self.gate_up, 2 * inner, HALF);
        add(&mut self.activated, inner, HALF);
    }
}

/// Buffers of the head: rows are the positions with loss.
#[derive(Default)]
pub struct Head {
    pub input: Buffer,
    pub normed: Buffer,
    pub inverse: Buffer,
    pub d_normed: Buffer,
    pub d_input: Buffer,
    pub logits: Buffer,
    pub d_logits: Buffer,
    pub losses: Buffer,
    pub predicted: Buffer,
}

impl Head {
    /// `logits` is how many are held at once.
    pub fn wanted<'a>(
        &'a mut self,
        shape: &Shape,
        targets: usize,
        logits: usize,
        wanted: &mut Wanted<'a>,
    ) {
        let rows = targets * shape.width * HALF;
        wanted.extend([
            (&mut self.input, rows),
            (&mut self.normed, rows),
            (&mut self.inverse, targets * SINGLE),
            (&mut self.d_normed, rows),
            (&mut self.d_input, rows),
            (&mut self.logits, logits * SINGLE),
            (&mut self.d_logits, logits * HALF),
            (&mut self.losses, targets * SINGLE),
            (&mut self.predicted, targets * SINGLE),
        ]);
    }
}

/// Derivatives on their way back, and what adapters need in between.
#[derive(Default)]
pub struct Derivatives {
    pub stream: Buffer,
    pub normed: Buffer,
    pub qkv: Buffer,
    pub attended: Buffer,
    pub along: Buffer,
    pub activated: Buffer,
    pub kept: Buffer,
    pub inner: Buffer,
    pub d_inner: Buffer,
}

impl Derivatives {
    /// `rank` is the largest of an adapter, 0 without any.
    pub fn wanted<'a>(
        &'a mut self,
        shape: &Shape,
        tokens: usize,
        rank: usize,
        wanted: &mut Wanted<'a>,
    ) {
        let widest = shape.width.max(shape.feed_forward).max(shape.query_width());
        let kept = if rank == 0 { 0 } else { widest };
        let mut add = |buffer, values: usize, size| wanted.push((buffer, tokens * values * size));
        add(&mut self.stream, shape.width, HALF);
        add(&mut self.normed, shape.width, HALF);
        add(&mut self.qkv, shape.qkv_width(), HALF);
        add(&mut self.attended, shape.query_width(), HALF);
        add(&mut self.along, shape.heads, SINGLE);
        add(&mut self.activated, shape.feed_forward, HALF);
        add(&mut self.kept, kept, HALF);
        add(&mut self.inner, rank, HALF);
        add(&mut self.d_inner, rank, HALF);
    }
}

/// A batch.
#[derive(Default)]
pub struct Rows {
    pub ids: Buffer,
    /// For each token, the first one of its sequence.
    pub starts: Buffer,
    pub positions: Buffer,
    pub targets: Buffer,
    /// Tokens of the soft targets, and the share of each.
    pub soft: [Buffer; 2],
    /// Tokens, equal ids side by side.
    pub order: Buffer,
    /// For each id that occurs: the id, where it begins in `order`, how often it occurs.
    pub runs: Buffer,
    pub runs_count: usize,
}

impl Rows {
    pub fn wanted<'a>(
        &'a mut self,
        Pass { tokens, targets, soft_per_target, .. }: Pass,
        wanted: &mut Wanted<'a>,
    ) {
        let soft = targets * soft_per_target * SINGLE;
        wanted.extend(self.soft.iter_mut().map(|buffer| (buffer, soft)));
        wanted.extend([
            (&mut self.ids, tokens * SINGLE),
            (&mut self.starts, tokens * SINGLE),
            (&mut self.positions, targets * SINGLE),
            (&mut self.targets, targets * SINGLE),
            (&mut self.order, tokens * SINGLE),
            (&mut self.runs, 3 * tokens * SINGLE),
        ]);
    }

    /// Brings a batch to the device; the buffers are large enough.
    pub fn upload(&mut self, machine: &dyn Machine, batch: &Batch) -> Result<(), DeviceError> {
        let Listed { starts, order, runs } = Listed::of(batch);
        self.runs_count = runs.len();
        let positions = batch.targets.iter().map(|target| target.position as u32);
        let targets = batch.targets.iter().map(|target| target.token);
        let lists = [
            (&self.ids, batch.ids.clone()),
            (&self.starts, starts),
            (&self.positions, positions.collect()),
            (&self.targets, targets.collect()),
            (&self.order, order),
            (&self.runs, runs.concat()),
        ];
        for (buffer, list) in lists {
            machine.upload(buffer.at(), bytemuck::cast_slice(&list))?;
        }
        if batch.soft.per_position > 0 {
            let [tokens, shares] = &self.soft;
            machine.upload(tokens.at(), bytemuck::cast_slice(&batch.soft.tokens))?;
            machine.upload(shares.at(), bytemuck::cast_slice(&batch.soft.shares))?;
        }
        Ok(())
    }
}

/// What kernels need to know of a batch besides its ids.
struct Listed {
    starts: Vec<u32>,
    order: Vec<u32>,
    runs: Vec<[u32; 3]>,
}

impl Listed {
    fn of(batch: &Batch) -> Self {
        let mut starts = Vec::with_capacity(batch.ids.len());
        for length in &batch.lengths {
            let first = starts.len() as u32;
            starts.resize(starts.len() + length, first);
        }
        let mut order: Vec<u32> = (0..batch.ids.len() as u32).collect();
        order.sort_by_key(|index| (batch.ids.get(*index as usize), *index));
        let mut runs: Vec<[u32; 3]> = Vec::new();
        for (place, index) in (0..).zip(&order) {
            let id = batch.ids.get(*index as usize).copied().unwrap_or_default();
            match runs.last_mut().filter(|run| run[0] == id) {
                Some(run) => run[2] += 1,
                None => runs.push([id, place, 1]),
            }
        }
        Listed { starts, order, runs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ids_lie_side_by_side() {
        let ids = vec![7, 2, 7, 2, 9];
        let batch = Batch { ids, lengths: vec![2, 3], ..Batch::default() };
        let listed = Listed::of(&batch);
        assert_eq!(listed.starts, [0, 0, 2, 2, 2]);
        assert_eq!(listed.order, [1, 3, 0, 2, 4]);
        assert_eq!(listed.runs, [[2, 0, 2], [7, 2, 2], [9, 4, 1]]);
    }
}
