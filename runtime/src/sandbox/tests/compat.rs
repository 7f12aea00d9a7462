//! What the reference executor did with 136 programs. Where it agrees with CPython, the sandbox
//! shows the same in the same layout and words; elsewhere it does what CPython does.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    code: String,
    output: Option<String>,
    error: Option<String>,
    logs: String,
    #[serde(default)]
    is_final: bool,
    cpython_stdout: Option<String>,
    cpython_error: Option<String>,
}

/// Programs for which neither of the two says what happens here: there are no files, nobody types,
/// and numpy is not there.
const OWN: [(&str, &str); 5] = [
    ("open('x')", "FileNotFoundError: [Errno 2] No such file or directory: 'x'"),
    ("with open('f') as f: pass", "FileNotFoundError: [Errno 2] No such file or directory: 'f'"),
    ("input('x')", "EOFError: EOF when reading a line"),
    (
        "import numpy as np\nnp.linalg.det(np.array([[1,2],[3,4]]))",
        "ModuleNotFoundError: No module",
    ),
    ("final_answer = 3\nfinal_answer(final_answer)", "TypeError: 'int' object is not callable"),
];

/// Here the reference calls a function with arguments that CPython would not give it.
const REFERENCE_ERRS: &str = "def f(a,*args,**kw): return (a,args,kw)\nf(1,2,k=3)";

/// The error as the dialect `smolagents` words it.
fn worded(error: &PythonError) -> String {
    let (kind, message) = (&error.kind, &error.message);
    let source = error.source_line.as_deref().unwrap_or_default();
    let (Some(line), Some(column)) = (error.line, error.column) else {
        return format!("Code execution failed at line '{source}' due to: {kind}: {message}");
    };
    let indent = " ".repeat(usize::try_from(column).unwrap());
    let place = format!("Code parsing failed on line {line} due to: {kind}\n{source}\n{indent}^");
    format!("{place}\nError: {message} (<unknown>, line {line})")
}

fn said(outcome: &Outcome) -> Option<String> {
    outcome.error.as_ref().map(|error| format!("{}: {}", error.kind, error.message))
}

/// What is wrong with `outcome`, if anything.
fn complaint(case: &Case, outcome: &Outcome) -> Option<String> {
    let shown = outcome.answer.as_ref().or(outcome.value.as_ref()).or(outcome.assigned.as_ref());
    let shown = shown.map_or("None", String::as_str);
    let own = OWN.iter().find(|(code, _)| *code == case.code).map(|(_, error)| *error);
    let expected = own.map(str::to_owned).or_else(|| {
        let error = case.cpython_error.as_deref()?;
        Some(error.split(" (<u>").next().unwrap_or_default().to_owned())
    });
    let error = said(outcome);
    if let Some(expected) = expected {
        let right = error.as_ref().is_some_and(|error| error.starts_with(&expected));
        let same = format!("due to: {expected}");
        let agrees =
            |text: &&String| text.contains(&same) || text.starts_with("Code parsing failed");
        let agreed = case.error.as_ref().filter(agrees);
        let word = outcome.error.as_ref().map(worded);
        let worded = agreed.is_none_or(|reference| word.as_ref() == Some(reference));
        return (!right || !worded).then(|| format!("{word:?}, not {expected:?} as {agreed:?}"));
    }
    if error.is_some() || outcome.is_final != case.is_final {
        return Some(format!("{error:?}, final: {}", outcome.is_final));
    }
    let logs = case.cpython_stdout.as_ref().unwrap_or(&case.logs);
    if outcome.logs != *logs {
        return Some(format!("printed {:?}, not {logs:?}", outcome.logs));
    }
    let agreed =
        case.output.as_deref().filter(|_| case.logs == *logs && case.code != REFERENCE_ERRS);
    let right = agreed.is_none_or(|output| output == shown);
    (!right).then(|| format!("shows {shown:?}, not {agreed:?}"))
}

#[test]
fn programs_do_what_the_reference_does_where_it_is_right() {
    let Some(cases) = shared("compat/executor_cases.json") else { return };
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap();
    assert!(cases.len() >= 136);
    let wrong = cases.iter().filter_map(|case| {
        let complaint = complaint(case, &run(&mut session(), &case.code))?;
        Some(format!("{:?}\n    {complaint}", case.code))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} programs differ\n{}", wrong.len(), wrong.join("\n"));
}
