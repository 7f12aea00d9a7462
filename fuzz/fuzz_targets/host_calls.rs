//! Any bytes as a call of the host: the guest's own module is asked directly, past its prelude.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use retort::cancel::Cancel;
use retort::sandbox::{Allowance, Host, Limits, Sandbox, SandboxOptions, Seed};
use serde_json::Value;

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::open(&SandboxOptions::default()).expect("the image works"));

/// Answers with what it was asked.
struct Echo;

impl Host for Echo {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        _allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        if tool.is_empty() { Err("no name".to_owned()) } else { Ok(arguments.clone()) }
    }
}

fuzz_target!(|parts: (&str, &[u8], &str)| {
    let (tool, arguments, module) = parts;
    let list = |bytes: &[u8]| format!("bytes({bytes:?})");
    let code = format!(
        "import _retort\n_retort.load({}.decode())\n_retort.call({}.decode(), {})",
        list(module.as_bytes()),
        list(tool.as_bytes()),
        list(arguments),
    );
    let limits = Limits { fuel_max: 5_000_000, ..Limits::default() };
    let mut session = SANDBOX.session(&Seed::default()).expect("there is memory");
    let outcome = session.run(&code, &limits, &mut Echo, &Cancel::default());
    assert!(outcome.fuel <= limits.fuel_max);
    assert!(outcome.calls.len() <= 1);
});
