//! A tool in a WebAssembly module of the user's: JSON in, JSON out, in a memory of its own.
//!
//! Every call is a new instance: nothing is kept from call to call, so equal arguments give equal
//! results, whichever fork asks. A module imports nothing; it can only compute.

use serde::Deserialize;
use serde_json::Value;

use super::allowance::Allowance;
use super::wasm::Tool;

/// Bytes of a module's file: what is translated is bounded by it.
pub const MODULE_BYTES_MAX: usize = 4 << 20;
/// Bytes of the JSON that a call returns.
pub(super) const RESULT_BYTES_MAX: usize = 1 << 20;

/// What one call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolLimits {
    /// Fuel: about one for each instruction.
    pub fuel_max: u64,
    /// Bytes of the module's memory.
    pub memory_bytes_max: u64,
}

/// Why a file is no module of a tool. Displayed, it goes on from the file's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolModuleError {
    /// It is larger than anything that is read.
    #[error("is larger than {MODULE_BYTES_MAX} bytes; expected a smaller module")]
    TooLarge,
    /// It is not WebAssembly, or more of it than is taken.
    #[error("is no WebAssembly module that can be used ({0})")]
    NotWasm(String),
    /// It wants something from outside.
    #[error("imports `{0}`; expected a module without imports")]
    Imports(String),
    /// It does not keep the agreement.
    #[error("does not export {0}")]
    Lacks(&'static str),
    /// It starts with more memory than it may have.
    #[error("starts with {bytes} bytes of memory; expected at most {max} (`memory_bytes_max`)")]
    Memory {
        /// What it starts with.
        bytes: u64,
        /// What it may have.
        max: u64,
    },
}

/// Why a call returned nothing. Displayed, it goes on from the tool's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolFailure {
    /// `fuel_max`.
    #[error("used up its fuel")]
    Fuel,
    /// `memory_bytes_max`.
    #[error("used up its memory")]
    Memory,
    /// It trapped.
    #[error("broke down: {0}")]
    Trap(String),
    /// What it returned is not what was agreed.
    #[error("answered wrongly: {0}")]
    Answer(String),
    /// Its action is over: cancelled, out of time or out of fuel.
    #[error("was cut off with its action")]
    CutOff,
    /// What it says itself.
    #[error("{0}")]
    Told(String),
}

/// What a module returns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Answer {
    Result(Value),
    Error(String),
}

/// A module that was read and checked.
pub struct ToolModule(Tool);

impl ToolModule {
    /// Reads a module and checks all of it.
    ///
    /// # Errors
    /// [`ToolModuleError`] says what is wrong and what was expected.
    pub fn new(wasm: &[u8], limits: ToolLimits) -> Result<Self, ToolModuleError> {
        if wasm.len() > MODULE_BYTES_MAX {
            return Err(ToolModuleError::TooLarge);
        }
        Tool::new(wasm, limits).map(Self)
    }

    /// Calls it within `allowance`, which is charged with the fuel that it uses.
    ///
    /// # Errors
    /// [`ToolFailure`]: ordinary outcomes, told to whoever called.
    pub fn call(
        &self,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, ToolFailure> {
        let json = self.0.call(arguments.to_string().as_bytes(), allowance)?;
        match serde_json::from_slice(&json) {
            Ok(Answer::Result(value)) => Ok(value),
            Ok(Answer::Error(message)) => Err(ToolFailure::Told(message)),
            Err(error) => Err(ToolFailure::Answer(error.to_string())),
        }
    }
}

impl std::fmt::Debug for ToolModule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ToolModule")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: ToolLimits = ToolLimits { fuel_max: 100_000, memory_bytes_max: 1 << 20 };

    /// A module that answers `json`; `body` runs before it does.
    fn answering(json: &str, body: &str) -> String {
        let text = json.replace('"', "\\22");
        let length = json.len();
        format!(
            "(module (memory (export \"memory\") 1) (data (i32.const 8) \"{text}\")
               (func (export \"alloc\") (param i32) (result i32) (i32.const 4096))
               (func (export \"call\") (param i32 i32) (result i64) (local $n i32) {body}
                 (i64.or (i64.shl (i64.const 8) (i64.const 32)) (i64.const {length}))))"
        )
    }

    fn module(text: &str, limits: ToolLimits) -> Result<ToolModule, ToolModuleError> {
        ToolModule::new(&wat::parse_str(text).unwrap(), limits)
    }

    fn call(text: &str, limits: ToolLimits) -> Result<Value, ToolFailure> {
        within(text, limits, u64::MAX).0
    }

    /// What a call comes to in an action that has `fuel_left`, and what it used of that.
    fn within(text: &str, limits: ToolLimits, fuel_left: u64) -> (Result<Value, ToolFailure>, u64) {
        let mut allowance = Allowance::new(fuel_left, &|| false);
        let result = module(text, limits).unwrap().call(&json!({}), &mut allowance);
        (result, allowance.fuel_used())
    }

    fn answer(module: &ToolModule, arguments: &Value) -> Result<Value, ToolFailure> {
        module.call(arguments, &mut Allowance::new(u64::MAX, &|| false))
    }

    fn looping(passes: u32) -> String {
        let body = format!(
            "(local.set $n (i32.const {passes}))
             (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
        );
        answering("{\"result\":1}", &body)
    }

    #[test]
    fn arguments_go_in_and_the_result_comes_out() {
        let echo = "(module (memory (export \"memory\") 1)
            (func (export \"alloc\") (param i32) (result i32) (i32.const 64))
            (func (export \"call\") (param i32 i32) (result i64)
              (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))
                      (i64.extend_i32_u (local.get 1)))))";
        let module = module(echo, LIMITS).unwrap();
        let value = json!(["ä", 1.5, null]);
        assert_eq!(answer(&module, &json!({"result": value})), Ok(value));
        let told = answer(&module, &json!({"error": "no such unit"}));
        assert_eq!(told.unwrap_err().to_string(), "no such unit");
        let wrong = answer(&module, &json!({"value": 1})).unwrap_err().to_string();
        assert!(wrong.starts_with("answered wrongly: unknown variant `value`"), "{wrong}");
    }

    #[test]
    fn fuel_is_exact() {
        let needs = |passes: u32| {
            let enough = |fuel_max| call(&looping(passes), ToolLimits { fuel_max, ..LIMITS });
            let fuel = (1..LIMITS.fuel_max).collect::<Vec<_>>();
            let fuel = fuel.partition_point(|fuel| enough(*fuel) == Err(ToolFailure::Fuel)) + 1;
            assert_eq!(enough(fuel as u64), Ok(json!(1)));
            fuel
        };
        let (one, two, three) = (needs(100), needs(200), needs(300));
        assert!(two > one);
        assert_eq!(two - one, three - two);
        assert_eq!(call(&looping(0), LIMITS), Err(ToolFailure::Fuel));
    }

    #[test]
    fn a_call_takes_its_fuel_from_its_action() {
        let (result, used) = within(&looping(100), LIMITS, u64::MAX);
        assert_eq!(result, Ok(json!(1)));
        let enough = |fuel_left| within(&looping(100), LIMITS, fuel_left);
        assert_eq!(enough(used), (Ok(json!(1)), used));
        // Less, and the action ends with the call: all that it had left is gone.
        assert_eq!(enough(used - 1), (Err(ToolFailure::CutOff), used - 1));
        assert_eq!(enough(0), (Err(ToolFailure::CutOff), 0));
        // A tool's own limit leaves the action the rest.
        let own = ToolLimits { fuel_max: used - 1, ..LIMITS };
        let (result, taken) = within(&looping(100), own, used);
        assert_eq!(result, Err(ToolFailure::Fuel));
        assert!((1..used).contains(&taken), "{taken} of {used}");
        // A trap has used what it used.
        assert!(within(&answering("{}", "unreachable"), LIMITS, u64::MAX).1 > 0);
    }

    #[test]
    fn a_call_ends_when_its_action_is_interrupted() {
        let forever = answering("{}", "(loop $again (br $again))");
        let limits = ToolLimits { fuel_max: u64::MAX, ..LIMITS };
        let looks = std::cell::Cell::new(0);
        let is_interrupted = || {
            looks.set(looks.get() + 1);
            looks.get() > 20
        };
        let mut allowance = Allowance::new(u64::MAX, &is_interrupted);
        let result = module(&forever, limits).unwrap().call(&json!({}), &mut allowance);
        assert_eq!(result, Err(ToolFailure::CutOff));
        assert!(allowance.is_over());
        assert_ne!(allowance.fuel_used(), u64::MAX);
    }

    #[test]
    fn memory_is_exact() {
        let growing = answering("{\"result\":1}", "(drop (memory.grow (i32.const 2)))");
        let with = |memory_bytes_max| call(&growing, ToolLimits { memory_bytes_max, ..LIMITS });
        assert_eq!(with(3 << 16), Ok(json!(1)));
        assert_eq!(with((3 << 16) - 1), Err(ToolFailure::Memory));
    }

    #[test]
    fn what_breaks_is_a_failure_with_words() {
        let told = |text: &str| call(text, LIMITS).unwrap_err().to_string();
        assert_eq!(
            told(&answering("{}", "unreachable")),
            "broke down: wasm `unreachable` instruction executed"
        );
        assert!(told(&answering("{\"result\":", "")).starts_with("answered wrongly: EOF"));
        let outside = answering("", "(return (i64.const 0xffffffff00000010))");
        assert_eq!(told(&outside), "answered wrongly: its result lies outside its memory");
        let long = answering("", "(return (i64.const 0x00000000ffffffff))");
        assert_eq!(told(&long), "answered wrongly: its result is longer than 1048576 bytes");
        let deep = "(module (memory (export \"memory\") 1)
            (func (export \"alloc\") (param i32) (result i32) (i32.const 64))
            (func $deep (export \"call\") (param i32 i32) (result i64)
              (i64.add (i64.const 1) (call $deep (local.get 0) (local.get 1)))))";
        assert!(told(deep).starts_with("broke down: "), "{}", told(deep));
    }

    #[test]
    fn no_call_sees_another() {
        let counting =
            "(module (memory (export \"memory\") 1) (data (i32.const 8) \"{\\22result\\22:0}\")
            (func (export \"alloc\") (param i32) (result i32) (i32.const 64))
            (func (export \"call\") (param i32 i32) (result i64)
              (i32.store8 (i32.const 18) (i32.add (i32.load8_u (i32.const 18)) (i32.const 1)))
              (i64.or (i64.shl (i64.const 8) (i64.const 32)) (i64.const 12))))";
        let module = module(counting, LIMITS).unwrap();
        let calls = [answer(&module, &json!({})), answer(&module, &json!({}))];
        assert_eq!(calls, [Ok(json!(1)), Ok(json!(1))]);
    }

    #[test]
    fn what_is_no_module_of_a_tool_is_refused() {
        let refused = |text: &str| module(text, LIMITS).unwrap_err().to_string();
        let memory = "(memory (export \"memory\") 1)";
        let alloc = "(func (export \"alloc\") (param i32) (result i32) (i32.const 0))";
        let import = format!("(module (import \"env\" \"now\" (func)) {memory} {alloc})");
        assert_eq!(refused(&import), "imports `env.now`; expected a module without imports");
        assert_eq!(refused("(module)"), "does not export `memory`");
        assert_eq!(refused(&format!("(module {memory})")), "does not export `alloc(i32) -> i32`");
        let wrong = "(func (export \"call\") (param i32 i32) (result i32) (i32.const 0))";
        let text = format!("(module {memory} {alloc} {wrong})");
        assert_eq!(refused(&text), "does not export `call(i32, i32) -> i64`");
        let large = answering("{}", "").replace("\"memory\") 1)", "\"memory\") 17)");
        assert_eq!(
            refused(&large),
            "starts with 1114112 bytes of memory; expected at most 1048576 (`memory_bytes_max`)"
        );
        let refused = |bytes: &[u8]| ToolModule::new(bytes, LIMITS).unwrap_err().to_string();
        assert!(refused(b"\x7fELF").starts_with("is no WebAssembly module that can be used ("));
        assert!(
            refused(&vec![0; MODULE_BYTES_MAX + 1]).starts_with("is larger than 4194304 bytes")
        );
    }
}
