//! System prompts: Jinja templates over a tool list, rendered as Python's Jinja2 renders them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior};

use crate::types::ToolDescription;

/// Renders `template` with `tools` (a mapping from name to tool), an empty `managed_agents`, and
/// `variables`. A name that is none of these is an error, not empty text.
pub(crate) fn render(
    template: &str,
    tools: &[ToolDescription],
    variables: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut context: BTreeMap<&str, Value> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
        .collect();
    context.insert("tools", tools_value(tools));
    context.insert("managed_agents", PythonDict::value(Vec::new()));
    environment.render_str(template, context)
}

/// The text under `key` in a YAML file where it is written as a block (`key: |-`), which is how
/// published students keep their prompts. `None` when there is no such block.
#[must_use]
pub fn template_from_yaml(yaml: &str, key: &str) -> Option<String> {
    let mut lines = yaml.lines();
    let keeps_newline = lines.find_map(|line| {
        let chomping = line.strip_prefix(key)?.strip_prefix(':')?.trim().strip_prefix('|')?;
        Some(chomping != "-")
    })?;
    let block: Vec<&str> =
        lines.take_while(|line| line.is_empty() || line.starts_with(' ')).collect();
    let indent = block.iter().find_map(|line| line.find(|letter| letter != ' '))?;
    let unindented: Vec<&str> =
        block.iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
    let mut text = unindented.join("\n").trim_end_matches('\n').to_owned();
    if keeps_newline {
        text.push('\n');
    }
    Some(text)
}

fn tools_value(tools: &[ToolDescription]) -> Value {
    let entries = tools.iter().map(|tool| (tool.name.clone(), tool_value(tool)));
    PythonDict::value(entries.collect())
}

fn tool_value(tool: &ToolDescription) -> Value {
    let inputs = tool.inputs.iter().map(|input| {
        let described = PythonDict::value(vec![
            ("type".to_owned(), Value::from(input.kind.as_str())),
            ("description".to_owned(), Value::from(input.description.as_str())),
        ]);
        (input.name.clone(), described)
    });
    PythonDict::value(vec![
        ("name".to_owned(), Value::from(tool.name.as_str())),
        ("description".to_owned(), Value::from(tool.description.as_str())),
        ("inputs".to_owned(), PythonDict::value(inputs.collect())),
        ("output_type".to_owned(), Value::from(tool.output_type.as_str())),
    ])
}

/// A mapping that keeps its order, has a dict's methods, and prints as Python prints a dict.
#[derive(Debug)]
struct PythonDict(Vec<(String, Value)>);

impl PythonDict {
    fn value(entries: Vec<(String, Value)>) -> Value {
        Value::from_object(Self(entries))
    }
}

impl Object for PythonDict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        _arguments: &[Value],
    ) -> Result<Value, Error> {
        let name = |(name, _): &(String, Value)| Value::from(name.as_str());
        match method {
            "keys" => Ok(self.0.iter().map(name).collect()),
            "values" => Ok(self.0.iter().map(|(_, value)| value.clone()).collect()),
            "items" => {
                let pair =
                    |entry: &(String, Value)| Value::from(vec![name(entry), entry.1.clone()]);
                Ok(self.0.iter().map(pair).collect())
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (position, (name, value)) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str(", ")?;
            }
            write!(formatter, "{}: ", python_repr(name))?;
            match value.as_str() {
                Some(text) => formatter.write_str(&python_repr(text))?,
                None => write!(formatter, "{value}")?,
            }
        }
        formatter.write_str("}")
    }
}

/// `repr()` of a Python string, for printable text.
fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if letter == quote => quoted.extend(['\\', quote]),
            _ => quoted.push(letter),
        }
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::{python_repr, render, template_from_yaml};
    use crate::Dialect;

    const TOOL_LIST: &str = "{%- for tool in tools.values() %}\n- {{ tool.name }}: {{ tool.description }}\n    Takes inputs: {{tool.inputs}}\n    Returns an output of type: {{tool.output_type}}\n{%- endfor %}\n{%- if managed_agents and managed_agents.values() | list %}team{%- endif %}";

    #[test]
    fn tools_print_as_python_prints_them() {
        let dialect = Dialect::named("smolagents").unwrap();
        let text = render(TOOL_LIST, dialect.tools(), &BTreeMap::new()).unwrap();
        let expected = "\n- final_answer: Provides a final answer to the given problem.\n    Takes inputs: {'answer': {'type': 'any', 'description': 'The final answer to the problem'}}\n    Returns an output of type: any";
        assert!(text.starts_with("\n- web_search: Uses semantic search"), "{text}");
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(render("{{ unheard_of }}", &[], &BTreeMap::new()).is_err());
        assert!(render("{% if %}", &[], &BTreeMap::new()).is_err());
    }

    #[test]
    fn strings_are_quoted_as_python_quotes_them() {
        assert_eq!(python_repr("it's"), "\"it's\"");
        assert_eq!(python_repr("it's \"so\"\n"), "'it\\'s \"so\"\\n'");
    }

    #[test]
    fn a_block_is_read_from_yaml() {
        let yaml = "first: x\nprompt: |-\n  One\n\n    Two\nlast: |\n  Three\n";
        assert_eq!(template_from_yaml(yaml, "prompt").unwrap(), "One\n\n  Two");
        assert_eq!(template_from_yaml(yaml, "last").unwrap(), "Three\n");
        assert_eq!(template_from_yaml(yaml, "first"), None);
        assert_eq!(template_from_yaml(yaml, "other"), None);
    }
}
