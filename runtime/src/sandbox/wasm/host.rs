//! What the guest imports: the host's functions, and stubs for an operating system.

use std::sync::Arc;

use wasmi::{
    Caller, Error, Linker, Memory, Module, StoreLimits, StoreLimitsBuilder, TrapCode, Val,
};

use super::super::guest::{End, Exchange, Interruption, REPORT_BYTES_MAX, Request};
use super::super::image::Library;
use super::super::limits::{Limit, Limits};
use super::super::wasi;
use super::MachineError;

/// Bytes of a name that are read.
const NAME_BYTES_MAX: usize = 1024;
/// The tool whose arguments are a query.
const SEARCH: &[u8] = b"search";

/// What the guest's host functions work on.
pub struct Guest {
    pub limits: StoreLimits,
    pub memory: Option<Memory>,
    pub exchange: Exchange,
}

/// Errors with which host functions leave the guest.
#[derive(Debug, Clone)]
pub enum Leave {
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

impl Guest {
    pub fn new(library: Arc<Library>) -> Self {
        let limits = memory_limits(&Limits::default());
        Self { limits, memory: None, exchange: Exchange::new(library) }
    }
}

pub fn memory_limits(limits: &Limits) -> StoreLimits {
    let bytes = usize::try_from(limits.memory_bytes_max).unwrap_or(usize::MAX);
    StoreLimitsBuilder::new().memory_size(bytes).build()
}

/// The functions of module `retort`.
pub fn define_host(linker: &mut Linker<Guest>) -> Result<(), MachineError> {
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
        let searches = copy_out(&caller, name, index(name_length).min(NAME_BYTES_MAX))? == SEARCH;
        let message = if searches {
            "the query is too long: search for a few words"
        } else {
            "the arguments are too long: pass less"
        };
        let exchange = &mut caller.data_mut().exchange;
        return Ok(exchange.answer_call(Err(message.to_owned())));
    }
    let tool = copy_out(&caller, name, index(name_length))?;
    let tool = String::from_utf8_lossy(&tool).into_owned();
    let arguments = copy_out(&caller, arguments, index(arguments_length))?;
    Err(Leave::Call(Request { tool, arguments }).into())
}

fn host_load(mut caller: Caller<'_, Guest>, name: i32, length: i32) -> Result<i32, Error> {
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
pub fn define_wasi(linker: &mut Linker<Guest>, module: &Module) -> Result<(), MachineError> {
    const WASI: &str = "wasi_snapshot_preview1";
    for import in module.imports().filter(|import| import.module() == WASI) {
        let Some(kind) = import.ty().func().cloned() else {
            continue;
        };
        let name = import.name().to_owned();
        let stub = move |mut caller: Caller<'_, Guest>, given: &[Val], results: &mut [Val]| {
            let arguments: Vec<u64> = given.iter().map(word).collect();
            let mut world = caller.data().exchange.world;
            let memory = guest_memory(&caller)?;
            let reply = wasi::answer(&name, &arguments, memory.data_mut(&mut caller), &mut world);
            caller.data_mut().exchange.world = world;
            match reply {
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
pub fn index(value: i32) -> usize {
    usize::try_from(value.cast_unsigned()).unwrap_or(usize::MAX)
}

fn word(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        _ => 0,
    }
}

pub fn memory_error(error: wasmi::errors::MemoryError) -> Error {
    Error::new(error.to_string())
}

/// What an error that left the guest means.
pub fn end_of(error: &Error) -> End {
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
