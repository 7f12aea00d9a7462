//! The guest in its virtual machine. Nothing else names the machine's crate.

use std::sync::Arc;

use wasmi::{
    Caller, CompilationMode, Config, CustomFuelCosts, Engine, Error, Global, Linker, Memory,
    MemoryType, Module, OperatorCost, Store, StoreLimits, StoreLimitsBuilder, TrapCode, TypedFunc,
    TypedResumableCall, Val,
};

use super::guest::{
    End, Ended, Exchange, FuelGauge, Interruption, REPORT_BYTES_MAX, Request, Surroundings,
};
use super::image::Library;
use super::limits::{Limit, Limits};
use super::operators::set_free;
use super::snapshot::{PAGE_BYTES, Snapshot, State};
use super::wasi::{self, World};

/// Depth of WebAssembly calls. One level of Python recursion through C takes several.
const CALLS_MAX: usize = 10_000;
const STACK_BYTES_MAX: usize = 64 << 20;
/// Fuel for calls the host makes on its own behalf. Finite, because they work on a heap that an
/// action may have damaged; making the interpreter takes the most, under a tenth of this.
const HOST_FUEL: u64 = 2_000_000_000;
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
}

/// Why the guest could not be made or did not answer as agreed.
#[derive(Debug, thiserror::Error)]
#[error("the Python image does not work: {0}")]
pub struct MachineError(String);

/// What the guest's host functions work on.
struct Guest {
    limits: StoreLimits,
    memory: Option<Memory>,
    exchange: Exchange,
}

/// Errors with which host functions leave the guest.
#[derive(Debug, Clone)]
enum Leave {
    Call(Request),
    Limit(Limit),
    Exit(i32),
}

impl std::fmt::Display for Leave {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl wasmi::errors::HostError for Leave {}

impl From<Leave> for Error {
    fn from(leave: Leave) -> Self {
        Error::host(leave)
    }
}

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
        let mut instance = self.instantiate(0)?;
        instance.store.data_mut().exchange.world = world;
        let initialise =
            instance.exports.get_typed_func::<(), ()>(&instance.store, "_initialize")?;
        let init = instance.exports.get_typed_func::<(), i32>(&instance.store, "init")?;
        let started = initialise.call(&mut instance.store, ());
        let code = started.and_then(|()| init.call(&mut instance.store, ()));
        let printed = String::from_utf8_lossy(&instance.store.data().exchange.printed);
        match code {
            Ok(0) => {}
            Ok(code) => return Err(MachineError(format!("init returned {code}: {printed}"))),
            Err(error) => return Err(MachineError(format!("init ended: {error}: {printed}"))),
        }
        let memory = instance.memory.data(&instance.store).to_vec();
        Ok(Snapshot { stack_pointer: instance.stack_pointer(), memory })
    }

    /// An instance in `state`. A `spare` one is used if its memory is not too large.
    pub fn restore(
        &self,
        snapshot: &Snapshot,
        state: &State,
        spare: Option<Instance>,
    ) -> Result<Instance, MachineError> {
        let wanted = state.memory_bytes();
        let mut instance = match spare {
            Some(instance) if instance.memory_bytes() <= wanted => instance,
            _ => self.instantiate(wanted / PAGE_BYTES)?,
        };
        instance.grow_to(wanted)?;
        state.restore(snapshot, instance.memory.data_mut(&mut instance.store));
        let pointer = Val::I32(state.stack_pointer());
        let set = instance.stack_pointer.set(&mut instance.store, pointer);
        set.map_err(|error| MachineError(error.to_string()))?;
        Ok(instance)
    }

    fn instantiate(&self, pages: usize) -> Result<Instance, MachineError> {
        let mut store = Store::new(&self.engine, Guest::new(Arc::clone(&self.library)));
        store.limiter(|guest| &mut guest.limits);
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        let minimum = u32::try_from(self.memory_type.minimum()).unwrap_or(u32::MAX).max(pages);
        let maximum = self.memory_type.maximum().and_then(|most| u32::try_from(most).ok());
        let memory = Memory::new(&mut store, MemoryType::new(minimum, maximum))?;
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
            store,
        })
    }
}

fn missing(name: &str) -> MachineError {
    MachineError(format!("it does not export {name}"))
}

impl Instance {
    /// Seeds a new session.
    pub fn start(&mut self, random: u64, world: World) -> Result<(), MachineError> {
        self.store.data_mut().exchange.world = world;
        self.store.set_fuel(HOST_FUEL)?;
        let seed = i64::from_le_bytes(random.to_le_bytes());
        Ok(self.start.call(&mut self.store, (seed, world.unix_seconds))?)
    }

    /// Runs one action.
    pub fn run(
        &mut self,
        source: &str,
        limits: &Limits,
        world: World,
        surroundings: &mut dyn Surroundings,
    ) -> Ended {
        let guest = self.store.data_mut();
        guest.limits = memory_limits(limits);
        guest.exchange.prepare(limits, world);
        let mut fuel = FuelGauge::new(limits.fuel_max);
        let end = self.run_source(source, &mut fuel, surroundings);
        let end = end.unwrap_or_else(|error| end_of(&error));
        // A trap leaves its last slice uncounted.
        let _ = self.note(&mut fuel);
        let exchange = &mut self.store.data_mut().exchange;
        drop(exchange.take_answer());
        let printed = std::mem::take(&mut exchange.printed);
        Ended { end, printed, fuel: fuel.spent(exchange.charged) }
    }

    /// What differs from `snapshot` now.
    pub fn save(&self, snapshot: &Snapshot) -> State {
        State::save(snapshot, self.memory.data(&self.store), self.stack_pointer())
    }

    /// Size of the linear memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    fn run_source(
        &mut self,
        source: &str,
        fuel: &mut FuelGauge,
        surroundings: &mut dyn Surroundings,
    ) -> Result<End, Error> {
        let Some((pointer, length)) = self.place(source.as_bytes())? else {
            return Ok(End::Interrupted(Interruption::Limit(Limit::Memory)));
        };
        let out_of_fuel = Ok(End::Interrupted(Interruption::Limit(Limit::Fuel)));
        if !self.refill(fuel, 0)? {
            return out_of_fuel;
        }
        let mut call = self.run.call_resumable(&mut self.store, (pointer, length))?;
        loop {
            self.note(fuel)?;
            let (required, answer) = match &call {
                TypedResumableCall::Finished(_) => break,
                TypedResumableCall::OutOfFuel(stopped) => (stopped.required_fuel(), None),
                TypedResumableCall::HostTrap(left) => {
                    let Some(Leave::Call(request)) = left.host_error().downcast_ref() else {
                        return Ok(end_of(left.host_error()));
                    };
                    match surroundings.call(request) {
                        Ok(answer) => (0, Some(answer)),
                        Err(limit) => return Ok(End::Interrupted(Interruption::Limit(limit))),
                    }
                }
            };
            if let Some(interruption) = surroundings.interruption() {
                return Ok(End::Interrupted(interruption));
            }
            let answer = answer.map(|answer| self.store.data_mut().exchange.answer_call(answer));
            if !self.refill(fuel, required)? {
                return out_of_fuel;
            }
            call = match call {
                TypedResumableCall::Finished(_) => break,
                TypedResumableCall::OutOfFuel(stopped) => stopped.resume(&mut self.store)?,
                TypedResumableCall::HostTrap(left) => {
                    left.resume(&mut self.store, &[Val::I32(answer.unwrap_or(-1))])?
                }
            };
        }
        self.finish(pointer)
    }

    /// Takes the guest's report after `run` returned, and frees the source at `pointer`.
    fn finish(&mut self, pointer: i32) -> Result<End, Error> {
        self.store.set_fuel(HOST_FUEL)?;
        self.release.call(&mut self.store, pointer)?;
        let report = self.store.data_mut().exchange.report.take();
        let silent = || End::Aborted("the action ended without a report".to_owned());
        Ok(report.map_or_else(silent, End::Reported))
    }

    /// Counts the fuel used since the last refill.
    fn note(&self, fuel: &mut FuelGauge) -> Result<(), Error> {
        fuel.note(self.store.get_fuel()?);
        Ok(())
    }

    /// Gives the next slice. False if what is `required` is not left.
    fn refill(&mut self, fuel: &mut FuelGauge, required: u64) -> Result<bool, Error> {
        let slice = fuel.next_slice(required, self.store.data().exchange.charged);
        self.store.set_fuel(slice.unwrap_or_default())?;
        Ok(slice.is_some())
    }

    /// Copies `bytes` into the guest. `None` if it has no memory left.
    fn place(&mut self, bytes: &[u8]) -> Result<Option<(i32, i32)>, Error> {
        self.store.set_fuel(HOST_FUEL)?;
        let length = i32::try_from(bytes.len()).map_err(|error| Error::new(error.to_string()))?;
        let pointer = self.allocate.call(&mut self.store, length.max(1))?;
        if pointer == 0 {
            return Ok(None);
        }
        self.memory.write(&mut self.store, index(pointer), bytes).map_err(memory_error)?;
        Ok(Some((pointer, length)))
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

    fn stack_pointer(&self) -> i32 {
        self.stack_pointer.get(&self.store).i32().unwrap_or_default()
    }
}

impl Guest {
    fn new(library: Arc<Library>) -> Self {
        let limits = memory_limits(&Limits::default());
        Self { limits, memory: None, exchange: Exchange::new(library) }
    }
}

fn memory_limits(limits: &Limits) -> StoreLimits {
    let bytes = usize::try_from(limits.memory_bytes_max).unwrap_or(usize::MAX);
    StoreLimitsBuilder::new().memory_size(bytes).build()
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

/// The functions of module `retort`.
fn define_host(linker: &mut Linker<Guest>) -> Result<(), MachineError> {
    let name = "retort";
    let defined = |result: Result<_, wasmi::errors::LinkerError>| match result {
        Ok(_) => Ok(()),
        Err(error) => Err(MachineError(error.to_string())),
    };
    defined(linker.func_wrap(name, "print", host_print).map(drop))?;
    defined(linker.func_wrap(name, "call", host_call).map(drop))?;
    defined(linker.func_wrap(name, "load", host_load).map(drop))?;
    defined(linker.func_wrap(name, "read", host_read).map(drop))?;
    defined(linker.func_wrap(name, "result", host_result).map(drop))
}

fn host_print(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<(), Error> {
    let shown = caller.data().exchange.printable(index(length));
    let bytes = copy_out(&caller, pointer, shown)?;
    caller.data_mut().exchange.print(&bytes);
    if shown < index(length) { Err(Leave::Limit(Limit::Output).into()) } else { Ok(()) }
}

fn host_call(
    mut caller: Caller<'_, Guest>,
    name: i32,
    name_length: i32,
    arguments: i32,
    arguments_length: i32,
) -> Result<i32, Error> {
    let exchange = &mut caller.data_mut().exchange;
    let bytes = index(arguments_length).saturating_add(index(name_length));
    if !exchange.is_readable_call(bytes) {
        let message = "the query is too long: search for a few words";
        return Ok(exchange.answer_call(Err(message.to_owned())));
    }
    let tool = copy_out(&caller, name, index(name_length))?;
    let tool = String::from_utf8_lossy(&tool).into_owned();
    let arguments = copy_out(&caller, arguments, index(arguments_length))?;
    Err(Leave::Call(Request { tool, arguments }).into())
}

fn host_load(mut caller: Caller<'_, Guest>, name: i32, length: i32) -> Result<i32, Error> {
    const NAME_BYTES_MAX: usize = 1024;
    let name = copy_out(&caller, name, index(length).min(NAME_BYTES_MAX))?;
    Ok(caller.data_mut().exchange.answer_load(&name))
}

fn host_read(mut caller: Caller<'_, Guest>, target: i32) -> Result<(), Error> {
    let answer = caller.data_mut().exchange.take_answer();
    let memory = guest_memory(&caller)?;
    memory.write(&mut caller, index(target), &answer).map_err(memory_error)
}

fn host_result(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<(), Error> {
    if index(length) > REPORT_BYTES_MAX {
        return Err(Leave::Limit(Limit::Output).into());
    }
    let report = copy_out(&caller, pointer, index(length))?;
    caller.data_mut().exchange.report = Some(report);
    Ok(())
}

/// Stubs for whatever the guest imports of the operating system.
fn define_wasi(linker: &mut Linker<Guest>, module: &Module) -> Result<(), MachineError> {
    const WASI: &str = "wasi_snapshot_preview1";
    for import in module.imports().filter(|import| import.module() == WASI) {
        let Some(kind) = import.ty().func().cloned() else {
            continue;
        };
        let name = import.name().to_owned();
        let stub = move |mut caller: Caller<'_, Guest>, given: &[Val], results: &mut [Val]| {
            let arguments: Vec<u64> = given.iter().map(word).collect();
            let world = caller.data().exchange.world;
            let memory = guest_memory(&caller)?;
            match wasi::answer(&name, &arguments, memory.data_mut(&mut caller), world) {
                wasi::Reply::Exit(status) => return Err(Leave::Exit(status).into()),
                wasi::Reply::Errno(errno) => {
                    if let Some(result) = results.first_mut() {
                        *result = Val::I32(errno);
                    }
                }
            }
            Ok(())
        };
        let defined = linker.func_new(WASI, import.name(), kind, stub).map(drop);
        defined.map_err(|error| MachineError(error.to_string()))?;
    }
    Ok(())
}

fn guest_memory(caller: &Caller<'_, Guest>) -> Result<Memory, Error> {
    caller.data().memory.ok_or_else(|| Error::new("the guest has no memory"))
}

fn copy_out(caller: &Caller<'_, Guest>, pointer: i32, length: usize) -> Result<Vec<u8>, Error> {
    let from = index(pointer);
    let bytes = guest_memory(caller)?.data(caller).get(from..from.saturating_add(length));
    bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::from(TrapCode::MemoryOutOfBounds))
}

/// A pointer or length as the guest means it: unsigned.
fn index(value: i32) -> usize {
    usize::try_from(value.cast_unsigned()).unwrap_or(usize::MAX)
}

fn word(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        _ => 0,
    }
}

fn memory_error(error: wasmi::errors::MemoryError) -> Error {
    Error::new(error.to_string())
}

/// What an error that left the guest means.
fn end_of(error: &Error) -> End {
    match error.downcast_ref::<Leave>() {
        Some(Leave::Limit(limit)) => return End::Interrupted(Interruption::Limit(*limit)),
        Some(Leave::Exit(status)) => return End::Exited(*status),
        _ => {}
    }
    match error.as_trap_code() {
        // The guest's C stack lies below everything else: overflowing it leaves the memory.
        Some(TrapCode::StackOverflow | TrapCode::MemoryOutOfBounds) => End::StackExhausted,
        _ => End::Aborted(error.to_string()),
    }
}
