//! The host's side of the agreement with the guest, as far as it needs no virtual machine.

use std::sync::Arc;

use super::image::Library;
use super::limits::{Limit, Limits};
use super::wasi::World;

/// Fuel between two looks at the clock and the cancel flag: 10 to 30 ms.
const SLICE_FUEL: u64 = 500_000;
/// What a host call is charged beside its bytes, about a millisecond of Python.
const CALL_FUEL: u64 = 50_000;
/// Bytes of the guest's report beyond the texts that the output limit bounds.
pub const REPORT_BYTES_MAX: usize = 64 << 20;

/// What a tool call asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the tool.
    pub tool: String,
    /// Its arguments, a JSON object.
    pub arguments: Vec<u8>,
}

/// What a tool call came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// JSON, or the message of an exception.
    pub result: Result<String, String>,
    /// Fuel that the tool used.
    pub fuel: u64,
}

/// What a running action needs from the outside.
pub trait Surroundings {
    /// Answers a tool call of an action that has `fuel_left`.
    ///
    /// # Errors
    /// The limit that the call reaches.
    fn call(&mut self, request: &Request, fuel_left: u64) -> Result<Answer, Limit>;
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

/// Fuel is given in slices, so that the clock is looked at between them.
#[derive(Debug)]
pub struct FuelGauge {
    max: u64,
    used: u64,
    slice: u64,
}

impl FuelGauge {
    /// A gauge that ends at `max`.
    pub fn new(max: u64) -> Self {
        Self { max, used: 0, slice: 0 }
    }

    /// Adds up what the guest used of the last slice, of which `left` remains.
    pub fn note(&mut self, left: u64) {
        self.used = self.used.saturating_add(self.slice.saturating_sub(left));
        self.slice = left;
    }

    /// The next slice, at least `required`; `None` if that much is not left.
    pub fn next_slice(&mut self, required: u64, charged: u64) -> Option<u64> {
        let left = self.left(charged);
        self.slice = SLICE_FUEL.max(required).min(left);
        (left > 0 && left >= required).then_some(self.slice)
    }

    /// Fuel that is left, after what host calls were charged.
    pub fn left(&self, charged: u64) -> u64 {
        self.max - self.spent(charged)
    }

    /// Fuel used so far, with what host calls were charged.
    pub fn spent(&self, charged: u64) -> u64 {
        self.used.saturating_add(charged).min(self.max)
    }
}

/// What the guest's calls read and leave behind.
#[derive(Debug)]
pub struct Exchange {
    /// The modules it may import.
    pub library: Arc<Library>,
    /// What it may learn of the world.
    pub world: World,
    /// What it printed.
    pub printed: Vec<u8>,
    /// Fuel of host calls, beside what the machine counts.
    pub charged: u64,
    /// How the action ended, as JSON.
    pub report: Option<Vec<u8>>,
    /// What `read` will copy.
    answer: Vec<u8>,
    print_bytes_max: usize,
    call_bytes_max: usize,
}

impl Exchange {
    /// Before the first action: what the interpreter prints while it starts is kept.
    pub fn new(library: Arc<Library>) -> Self {
        Self {
            library,
            world: World { unix_seconds: 0, random: 0 },
            printed: Vec::new(),
            charged: 0,
            report: None,
            answer: Vec::new(),
            print_bytes_max: REPORT_BYTES_MAX,
            call_bytes_max: 0,
        }
    }

    /// Forgets the last action.
    pub fn prepare(&mut self, limits: &Limits, world: World) {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        *self = Self::new(Arc::clone(&self.library));
        self.world = world;
        self.print_bytes_max = size(limits.output_bytes_max);
        // A byte of the query takes at most six in JSON.
        self.call_bytes_max = size(limits.query_bytes_max).saturating_mul(6).saturating_add(1024);
    }

    /// How much of a text of `length` bytes may still be printed.
    pub fn printable(&self, length: usize) -> usize {
        length.min(self.print_bytes_max.saturating_sub(self.printed.len()))
    }

    /// Keeps what was printed.
    pub fn print(&mut self, bytes: &[u8]) {
        self.printed.extend_from_slice(bytes);
        self.charge(bytes.len());
    }

    /// Whether a call with this many bytes is one to read at all.
    pub fn is_readable_call(&self, bytes: usize) -> bool {
        bytes <= self.call_bytes_max
    }

    /// Keeps the answer to a tool call for `read` and returns its length.
    pub fn answer_call(&mut self, answer: Result<String, String>) -> i32 {
        match answer {
            Ok(json) => self.keep_answer(0, json.as_bytes()),
            Err(message) => self.keep_answer(1, message.as_bytes()),
        }
    }

    /// Keeps the module called `name` for `read` and returns its length, -1 if there is none.
    pub fn answer_load(&mut self, name: &[u8]) -> i32 {
        let library = Arc::clone(&self.library);
        let found = std::str::from_utf8(name).ok().and_then(|name| library.module(name));
        found.map_or(-1, |module| self.keep_answer(u8::from(module.is_package), module.code))
    }

    /// The kept answer, once.
    pub fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    fn keep_answer(&mut self, status: u8, bytes: &[u8]) -> i32 {
        self.charge(bytes.len());
        self.answer = Vec::with_capacity(bytes.len() + 1);
        self.answer.push(status);
        self.answer.extend_from_slice(bytes);
        i32::try_from(self.answer.len()).unwrap_or(-1)
    }

    fn charge(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.charged = self.charged.saturating_add(CALL_FUEL).saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_comes_in_slices_and_ends() {
        let mut gauge = FuelGauge::new(SLICE_FUEL + 10);
        assert_eq!(gauge.next_slice(0, 0), Some(SLICE_FUEL));
        gauge.note(4);
        assert_eq!(gauge.spent(5), SLICE_FUEL + 1);
        assert_eq!(gauge.next_slice(9, 5), Some(9));
        assert_eq!(gauge.next_slice(10, 5), None);
        gauge.note(0);
        assert_eq!(gauge.spent(u64::MAX), SLICE_FUEL + 10);
    }

    #[test]
    fn only_as_much_as_allowed_is_printable() {
        let mut exchange = Exchange::new(Arc::default());
        let limits = Limits { output_bytes_max: 5, ..Limits::default() };
        exchange.prepare(&limits, World { unix_seconds: 0, random: 0 });
        exchange.print(b"abc");
        assert_eq!((exchange.printable(1), exchange.printable(9)), (1, 2));
    }
}
