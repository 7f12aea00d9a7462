//! A session at rest: the blocks in which its memory differs from a snapshot.

use std::ops::Range;
use std::sync::Arc;

use super::snapshot::Snapshot;

/// Granularity of what a state keeps.
pub const BLOCK_BYTES: usize = 4096;

type Block = [u8; BLOCK_BYTES];

/// A session at rest. Forks share it; states that follow one another share equal blocks.
#[derive(Debug)]
pub struct State {
    stack_pointer: i32,
    memory_bytes: usize,
    /// Number and content of every block that differs from the snapshot, in order.
    changed: Vec<(usize, Arc<Block>)>,
}

impl State {
    /// The snapshot itself, as a state.
    pub fn unchanged(snapshot: &Snapshot) -> Self {
        let memory_bytes = snapshot.memory().len();
        Self { stack_pointer: snapshot.stack_pointer(), memory_bytes, changed: Vec::new() }
    }

    /// Notes where `memory` differs from `snapshot`, looking only at the bytes that were
    /// `written` since it was equal to it. Where a block is as in `before`, they share it.
    pub fn save(
        snapshot: &Snapshot,
        before: &Self,
        memory: &[u8],
        written: &[Range<usize>],
        stack_pointer: i32,
    ) -> Self {
        let (blocks, _) = memory.as_chunks::<BLOCK_BYTES>();
        let (originals, _) = snapshot.memory().as_chunks::<BLOCK_BYTES>();
        let zeros = [0; BLOCK_BYTES];
        let numbers = written
            .iter()
            .flat_map(|bytes| bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES));
        let changed = numbers
            .filter_map(|number| Some((number, blocks.get(number)?)))
            .filter(|(number, block)| *block != originals.get(*number).unwrap_or(&zeros))
            .map(|(number, block)| (number, before.shared(number, block)))
            .collect();
        Self { stack_pointer, memory_bytes: memory.len(), changed }
    }

    /// Makes `memory`, which holds the state `before`, hold this one. What they share is left as it
    /// is, so this costs what differs between them.
    pub fn replace(&self, before: &Self, snapshot: &Snapshot, memory: &mut [u8]) {
        let (blocks, _) = memory.as_chunks_mut::<BLOCK_BYTES>();
        let (originals, _) = snapshot.memory().as_chunks::<BLOCK_BYTES>();
        let zeros = [0; BLOCK_BYTES];
        for (number, _) in &before.changed {
            if let (None, Some(target)) = (self.own(*number), blocks.get_mut(*number)) {
                *target = *originals.get(*number).unwrap_or(&zeros);
            }
        }
        for (number, block) in &self.changed {
            let is_there = before.own(*number).is_some_and(|there| Arc::ptr_eq(there, block));
            if let (false, Some(target)) = (is_there, blocks.get_mut(*number)) {
                *target = **block;
            }
        }
    }

    /// Blocks in which it differs from the snapshot.
    pub fn blocks(&self) -> usize {
        self.changed.len()
    }

    /// Bytes of the blocks that no other state shares.
    pub fn held_bytes(&self) -> u64 {
        let own = self.changed.iter().filter(|(_, block)| Arc::strong_count(block) == 1).count();
        (own * BLOCK_BYTES) as u64
    }

    /// Size of the linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Value of the guest's `__stack_pointer`.
    pub fn stack_pointer(&self) -> i32 {
        self.stack_pointer
    }

    /// This state's own block if it is equal, else a copy.
    fn shared(&self, number: usize, block: &Block) -> Arc<Block> {
        let own = self.own(number).filter(|own| ***own == *block);
        own.map_or_else(|| Arc::new(*block), Arc::clone)
    }

    fn own(&self, number: usize) -> Option<&Arc<Block>> {
        let at = self.changed.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.changed.get(at).map(|(_, own)| own)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_state_keeps_only_what_differs_and_shares_what_does_not() {
        let original = vec![1; 3 * BLOCK_BYTES];
        let snapshot = Snapshot::copied(7, original.clone());
        let mut memory = original;
        memory.extend([0; 2 * BLOCK_BYTES]);
        memory[BLOCK_BYTES + 1] = 9;
        memory[4 * BLOCK_BYTES] = 8;
        let everywhere = [0..BLOCK_BYTES, BLOCK_BYTES..5 * BLOCK_BYTES];
        let first = State::save(&snapshot, &State::unchanged(&snapshot), &memory, &everywhere, 5);
        assert_eq!(first.changed.len(), 2);
        assert_eq!((first.stack_pointer(), first.memory_bytes()), (5, memory.len()));
        memory[BLOCK_BYTES + 1] = 10;
        let second = State::save(&snapshot, &first, &memory, &everywhere, 5);
        let same = |at: usize| Arc::ptr_eq(&first.changed[at].1, &second.changed[at].1);
        assert!(!same(0) && same(1));
        let mut restored = snapshot.memory().to_vec();
        restored.resize(second.memory_bytes(), 0);
        second.replace(&State::unchanged(&snapshot), &snapshot, &mut restored);
        assert!(restored == memory);
    }

    /// A memory of six blocks, two of them beyond the snapshot, from a choice for each.
    fn memory(choices: &[u8]) -> Vec<u8> {
        let block = |(at, choice): (usize, &u8)| {
            let original = if at < 4 { 1 } else { 0 };
            vec![if *choice == 0 { original } else { 10 + *choice }; BLOCK_BYTES]
        };
        choices.iter().enumerate().flat_map(block).collect()
    }

    proptest::proptest! {
        #[test]
        fn any_state_can_take_the_place_of_any_other(
            one in proptest::collection::vec(0u8..3, 6),
            other in proptest::collection::vec(0u8..3, 6),
        ) {
            let snapshot = Snapshot::copied(7, vec![1; 4 * BLOCK_BYTES]);
            let everywhere = std::slice::from_ref(&(0..6 * BLOCK_BYTES));
            let save = |before: &State, memory: &[u8]| {
                State::save(&snapshot, before, memory, everywhere, 5)
            };
            let mut held = memory(&one);
            let first = save(&State::unchanged(&snapshot), &held);
            let second = save(&first, &memory(&other));
            second.replace(&first, &snapshot, &mut held);
            proptest::prop_assert!(held == memory(&other));
            first.replace(&second, &snapshot, &mut held);
            proptest::prop_assert!(held == memory(&one));
        }
    }
}
