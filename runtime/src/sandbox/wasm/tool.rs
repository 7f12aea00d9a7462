//! A user's tool in a virtual machine of its own.

use wasmi::errors::ErrorKind;
use wasmi::{
    CompilationMode, Config, EnforcedLimits, Engine, Error, ExternType, Linker, Module, Store,
    StoreLimits, StoreLimitsBuilder, TrapCode, ValType,
};

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
    pub fn call(&self, arguments: &[u8]) -> Result<Vec<u8>, ToolFailure> {
        self.answer(arguments).map_err(|error| failure(&error))?
    }

    fn answer(&self, arguments: &[u8]) -> Result<Result<Vec<u8>, ToolFailure>, Error> {
        let mut store = Store::new(&self.engine, self.store_limits());
        store.limiter(|limits| limits);
        store.set_fuel(self.limits.fuel_max)?;
        let linker = Linker::new(&self.engine);
        let instance = linker.instantiate_and_start(&mut store, &self.module)?;
        let memory = instance.get_memory(&store, "memory");
        let memory = memory.ok_or_else(|| Error::new("it has no memory"))?;
        let alloc = instance.get_typed_func::<i32, i32>(&store, "alloc")?;
        let call = instance.get_typed_func::<(i32, i32), i64>(&store, "call")?;

        let length =
            i32::try_from(arguments.len()).map_err(|error| Error::new(error.to_string()))?;
        let pointer = alloc.call(&mut store, length)?;
        let out_of_bounds = |_| Error::from(TrapCode::MemoryOutOfBounds);
        memory.write(&mut store, index(pointer), arguments).map_err(out_of_bounds)?;
        let packed = call.call(&mut store, (pointer, length))?;
        Ok(result(memory.data(&store), packed))
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
