//! Runs Python, and forks its state.
//!
//! The guest is CPython compiled to WebAssembly; the virtual machine is the boundary. It is given
//! no file, no socket, no clock that moves: only [`Host::call`]. A [`Sandbox`] holds the compiled
//! guest and a snapshot of the initialised interpreter, a [`Session`] one program's state.
//!
//! Invariants: a session at rest is immutable and shared by its forks, so forking copies nothing;
//! [`Session::run`] works on an instance of the guest and keeps its state only when the action
//! ended inside its limits. Snapshots are mapped copy-on-write where the system can do that. This module knows no model, no corpus and no storage: tools are the
//! caller's; a [`ToolModule`] is one that a user brought as WebAssembly.

mod action;
mod allowance;
mod ground;
mod guest;
mod history;
mod image;
mod limits;
mod operators;
mod outcome;
mod region;
mod session;
mod snapshot;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod tool;
mod wasi;
mod wasm;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::ground::Ground;
use self::snapshot::{Key, Snapshot};
use self::wasi::World;
use self::wasm::Machine;
use crate::cancel::Cancel;

pub use self::allowance::Allowance;
pub use self::limits::{Limit, Limits};
pub use self::outcome::{Outcome, PythonError, ToolCall};
pub use self::session::Session;
pub use self::tool::{MODULE_BYTES_MAX, ToolFailure, ToolLimits, ToolModule, ToolModuleError};

/// 2026-01-01T00:00:00Z, where the clock stands unless the caller says otherwise.
const UNIX_SECONDS: i64 = 1_767_225_600;

/// Answers the tool calls of an action.
pub trait Host {
    /// Calls `tool`, within what its action has left: fuel that the call uses is charged to it.
    ///
    /// # Errors
    /// The message of the `RuntimeError` that Python then raises.
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String>;
}

/// Has no tools.
pub struct NoTools;

impl Host for NoTools {
    fn call(
        &mut self,
        tool: &str,
        _arguments: &Value,
        _allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        Err(format!("there is no tool named {tool}"))
    }
}

/// How a sandbox is opened.
#[derive(Clone, Debug, Default)]
pub struct SandboxOptions {
    /// Where snapshots of the initialised interpreter are kept. Without one they are made again
    /// in every process, which takes most of a second, and ten where sympy is used.
    pub cache_dir: Option<PathBuf>,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The image inside this binary is damaged.
    #[error("the Python image inside this program is damaged ({0}): install the program again")]
    Image(#[from] std::io::Error),
    /// The user's tools could not be made functions.
    #[error("the tools could not be defined: {0}")]
    Tools(String),
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

/// The compiled guest and its snapshots. Clones share them.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

/// Time since any fixed moment.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

struct Shared {
    machine: Machine,
    clock: Clock,
    shelf: Shelf,
    /// The initialised interpreter.
    base: Arc<Ground>,
    /// The same with sympy imported; made when the first action needs it.
    sympy: Mutex<Preloaded>,
}

/// Where snapshots are kept, and whether they are copied for every action instead of mapped.
struct Shelf {
    folder: Option<PathBuf>,
    copies: bool,
}

/// How far the ground with sympy has come.
enum Preloaded {
    NotYet,
    Done(Arc<Ground>),
    /// It cannot be made; actions import sympy themselves.
    Failed,
}

impl Sandbox {
    /// Compiles the guest and reads its snapshot, or makes it if there is none that fits.
    ///
    /// # Errors
    /// When the image does not work or memory is short. A cache folder that cannot be written is
    /// no error.
    pub fn open(options: &SandboxOptions) -> Result<Self, SandboxError> {
        let start = Instant::now();
        Self::with_clock(options, false, Arc::new(move || start.elapsed()))
    }

    /// The same without mapped memory: what happens by itself on a system that cannot map it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_copying(options: &SandboxOptions) -> Result<Self, SandboxError> {
        let start = Instant::now();
        Self::with_clock(options, true, Arc::new(move || start.elapsed()))
    }

    fn with_clock(
        options: &SandboxOptions,
        copies: bool,
        clock: Clock,
    ) -> Result<Self, SandboxError> {
        let machine = Machine::new(&image::python()?, Arc::default())?;
        let world = World { unix_seconds: UNIX_SECONDS, random: 0 };
        let shelf = Shelf { folder: options.cache_dir.clone(), copies };
        let key = image::key("");
        let base = match shelf.take(&key) {
            Some(snapshot) => snapshot,
            None => shelf.keep(machine.initialise(world)?, &key),
        };
        let base = Arc::new(Ground::new(base));
        let sympy = Mutex::new(Preloaded::NotYet);
        Ok(Self(Arc::new(Shared { machine, clock, shelf, base, sympy })))
    }

    /// A new session, in the interpreter's first state.
    ///
    /// # Errors
    /// When memory is short.
    pub fn session(&self, seed: &Seed) -> Result<Session, SandboxError> {
        Ok(Session::new(Arc::clone(&self.0), *seed)?)
    }
}

impl Shared {
    /// The ground with sympy, made now if it is the first time. `None` if it cannot be had.
    fn sympy(&self, cancel: &Cancel) -> Option<Arc<Ground>> {
        let mut sympy = self.sympy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Preloaded::NotYet = *sympy {
            *sympy = self.preload_sympy(cancel);
        }
        match &*sympy {
            Preloaded::Done(ground) => Some(Arc::clone(ground)),
            Preloaded::NotYet | Preloaded::Failed => None,
        }
    }

    fn preload_sympy(&self, cancel: &Cancel) -> Preloaded {
        let name = image::SYMPY_PRELOAD;
        let key = image::key(name);
        if let Some(snapshot) = self.shelf.take(&key) {
            return Preloaded::Done(Arc::new(Ground::new(snapshot)));
        }
        tracing::info!("sympy is prepared, once: this takes a while");
        match self.machine.preload(&self.base.snapshot, name, cancel) {
            Ok(Some(made)) => Preloaded::Done(Arc::new(Ground::new(self.shelf.keep(made, &key)))),
            Ok(None) => Preloaded::NotYet,
            Err(error) => {
                tracing::warn!(%error, "sympy cannot be prepared; actions import it themselves");
                Preloaded::Failed
            }
        }
    }
}

impl Shelf {
    /// The snapshot of `key`, if it is there.
    fn take(&self, key: &Key) -> Option<Snapshot> {
        Snapshot::load(&self.path(key)?, key, self.copies)
    }

    /// Puts a new one there. Where it cannot stay, it is kept in memory.
    fn keep(&self, made: Snapshot, key: &Key) -> Snapshot {
        made.kept(self.path(key).as_deref(), key, self.copies)
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        let name: String = key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.folder.as_ref().map(|folder| folder.join(format!("python-{name}.snapshot")))
    }
}
