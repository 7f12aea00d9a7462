//! `retort python -i`: one session, line by line.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Result;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};

use super::super::context::Context;
use super::super::exit::Exit;
use super::WithOwn;
use super::show::Show;
use crate::cancel::Cancel;
use crate::cli::output::errln;
use crate::sandbox::{Limits, NoTools, Sandbox, Seed, Session};

const PROMPT: &str = ">>> ";
const PROMPT_MORE: &str = "... ";
const HISTORY_LINES_MAX: usize = 1000;

/// Reads, runs and shows until the input ends. Ctrl-C stops what runs, and the conversation goes on;
/// a second one before that has stopped ends the program.
pub fn converse(
    sandbox: &Sandbox,
    session: &mut Session,
    tools: &mut WithOwn<'_>,
    show: &Show,
    context: &Context,
) -> Result<Exit> {
    let config = Config::builder().max_history_size(HISTORY_LINES_MAX)?.build();
    let mut editor = Editor::<(), DefaultHistory>::with_config(config)?;
    let history = history_file(context);
    if let Some(file) = &history {
        let _ = editor.load_history(file); // there is none the first time
    }
    let reader = Reader { checker: sandbox.session(&Seed::default())? };
    while let Some(code) = reader.next(&mut editor)? {
        // One that came between two actions was not meant for the next.
        let _ = context.cancel.take();
        tools.begin_step();
        let outcome = session.run(&code, &show.limits, tools, &context.cancel);
        show.outcome(&outcome);
        if context.cancel.take() {
            errln!("stopped: what this action changed is undone");
        }
    }
    if let Some(file) = &history
        && let Err(error) = editor.save_history(file)
    {
        tracing::warn!("{} cannot be written: {error}", file.display());
    }
    Ok(Exit::Success)
}

fn history_file(context: &Context) -> Option<PathBuf> {
    context.cache_dir.as_ref().map(|folder| folder.join("python_history"))
}

/// Puts lines together until they are a program.
struct Reader {
    /// Asked whether a program is complete, in forks that are dropped.
    checker: Session,
}

impl Reader {
    /// The next program, `None` at the end of the input. Ctrl-C drops what was begun.
    fn next(&self, editor: &mut Editor<(), DefaultHistory>) -> Result<Option<String>> {
        let mut code = String::new();
        loop {
            let prompt = if code.is_empty() { PROMPT } else { PROMPT_MORE };
            match editor.readline(prompt) {
                Ok(line) => {
                    code.push_str(&line);
                    code.push('\n');
                }
                Err(ReadlineError::Interrupted) => code.clear(),
                Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                    errln!("this line is no UTF-8 and is left out");
                }
                Err(ReadlineError::Eof) if code.is_empty() => return Ok(None),
                Err(ReadlineError::Eof) => return Ok(Some(code)),
                Err(error) => return Err(error.into()),
            }
            if code.trim().is_empty() {
                code.clear();
            } else if self.is_complete(&code)? {
                editor.add_history_entry(code.trim_end())?;
                return Ok(Some(code));
            }
        }
    }

    /// Whether Python would wait for more lines: a block ends with an empty one.
    fn is_complete(&self, code: &str) -> Result<bool> {
        // As Python's own console asks: without the last line's end.
        let source = serde_json::to_string(code.strip_suffix('\n').unwrap_or(code))?;
        let question = format!("import codeop, json\ncodeop.compile_command({source}) is None");
        let limits = Limits::default();
        let outcome =
            self.checker.fork()?.run(&question, &limits, &mut NoTools, &Cancel::default());
        // What is no Python at all is complete: running it says what is wrong.
        Ok(outcome.value.as_deref() != Some("True"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxOptions;

    #[test]
    fn a_block_goes_on_until_an_empty_line() {
        let sandbox = Sandbox::open(&SandboxOptions::default()).unwrap();
        let reader = Reader { checker: sandbox.session(&Seed::default()).unwrap() };
        let check = |code: &str, expected: bool| {
            assert_eq!(reader.is_complete(code).unwrap(), expected, "{code:?}");
        };
        check("x = 'é\"\\\\'\n", true);
        check("x = (1,\n", false);
        check("def f():\n    return 1\n", false);
        check("def f():\n    return 1\n\n", true);
        check("'''text\n", false);
        check("1 +\n", true);
    }
}
