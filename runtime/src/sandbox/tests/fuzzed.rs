//! What the fuzz targets check, over seeded inputs.

use proptest::prelude::*;

use super::*;

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

/// Text in which more is Python than by chance.
fn text() -> impl Strategy<Value = String> {
    let words = ["(", ")", "[", "]", ":", "\n", "    ", "def f", "lambda", "'", "\"\"\"", "f'{"];
    let more =
        ["0x", "1e", "\\", "\0", "async ", "match x", "yield ", "*", "**", "=", "print", "🐍"];
    let word = prop_oneof![
        prop::sample::select([words, more].concat()).prop_map(str::to_owned),
        ".{0,12}"
    ];
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_an_action_that_stays_inside_its_limits(code in text()) {
        let limits = Limits { fuel_max: 2_000_000, output_bytes_max: 10_000, ..Limits::default() };
        let outcome = run_in(&mut session(), &code, &limits);
        prop_assert!(outcome.fuel <= limits.fuel_max);
        prop_assert!(outcome.memory_bytes <= limits.memory_bytes_max);
        prop_assert!(outcome.logs.len() <= 10_000);
        let next = run(&mut session(), "6 * 7");
        prop_assert_eq!(next.value.as_deref(), Some("42"));
    }

    #[test]
    fn any_bytes_past_the_prelude_are_a_call_or_an_exception(
        tool in ".{0,20}",
        arguments in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[\\[\\]{}\",:0-9a-z\\\\ ]{0,60}".prop_map(String::into_bytes),
        ],
        module in "[a-z_.]{0,20}|.{0,40}",
    ) {
        let list = |bytes: &[u8]| format!("bytes({bytes:?})");
        let code = format!(
            "import _retort\n_retort.load({}.decode())\n_retort.call({}.decode(), {})",
            list(module.as_bytes()),
            list(tool.as_bytes()),
            list(&arguments),
        );
        let limits = Limits { fuel_max: 5_000_000, ..Limits::default() };
        let outcome = session().run(&code, &limits, &mut Echo, &Cancel::default());
        prop_assert!(outcome.fuel <= limits.fuel_max && outcome.calls.len() <= 1);
        let next = run(&mut session(), "6 * 7");
        prop_assert_eq!(next.value.as_deref(), Some("42"));
    }
}
