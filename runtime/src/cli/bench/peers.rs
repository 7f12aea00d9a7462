//! The same programs run by others: CPython in a fresh process, and smolagents' executor.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::figure::{Figure, Unit, time};
use super::workloads::Workload;

const SMOLAGENTS: &str = include_str!("peer.py");

/// A program's figure, `None` where the peer cannot run it.
pub type PeerFigures = Vec<Option<Figure>>;

/// CPython, a fresh process for every run, start and end included.
pub fn native(python: &Path, workloads: &[Workload], count: usize) -> Result<PeerFigures> {
    let run = |workload: &Workload| {
        let work = || call(Command::new(python).args(["-I", "-c", workload.code]), "").map(drop);
        time(workload.name, count, None, work)
    };
    Ok(workloads.iter().map(|workload| run(workload).ok()).collect())
}

/// smolagents' LocalPythonExecutor in one process, its start excluded.
pub fn smolagents(python: &Path, workloads: &[Workload], count: usize) -> Result<PeerFigures> {
    let programs: Vec<&str> = workloads.iter().map(|workload| workload.code).collect();
    let request = json!({"programs": programs, "count": count}).to_string();
    let answer = call(Command::new(python).args(["-c", SMOLAGENTS]), &request)?;
    let samples: Vec<Option<Vec<f64>>> =
        serde_json::from_str(answer.trim()).context("its answer is not understood")?;
    let figures = workloads.iter().zip(samples);
    let figure = |(workload, samples): (&Workload, Option<Vec<f64>>)| {
        samples.map(|samples| Figure::new(workload.name, Unit::Milliseconds, samples, None))
    };
    Ok(figures.map(figure).collect())
}

/// What a command prints when it is given `input`.
pub fn call(command: &mut Command, input: &str) -> Result<String> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("it does not start")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "it failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
