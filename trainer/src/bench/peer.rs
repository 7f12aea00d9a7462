//! The same step in PyTorch, in a process of its own.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Speed;

#[derive(Deserialize)]
struct Answer {
    parameters: usize,
    #[serde(flatten)]
    speed: Speed,
}

/// Parameters of the peer's model, and its speed, as `script` says when it is given `work`, on one NVIDIA device
/// where it is named.
pub(super) fn measure(
    python: &Path,
    script: &str,
    work: &impl Serialize,
    device: Option<usize>,
) -> Result<(usize, Speed)> {
    let mut command = Command::new(python);
    command.args(["-c", script]).env("OMP_NUM_THREADS", "1");
    if let Some(index) = device {
        command.env("CUDA_VISIBLE_DEVICES", index.to_string());
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("it does not start")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(work)?)?;
    }
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "it failed: {}", output.status);
    let answer: Answer =
        serde_json::from_slice(&output.stdout).context("its answer is not understood")?;
    Ok((answer.parameters, answer.speed))
}
