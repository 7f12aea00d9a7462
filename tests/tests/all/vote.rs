//! The vote over candidates does not depend on the order in which they run, and the winner has done
//! what it would have done alone.

use std::sync::LazyLock;

use proptest::prelude::*;
use retort::agent::{
    Agent, Budgets, Retrieved, Retriever, RetrieverError, Settings, StepReport, SystemClock,
    Toolbox,
};
use retort::cancel::Cancel;
use retort::engine::{Script, ScriptedEngine};
use retort::sandbox::{Limits, Sandbox, SandboxOptions};
use retort::transcript::Dialect;

/// Actions that agree, differ, fail, reach a limit, and would show what others left behind.
const ACTIONS: [&str; 12] = [
    "print(1)",
    "print(1.0)",
    "x += 1\nprint(x)",
    "x += 1\nx",
    "x = 9\nprint(x - 3)",
    "import random\nprint(random.random())",
    "raise ValueError('no')",
    "print(undefined)",
    "while True: pass",
    "final_answer(6)",
    "final_answer(x + 1)",
    "print(search('Oru'))",
];

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::open(&SandboxOptions::default()).unwrap());

/// One reply in the first step, then one for each candidate, then none.
struct Steps(std::vec::IntoIter<Vec<String>>);

impl Script for Steps {
    fn replies(&mut self, _prompt: &str, _candidates: u8) -> Vec<String> {
        self.0.next().unwrap_or_default()
    }
}

struct Echo;

impl Retriever for Echo {
    fn retrieve(&self, _query: &str, _limit: usize) -> Result<Vec<Retrieved>, RetrieverError> {
        Ok(Vec::new())
    }
}

fn reply(code: &str) -> String {
    format!("t\n```py\n{code}\n```")
}

/// What came of the step in which `actions` were tried, after one that left `x == 5`.
fn step_of(actions: &[&str]) -> StepReport {
    let candidates = u8::try_from(actions.len()).unwrap();
    let first = vec![reply("x = 5"); actions.len()];
    let second = actions.iter().map(|code| reply(code)).collect();
    let mut engine = ScriptedEngine::new(Steps(vec![first, second].into_iter()));
    let budgets = Budgets { steps_max: 2, ..Budgets::default() };
    let action = Limits { fuel_max: 3_000_000, ..Limits::default() };
    let mut agent = Agent {
        engine: &mut engine,
        sandbox: &SANDBOX,
        retriever: &Echo,
        toolbox: &Toolbox::default(),
        dialect: &Dialect::named("retort").unwrap(),
        clock: &SystemClock::default(),
        settings: Settings { candidates, budgets, action, ..Settings::default() },
        cancel: Cancel::default(),
    };
    agent.run("Q?", &mut ()).steps.into_iter().nth(1).unwrap()
}

/// What the vote is about. Numbers that are equal may be written differently.
fn result(step: &StepReport) -> impl PartialEq + std::fmt::Debug + use<> {
    let normal = |text: &str| text.replace("1.0", "1");
    let error = step.error.as_ref().map(|error| (error.kind.clone(), error.message.clone()));
    (normal(&step.logs), step.value.clone(), error, step.limit, step.answer.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_vote_is_the_same_in_every_order(
        picks in prop::collection::vec(0..ACTIONS.len(), 1..7),
        turn in 0..7_usize,
    ) {
        let mut actions: Vec<&str> = picks.iter().map(|pick| ACTIONS[*pick]).collect();
        let voted = step_of(&actions);
        prop_assert_eq!(result(&voted), result(&step_of(&[&voted.code])));
        actions.reverse();
        prop_assert_eq!(result(&voted), result(&step_of(&actions)));
        let middle = turn % actions.len();
        actions.rotate_left(middle);
        prop_assert_eq!(result(&voted), result(&step_of(&actions)));
    }
}
