//! A user's tool in a virtual machine of its own.

use wasmi::errors::ErrorKind;
use wasmi::{
    CompilationMode, Config, EnforcedLimits, Engine, Error, ExternType, Linker, Module, Store,
    StoreLimits, StoreLimitsBuilder, TrapCode, TypedResumableCall, ValType, WasmResults,
};

use super::super::allowance::Allowance;
use super::super::guest::FuelGauge;
use super::super::snapshot::PAGE_BYTES;
use super::super::tool::{RESULT_BYTES_MAX, ToolFailure, ToolLimits, ToolModuleError};
use super::host::index;

/// Elements of a tool's table of functions.
const TABLE_ELEMENTS_MAX: usize = 10_000;

const MEMORY: &str = "`memory`";
const ALLOC: &str = "`alloc(i32) -> i32`";
const CALL: &str = "`call(i32, i32) -> i64`";

/// A compiled module.
pub struct Tool {
    engine: Engine,
    module: Module,
    limits: ToolLimits,
}

impl Tool {
    /// Checks the whole module. Functions are translated when they are first called.
    pub fn new(wasm: &[u8], limits: ToolLimits) -> Result<Self, ToolModuleError> {
        let engine = Engine::new(&config());
        let module = Module::new(&engine, wasm)
            .map_err(|error| ToolModuleError::NotWasm(error.to_string()))?;
        check_imports(&module)?;
        check_exports(&module)?;
        check_memory(&module, limits)?;
        Ok(Self { engine, module, limits })
    }

    /// Calls it in a new instance; returns the bytes that it says are its result.
    pub fn call(
        &self,
        arguments: &[u8],
        allowance: &mut Allowance<'_>,
    ) -> Result<Vec<u8>, ToolFailure> {
        let mut store = Store::new(&self.engine, self.store_limits());
        store.limiter(|limits| limits);
        let fuel = FuelGauge::new(self.limits.fuel_max.min(allowance.fuel_left()));
        let mut running = Running { store, fuel, fuel_max: self.limits.fuel_max, allowance };
        let answer = running.answer(self, arguments);
        // A trap leaves its last slice uncounted.
        let _ = running.note();
        let used = running.fuel.spent(0);
        allowance.charge(used);
        if answer == Err(ToolFailure::CutOff) && !allowance.is_interrupted() {
            // What is left is less than its next instructions take.
            allowance.charge(allowance.fuel_left());
        }
        answer
    }

    fn store_limits(&self) -> StoreLimits {
        let bytes = usize::try_from(self.limits.memory_bytes_max).unwrap_or(usize::MAX);
        StoreLimitsBuilder::new()
            .memory_size(bytes)
            .table_elements(TABLE_ELEMENTS_MAX)
            .instances(1)
            .memories(1)
            .trap_on_grow_failure(true)
            .build()
    }
}

/// A call while it goes on: fuel in slices, and a look at its action between them.
struct Running<'a, 'b> {
    store: Store<StoreLimits>,
    fuel: FuelGauge,
    /// Fuel of the tool, whatever its action has left.
    fuel_max: u64,
    allowance: &'a Allowance<'b>,
}

impl Running<'_, '_> {
    fn answer(&mut self, tool: &Tool, arguments: &[u8]) -> Result<Vec<u8>, ToolFailure> {
        let broken = |error: Error| failure(&error);
        // The first slice instantiates: that cannot be interrupted.
        self.refill(0)?;
        let linker = Linker::new(&tool.engine);
        let instance =
            linker.instantiate_and_start(&mut self.store, &tool.module).map_err(broken)?;
        let memory = instance.get_memory(&self.store, "memory");
        let memory = memory.ok_or_else(|| ToolFailure::Trap("it has no memory".to_owned()))?;
        let alloc = instance.get_typed_func::<i32, i32>(&self.store, "alloc").map_err(broken)?;
        let call = instance.get_typed_func::<(i32, i32), i64>(&self.store, "call");
        let call = call.map_err(broken)?;

        let length =
            i32::try_from(arguments.len()).map_err(|error| ToolFailure::Trap(error.to_string()))?;
        let allocating = alloc.call_resumable(&mut self.store, length);
        let pointer = self.drive(allocating)?;
        let out_of_bounds = |_| failure(&Error::from(TrapCode::MemoryOutOfBounds));
        memory.write(&mut self.store, index(pointer), arguments).map_err(out_of_bounds)?;
        let calling = call.call_resumable(&mut self.store, (pointer, length));
        let packed = self.drive(calling)?;
        result(memory.data(&self.store), packed)
    }

    /// Goes on with a call until it returns.
    fn drive<R: WasmResults>(
        &mut self,
        mut call: Result<TypedResumableCall<R>, Error>,
    ) -> Result<R, ToolFailure> {
        loop {
            match call.map_err(|error| failure(&error))? {
                TypedResumableCall::Finished(results) => return Ok(results),
                TypedResumableCall::HostTrap(left) => return Err(failure(left.host_error())),
                TypedResumableCall::OutOfFuel(stopped) => {
                    self.refill(stopped.required_fuel())?;
                    call = stopped.resume(&mut self.store);
                }
            }
        }
    }

    /// Gives the next slice, unless the action or the fuel has come to its end.
    fn refill(&mut self, required: u64) -> Result<(), ToolFailure> {
        self.note().map_err(|error| failure(&error))?;
        if self.allowance.is_interrupted() {
            return Err(ToolFailure::CutOff);
        }
        match self.fuel.next_slice(required, 0) {
            Some(slice) => self.store.set_fuel(slice).map_err(|error| failure(&error)),
            None if self.allowance.fuel_left() < self.fuel_max => Err(ToolFailure::CutOff),
            None => Err(ToolFailure::Fuel),
        }
    }

    /// Counts the fuel used since the last slice was given.
    fn note(&mut self) -> Result<(), Error> {
        self.fuel.note(self.store.get_fuel()?);
        Ok(())
    }
}

/// The bytes that a packed pointer (upper half) and length (lower half) mean.
fn result(memory: &[u8], packed: i64) -> Result<Vec<u8>, ToolFailure> {
    let wrong = |reason: String| Err(ToolFailure::Answer(reason));
    let packed = packed.cast_unsigned();
    let half = |bits: u64| usize::try_from(bits & 0xffff_ffff).unwrap_or(usize::MAX);
    let (from, length) = (half(packed >> 32), half(packed));
    if length > RESULT_BYTES_MAX {
        return wrong(format!("its result is longer than {RESULT_BYTES_MAX} bytes"));
    }
    match memory.get(from..from.saturating_add(length)) {
        Some(bytes) => Ok(bytes.to_vec()),
        None => wrong("its result lies outside its memory".to_owned()),
    }
}

fn check_imports(module: &Module) -> Result<(), ToolModuleError> {
    match module.imports().next() {
        None => Ok(()),
        Some(import) => {
            Err(ToolModuleError::Imports(format!("{}.{}", import.module(), import.name())))
        }
    }
}

fn check_exports(module: &Module) -> Result<(), ToolModuleError> {
    use ValType::{I32, I64};
    let functions: [(&str, &[ValType], &[ValType], &'static str); 2] =
        [("alloc", &[I32], &[I32], ALLOC), ("call", &[I32, I32], &[I64], CALL)];
    if module.get_export("memory").is_none_or(|export| export.memory().is_none()) {
        return Err(ToolModuleError::Lacks(MEMORY));
    }
    for (name, parameters, results, told) in functions {
        let fits = match module.get_export(name) {
            Some(ExternType::Func(kind)) => {
                kind.params() == parameters && kind.results() == results
            }
            _ => false,
        };
        if !fits {
            return Err(ToolModuleError::Lacks(told));
        }
    }
    Ok(())
}

fn check_memory(module: &Module, limits: ToolLimits) -> Result<(), ToolModuleError> {
    let kind = module.get_export("memory").and_then(|export| export.memory().copied());
    let pages = kind.map_or(0, |kind| kind.minimum());
    let page_bytes = u64::try_from(PAGE_BYTES).unwrap_or(u64::MAX);
    let (bytes, max) = (pages.saturating_mul(page_bytes), limits.memory_bytes_max);
    if bytes > max { Err(ToolModuleError::Memory { bytes, max }) } else { Ok(()) }
}

fn failure(error: &Error) -> ToolFailure {
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => ToolFailure::Fuel,
        Some(TrapCode::GrowthOperationLimited) => ToolFailure::Memory,
        _ => match error.kind() {
            ErrorKind::Fuel(_) => ToolFailure::Fuel,
            _ => ToolFailure::Trap(error.to_string()),
        },
    }
}

/// Every instruction costs fuel here, not only loops: a module may recurse without any.
fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .ignore_custom_sections(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .enforced_limits(EnforcedLimits::strict())
        .compilation_mode(CompilationMode::LazyTranslation);
    config
}
