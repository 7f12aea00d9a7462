//! The guest in its virtual machine. Nothing else names the machine's crate.

use std::sync::Arc;

use wasmi::{
    Caller, CompilationMode, Config, CustomFuelCosts, Engine, Error, Global, Linker, Memory,
    MemoryType, Module, OperatorCost, Store, StoreLimits, StoreLimitsBuilder, TrapCode, TypedFunc,
    TypedResumableCall, Val,
};

use super::image::Library;
use super::limits::{Limit, Limits};
use super::operators::set_free;
use super::snapshot::{PAGE_BYTES, Snapshot, State};
use super::wasi::{self, World};

/// Depth of WebAssembly calls. One level of Python recursion through C takes several.
const CALLS_MAX: usize = 10_000;
const STACK_BYTES_MAX: usize = 64 << 20;
/// Fuel between two looks at the clock and the cancel flag: 10 to 30 ms.
const SLICE_FUEL: u64 = 500_000;
/// What a host call is charged beside its bytes, about a millisecond of Python.
const CALL_FUEL: u64 = 50_000;
/// Fuel for calls the host makes on its own behalf.
const HOST_FUEL: u64 = u64::MAX;
/// Bytes of the guest's report beyond the texts that the output limit bounds.
const REPORT_BYTES_MAX: usize = 64 << 20;

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

/// What a tool call asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the tool.
    pub tool: String,
    /// Its arguments, a JSON object.
    pub arguments: Vec<u8>,
}

/// What a running action needs from the outside.
pub trait Surroundings {
    /// Answers a tool call with JSON, or with the message of an exception.
    ///
    /// # Errors
    /// The limit that the call reaches.
    fn call(&mut self, request: &Request) -> Result<Result<String, String>, Limit>;
    /// Whether the action must end now, looked at between slices.
    fn interruption(&mut self) -> Option<Interruption>;
}

/// Why an action must end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// A limit.
    Limit(Limit),
    /// Somebody cancelled it.
    Cancelled,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest reported how, as JSON.
    Reported(Vec<u8>),
    /// It was interrupted.
    Interrupted(Interruption),
    /// The guest's stack is exhausted.
    StackExhausted,
    /// `os._exit` or its like.
    Exited(i32),
    /// The guest gave up.
    Aborted(String),
}

/// An action that ended, with what it printed and used.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// What it printed.
    pub printed: Vec<u8>,
    /// What it used.
    pub fuel: u64,
}

/// What the guest's host functions work on.
struct Guest {
    limits: StoreLimits,
    memory: Option<Memory>,
    library: Arc<Library>,
    world: World,
    printed: Vec<u8>,
    print_bytes_max: usize,
    call_bytes_max: usize,
    /// Fuel of host calls, beside what the machine counts.
    charged: u64,
    /// What `read` will copy.
    answer: Vec<u8>,
    report: Option<Vec<u8>>,
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
        instance.store.data_mut().world = world;
        let initialise = instance.exports.get_typed_func::<(), ()>(&instance.store, "_initialize")?;
        let init = instance.exports.get_typed_func::<(), i32>(&instance.store, "init")?;
        let started = initialise.call(&mut instance.store, ());
        let code = started.and_then(|()| init.call(&mut instance.store, ()));
        let printed = String::from_utf8_lossy(&instance.store.data().printed);
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
        self.store.data_mut().world = world;
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
        self.store.data_mut().prepare(limits, world);
        let mut fuel = FuelGauge { max: limits.fuel_max, used: 0, slice: 0 };
        let end = self.run_source(source, &mut fuel, surroundings);
        let end = end.unwrap_or_else(|error| end_of(&error));
        // A trap leaves its last slice uncounted.
        let _ = fuel.note(&self.store);
        let guest = self.store.data_mut();
        let printed = std::mem::take(&mut guest.printed);
        guest.answer = Vec::new();
        Ended { end, printed, fuel: fuel.used.saturating_add(guest.charged).min(fuel.max) }
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
        fuel.refill(&mut self.store, 0)?;
        let mut call = self.run.call_resumable(&mut self.store, (pointer, length))?;
        loop {
            fuel.note(&self.store)?;
            call = match call {
                TypedResumableCall::Finished(_) => break,
                TypedResumableCall::OutOfFuel(stopped) => {
                    if let Some(end) = fuel.interruption(&self.store, surroundings) {
                        return Ok(End::Interrupted(end));
                    }
                    let required = stopped.required_fuel();
                    if !fuel.refill(&mut self.store, required)? {
                        return Ok(End::Interrupted(Interruption::Limit(Limit::Fuel)));
                    }
                    stopped.resume(&mut self.store)?
                }
                TypedResumableCall::HostTrap(left) => {
                    let request = match left.host_error().downcast_ref::<Leave>() {
                        Some(Leave::Call(request)) => request.clone(),
                        _ => return Ok(end_of(left.host_error())),
                    };
                    let answer = match surroundings.call(&request) {
                        Ok(answer) => self.store.data_mut().set_answer(answer),
                        Err(limit) => return Ok(End::Interrupted(Interruption::Limit(limit))),
                    };
                    if let Some(end) = fuel.interruption(&self.store, surroundings) {
                        return Ok(End::Interrupted(end));
                    }
                    fuel.refill(&mut self.store, 0)?;
                    left.resume(&mut self.store, &[Val::I32(answer)])?
                }
            };
        }
        self.store.set_fuel(HOST_FUEL)?;
        self.release.call(&mut self.store, pointer)?;
        let report = self.store.data_mut().report.take();
        let silent = || End::Aborted("the action ended without a report".to_owned());
        Ok(report.map_or_else(silent, End::Reported))
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

/// Fuel is given in slices, so that the clock is looked at between them.
struct FuelGauge {
    max: u64,
    used: u64,
    slice: u64,
}

impl FuelGauge {
    /// Adds up what the guest used since the last refill.
    fn note(&mut self, store: &Store<Guest>) -> Result<(), Error> {
        let left = store.get_fuel()?;
        self.used = self.used.saturating_add(self.slice.saturating_sub(left));
        self.slice = left;
        Ok(())
    }

    /// Gives the next slice, at least `required`. False if that much is not left.
    fn refill(&mut self, store: &mut Store<Guest>, required: u64) -> Result<bool, Error> {
        let spent = self.used.saturating_add(store.data().charged);
        let left = self.max.saturating_sub(spent);
        self.slice = SLICE_FUEL.max(required).min(left);
        store.set_fuel(self.slice)?;
        Ok(left > 0 && left >= required)
    }

    fn interruption(
        &self,
        store: &Store<Guest>,
        surroundings: &mut dyn Surroundings,
    ) -> Option<Interruption> {
        let spent = self.used.saturating_add(store.data().charged);
        let out = (spent >= self.max).then_some(Interruption::Limit(Limit::Fuel));
        out.or_else(|| surroundings.interruption())
    }
}

impl Guest {
    fn new(library: Arc<Library>) -> Self {
        Self {
            limits: memory_limits(&Limits::default()),
            memory: None,
            library,
            world: World { unix_seconds: 0 },
            printed: Vec::new(),
            print_bytes_max: REPORT_BYTES_MAX,
            call_bytes_max: 0,
            charged: 0,
            answer: Vec::new(),
            report: None,
        }
    }

    fn prepare(&mut self, limits: &Limits, world: World) {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        self.limits = memory_limits(limits);
        self.world = world;
        self.printed = Vec::new();
        self.print_bytes_max = size(limits.output_bytes_max);
        // A byte of the query takes at most six in JSON.
        self.call_bytes_max = size(limits.query_bytes_max).saturating_mul(6).saturating_add(1024);
        self.charged = 0;
        self.answer = Vec::new();
        self.report = None;
    }

    fn charge(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.charged = self.charged.saturating_add(CALL_FUEL).saturating_add(bytes);
    }

    /// Keeps an answer for `read` and returns its length.
    fn set_answer(&mut self, answer: Result<String, String>) -> i32 {
        let (status, text) = match answer {
            Ok(text) => (0, text),
            Err(message) => (1, message),
        };
        self.keep_answer(status, text.as_bytes())
    }

    fn keep_answer(&mut self, status: u8, bytes: &[u8]) -> i32 {
        self.charge(bytes.len());
        self.answer = Vec::with_capacity(bytes.len() + 1);
        self.answer.push(status);
        self.answer.extend_from_slice(bytes);
        i32::try_from(self.answer.len()).unwrap_or(-1)
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
    let room = caller.data().print_bytes_max.saturating_sub(caller.data().printed.len());
    let shown = i32::try_from(index(length).min(room)).unwrap_or(i32::MAX);
    let bytes = copy_out(&caller, pointer, shown)?;
    let guest = caller.data_mut();
    guest.printed.extend_from_slice(&bytes);
    guest.charge(bytes.len());
    if index(length) > room { Err(Leave::Limit(Limit::Output).into()) } else { Ok(()) }
}

fn host_call(
    mut caller: Caller<'_, Guest>,
    name: i32,
    name_length: i32,
    arguments: i32,
    arguments_length: i32,
) -> Result<i32, Error> {
    let max = caller.data().call_bytes_max;
    if index(arguments_length) > max || index(name_length) > max {
        let message = "the query is too long: search for a few words";
        return Ok(caller.data_mut().set_answer(Err(message.to_owned())));
    }
    let tool = String::from_utf8_lossy(&copy_out(&caller, name, name_length)?).into_owned();
    let arguments = copy_out(&caller, arguments, arguments_length)?;
    Err(Leave::Call(Request { tool, arguments }).into())
}

fn host_load(mut caller: Caller<'_, Guest>, name: i32, length: i32) -> Result<i32, Error> {
    let name = copy_out(&caller, name, length.min(1024))?;
    let library = Arc::clone(&caller.data().library);
    let found = std::str::from_utf8(&name).ok().and_then(|name| library.module(name));
    let guest = caller.data_mut();
    Ok(found.map_or(-1, |module| guest.keep_answer(u8::from(module.is_package), module.code)))
}

fn host_read(mut caller: Caller<'_, Guest>, target: i32) -> Result<(), Error> {
    let answer = std::mem::take(&mut caller.data_mut().answer);
    let memory = guest_memory(&caller)?;
    memory.write(&mut caller, index(target), &answer).map_err(memory_error)
}

fn host_result(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<(), Error> {
    if index(length) > REPORT_BYTES_MAX {
        return Err(Leave::Limit(Limit::Output).into());
    }
    let report = copy_out(&caller, pointer, length)?;
    caller.data_mut().report = Some(report);
    Ok(())
}

/// Stubs for whatever the guest imports of the operating system.
fn define_wasi(linker: &mut Linker<Guest>, module: &Module) -> Result<(), MachineError> {
    const WASI: &str = "wasi_snapshot_preview1";
    for import in module.imports().filter(|import| import.module() == WASI) {
        let Some(kind) = import.ty().func().cloned() else { continue };
        let name = import.name().to_owned();
        let stub = move |mut caller: Caller<'_, Guest>, given: &[Val], results: &mut [Val]| {
            let arguments: Vec<u64> = given.iter().map(word).collect();
            let world = caller.data().world;
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

fn copy_out(caller: &Caller<'_, Guest>, pointer: i32, length: i32) -> Result<Vec<u8>, Error> {
    let from = index(pointer);
    let bytes = guest_memory(caller)?.data(caller).get(from..from.saturating_add(index(length)));
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
