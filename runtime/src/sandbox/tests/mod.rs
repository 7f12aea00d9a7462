//! The sandbox as its callers see it.

mod compat;
mod fuzzed;
mod generated;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use retort_test_data::shared;
use serde_json::{Value, json};

use super::*;

/// One sandbox for all tests, with a clock that stands.
static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::with_clock(&SandboxOptions::default(), false, standing()).unwrap());

fn standing() -> Clock {
    Arc::new(|| Duration::ZERO)
}

fn session() -> Session {
    SANDBOX.session(&Seed::default()).unwrap()
}

/// Answers searches from a table.
#[derive(Default)]
struct Replies(BTreeMap<String, String>);

impl Host for Replies {
    fn call(
        &mut self,
        tool: &str,
        arguments: &Value,
        _allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        assert_eq!(tool, "search");
        let query = arguments["query"].as_str().unwrap();
        if query == "broken" {
            return Err("the index is gone".to_owned());
        }
        let none = || format!("No results found for “{query}”.");
        Ok(Value::String(self.0.get(query).cloned().unwrap_or_else(none)))
    }
}

fn run_in(session: &mut Session, code: &str, limits: &Limits) -> Outcome {
    session.run(code, limits, &mut Replies::default(), &Cancel::default())
}

fn run(session: &mut Session, code: &str) -> Outcome {
    run_in(session, code, &Limits::default())
}

#[track_caller]
fn check_error(outcome: &Outcome, kind: &str, message: &str) {
    let error = outcome.error.as_ref().unwrap();
    assert_eq!((&*error.kind, &*error.message), (kind, message));
}

#[test]
fn an_action_reports_what_it_did() {
    let mut session = session();
    let outcome = run(&mut session, "x = 17 * 23\nprint(x)\nx + 1");
    assert_eq!((outcome.logs.as_str(), outcome.value.as_deref()), ("391\n", Some("392")));
    let outcome = run(&mut session, "y = [x]");
    assert_eq!((outcome.value, outcome.assigned.as_deref()), (None, Some("[391]")));
    let outcome = run(&mut session, "final_answer({'x': x})\nprint('never')");
    assert!(outcome.is_final);
    assert_eq!(outcome.answer.as_deref(), Some("{'x': 391}"));
    assert_eq!(outcome.answer_json, Some(json!({"x": 391})));
    assert_eq!(outcome.logs, "");
    assert!(outcome.fuel > 0 && outcome.memory_bytes > 1 << 20);
}

#[test]
fn an_error_keeps_the_state_so_far() {
    let mut session = session();
    let outcome = run(&mut session, "a = 1\nb = a / 0");
    check_error(&outcome, "ZeroDivisionError", "division by zero");
    let error = outcome.error.unwrap();
    assert_eq!((error.line, error.source_line.as_deref()), (Some(2), Some("b = a / 0")));
    assert_eq!(run(&mut session, "a").value.as_deref(), Some("1"));
}

#[test]
fn each_limit_is_named_and_restores_the_state_before() {
    let small = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    let cases = [
        (Limit::Fuel, "while True: pass", small(|limits| limits.fuel_max = 3_000_000)),
        (Limit::Fuel, "for i in range(9): search('a')", small(|limits| limits.fuel_max = 300_000)),
        (Limit::Memory, "x = [0] * 50_000_000", small(|limits| limits.memory_bytes_max = 32 << 20)),
        (
            Limit::Output,
            "while True: print('x' * 99)",
            small(|limits| limits.output_bytes_max = 1000),
        ),
        (Limit::Output, "'x' * 1001", small(|limits| limits.output_bytes_max = 1000)),
        (Limit::HostCalls, "while True: search('a')", small(|limits| limits.host_calls_max = 3)),
        (Limit::Source, "#############", small(|limits| limits.source_bytes_max = 12)),
    ];
    let mut session = session();
    run(&mut session, "n = 1");
    for (limit, code, limits) in cases {
        let outcome = run_in(&mut session, &format!("n = 2\n{code}"), &limits);
        assert_eq!(outcome.limit, Some(limit), "{code}: {outcome:?}");
        assert!(outcome.logs.len() <= 1000, "{code}");
        assert!(outcome.fuel <= limits.fuel_max, "{code}");
        assert_eq!(outcome.error.is_some(), limit == Limit::Memory, "{code}");
        assert_eq!(run(&mut session, "n").value.as_deref(), Some("1"), "{code}");
    }
}

#[test]
fn memory_that_python_does_without_is_no_limit() {
    let limits = Limits { memory_bytes_max: 32 << 20, ..Limits::default() };
    let code = "try:\n  x = [0] * 50_000_000\nexcept MemoryError:\n  print('too much')";
    let outcome = run_in(&mut session(), code, &limits);
    assert_eq!((outcome.logs.as_str(), outcome.limit), ("too much\n", None));
}

#[test]
fn time_ends_an_action() {
    let ticks = AtomicU64::new(0);
    let clock = move || Duration::from_secs(ticks.fetch_add(1, Ordering::Relaxed));
    let options = SandboxOptions::default();
    let sandbox = Sandbox::with_clock(&options, false, Arc::new(clock)).unwrap();
    let mut session = sandbox.session(&Seed::default()).unwrap();
    let outcome = run(&mut session, "print('begun')\nwhile True: pass");
    assert_eq!((outcome.limit, outcome.logs.as_str()), (Some(Limit::Wall), "begun\n"));
    assert!(outcome.seconds >= 10.0);
}

#[test]
fn a_cancelled_action_ends_and_leaves_the_state() {
    let mut session = session();
    run(&mut session, "n = 1");
    let cancel = Cancel::default();
    cancel.cancel();
    let code = "n = 2\nwhile True: pass";
    let outcome = session.run(code, &Limits::default(), &mut Replies::default(), &cancel);
    check_error(&outcome, "KeyboardInterrupt", "the run was cancelled");
    assert_eq!(run(&mut session, "n").value.as_deref(), Some("1"));
}

#[test]
fn forks_are_independent() {
    let mut base = session();
    run(&mut base, "total = 10");
    let mut forks: Vec<Session> = (0..8).map(|_| base.fork().unwrap()).collect();
    for _ in 0..2 {
        for fork in &mut forks {
            run(fork, "total += 1");
        }
    }
    for fork in &mut forks {
        assert_eq!(run(fork, "total").value.as_deref(), Some("12"));
    }
    assert_eq!(run(&mut base, "total").value.as_deref(), Some("10"));
}

#[test]
fn a_fork_that_grew_does_not_disturb_the_others() {
    let mut base = session();
    let mut large = base.fork().unwrap();
    let outcome = run(&mut large, "data = bytearray(b'z') * 30_000_000\nlen(data)");
    assert_eq!(outcome.value.as_deref(), Some("30000000"));
    let before = run(&mut base, "1").memory_bytes;
    assert!(before < outcome.memory_bytes);
    assert_eq!(run(&mut large, "data[29_999_999]").value.as_deref(), Some("122"));
}

#[test]
fn tool_calls_are_answered_and_recorded() {
    let outcome = run(&mut session(), "print(search('who'))\nsearch('broken')");
    assert_eq!(outcome.logs, "No results found for “who”.\n");
    check_error(&outcome, "RuntimeError", "the index is gone");
    let arguments = json!({"query": "who"});
    let result = Ok(json!("No results found for “who”."));
    let expected = ToolCall { name: "search".to_owned(), arguments, result, fuel: 0 };
    assert_eq!(outcome.calls.first(), Some(&expected));
    assert_eq!(outcome.calls.len(), 2);
}

#[test]
fn a_long_query_is_refused() {
    let outcome = run(&mut session(), "search('q' * 5000)");
    let message = "the query is 5000 bytes long, at most 4096 are allowed";
    check_error(&outcome, "RuntimeError", message);
    let outcome = run(&mut session(), "search('q' * 10_000_000)");
    check_error(&outcome, "RuntimeError", "the query is too long: search for a few words");
}

#[test]
fn what_breaks_the_interpreter_is_an_error_and_leaves_the_state() {
    let mut session = session();
    run(&mut session, "n = 1");
    let exit = run(&mut session, "n = 2\nimport os\nos._exit(3)");
    check_error(&exit, "SystemExit", "3");
    let deep = "import sys\nn = 2\nsys.setrecursionlimit(10**6)\n\
                x = []\nfor i in range(500_000): x = [x]\nrepr(x)";
    let deep = run(&mut session, deep);
    check_error(&deep, "RecursionError", "maximum recursion depth exceeded");
    assert_eq!(run(&mut session, "n").value.as_deref(), Some("1"));
}

#[test]
fn sessions_with_one_seed_are_alike() {
    let draw = |random| {
        let seed = Seed { random, ..Seed::default() };
        let mut session = SANDBOX.session(&seed).unwrap();
        let code = "import random, os, uuid, time\n\
                    random.random(), os.urandom(8), uuid.uuid4(), int(time.time())";
        let first = run(&mut session, code).value.unwrap();
        let mut fork = session.fork().unwrap();
        let second = run(&mut session, code).value.unwrap();
        assert_ne!(first, second);
        assert_eq!(run(&mut fork, code).value.unwrap(), second);
        (first, second)
    };
    assert_eq!(draw(1), draw(1));
    let (one, other) = (draw(1).0, draw(2).0);
    assert!(one.split(", ").zip(other.split(", ")).take(3).all(|(one, other)| one != other));
    assert!(one.ends_with(", 1767225600)"), "{one}");
}

#[test]
fn a_limit_restores_the_random_bytes_to_come() {
    let mut session = session();
    let mut fork = session.fork().unwrap();
    let limits = Limits { fuel_max: 3_000_000, ..Limits::default() };
    let outcome = run_in(&mut session, "import os\nos.urandom(8)\nwhile True: pass", &limits);
    assert_eq!(outcome.limit, Some(Limit::Fuel));
    let code = "import os\nos.urandom(8)";
    assert_eq!(run(&mut session, code).value, run(&mut fork, code).value);
}

const SOLVE: &str = "from sympy import symbols, solve\nx = symbols('x')\nsolve(x**2 - 4, x)";

#[test]
fn sympy_costs_an_action_no_import() {
    let mut session = session();
    let outcome = run(&mut session, SOLVE);
    assert_eq!(outcome.value.as_deref(), Some("[-2, 2]"));
    assert!(outcome.fuel < 20_000_000, "{}", outcome.fuel);
    assert_eq!(run(&mut session, "sympy").error.unwrap().kind, "NameError");
}

#[test]
fn sympy_reads_its_own_functions_and_not_those_that_actions_are_offered() {
    let mut session = session();
    let read = "from sympy import sympify\n";
    let mut value = |code: &str| run(&mut session, &format!("{read}{code}")).value.unwrap();
    assert_eq!(value("sympify('sqrt(2)')"), "sqrt(2)");
    assert_eq!(value("sympify('sin(x)**2 + log(x) + exp(2)')"), "log(x) + sin(x)**2 + exp(2)");
    assert_eq!(value("sqrt(16), log(8, 2), gcd(12, 18, 8), round(pi, 3)"), "(4.0, 3.0, 2, 3.142)");
    let error = run(&mut session, "a = 1\nsqrt(-1)").error.unwrap();
    assert_eq!((error.kind.as_str(), error.line), ("ValueError", Some(2)));
}

#[test]
fn a_session_keeps_its_state_when_it_turns_to_sympy() {
    let mut session = session();
    run(&mut session, "import random\nn = random.random()\nfound = search('who')\nn / 0");
    let before = run(&mut session, "n, found").value;
    let mut fork = session.fork().unwrap();
    let code = "import sympy\nn, found";
    let outcome = run(&mut session, code);
    assert_eq!(outcome.value, before);
    assert_eq!(outcome.calls.len(), 0);
    assert!(outcome.fuel < 20_000_000, "{}", outcome.fuel);
    assert_eq!(run(&mut fork, code).fuel, outcome.fuel);
}

#[test]
fn a_long_past_is_not_run_again() {
    let mut session = session();
    run(&mut session, "for i in range(200_000): pass");
    let outcome = run(&mut session, "i, 'mp' 'math' in __import__('sys').modules");
    assert_eq!(outcome.value.as_deref(), Some("(199999, False)"));
    let outcome = run(&mut session, "import mpmath\ni, mpmath.mpf(2) ** 0.5");
    assert_eq!(outcome.value.as_deref(), Some("(199999, mpf('1.4142135623730951'))"));
}

#[test]
fn what_differs_with_sympy_is_not_hidden() {
    let mut session = session();
    run(&mut session, "import sys\ncount = len(sys.modules)\nprint(count)");
    let before = run(&mut session, "count").value;
    let outcome = run(&mut session, "count, 'mpmath' in sys.modules");
    assert_eq!(outcome.value, before.map(|count| format!("({count}, False)")));
}

#[test]
fn random_numbers_of_sympy_follow_the_seed() {
    let draw = |random| {
        let seed = Seed { random, ..Seed::default() };
        let code = "from sympy.core.random import rng\nrng.random()";
        run(&mut SANDBOX.session(&seed).unwrap(), code).value.unwrap()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn numpy_is_named_with_what_to_use_instead() {
    for code in ["import numpy as np", "from numpy.linalg import det"] {
        let outcome = run(&mut session(), code);
        let message = "No module named 'numpy': use lists with math, statistics and random, or \
                       sympy for matrices and algebra";
        check_error(&outcome, "ModuleNotFoundError", message);
    }
    let code = "try:\n    import numpy\nexcept ImportError as e:\n    print(e.name)";
    assert_eq!(run(&mut session(), code).logs, "numpy\n");
}

#[test]
fn without_mapped_memory_all_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let options = SandboxOptions { cache_dir: Some(folder.path().to_owned()) };
    let outcomes = [true, false].map(|copies| {
        let sandbox = Sandbox::with_clock(&options, copies, standing()).unwrap();
        let mut session = sandbox.session(&Seed::default()).unwrap();
        let large = "data = bytearray(b'z') * 30_000_000\nlen(data)";
        let codes = ["n = [1]", "import random\nrandom.random()", large, "n, data[-1]"];
        let mut fork = session.fork().unwrap();
        let mut outcomes = codes.map(|code| format!("{:?}", run(&mut session, code))).to_vec();
        outcomes.push(format!("{:?}", run(&mut fork, "n")));
        outcomes
    });
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn a_cancelled_preparation_is_made_up_for_later() {
    let machine = &SANDBOX.0.machine;
    let cancel = Cancel::default();
    cancel.cancel();
    let base = &SANDBOX.0.base.snapshot;
    assert!(machine.preload(base, image::SYMPY_PRELOAD, &cancel).unwrap().is_none());
    assert!(machine.preload(base, "no_such_module", &Cancel::default()).is_err());
}

#[test]
fn the_same_image_gives_the_same_snapshot() {
    let machine = Machine::new(&image::python().unwrap(), Arc::default()).unwrap();
    let world = World { unix_seconds: UNIX_SECONDS, random: 0 };
    let make = || machine.initialise(world).unwrap();
    assert!(make().memory() == make().memory());
}

#[test]
fn a_damaged_snapshot_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = SandboxOptions { cache_dir: Some(folder.path().join("cache")) };
    Sandbox::open(&options).unwrap();
    let files: Vec<PathBuf> = std::fs::read_dir(folder.path().join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [file] = &files[..] else { panic!("one file, not {files:?}") };
    let whole = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
    let mut session = Sandbox::open(&options).unwrap().session(&Seed::default()).unwrap();
    assert_eq!(run(&mut session, "6 * 7").value.as_deref(), Some("42"));
    assert!(std::fs::read(file).unwrap() == whole);
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let options = SandboxOptions { cache_dir: Some(PathBuf::from("/dev/null/cache")) };
    let mut session = Sandbox::open(&options).unwrap().session(&Seed::default()).unwrap();
    assert_eq!(run(&mut session, "6 * 7").value.as_deref(), Some("42"));
}

/// What a probe's `.out` file says of an outcome.
fn shown(outcome: &Outcome) -> String {
    let mut text = outcome.logs.clone();
    if let Some(error) = &outcome.error {
        text += &format!("[error] {}: {}\n", error.kind, error.message);
    } else if outcome.is_final {
        text += &format!("[final] {}\n", outcome.answer.as_deref().unwrap_or("None"));
    } else if let Some(value) = &outcome.value {
        text += &format!("[out] {value}\n");
    }
    text
}

#[test]
fn probes_print_what_cpython_prints() {
    let Some(cases) = shared("cases") else { return };
    let replies = std::fs::read_to_string(cases.join("replies.json")).unwrap();
    let mut host = Replies(serde_json::from_str(&replies).unwrap());
    let mut probes: Vec<PathBuf> = std::fs::read_dir(cases.join("probes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    probes.sort();
    let mut wrong = Vec::new();
    for probe in probes {
        let source = std::fs::read_to_string(&probe).unwrap();
        if source.contains("numpy") {
            continue;
        }
        let mut session = session();
        let mut printed = String::new();
        for cell in source.split("#%%\n").filter(|cell| !cell.trim().is_empty()) {
            let limits = Limits::default();
            printed += &shown(&session.run(cell, &limits, &mut host, &Cancel::default()));
        }
        let expected = std::fs::read_to_string(probe.with_extension("out")).unwrap();
        if printed != expected {
            wrong.push(format!("{}\n{printed}-- not --\n{expected}", probe.display()));
        }
    }
    assert!(wrong.is_empty(), "{} probes differ\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn attacks_end_inside_their_limits() {
    let Some(cases) = shared("cases") else { return };
    let limits = Limits { fuel_max: 20_000_000, ..Limits::default() };
    let attacks = std::fs::read_to_string(cases.join("attacks.jsonl")).unwrap();
    for attack in attacks.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (id, code) = (&attack["id"], attack["code"].as_str().unwrap());
        let outcome = run_in(&mut session(), code, &limits);
        // What only strains the parser may as well be valid Python.
        let must_end = attack["category"] != "parse" && attack["expect"] != "contained";
        let is_over = outcome.error.is_some() || outcome.limit.is_some();
        assert!(is_over || attack["expect"] == "CLEAN" || !must_end, "{id}: {outcome:?}");
        assert!(outcome.memory_bytes <= limits.memory_bytes_max, "{id}");
        let answer = outcome.answer.as_ref().map_or(0, String::len);
        assert!(outcome.logs.len() + answer <= 1 << 20, "{id}");
        if let Some(code) = attack["then_in_a_new_session"].as_str() {
            assert_eq!(run(&mut session(), code).logs, "CLEAN\n", "{id}");
        }
    }
}

/// Instances keep what they held when they rest; whoever comes next must not notice.
#[test]
fn what_an_instance_held_is_gone_for_the_next_session() {
    let others = [
        "secret = ['secret%d' % i for i in range(3000)]",
        "secret = 'x' * 30_000\n1 / 0",
        "secret = 'x' * 300_000\nwhile True: pass",
        "secret = 'x' * 20_000_000",
        "import fractions, decimal, statistics, json, re",
    ];
    // Addresses tell how the heap was left, and fuel every step that was taken.
    let probe = "print(id(object()), id([0] * 1000), [id(x) for x in map(str, range(50))])";
    let probed = |sandbox: &Sandbox| {
        let outcome = run(&mut sandbox.session(&Seed::default()).unwrap(), probe);
        assert!(outcome.error.is_none(), "{outcome:?}");
        (outcome.logs, outcome.fuel, outcome.memory_bytes)
    };
    for copies in [false, true] {
        let open = || Sandbox::with_clock(&SandboxOptions::default(), copies, standing()).unwrap();
        let expected = probed(&open());
        let sandbox = open();
        for other in others {
            let mut session = sandbox.session(&Seed::default()).unwrap();
            let limits = Limits { fuel_max: 20_000_000, ..Limits::default() };
            run_in(&mut session, other, &limits);
            assert_eq!(probed(&sandbox), expected, "after {other}");
            // And the session itself finds what it left, whoever came between.
            let left = run(&mut session, "'secret' in globals()").value;
            let expects = other.starts_with("secret") && !other.contains("while");
            assert_eq!(left.as_deref(), Some(if expects { "True" } else { "False" }), "{other}");
        }
    }
}
