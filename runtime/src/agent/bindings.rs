//! The user's tools as functions of Python.

use std::fmt::Write as _;

use crate::profile::{DeclaredTool, Kind, Parameter};

/// What the functions use.
const HELPERS: &str = include_str!("bindings.py");

/// Puts the functions where `search` is: among the builtins. The prelude's globals are reached
/// through it, because no action has run yet that could have changed it. The functions are compiled
/// under a name of their own: no line of theirs is taken for one of an action, and this source does
/// not count as an action.
const DEFINE: &str = r#"
def _define(helpers, functions):
    prelude = search.__globals__
    scope = {
        "__name__": "builtins",
        "__builtins__": prelude["__builtins__"],
        "_call": prelude["call_tool"],
        "_json_form": prelude["json_form"],
        "_is_finite": prelude["math"].isfinite,
    }
    exec(compile(helpers, "<tools>", "exec"), scope)
    defined = {}
    exec(compile(functions, "<tools>", "exec"), scope, defined)
    for name, function in defined.items():
        setattr(prelude["builtins"], name, function)
    prelude["linecache"].cache.pop(prelude["Action"].name, None)
    prelude["Action"].count -= 1
"#;

/// Source that defines `tools` when it is run before a session's first action.
pub fn source<'a>(tools: impl Iterator<Item = &'a DeclaredTool>) -> String {
    let functions: String = tools.map(function).collect();
    let (helpers, functions) = (literal(HELPERS), literal(&functions));
    format!("{DEFINE}\n_define({helpers}, {functions})\ndel _define\n")
}

fn function(tool: &DeclaredTool) -> String {
    let signature: Vec<String> = tool.parameters.iter().map(annotated).collect();
    let (name, signature) = (&tool.name, signature.join(", "));
    let mut text = format!("def {name}({signature}) -> {}:\n", python_type(tool.returns));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "    {}", literal(&tool.description));
    let arguments: Vec<String> = tool.parameters.iter().map(|one| checked(name, one)).collect();
    let _ = writeln!(text, "    return _call({}, {{{}}})", literal(name), arguments.join(", "));
    text
}

fn annotated(parameter: &Parameter) -> String {
    format!("{}: {}", parameter.python_name(), python_type(parameter.kind))
}

fn checked(function: &str, parameter: &Parameter) -> String {
    let (name, kind) = (parameter.python_name(), parameter.kind.name());
    let (key, function, told) = (literal(&parameter.name), literal(function), literal(&name));
    format!("{key}: _{kind}({function}, {told}, {name})")
}

fn python_type(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "str",
        Kind::Integer => "int",
        Kind::Number => "float",
        Kind::Boolean => "bool",
        Kind::Array => "list",
        Kind::Object => "dict",
        Kind::Any => "object",
    }
}

/// A text as Python writes it: every JSON string is one.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
