//! Tools of one's own: declared, refused, called from Python, recorded; and the rule for those that
//! act.

use std::path::Path;
use std::process::Output;

use retort::agent::{
    Agent, Retrieved, Retriever, RetrieverError, Run, Settings, SystemClock, Tool, Toolbox,
};
use retort::cancel::Cancel;
use retort::engine::ScriptedEngine;
use retort::profile::{Boards, Sources};
use retort::sandbox::{
    Allowance, Host, Limit, Limits, Outcome, Sandbox, SandboxOptions, Seed, ToolLimits, ToolModule,
};
use retort::transcript::{Dialect, Passage};
use retort_tests::{error, run};
use serde_json::{Value, json};

/// Returns its arguments, wrapped: `{"result": ARGUMENTS}`.
const ECHO: &str = r#"(module (memory (export "memory") 2) (data (i32.const 0) "{\22result\22:")
  (func (export "alloc") (param i32) (result i32) (i32.const 10))
  (func (export "call") (param i32 i32) (result i64)
    (i32.store8 (i32.add (i32.const 10) (local.get 1)) (i32.const 125))
    (i64.extend_i32_u (i32.add (i32.const 11) (local.get 1)))))"#;

/// Answers `json` once `body` has run.
fn answering(json: &str, body: &str) -> String {
    let (text, length) = (json.replace('"', "\\22"), json.len());
    format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{text}")
  (func (export "alloc") (param i32) (result i32) (i32.const 4096))
  (func (export "call") (param i32 i32) (result i64) {body} (i64.const {length})))"#
    )
}

/// Every kind of module that the tests need, in a folder with a settings file.
fn home(settings: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let modules = [
        ("echo", ECHO.to_owned()),
        ("one", answering("{\"result\": 1}", "")),
        ("sorry", answering("{\"error\": \"no such unit\"}", "")),
        ("garbage", answering("{\"result\": ", "")),
        ("trap", answering("{}", "unreachable")),
        ("forever", answering("{}", "(loop $again (br $again))")),
        ("greedy", answering("{}", "(drop (memory.grow (i32.const 1000)))")),
        ("lacking", "(module (memory (export \"memory\") 1))".to_owned()),
        ("importing", "(module (import \"env\" \"now\" (func)))".to_owned()),
    ];
    for (name, text) in modules {
        let wasm = wat::parse_str(text).unwrap();
        std::fs::write(home.path().join(name).with_extension("wasm"), wasm).unwrap();
    }
    std::fs::write(home.path().join("none.wasm"), "no module").unwrap();
    std::fs::write(home.path().join("large.wasm"), vec![0; (4 << 20) + 1]).unwrap();
    std::fs::write(home.path().join("retort.toml"), settings).unwrap();
    home
}

fn declare(name: &str, module: &str, parameters: &str, returns: &str, effects: &str) -> String {
    format!(
        "[tools.{name}]\ndescription = \"does {name}\"\nmodule = \"{module}.wasm\"\n\
         parameters = [{parameters}]\nreturns = \"{returns}\"\neffects = \"{effects}\"\n"
    )
}

fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", error(output));
    retort_tests::lines(output)
}

/// The reports on the cells of a script.
fn python(settings: &str, script: &str) -> Vec<Value> {
    let home = home(settings);
    std::fs::write(home.path().join("script.py"), script).unwrap();
    lines(&run(home.path(), &["python", "script.py", "--json"]))
}

const CONVERT: &str = r#"{ name = "value", type = "number" }, { name = "from", type = "string" }"#;

#[test]
fn a_tool_is_a_function_with_cpythons_errors() {
    let settings = declare("convert", "echo", CONVERT, "object", "none");
    let script = "convert(3, \"km\")\n#%%\nconvert(from_=\"mi\", value=0.5)['from']\n#%%\n\
        convert(\"3\", \"km\")\n#%%\nconvert(3)\n#%%\nconvert(3, \"km\", to=1)\n#%%\n\
        convert(3, 4)\n#%%\nconvert(float('nan'), 'km')\n#%%\nconvert.__doc__\n#%%\n\
        import traceback\ntry:\n    convert(3, None)\nexcept TypeError:\n    \
        print([frame.name for frame in traceback.extract_tb(__import__('sys').exc_info()[2]) \
        if frame.filename.startswith('<action')], traceback.format_exc().count('<action 9>'))\n\
        #%%\nconvert = 7\nconvert\n#%%\ndel convert\nconvert(1, 'm')['value']\n";
    let cells = python(&settings, script);
    assert_eq!(cells[0]["value"], "{'value': 3, 'from': 'km'}");
    assert_eq!(cells[1]["value"], "mi");
    let errors = [
        (2, "TypeError", "convert() argument 'value' must be real number, not str"),
        (3, "TypeError", "convert() missing 1 required positional argument: 'from_'"),
        (4, "TypeError", "convert() got an unexpected keyword argument 'to'"),
        (5, "TypeError", "convert() argument 'from_' must be str, not int"),
        (6, "ValueError", "Out of range float values are not JSON compliant"),
    ];
    for (cell, kind, message) in errors {
        assert_eq!(cells[cell]["error"], json!({"type": kind, "message": message}));
    }
    assert_eq!(cells[7]["value"], "does convert");
    // The only line of the action in the traceback is its own, and the tools are no action.
    assert_eq!(cells[8]["logs"], "['<module>'] 1\n");
    assert_eq!((&cells[9]["value"], &cells[10]["value"]), (&json!("7"), &json!("1")));
}

#[test]
fn every_type_is_checked_on_its_way_in_and_out() {
    let kinds = ["integer", "boolean", "array", "object", "any"];
    let parameters: Vec<String> =
        kinds.iter().map(|kind| format!("{{ name = \"{kind}\", type = \"{kind}\" }}")).collect();
    let settings = declare("take", "echo", &parameters.join(","), "object", "none")
        + &declare("text", "one", "", "string", "none");
    let script = "take(1, True, [1, 'a'], {'a': None}, None)\n#%%\ntake(1.0, True, [], {}, 1)\n#%%\n\
        take(1, 1, [], {}, 1)\n#%%\ntake(1, True, 'a', {}, 1)\n#%%\ntake(1, True, [], [], 1)\n#%%\n\
        take(1, True, [], {}, object())\n#%%\ntake(2**64, True, [], {}, 1)\n#%%\ntext()\n#%%\n\
        text.__globals__['_call']('take', {'integer': 'x'})\n";
    let cells = python(&settings, script);
    let message = |cell: usize| cells[cell]["error"]["message"].as_str().unwrap_or_default();
    assert!(cells[0]["error"].is_null(), "{}", cells[0]);
    assert_eq!(message(1), "take() argument 'integer' must be int, not float");
    assert_eq!(message(2), "take() argument 'boolean' must be bool, not int");
    assert_eq!(message(3), "take() argument 'array' must be list, not str");
    assert_eq!(message(4), "take() argument 'object' must be dict, not list");
    assert_eq!(message(5), "take() argument 'any' has no JSON form");
    assert_eq!(message(6), "Python int too large to convert to C long");
    assert_eq!(message(7), "text: answered wrongly: its result is not of type string");
    assert_eq!(message(8), "take: its arguments are not those declared");
}

#[test]
fn a_failure_is_an_exception_and_the_session_goes_on() {
    let modules = ["sorry", "garbage", "trap", "forever", "greedy"];
    let settings: String =
        modules.iter().map(|name| declare(name, name, "", "any", "none")).collect();
    let script: String = modules.iter().map(|name| format!("{name}()\n#%%\n")).collect();
    let cells = python(&settings, &(script + "6 * 7\n"));
    let told = |cell: usize| cells[cell]["error"]["message"].as_str().unwrap();
    assert_eq!(told(0), "sorry: no such unit");
    assert!(told(1).starts_with("garbage: answered wrongly: EOF"), "{}", told(1));
    assert!(told(2).starts_with("trap: broke down: "), "{}", told(2));
    assert_eq!((told(3), told(4)), ("forever: used up its fuel", "greedy: used up its memory"));
    assert!((0..5).all(|cell| cells[cell]["error"]["type"] == "RuntimeError"));
    assert_eq!(cells[5]["value"], "42");
}

#[test]
fn what_is_declared_wrongly_is_refused_at_the_start() {
    let good = declare("convert", "echo", CONVERT, "object", "none");
    let with = |from: &str, to: &str| good.replace(from, to);
    let cases = [
        (with("echo.wasm", "none.wasm"), "`tools.convert.module`: none.wasm is no WebAssembly"),
        (with("echo.wasm", "gone.wasm"), "`tools.convert.module`: gone.wasm cannot be read"),
        (with("echo.wasm", "lacking.wasm"), "lacking.wasm does not export `alloc(i32) -> i32`"),
        (with("echo.wasm", "importing.wasm"), "importing.wasm imports `env.now`; expected"),
        (with("echo.wasm", "large.wasm"), "large.wasm is larger than 4194304 bytes"),
        (
            with("effects", "memory_bytes_max = 65536\neffects"),
            "echo.wasm starts with 131072 bytes of memory; expected at most 65536",
        ),
        (with("effects", "fule_max"), "unknown key `tools.convert.fule_max`; did you mean"),
        (with("\"none\"", "\"some\""), "`tools.convert.effects`"),
        (with("\"number\"", "\"numeral\""), "`tools.convert.parameters.0.type`"),
        (with("[tools.convert]", "[tools.print]"), "`tools.print` is print; expected a name"),
        (with("[tools.convert]", "[tools.Convert]"), "`tools.Convert` is Convert; expected a name"),
        (with("\"from\"", "\"value\""), "`tools.convert.parameters.1.name` is value; expected"),
        (with("effects", "fuel_max = 0\neffects"), "`tools.convert.fuel_max` is 0; expected 1 to"),
        (
            with("effects", "allow_after_reading = true\neffects"),
            "`tools.convert.allow_after_reading` is the user's to allow",
        ),
        (
            with("effects", "allow_after_reading = false\neffects"),
            "`tools.convert.allow_after_reading` is false; expected it only where",
        ),
        (with("does convert", ""), "`tools.convert.description` is \"\"; expected one line"),
    ];
    for (settings, expected) in cases {
        let home = home(&settings);
        let output = run(home.path(), &["tools", "list"]);
        let told = error(&output);
        assert_eq!(output.status.code(), Some(2), "{settings}\n{told}");
        assert!(told.contains("retort.toml: ") && told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn a_project_does_not_replace_a_tool_of_the_users() {
    let settings = declare("convert", "echo", CONVERT, "object", "none");
    let home = home(&settings);
    let config = home.path().join(".config/retort");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), settings.replace("convert", "measure")).unwrap();
    std::fs::copy(home.path().join("echo.wasm"), config.join("echo.wasm")).unwrap();
    let tools = lines(&run(home.path(), &["tools", "list", "--json"]));
    assert_eq!((&tools[0]["name"], &tools[1]["name"]), (&json!("convert"), &json!("measure")));
    std::fs::write(config.join("config.toml"), settings).unwrap();
    let output = run(home.path(), &["tools", "list"]);
    assert_eq!(output.status.code(), Some(2));
    let told = error(&output);
    assert!(told.contains("`tools.convert`") && told.contains("has a tool of this name"), "{told}");
}

#[test]
fn tools_are_listed_with_what_they_are() {
    let home = home(&declare("convert", "echo", CONVERT, "object", "none"));
    let tool = &lines(&run(home.path(), &["tools", "list", "--json"]))[0];
    assert_eq!((&tool["name"], &tool["effects"]), (&json!("convert"), &json!("none")));
    assert_eq!(tool["parameters"][1]["name"], "from");
    assert_eq!(tool["sha256"].as_str().unwrap().len(), 64);
    let text = run(home.path(), &["tools", "list"]);
    assert_eq!(
        String::from_utf8_lossy(&text.stdout),
        "convert(value: number, from_: string) -> object: does convert\n"
    );
    // The bundled student reads what it always read.
    let asked = run(home.path(), &["ask", "Q?", "--engine", "scripted", "--corpus", "demo"]);
    assert!(error(&asked).contains("has no prompt that lists tools"), "{}", error(&asked));
}

struct Oru;

impl Retriever for Oru {
    fn retrieve(&self, query: &str, _limit: usize) -> Result<Vec<Retrieved>, RetrieverError> {
        let passage = Passage { title: "Oru".to_owned(), text: "A river.".to_owned(), score: 1.0 };
        let hit = Retrieved { passage, document: "1".to_owned(), source: String::new() };
        Ok(if query == "Oru" { vec![hit] } else { Vec::new() })
    }
}

/// The declared tools of a settings text, with modules of the folder `home`.
fn toolbox(settings: &str, home: &Path) -> Toolbox {
    let path = home.join("config.toml");
    let sources = Sources { user_file: Some((path, settings.to_owned())), ..Sources::default() };
    let resolved = sources.resolve(&Boards::embedded().unwrap()).unwrap();
    let tools = resolved.tools.into_iter().map(|declared| {
        let limits =
            ToolLimits { fuel_max: declared.fuel_max, memory_bytes_max: declared.memory_bytes_max };
        let wasm = std::fs::read(&declared.module).unwrap();
        let module = ToolModule::new(&wasm, limits).unwrap();
        Tool { declared, module, sha256: String::new() }
    });
    Toolbox { tools: tools.collect() }
}

const ACTS: &str = r#"{ name = "lamp", type = "string" }"#;

fn acting_settings(allow_after_reading: bool) -> String {
    declare("switch", "echo", ACTS, "object", "act")
        + &format!("allow_after_reading = {allow_after_reading}\n")
        + &declare("measure", "one", "", "integer", "read")
        + &declare("compute", "one", "", "integer", "none")
}

/// A run over steps of candidates' code.
fn act(settings: &str, steps: &[&[&str]]) -> Run {
    let home = home(settings);
    let toolbox = toolbox(settings, home.path());
    let candidates = steps.iter().map(|step| step.len()).max().unwrap();
    let replies: Vec<Vec<String>> = steps
        .iter()
        .map(|step| step.iter().map(|code| format!("t\n```py\n{code}\n```")).collect())
        .collect();
    let mut replies = replies.into_iter();
    let mut engine = ScriptedEngine::new(Steps(&mut replies));
    let mut agent = Agent {
        engine: &mut engine,
        sandbox: &Sandbox::open(&SandboxOptions::default()).unwrap(),
        retriever: &Oru,
        toolbox: &toolbox,
        dialect: &Dialect::named("retort").unwrap(),
        clock: &SystemClock::default(),
        settings: Settings { candidates: u8::try_from(candidates).unwrap(), ..Settings::default() },
        cancel: Cancel::default(),
    };
    agent.run("Q?", &mut ())
}

struct Steps<'a>(&'a mut std::vec::IntoIter<Vec<String>>);

impl retort::engine::Script for Steps<'_> {
    fn replies(&mut self, _prompt: &str, _candidates: u8) -> Vec<String> {
        self.0.next().unwrap_or_default()
    }
}

/// Name, lamp and whether it failed of every call that was recorded.
fn calls(run: &Run) -> Vec<(&str, &str, bool)> {
    let calls = run.steps.iter().flat_map(|step| &step.tool_calls);
    calls
        .map(|call| {
            (call.name.as_str(), call.arguments["lamp"].as_str().unwrap_or_default(), call.failed)
        })
        .collect()
}

#[test]
fn a_run_calls_tools_and_records_them() {
    let run = act(&acting_settings(false), &[&["final_answer(compute() + measure())"]]);
    assert_eq!(run.answer.as_deref(), Some("2"));
    let step = &run.steps[0].tool_calls;
    assert_eq!((step[0].name.as_str(), step[0].result.as_str()), ("compute", "1"));
    assert!(step[0].is_json && !step[0].failed);
    assert_eq!(calls(&run), [("compute", "", false), ("measure", "", false)]);
}

#[test]
fn a_deed_is_done_by_the_winner_alone_after_the_vote() {
    let first = "print(switch('a'))\nfinal_answer('a')";
    let other = "final_answer(switch('b')['lamp'])";
    // `first` and a third wording agree on the deed, not on what comes after it.
    let third = "x = switch(lamp='a')\nfinal_answer(x)";
    let run = act(&acting_settings(false), &[&[other, first, third]]);
    assert_eq!(calls(&run), [("switch", "a", false)]);
    assert_eq!(run.steps[0].candidates.agreed, 2);
    assert!(run.steps[0].error.is_none(), "{:?}", run.steps[0].error);
    assert!(["a", "{'lamp': 'a'}"].contains(&run.answer.as_deref().unwrap()));
}

#[test]
fn catching_the_refusal_of_a_trial_gains_nothing() {
    let sly = "try:\n    x = switch('b')\nexcept RuntimeError:\n    x = 'free'\nfinal_answer(x)";
    let run = act(&acting_settings(false), &[&["final_answer(1)", "final_answer(1)", sly]]);
    assert_eq!((run.answer.as_deref(), calls(&run).len()), (Some("1"), 0));
    let run = act(&acting_settings(false), &[&[sly, sly]]);
    assert_eq!(run.answer.as_deref(), Some("{'lamp': 'b'}"));
    assert_eq!(calls(&run), [("switch", "b", false)]);
}

#[test]
fn a_tool_acts_once_a_step() {
    let twice = "switch('a')\nswitch('b')";
    for step in [&[twice][..], &[twice, twice][..]] {
        let run = act(&acting_settings(false), &[step, &["final_answer(switch('c'))"]]);
        let expected = [("switch", "a", false), ("switch", "b", true), ("switch", "c", false)];
        assert_eq!(calls(&run), expected);
        let message = &run.steps[0].error.as_ref().unwrap().message;
        assert_eq!(message, "switch: acts once a step only: call it again in the next step");
    }
}

#[test]
fn who_has_read_may_not_act_unless_the_user_allows_it() {
    let steps: [&[&[&str]]; 4] = [
        &[&["print(search('Oru'))"], &["final_answer(switch('a'))"]],
        &[&["print(search('Oru'))\nfinal_answer(switch('a'))"]],
        &[&["x = measure()", "y = measure()"], &["final_answer(switch('a'))"]],
        &[&["x = measure()\nfinal_answer(switch('a'))"]],
    ];
    for steps in steps {
        let run = act(&acting_settings(false), steps);
        let message = run.steps.iter().find_map(|step| step.error.as_ref()).unwrap();
        assert!(message.message.starts_with("switch: not allowed, because text from outside"));
        assert!(calls(&run).contains(&("switch", "a", true)), "{:?}", calls(&run));
        assert!(!calls(&run).contains(&("switch", "a", false)));
        let run = act(&acting_settings(true), steps);
        assert_eq!(run.answer.as_deref(), Some("{'lamp': 'a'}"), "{:?}", run.steps);
    }
    // A search that finds nothing reads nothing, and what a losing candidate read is forgotten.
    let run = act(
        &acting_settings(false),
        &[&["search('x')", "search('x')", "print(search('Oru'))"], &["final_answer(switch('a'))"]],
    );
    assert_eq!(run.answer.as_deref(), Some("{'lamp': 'a'}"));
}

#[test]
fn a_prompt_that_lists_tools_lists_them() {
    let home = home("");
    let described = CONVERT.replace("\"number\" }", "\"number\", description = \"in from_\" }");
    let tools = toolbox(&declare("convert", "echo", &described, "object", "none"), home.path());
    let prompt = |name: &str| {
        let dialect = Dialect::named(name).unwrap();
        let told = dialect.clone().with_tools(&tools.descriptions()).unwrap();
        let text = |dialect: &Dialect| -> String {
            let segments = dialect.render_prompt(&retort::transcript::Transcript::default());
            segments.into_iter().map(|segment| segment.text).collect()
        };
        (text(&dialect), text(&told), dialect.hash() == told.hash())
    };
    let (_, told, same) = prompt("chat");
    let line =
        "\n- convert(value: number, from_: string) -> object: does convert\n    value: in from_\n";
    assert!(told.contains(line) && !same, "{told}");
    let (before, told, same) = prompt("retort");
    assert!(before == told && same);
    let smolagents = Dialect::named("smolagents").unwrap();
    let smolagents = smolagents.with_tools(&tools.descriptions()).unwrap();
    assert_eq!(smolagents.tools().last().unwrap().name, "convert");
}

/// A module that anything calls, whatever it is named.
struct Only(ToolModule);

impl Host for Only {
    fn call(
        &mut self,
        _tool: &str,
        arguments: &Value,
        allowance: &mut Allowance<'_>,
    ) -> Result<Value, String> {
        self.0.call(arguments, allowance).map_err(|failure| failure.to_string())
    }
}

/// An action that calls a tool with more fuel than anything has time for.
fn endless(limits: &Limits, cancel: &Cancel) -> Outcome {
    let wasm = wat::parse_str(answering("{}", "(loop $again (br $again))")).unwrap();
    let all = ToolLimits { fuel_max: u64::MAX, memory_bytes_max: 1 << 20 };
    let mut host = Only(ToolModule::new(&wasm, all).unwrap());
    let sandbox = Sandbox::open(&SandboxOptions::default()).unwrap();
    let mut session = sandbox.session(&Seed::default()).unwrap();
    let code = "try:\n    search('x')\nexcept RuntimeError:\n    print('caught')";
    session.run(code, limits, &mut host, cancel)
}

#[test]
fn an_endless_tool_ends_with_its_action() {
    let wall = std::time::Duration::from_millis(300);
    let outcome =
        endless(&Limits { wall, fuel_max: u64::MAX, ..Limits::default() }, &Cancel::default());
    assert_eq!((outcome.limit, outcome.logs.as_str()), (Some(Limit::Wall), ""));

    let fuel_max = 5_000_000;
    let outcome = endless(&Limits { fuel_max, ..Limits::default() }, &Cancel::default());
    assert_eq!((outcome.limit, outcome.fuel), (Some(Limit::Fuel), fuel_max));
    assert!(outcome.calls[0].fuel > fuel_max / 2, "{}", outcome.calls[0].fuel);

    let cancel = Cancel::default();
    let outcome = std::thread::scope(|threads| {
        threads.spawn(|| cancel.cancel());
        let wall = std::time::Duration::from_secs(600);
        endless(&Limits { wall, fuel_max: u64::MAX, ..Limits::default() }, &cancel)
    });
    assert_eq!(outcome.error.unwrap().kind, "KeyboardInterrupt");
}

#[test]
fn an_equal_call_costs_every_candidate_the_same() {
    let settings = acting_settings(false);
    let fuel = |steps: &[&[&str]]| act(&settings, steps).steps[0].fuel;
    let (first, second) = ("x = compute()\nprint(x)", "x = compute()\nprint(x )");
    assert_eq!(fuel(&[&[first, second]]), fuel(&[&[first]]) + fuel(&[&[second]]));
}

#[test]
fn the_doctor_opens_every_tool() {
    let settings = declare("convert", "echo", CONVERT, "object", "none")
        + &declare("broken", "lacking", "", "any", "read");
    let home = home(&settings);
    let output = run(home.path(), &["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = |part: &str| {
        let mut parts = report["parts"].as_array().unwrap().iter();
        parts.find(|one| one["part"] == part).unwrap().clone()
    };
    let good = found("tool convert");
    let expected = "convert(value: number, from_: string) -> object can be called, effects none";
    assert_eq!((&good["ok"], &good["found"]), (&json!(true), &json!(expected)));
    let broken = found("tool broken");
    assert_eq!(broken["ok"], false);
    assert!(broken["found"].as_str().unwrap().contains("lacking.wasm does not export"), "{broken}");
}
