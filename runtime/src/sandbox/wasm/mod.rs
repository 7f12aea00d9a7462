//! The guest in its virtual machine, and a user's tool in one of its own. Nothing else names the
//! machine's crate.

mod call;
mod host;
mod tool;

use std::ops::Range;
use std::sync::Arc;

use wasmi::{
    CompilationMode, Config, CustomFuelCosts, Engine, Error, Global, Linker, Memory, MemoryType,
    Module, OperatorCost, Store, StoreLimits, TypedFunc, Val,
};

use self::host::{Guest, define_host, define_wasi};
use super::image::Library;
use super::operators::set_free;
use super::region::Region;
use super::snapshot::{PAGE_BYTES, Snapshot};
use super::state::State;
use super::wasi::World;
use crate::cancel::Cancel;

pub use self::tool::Tool;

/// Blocks, 4 MiB, up to which an instance at rest keeps what it holds: the next state is likely to
/// share most of it, and writing a page anew is cheaper than being given it anew.
const HELD_BLOCKS_MAX: usize = 1024;
/// Depth of WebAssembly calls. One level of Python recursion through C takes several.
const CALLS_MAX: usize = 10_000;
const STACK_BYTES_MAX: usize = 64 << 20;
/// Fuel for calls the host makes on its own behalf. Finite, because they work on a heap that an
/// action may have damaged; importing sympy takes the most, a tenth of this.
const HOST_FUEL: u64 = 10_000_000_000;

/// The compiled guest, and what its instances share.
pub struct Machine {
    engine: Engine,
    module: Module,
    linker: Linker<Guest>,
    memory_type: MemoryType,
    library: Arc<Library>,
}

/// The guest's interpreter, ready to run.
pub struct Instance {
    store: Store<Guest>,
    memory: Memory,
    stack_pointer: Global,
    allocate: TypedFunc<i32, i32>,
    release: TypedFunc<i32, ()>,
    start: TypedFunc<(i64, i64), ()>,
    run: TypedFunc<(i32, i32), i32>,
    exports: wasmi::Instance,
    /// What the memory holds, where that is known: not while anything runs, nor after what was
    /// not saved.
    held: Option<Arc<State>>,
    /// Holds the memory, where a snapshot could be mapped. Declared after the store, which is
    /// dropped first.
    region: Option<Region>,
}

/// Why the guest could not be made or did not answer as agreed.
#[derive(Debug, thiserror::Error)]
#[error("the Python image does not work: {0}")]
pub struct MachineError(String);

impl From<Error> for MachineError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

impl Machine {
    /// Compiles the guest. Functions are translated when they are first called.
    pub fn new(wasm: &[u8], library: Arc<Library>) -> Result<Self, MachineError> {
        let engine = Engine::new(&config());
        let module = Module::new(&engine, wasm)?;
        let memory_type = module
            .imports()
            .find_map(|import| import.ty().memory().copied())
            .ok_or_else(|| MachineError("it imports no memory".to_owned()))?;
        let mut linker = Linker::new(&engine);
        define_host(&mut linker)?;
        define_wasi(&mut linker, &module)?;
        Ok(Self { engine, module, linker, memory_type, library })
    }

    /// Initialises the interpreter from nothing. Takes most of a second.
    pub fn initialise(&self, world: World) -> Result<Snapshot, MachineError> {
        let mut instance = self.instantiate(0, None)?;
        instance.store.data_mut().exchange.world = world;
        let initialise =
            instance.exports.get_typed_func::<(), ()>(&instance.store, "_initialize")?;
        let init = instance.exports.get_typed_func::<(), i32>(&instance.store, "init")?;
        let started = initialise.call(&mut instance.store, ());
        let code = started.and_then(|()| init.call(&mut instance.store, ()))?;
        instance.made("init", code)
    }

    /// `base` with more modules imported: those that the module `name` imports. `None` if it was
    /// cancelled.
    pub fn preload(
        &self,
        base: &Snapshot,
        name: &str,
        cancel: &Cancel,
    ) -> Result<Option<Snapshot>, MachineError> {
        let mut instance = self.instance(base, base.memory().len())?;
        match instance.preload(name, cancel)? {
            Some(code) => instance.made("preload", code).map(Some),
            None => Ok(None),
        }
    }

    /// An instance that holds `snapshot`, with at least `memory_bytes`.
    pub fn instance(
        &self,
        snapshot: &Snapshot,
        memory_bytes: usize,
    ) -> Result<Instance, MachineError> {
        let region = snapshot.file().and_then(|_| Region::reserve().ok());
        let mut instance = self.instantiate(memory_bytes / PAGE_BYTES, region)?;
        if !instance.show(snapshot) {
            return Err(MachineError("its snapshot cannot be mapped".to_owned()));
        }
        instance.held = Some(Arc::new(State::unchanged(snapshot)));
        Ok(instance)
    }

    fn instantiate(
        &self,
        pages: usize,
        mut region: Option<Region>,
    ) -> Result<Instance, MachineError> {
        let mut store = Store::new(&self.engine, Guest::new(Arc::clone(&self.library)));
        store.limiter(|guest| &mut guest.limits);
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        let minimum = u32::try_from(self.memory_type.minimum()).unwrap_or(u32::MAX).max(pages);
        let maximum = self.memory_type.maximum().and_then(|most| u32::try_from(most).ok());
        let kind = MemoryType::new(minimum, maximum);
        let memory = match &mut region {
            Some(region) => Memory::new_static(&mut store, kind, region.lend())?,
            None => Memory::new(&mut store, kind)?,
        };
        store.data_mut().memory = Some(memory);
        store.set_fuel(HOST_FUEL)?;
        let mut linker = self.linker.clone();
        let defined = linker.define("env", "memory", memory);
        defined.map_err(|error| MachineError(error.to_string()))?;
        let instance = linker.instantiate_and_start(&mut store, &self.module)?;
        let pointer = instance.get_global(&store, "__stack_pointer");
        Ok(Instance {
            memory,
            stack_pointer: pointer.ok_or_else(|| missing("__stack_pointer"))?,
            allocate: instance.get_typed_func(&store, "alloc")?,
            release: instance.get_typed_func(&store, "free")?,
            start: instance.get_typed_func(&store, "start")?,
            run: instance.get_typed_func(&store, "run")?,
            exports: instance,
            held: None,
            store,
            region,
        })
    }
}

fn missing(name: &str) -> MachineError {
    MachineError(format!("it does not export {name}"))
}

impl Instance {
    /// Seeds a new session.
    pub fn start(&mut self, random: u64, world: World) -> Result<(), MachineError> {
        self.held = None;
        self.store.data_mut().exchange.world = world;
        self.store.set_fuel(HOST_FUEL)?;
        let seed = i64::from_le_bytes(random.to_le_bytes());
        Ok(self.start.call(&mut self.store, (seed, world.unix_seconds))?)
    }

    /// Makes the memory hold `state`, which stands on `snapshot`.
    pub fn apply(&mut self, snapshot: &Snapshot, state: &Arc<State>) -> Result<(), MachineError> {
        self.grow_to(state.memory_bytes())?;
        let held = self.held.take();
        let held = held.ok_or_else(|| MachineError("it was not reset".to_owned()))?;
        if !Arc::ptr_eq(&held, state) {
            state.replace(&held, snapshot, self.memory.data_mut(&mut self.store));
        }
        self.held = Some(Arc::clone(state));
        self.set_stack_pointer(state.stack_pointer())
    }

    /// What differs from `snapshot` now; `before` is the state that was applied to it.
    pub fn save(&mut self, snapshot: &Snapshot, before: &State) -> Arc<State> {
        let memory = self.memory.data(&self.store);
        let written = self.region.as_ref().and_then(|region| region.written(memory.len()));
        let everything = || vec![Range { start: 0, end: memory.len() }];
        let written = written.unwrap_or_else(everything);
        let saved = State::save(snapshot, before, memory, &written, self.stack_pointer());
        let saved = Arc::new(saved);
        self.held = Some(Arc::clone(&saved));
        saved
    }

    /// Puts the instance to rest: what it holds is known and small, or the memory is made equal to
    /// `snapshot` again. False if that did not work; the instance is then of no use.
    pub fn rest(&mut self, snapshot: &Snapshot) -> bool {
        if self.held.as_ref().is_some_and(|held| held.blocks() <= HELD_BLOCKS_MAX) {
            return true;
        }
        let is_reset = match &mut self.region {
            Some(region) => region.forget_changes().is_ok(),
            None => self.show(snapshot),
        };
        self.held = is_reset.then(|| Arc::new(State::unchanged(snapshot)));
        is_reset
    }

    /// What the guest may learn of the world from now on.
    pub fn world(&self) -> World {
        self.store.data().exchange.world
    }

    /// Size of the linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    fn grow_to(&mut self, bytes: usize) -> Result<(), MachineError> {
        let missing = bytes.saturating_sub(self.memory_bytes()) / PAGE_BYTES;
        if missing > 0 {
            let pages = u64::try_from(missing).unwrap_or(u64::MAX);
            self.store.data_mut().limits = StoreLimits::default();
            let grown = self.memory.grow(&mut self.store, pages);
            grown.map_err(|error| MachineError(error.to_string()))?;
        }
        Ok(())
    }

    /// Maps or copies `snapshot` into the memory. False if that did not work.
    fn show(&mut self, snapshot: &Snapshot) -> bool {
        match (&mut self.region, snapshot.file()) {
            (Some(region), Some((file, at))) => {
                region.forget_changes().is_ok()
                    && region.show(file, at, snapshot.memory().len()).is_ok()
            }
            _ => {
                let original = snapshot.memory();
                let memory = self.memory.data_mut(&mut self.store);
                let Some((start, tail)) = memory.split_at_mut_checked(original.len()) else {
                    return false;
                };
                start.copy_from_slice(original);
                tail.fill(0);
                true
            }
        }
    }

    /// The snapshot that the guest made of itself by calling `function`.
    fn made(&self, function: &str, code: i32) -> Result<Snapshot, MachineError> {
        if code == 0 {
            let memory = self.memory.data(&self.store).to_vec();
            return Ok(Snapshot::copied(self.stack_pointer(), memory));
        }
        let printed = String::from_utf8_lossy(&self.store.data().exchange.printed);
        Err(MachineError(format!("{function} returned {code}: {printed}")))
    }

    fn stack_pointer(&self) -> i32 {
        self.stack_pointer.get(&self.store).i32().unwrap_or_default()
    }

    fn set_stack_pointer(&mut self, value: i32) -> Result<(), MachineError> {
        let set = self.stack_pointer.set(&mut self.store, Val::I32(value));
        set.map_err(|error| MachineError(error.to_string()))
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Instance of {} bytes", self.memory_bytes())
    }
}

fn config() -> Config {
    let mut cost = OperatorCost::default();
    set_free!(cost);
    cost.loop_ = 1;
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .operator_cost(cost)
        // Translating a function must not be charged to the action that calls it first.
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: 64,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        .ignore_custom_sections(true)
        .set_max_recursion_depth(CALLS_MAX)
        .set_max_stack_height(STACK_BYTES_MAX)
        .compilation_mode(CompilationMode::Lazy);
    config
}
