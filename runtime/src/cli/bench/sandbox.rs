//! `retort bench sandbox`: start, fork, actions, memory; beside them other ways to run Python.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::output::outln;
use super::figure::{Figure, Unit, milliseconds_since, time};
use super::workloads::{ALL, LOOP, SMALL, SYMPY, TINY, Workload};
use super::{attacks, chart, peers};
use crate::cancel::Cancel;
use crate::sandbox::{Limits, NoTools, Sandbox, SandboxOptions, Seed, Session};

/// Candidates of one step.
const CANDIDATES: usize = 8;
/// How many times as many are held when their memory is measured: one step's are less than the
/// allocator's noise.
const MEASURED_EIGHTS: usize = 8;

/// Measure the Python sandbox: start, fork, actions, memory.
#[derive(Debug, Args)]
pub struct SandboxBenchArgs {
    /// Print one JSON object per figure.
    #[arg(long)]
    json: bool,
    /// Draw the medians into a file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Run hostile actions too, one JSON object `{"id", "category", "code"}` a line.
    #[arg(long, value_name = "FILE")]
    attacks: Option<PathBuf>,
    /// A Python to compare with: in fresh processes, and with smolagents where that is installed.
    #[arg(long, value_name = "PATH")]
    peer_python: Option<PathBuf>,
    /// Samples of each figure.
    #[arg(long, default_value_t = 40, value_name = "N")]
    repeat: usize,
}

/// Runs the command.
pub fn run(args: &SandboxBenchArgs, context: &Context) -> Result<Exit> {
    let options = SandboxOptions { cache_dir: context.cache_dir.clone() };
    let bench = Bench { sandbox: Sandbox::open(&options)?, samples: args.repeat.max(1) };
    let mut figures = bench.all()?;
    let copying = Bench { sandbox: Sandbox::open_copying(&options)?, ..bench };
    figures.push(copying.forked("tiny action after a fork, memory copied", TINY, None)?);
    figures.iter().for_each(|figure| print_figure(figure, args.json));
    if let Some(python) = &args.peer_python {
        let bench = Bench { sandbox: Sandbox::open(&options)?, ..copying };
        compare(&bench, python, args.json)?;
    }
    if let Some(file) = &args.svg {
        chart::draw(&figures, file).with_context(|| format!("{}: not drawn", file.display()))?;
    }
    match &args.attacks {
        Some(file) => attack(file, &Sandbox::open(&options)?, args.json),
        None => Ok(Exit::Success),
    }
}

struct Bench {
    sandbox: Sandbox,
    samples: usize,
}

impl Bench {
    fn all(&self) -> Result<Vec<Figure>> {
        let sympy = Workload { name: "tiny", code: "import sympy\nprint(sympy.Rational(9, 14))\n" };
        // Memory first: later, forks are given what earlier figures have given back.
        Ok(vec![
            self.memory("private memory of eight forks", SMALL, 15.0)?,
            self.memory("private memory of eight forks, sympy", SYMPY, 15.0)?,
            self.fresh_process("fresh process to its end, tiny action", TINY, Some(60.0))?,
            self.fresh_process("fresh process to its end, sympy", sympy, Some(90.0))?,
            self.fork("fork, ready to run", TINY, Some(0.3))?,
            self.fork("fork, ready to run, sympy", sympy, Some(0.3))?,
            self.forked("tiny action after a fork", TINY, Some(1.5))?,
            self.forked("small action after a fork", SMALL, Some(5.0))?,
            self.forked("solve a quadratic after a fork, sympy", SYMPY, None)?,
            self.forked("loop of 100,000 after a fork", LOOP, None)?,
            self.candidates("eight candidates forked and run, 2 threads", Some(25.0))?,
            self.cancel("from cancelling to the end, endless loop", "while True: pass")?,
            self.cancel("from cancelling to the end, big power", "x = 9 ** 9 ** 9")?,
        ])
    }

    /// A session that has run an action.
    fn session(&self, workload: Workload) -> Result<Session> {
        let mut session = self.sandbox.session(&Seed::default())?;
        run_action(&mut session, workload.code)?;
        Ok(session)
    }

    /// This program started anew, until it has ended.
    fn fresh_process(&self, name: &str, workload: Workload, target: Option<f64>) -> Result<Figure> {
        let program = std::env::current_exe()?;
        let run = || {
            let answer =
                peers::call(Command::new(&program).args(["python", "--json"]), workload.code)?;
            anyhow::ensure!(answer.contains("\"error\":null"), "{name}: {answer}");
            Ok(())
        };
        run()?; // makes the snapshot where there is none
        time(name, self.samples, target, run)
    }

    fn fork(&self, name: &str, workload: Workload, target: Option<f64>) -> Result<Figure> {
        let session = self.session(workload)?;
        let sample = || {
            // As after another candidate: what that wrote has to go.
            run_action(&mut session.fork()?, workload.code)?;
            let begun = Instant::now();
            session.fork()?.rehearse()?;
            Ok(milliseconds_since(begun))
        };
        let samples = (0..self.samples * 5).map(|_| sample()).collect::<Result<_>>()?;
        Ok(Figure::new(name, Unit::Milliseconds, samples, target))
    }

    fn forked(&self, name: &str, workload: Workload, target: Option<f64>) -> Result<Figure> {
        let session = self.session(workload)?;
        time(name, self.samples, target, || run_action(&mut session.fork()?, workload.code))
    }

    fn candidates(&self, name: &str, target: Option<f64>) -> Result<Figure> {
        let session = self.session(SMALL)?;
        let some = |count: usize| -> Result<()> {
            for _ in 0..count {
                run_action(&mut session.fork()?, SMALL.code)?;
            }
            Ok(())
        };
        time(name, self.samples, target, || {
            std::thread::scope(|threads| {
                let other = threads.spawn(|| some(CANDIDATES / 2));
                some(CANDIDATES / 2)?;
                other.join().map_err(|_| anyhow::anyhow!("a thread ended early"))?
            })
        })
    }

    fn memory(&self, name: &str, workload: Workload, target: f64) -> Result<Figure> {
        let session = self.session(workload)?;
        let mut forks = Vec::new();
        let mut hold = |count: usize| -> Result<f64> {
            for _ in 0..count {
                let mut fork = session.fork()?;
                run_action(&mut fork, workload.code)?;
                forks.push(fork);
            }
            private_mebibytes()
        };
        // The first ones are given what earlier work has given back; the later ones show what one
        // takes.
        let before = hold(MEASURED_EIGHTS * CANDIDATES)?;
        let taken = hold(MEASURED_EIGHTS * CANDIDATES)? - before;
        let eight = taken / f64::from(u8::try_from(MEASURED_EIGHTS)?);
        Ok(Figure::new(name, Unit::Mebibytes, vec![eight], Some(target)))
    }

    fn cancel(&self, name: &str, code: &str) -> Result<Figure> {
        const HEAD_START: std::time::Duration = std::time::Duration::from_millis(100);
        let session = self.session(TINY)?;
        let mut samples = Vec::new();
        for _ in 0..self.samples.div_ceil(8) {
            let mut fork = session.fork()?;
            let cancel = Cancel::default();
            let sample = std::thread::scope(|threads| {
                let work =
                    threads.spawn(|| fork.run(code, &Limits::default(), &mut NoTools, &cancel));
                std::thread::sleep(HEAD_START);
                let begun = Instant::now();
                cancel.cancel();
                work.join().map(|_| milliseconds_since(begun))
            });
            samples.push(sample.map_err(|_| anyhow::anyhow!("a thread ended early"))?);
        }
        Ok(Figure::new(name, Unit::Milliseconds, samples, Some(50.0)))
    }
}

fn run_action(session: &mut Session, code: &str) -> Result<()> {
    let outcome = session.run(code, &Limits::default(), &mut NoTools, &Cancel::default());
    anyhow::ensure!(outcome.error.is_none() && outcome.limit.is_none(), "{outcome:?}");
    Ok(())
}

/// Memory that this process shares with nobody.
fn private_mebibytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")
        .context("this system does not tell what memory a process has")?;
    let line = text.lines().find(|line| line.starts_with("Private_Dirty:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(kibibytes.context("there is no Private_Dirty")? / 1024.0)
}

/// Prints every workload beside the peers' figures. A peer that is not there is left out.
fn compare(bench: &Bench, python: &std::path::Path, json: bool) -> Result<()> {
    let own = ALL.iter().map(|workload| bench.forked(workload.name, *workload, None));
    let own = own.collect::<Result<Vec<Figure>>>()?;
    let peers = [
        ("CPython, fresh process", peers::native(python, &ALL, bench.samples.div_ceil(4))),
        ("smolagents", peers::smolagents(python, &ALL, bench.samples.div_ceil(4))),
    ];
    for (peer, figures) in peers {
        match figures {
            Ok(figures) => {
                let pairs = own.iter().zip(&figures);
                pairs.for_each(|(own, figure)| print_peer(peer, own, figure.as_ref(), json));
            }
            Err(error) => tracing::warn!("{peer} is left out: {error:#}"),
        }
    }
    Ok(())
}

fn attack(file: &std::path::Path, sandbox: &Sandbox, json: bool) -> Result<Exit> {
    let attacked = attacks::run(file, sandbox)?;
    for attacked in &attacked {
        if json {
            outln!("{}", serde_json::to_string(attacked)?);
        } else {
            outln!("{}", attacked.row());
        }
    }
    let contained = attacked.iter().filter(|attacked| attacked.is_contained()).count();
    if !json {
        outln!("{contained} of {} attacks contained", attacked.len());
    }
    Ok(if contained == attacked.len() { Exit::Success } else { Exit::Failure })
}

fn print_figure(figure: &Figure, as_json: bool) {
    if as_json {
        outln!("{}", json!({ "figure": figure }));
        return;
    }
    let Figure { name, median, low, high, .. } = figure;
    let unit = figure.unit.name();
    let target = figure.target.map(|target| format!("  target {target}")).unwrap_or_default();
    outln!("{name:<44} {median:>9.3} {unit:<3} ({low:.3} .. {high:.3}){target}");
}

fn print_peer(peer: &str, own: &Figure, figure: Option<&Figure>, as_json: bool) {
    let theirs = figure.map(|figure| figure.median);
    let ratio = theirs.map(|theirs| theirs / own.median);
    if as_json {
        let row = json!({"peer": peer, "program": own.name, "peer_ms": theirs, "ms": own.median,
                         "ratio": ratio});
        outln!("{row}");
        return;
    }
    let ours = own.median;
    match theirs.zip(ratio) {
        Some((theirs, ratio)) => {
            outln!(
                "{peer:<24} {:<20} {theirs:>9.2} ms, here {ours:>8.2} ms: {ratio:>7.2} x",
                own.name
            );
        }
        None => outln!("{peer:<24} {:<20} does not run it, here {ours:>8.2} ms", own.name),
    }
}
