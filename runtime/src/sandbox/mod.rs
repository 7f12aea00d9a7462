//! Runs Python, and forks its state.
//!
//! The guest is CPython compiled to WebAssembly; the virtual machine is the boundary. It is given
//! no file, no socket, no clock that moves: only [`Host::call`]. A [`Sandbox`] holds the compiled
//! guest and a snapshot of the initialised interpreter, a [`Session`] one program's state.
//!
//! Invariants: a session at rest is immutable and shared by its forks, so forking copies nothing;
//! [`Session::run`] works on an instance of the guest and keeps its state only when the action
//! ended inside its limits. This module knows no model, no corpus and no storage: tools are the
//! caller's.

mod action;
mod guest;
mod image;
mod limits;
mod operators;
mod outcome;
mod snapshot;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod wasi;
mod wasm;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::action::Running;
use self::snapshot::{Snapshot, State};
use self::wasi::World;
use self::wasm::{Instance, Machine};
use crate::cancel::Cancel;

pub use self::limits::{Limit, Limits};
pub use self::outcome::{Outcome, PythonError, ToolCall};

/// 2026-01-01T00:00:00Z, where the clock stands unless the caller says otherwise.
const UNIX_SECONDS: i64 = 1_767_225_600;
/// Instances kept for the next action, and the size above which one is not kept.
const SPARES_MAX: usize = 4;
const SPARE_BYTES_MAX: usize = 64 << 20;

/// A snapshot made in this process because it could not be stored.
static UNSTORED: Mutex<Option<Arc<Snapshot>>> = Mutex::new(None);

/// Answers the tool calls of an action.
pub trait Host {
    /// Calls `tool`.
    ///
    /// # Errors
    /// The message of the `RuntimeError` that Python then raises.
    fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value, String>;
}

/// How a sandbox is opened.
#[derive(Clone, Debug, Default)]
pub struct SandboxOptions {
    /// Where the snapshot of the initialised interpreter is kept. Without one it is made again
    /// in every process, which takes most of a second.
    pub cache_dir: Option<PathBuf>,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The image inside this binary is damaged.
    #[error("the Python image inside this program is damaged ({0}): install the program again")]
    Image(#[from] std::io::Error),
    /// The guest did not start, or there is not enough memory for it.
    #[error(transparent)]
    Machine(#[from] wasm::MachineError),
}

/// What differs between sessions from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Seeds Python's `random`.
    pub random: u64,
    /// Where Python's clock stands.
    pub unix_seconds: i64,
}

impl Default for Seed {
    fn default() -> Self {
        Self { random: 0, unix_seconds: UNIX_SECONDS }
    }
}

/// The compiled guest and its snapshot. Clones share both.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

/// One program's state. Forks are independent of each other.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    world: World,
    state: Arc<State>,
}

/// Time since any fixed moment.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

struct Shared {
    machine: Machine,
    snapshot: Arc<Snapshot>,
    clock: Clock,
    spares: Mutex<Vec<Instance>>,
}

impl Sandbox {
    /// Compiles the guest and reads its snapshot, or makes it if there is none that fits.
    ///
    /// # Errors
    /// When the image does not work or memory is short. A cache folder that cannot be written is
    /// no error.
    pub fn open(options: &SandboxOptions) -> Result<Self, SandboxError> {
        let start = Instant::now();
        Self::with_clock(options, Arc::new(move || start.elapsed()))
    }

    fn with_clock(options: &SandboxOptions, clock: Clock) -> Result<Self, SandboxError> {
        let machine = Machine::new(&image::python()?, Arc::default())?;
        let snapshot = match &options.cache_dir {
            Some(folder) => stored_snapshot(&machine, folder)?,
            None => unstored_snapshot(&machine)?,
        };
        Ok(Self(Arc::new(Shared { machine, snapshot, clock, spares: Mutex::default() })))
    }

    /// A new session, in the interpreter's first state.
    ///
    /// # Errors
    /// When memory is short.
    pub fn session(&self, seed: &Seed) -> Result<Session, SandboxError> {
        let shared = Arc::clone(&self.0);
        let world = World { unix_seconds: seed.unix_seconds };
        let mut instance = shared.instance(&State::unchanged(&shared.snapshot))?;
        instance.start(seed.random, world)?;
        let state = Arc::new(instance.save(&shared.snapshot));
        shared.put_back(instance);
        Ok(Session { shared, world, state })
    }
}

impl Session {
    /// An independent copy of the session.
    ///
    /// # Errors
    /// None today; a caller must be ready for memory to be short.
    pub fn fork(&self) -> Result<Self, SandboxError> {
        Ok(self.clone())
    }

    /// Runs one action. An exception keeps the state it left; a limit, a cancelled action and a
    /// guest that broke down restore the state before.
    pub fn run(
        &mut self,
        code: &str,
        limits: &Limits,
        host: &mut dyn Host,
        cancel: &Cancel,
    ) -> Outcome {
        if u64::try_from(code.len()).is_ok_and(|length| length > limits.source_bytes_max) {
            return Outcome { limit: Some(Limit::Source), ..Outcome::default() };
        }
        let mut instance = match self.shared.instance(&self.state) {
            Ok(instance) => instance,
            Err(error) => {
                let error = Some(PythonError::new("MemoryError", error.to_string()));
                return Outcome { error, ..Outcome::default() };
            }
        };
        let clock = &*self.shared.clock;
        let begun = clock();
        let mut running = Running::new(limits, host, cancel, clock);
        let ended = instance.run(code, limits, self.world, &mut running);
        let (mut outcome, keeps_state) = action::outcome(ended, limits, running.into_calls());
        outcome.seconds = clock().saturating_sub(begun).as_secs_f64();
        outcome.memory_bytes = u64::try_from(instance.memory_bytes()).unwrap_or(u64::MAX);
        if keeps_state {
            self.state = Arc::new(instance.save(&self.shared.snapshot));
        }
        self.shared.put_back(instance);
        outcome
    }
}

impl Shared {
    fn instance(&self, state: &State) -> Result<Instance, wasm::MachineError> {
        let spare = {
            let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
            // Memory cannot shrink: the largest one that is not too large.
            let fits = |spare: &Instance| spare.memory_bytes() <= state.memory_bytes();
            let best = (0..spares.len())
                .filter(|index| spares.get(*index).is_some_and(fits))
                .max_by_key(|index| spares.get(*index).map(Instance::memory_bytes));
            best.map(|index| spares.swap_remove(index))
        };
        self.machine.restore(&self.snapshot, state, spare)
    }

    fn put_back(&self, instance: Instance) {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if instance.memory_bytes() <= SPARE_BYTES_MAX {
            spares.push(instance);
        }
        if spares.len() > SPARES_MAX {
            // Whatever is largest fits the fewest states.
            let largest =
                (0..spares.len()).max_by_key(|i| spares.get(*i).map(Instance::memory_bytes));
            drop(largest.map(|index| spares.swap_remove(index)));
        }
    }
}

fn stored_snapshot(machine: &Machine, folder: &Path) -> Result<Arc<Snapshot>, SandboxError> {
    let key = image::key();
    let name: String = key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = folder.join(format!("python-{name}.snapshot"));
    if let Some(snapshot) = Snapshot::load(&path, &key) {
        return Ok(Arc::new(snapshot));
    }
    let snapshot = unstored_snapshot(machine)?;
    if let Err(error) = snapshot.store(&path, &key) {
        tracing::debug!(path = %path.display(), %error, "the snapshot of Python is not kept");
    }
    Ok(snapshot)
}

/// Initialises the interpreter, once per process.
fn unstored_snapshot(machine: &Machine) -> Result<Arc<Snapshot>, SandboxError> {
    let mut made = UNSTORED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(snapshot) = &*made {
        return Ok(Arc::clone(snapshot));
    }
    let snapshot = Arc::new(machine.initialise(World { unix_seconds: UNIX_SECONDS })?);
    *made = Some(Arc::clone(&snapshot));
    Ok(snapshot)
}
