//! Generated programs, and limits that are exact for whatever runs.

use std::sync::mpsc;

use proptest::prelude::*;

use super::*;

/// Pieces of programs that a generator puts together: harmless ones and hostile ones.
const EXPRESSIONS: [&str; 24] = [
    "n",
    "n + 1",
    "n * n % 1_000_003",
    "[i for i in range(n % 50)]",
    "str(n) * (n % 9)",
    "{i: str(i) for i in range(n % 20)}",
    "sum(range(n % 500))",
    "n // (n % 3)",
    "undefined",
    "'abc'[n % 5]",
    "().__class__.__base__.__subclasses__()[n % 90]",
    "globals().get('__builtins__')",
    "__import__('os').environ",
    "__import__('sys').modules",
    "open('/etc/passwd').read()",
    "__import__('socket')",
    "__import__('subprocess').run(['id'])",
    "getattr(n, '__dict__')",
    "b'x' * (n % 10_000)",
    "search('q' * (n % 5000))",
    "9 ** 9 ** (n % 7)",
    "(lambda f: f(f))(lambda f: f(f))",
    "exec('n = n + 1')",
    "type('T', (), {'__del__': print})()",
];
const STATEMENTS: [&str; 14] = [
    "x = {}",
    "print({})",
    "n = len(str({}))",
    "if {}:\n    n += 1",
    "for i in range(n % 40):\n    y = {}",
    "while n > 0:\n    n -= 1\n    y = {}",
    "try:\n    z = {}\nexcept BaseException as e:\n    print(type(e))",
    "def f(n):\n    return {}\nw = f(n)",
    "class C:\n    def __repr__(self):\n        return str({})\nprint(C())",
    "raise ValueError({})",
    "import sys, builtins\nbuiltins.extra = {}",
    "final_answer({})",
    "with __import__('contextlib').suppress(Exception):\n    {}",
    "del n\nn = 3\nlater = [{}]",
];

fn programs() -> impl Strategy<Value = String> {
    let statement = (0..STATEMENTS.len(), 0..EXPRESSIONS.len());
    proptest::collection::vec(statement, 1..7).prop_map(|picks| {
        let statement = |(statement, expression): (usize, usize)| {
            STATEMENTS[statement].replace("{}", EXPRESSIONS[expression])
        };
        let lines: Vec<String> = picks.into_iter().map(statement).collect();
        format!("n = 7\n{}", lines.join("\n"))
    })
}

/// How many generated programs: few here, more where `RETORT_GENERATED` says so.
fn cases(few: u32) -> ProptestConfig {
    let more = std::env::var("RETORT_GENERATED").ok().and_then(|text| text.parse().ok());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    ProptestConfig { cases: more.unwrap_or(few), max_shrink_iters: 64, ..config }
}

/// All of an outcome but its time.
fn told(outcome: &Outcome) -> String {
    format!("{:?}", Outcome { seconds: 0.0, ..outcome.clone() })
}

proptest! {
    #![proptest_config(cases(40))]

    /// A generated program ends inside its limits, shows nothing of the machine, and leaves the
    /// next session as it would be without it.
    #[test]
    fn no_program_gets_out(code in programs()) {
        let limits = Limits { fuel_max: 2_000_000, output_bytes_max: 20_000, ..Limits::default() };
        let outcome = run_in(&mut session(), &code, &limits);
        prop_assert!(outcome.fuel <= limits.fuel_max);
        prop_assert!(outcome.memory_bytes <= limits.memory_bytes_max);
        let value = outcome.value.as_ref().map_or(0, String::len);
        let answer = outcome.answer.as_ref().map_or(0, String::len);
        prop_assert!(outcome.logs.len() + value + answer <= 20_000);
        prop_assert!(!told(&outcome).contains("root:"));
        let clean = run(&mut session(), "import builtins\n'n' in globals(), hasattr(builtins, 'extra')");
        prop_assert_eq!(clean.value.as_deref(), Some("(False, False)"));
    }

    /// Candidates of a step show the same in every order, and alone.
    #[test]
    fn candidates_do_not_know_of_each_other(codes in proptest::collection::vec(programs(), 2..5)) {
        let limits = Limits { fuel_max: 2_000_000, ..Limits::default() };
        let first = "k = [1, 2, 3]";
        let mut base = session();
        run(&mut base, first);
        let try_one = |code: &String| told(&run_in(&mut base.fork().unwrap(), code, &limits));
        let forwards: Vec<String> = codes.iter().map(try_one).collect();
        let mut backwards: Vec<String> = codes.iter().rev().map(try_one).collect();
        backwards.reverse();
        let alone = codes.iter().map(|code| {
            let mut session = session();
            run(&mut session, first);
            told(&run_in(&mut session, code, &limits))
        });
        prop_assert_eq!(&forwards, &backwards);
        prop_assert_eq!(forwards, alone.collect::<Vec<_>>());
    }

    /// An action may use exactly what it uses, and not one unit less.
    #[test]
    fn fuel_is_exact(passes in 1_u32..3000) {
        let code = format!("for i in range({passes}): search('a')if i % 997 == 0 else i");
        let used = run(&mut session(), &code).fuel;
        let within = |fuel_max| {
            let limits = Limits { fuel_max, ..Limits::default() };
            let outcome = run_in(&mut session(), &code, &limits);
            prop_assert!(outcome.fuel <= fuel_max);
            Ok((outcome.limit, outcome.fuel == used))
        };
        prop_assert_eq!(within(used)?, (None, true));
        prop_assert_eq!(within(used - 1)?.0, Some(Limit::Fuel));
    }

    /// As many bytes as may be shown, and not one more.
    #[test]
    fn output_is_exact(printed in 1_u64..9000, valued in 1_u64..900) {
        let code = format!("print('a' * {}, end='')\n'b' * {valued}", printed);
        let within = |output_bytes_max| {
            let limits = Limits { output_bytes_max, ..Limits::default() };
            run_in(&mut session(), &code, &limits)
        };
        prop_assert_eq!(within(printed + valued).limit, None);
        let outcome = within(printed + valued - 1);
        prop_assert_eq!(outcome.limit, Some(Limit::Output));
        let outcome = within(printed - 1);
        prop_assert_eq!(outcome.limit, Some(Limit::Output));
        prop_assert_eq!(u64::try_from(outcome.logs.len()).unwrap(), printed - 1);
    }

    /// As many calls as are allowed reach the host, and not one more.
    #[test]
    fn calls_are_exact(calls in 1_u32..12) {
        let code = format!("for i in range({calls}): search(str(i))");
        let within = |host_calls_max| {
            let limits = Limits { host_calls_max, ..Limits::default() };
            run_in(&mut session(), &code, &limits)
        };
        prop_assert_eq!(within(calls).limit, None);
        let outcome = within(calls - 1);
        prop_assert_eq!(outcome.limit, Some(Limit::HostCalls));
        prop_assert_eq!(u32::try_from(outcome.calls.len()).unwrap(), calls - 1);
    }

    /// An action may have exactly the memory it has, and not one page less.
    #[test]
    fn memory_is_exact(mebibytes in 8_u64..48) {
        let code = format!("data = bytearray({})", mebibytes << 20);
        let within = |memory_bytes_max| {
            let limits = Limits { memory_bytes_max, ..Limits::default() };
            run_in(&mut session(), &code, &limits)
        };
        let taken = within(256 << 20).memory_bytes;
        prop_assert_eq!(within(taken).limit, None);
        let outcome = within(taken - 65_536);
        prop_assert_eq!(outcome.limit, Some(Limit::Memory));
        prop_assert!(outcome.memory_bytes < taken);
    }
}

/// Tells when it is called, so that another thread may cancel what goes on afterwards.
struct Announcing(mpsc::Sender<()>);

impl Host for Announcing {
    fn call(
        &mut self,
        _tool: &str,
        _arguments: &Value,
        _allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        self.0.send(()).map_err(|error| error.to_string())?;
        Ok(Value::Null)
    }
}

#[test]
fn another_thread_can_cancel_a_running_action() {
    for hostile in
        ["while True: pass", "x = 9 ** 9 ** 9", "import re\nre.match('(a*)*b', 'a' * 40)"]
    {
        let (sender, called) = mpsc::channel();
        let cancel = Cancel::default();
        let outcome = std::thread::scope(|threads| {
            let other = cancel.clone();
            threads.spawn(move || called.recv().map(|()| other.cancel()));
            let limits = Limits { fuel_max: u64::MAX, ..Limits::default() };
            let code = format!("search('begun')\n{hostile}");
            session().run(&code, &limits, &mut Announcing(sender), &cancel)
        });
        check_error(&outcome, "KeyboardInterrupt", "the run was cancelled");
    }
}
