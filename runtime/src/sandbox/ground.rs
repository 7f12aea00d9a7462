//! What sessions start from: a snapshot, and the instances that stand ready on it.

use std::sync::{Arc, Mutex, PoisonError};

use super::snapshot::Snapshot;
use super::state::State;
use super::wasm::{Instance, Machine, MachineError};

/// Instances kept for the next action, and the size above which one is not kept.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = 96 << 20;

/// A snapshot and its instances.
#[derive(Debug)]
pub struct Ground {
    /// What unchanged memory holds.
    pub snapshot: Snapshot,
    spares: Mutex<Vec<Instance>>,
}

impl Ground {
    /// A ground without instances yet.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, spares: Mutex::default() }
    }

    /// An instance in `state`, which stands on this ground.
    pub fn instance(
        &self,
        machine: &Machine,
        state: &Arc<State>,
    ) -> Result<Instance, MachineError> {
        let spare = {
            let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
            // Memory cannot shrink: the largest one that is not too large.
            let fits = |spare: &Instance| spare.memory_bytes() <= state.memory_bytes();
            let best = (0..spares.len())
                .filter(|index| spares.get(*index).is_some_and(fits))
                .max_by_key(|index| spares.get(*index).map(Instance::memory_bytes));
            best.map(|index| spares.swap_remove(index))
        };
        let mut instance = match spare {
            Some(instance) => instance,
            None => machine.instance(&self.snapshot, state.memory_bytes())?,
        };
        instance.apply(&self.snapshot, state)?;
        Ok(instance)
    }

    /// Takes an instance back for the next action.
    pub fn put_back(&self, mut instance: Instance) {
        if instance.memory_bytes() > SPARE_BYTES_MAX || !instance.rest(&self.snapshot) {
            return;
        }
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        spares.push(instance);
        if spares.len() > SPARES_MAX {
            // Whatever is largest fits the fewest states.
            let largest =
                (0..spares.len()).max_by_key(|i| spares.get(*i).map(Instance::memory_bytes));
            drop(largest.map(|index| spares.swap_remove(index)));
        }
    }
}
