//! The user's tools: how they are declared, described and called.

use retort_transcript::{ToolDescription, ToolInput};
use serde_json::Value;

use super::bindings;
use crate::cancel::Cancel;
use crate::profile::{DeclaredTool, Kind};
use crate::sandbox::{Allowance, Limits, NoTools, SandboxError, Session, ToolModule};

/// A declared tool and its module.
#[derive(Debug)]
pub struct Tool {
    /// What the user declared.
    pub declared: DeclaredTool,
    /// What computes.
    pub module: ToolModule,
    /// SHA-256 of the module, lower-case hexadecimal.
    pub sha256: String,
}

/// The tools of a run beside `search`; by default none.
#[derive(Debug, Default)]
pub struct Toolbox {
    /// The tools, by name.
    pub tools: Vec<Tool>,
}

impl Toolbox {
    /// The tool called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.declared.name == name)
    }

    /// The tools as prompts describe them.
    #[must_use]
    pub fn descriptions(&self) -> Vec<ToolDescription> {
        self.tools.iter().map(|tool| description(&tool.declared)).collect()
    }

    /// Makes them functions of a session in which nothing has run yet. Without tools this does
    /// nothing.
    ///
    /// # Errors
    /// What Python says, or the limit that was reached.
    pub fn define(&self, session: &mut Session, cancel: &Cancel) -> Result<(), SandboxError> {
        if self.tools.is_empty() {
            return Ok(());
        }
        let source = bindings::source(self.tools.iter().map(|tool| &tool.declared));
        let outcome = session.run(&source, &Limits::default(), &mut NoTools, cancel);
        match (outcome.error, outcome.limit) {
            (None, None) => Ok(()),
            (Some(error), _) => {
                Err(SandboxError::Tools(format!("{}: {}", error.kind, error.message)))
            }
            (None, Some(limit)) => Err(SandboxError::Tools(limit.to_string())),
        }
    }
}

impl Tool {
    /// Calls it once, whatever its effects are.
    ///
    /// # Errors
    /// What Python's exception says: it begins with the tool's name.
    pub fn call(&self, arguments: &Value, allowance: &mut Allowance<'_>) -> Result<Value, String> {
        let DeclaredTool { name, returns, .. } = &self.declared;
        self.check(arguments)?;
        let value = self.module.call(arguments, allowance);
        let value = value.map_err(|failure| format!("{name}: {failure}"))?;
        if accepts(*returns, &value) {
            Ok(value)
        } else {
            Err(format!("{name}: answered wrongly: its result is not of type {}", returns.name()))
        }
    }

    /// Code can call the host without the function that checks its arguments.
    fn check(&self, arguments: &Value) -> Result<(), String> {
        let DeclaredTool { name, parameters, .. } = &self.declared;
        let given = arguments.as_object();
        let fits = given.is_some_and(|given| {
            let fits = |key: &str, kind| given.get(key).is_some_and(|value| accepts(kind, value));
            given.len() == parameters.len()
                && parameters.iter().all(|parameter| fits(&parameter.name, parameter.kind))
        });
        if fits { Ok(()) } else { Err(format!("{name}: its arguments are not those declared")) }
    }
}

fn accepts(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::String => value.is_string(),
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Array => value.is_array(),
        Kind::Object => value.is_object(),
        Kind::Any => true,
    }
}

fn description(tool: &DeclaredTool) -> ToolDescription {
    let inputs = tool.parameters.iter().map(|parameter| ToolInput {
        name: parameter.python_name(),
        kind: parameter.kind.name().to_owned(),
        description: parameter.description.clone(),
    });
    ToolDescription {
        name: tool.name.clone(),
        description: tool.description.clone(),
        inputs: inputs.collect(),
        output_type: tool.returns.name().to_owned(),
    }
}
