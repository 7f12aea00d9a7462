//! Any text as a model's reply: every dialect finds code in it or says why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use retort_transcript::Dialect;

fuzz_target!(|reply: &str| {
    for name in ["retort", "smolagents", "chat"] {
        let dialect = Dialect::named(name).expect("it is built in");
        let _ = dialect.parse_reply(reply);
    }
});
