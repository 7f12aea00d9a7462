//! Any text as an action: it ends inside its limits and leaves the next session alone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use retort::cancel::Cancel;
use retort::sandbox::{Allowance, Host, Limits, Sandbox, SandboxOptions, Seed};
use serde_json::Value;

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::open(&SandboxOptions::default()).expect("the image works"));

struct NoTools;

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

fuzz_target!(|code: &str| {
    let limits = Limits { fuel_max: 2_000_000, output_bytes_max: 10_000, ..Limits::default() };
    let run = |code: &str| {
        let mut session = SANDBOX.session(&Seed::default()).expect("there is memory");
        session.run(code, &limits, &mut NoTools, &Cancel::default())
    };
    let outcome = run(code);
    assert!(outcome.fuel <= limits.fuel_max && outcome.memory_bytes <= limits.memory_bytes_max);
    assert!(outcome.logs.len() <= 10_000);
    assert_eq!(run("6 * 7").value.as_deref(), Some("42"));
});
