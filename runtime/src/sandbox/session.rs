//! One program's state and the actions run on it.

use std::sync::Arc;

use super::action::{self, Running};
use super::ground::Ground;
use super::history::{History, Past, Repeating};
use super::limits::{Limit, Limits};
use super::outcome::{Outcome, PythonError};
use super::state::State;
use super::wasi::World;
use super::wasm::{Instance, MachineError};
use super::{Host, SandboxError, Seed, Shared};
use crate::cancel::Cancel;

/// An action that names one of these is run where sympy is imported already.
const SYMPY_NAMES: [&str; 2] = ["sympy", "mpmath"];
/// Fuel up to which a session's past is run again in order to get there: a fraction of what
/// importing sympy takes.
const REPEATED_FUEL_MAX: u64 = 50_000_000;

/// One program's state. Forks are independent of each other.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    seed: Seed,
    at: Place,
    history: History,
}

/// Where a session stands.
#[derive(Clone)]
struct Place {
    ground: Arc<Ground>,
    state: Arc<State>,
    world: World,
}

impl Session {
    /// A session in the interpreter's first state.
    pub(super) fn new(shared: Arc<Shared>, seed: Seed) -> Result<Self, MachineError> {
        let at = Place::start(&shared, Arc::clone(&shared.base), &seed)?;
        Ok(Self { shared, seed, at, history: History::default() })
    }

    /// An independent copy of the session. Nothing is copied until one of them runs an action.
    ///
    /// # Errors
    /// None today; a caller must be ready for memory to be short.
    pub fn fork(&self) -> Result<Self, SandboxError> {
        Ok(self.clone())
    }

    /// Makes an instance ready for the next action and puts it back: what a fork costs before its
    /// first instruction.
    ///
    /// # Errors
    /// When memory is short.
    pub fn rehearse(&self) -> Result<(), SandboxError> {
        let instance = self.at.instance(&self.shared)?;
        self.at.ground.put_back(instance);
        Ok(())
    }

    /// Bytes of memory that are free again when this session is dropped: what it shares with others
    /// is not.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        if Arc::strong_count(&self.at.state) > 1 { 0 } else { self.at.state.held_bytes() }
    }

    /// Runs one action. An exception keeps the state it left; a limit, a cancelled action and a
    /// guest that broke down restore the state before.
    pub fn run(
        &mut self,
        code: &str,
        limits: &Limits,
        host: &mut dyn Host,
        cancel: &Cancel,
    ) -> Outcome {
        if u64::try_from(code.len()).is_ok_and(|length| length > limits.source_bytes_max) {
            return Outcome { limit: Some(Limit::Source), ..Outcome::default() };
        }
        if SYMPY_NAMES.iter().any(|name| code.contains(name)) {
            self.stand_on_sympy(cancel);
        }
        let mut instance = match self.at.instance(&self.shared) {
            Ok(instance) => instance,
            Err(error) => {
                let error = Some(PythonError::new("MemoryError", error.to_string()));
                return Outcome { error, ..Outcome::default() };
            }
        };
        let outcome = self.run_on(&mut instance, code, limits, host, cancel);
        self.at.ground.put_back(instance);
        outcome
    }

    fn run_on(
        &mut self,
        instance: &mut Instance,
        code: &str,
        limits: &Limits,
        host: &mut dyn Host,
        cancel: &Cancel,
    ) -> Outcome {
        let clock = &*self.shared.clock;
        let begun = clock();
        let mut running = Running::new(limits, host, cancel, clock);
        let ended = instance.run(code, limits, self.at.world, &mut running);
        let (calls, answers) = running.into_calls();
        let past = || Past::new(code, limits, answers, &ended);
        let (mut outcome, keeps_state) = action::outcome(&ended, limits, calls);
        outcome.seconds = clock().saturating_sub(begun).as_secs_f64();
        outcome.memory_bytes = u64::try_from(instance.memory_bytes()).unwrap_or(u64::MAX);
        if keeps_state {
            if Arc::ptr_eq(&self.at.ground, &self.shared.base) {
                self.history.push(past());
            }
            self.at.keep(instance);
        }
        outcome
    }

    /// Moves the session to where sympy is imported already, in the state it would be in if it
    /// had started there. Where that cannot be had, sympy is imported like any other module.
    fn stand_on_sympy(&mut self, cancel: &Cancel) {
        if !Arc::ptr_eq(&self.at.ground, &self.shared.base) {
            return;
        }
        let Some(past) = self.history.within(REPEATED_FUEL_MAX) else { return };
        let Some(ground) = self.shared.sympy(cancel) else { return };
        let moved = Place::start(&self.shared, ground, &self.seed);
        let Ok(mut at) = moved else { return };
        let repeated = past.iter().all(|past| at.repeat(&self.shared, past, cancel));
        if repeated {
            self.at = at;
            self.history = History::default();
        }
    }
}

impl Place {
    /// The first state of a session on `ground`.
    fn start(shared: &Shared, ground: Arc<Ground>, seed: &Seed) -> Result<Self, MachineError> {
        let state = Arc::new(State::unchanged(&ground.snapshot));
        let world = World { unix_seconds: seed.unix_seconds, random: seed.random };
        let mut at = Self { ground, state, world };
        let mut instance = at.instance(shared)?;
        instance.start(seed.random, at.world)?;
        at.keep(&mut instance);
        at.ground.put_back(instance);
        Ok(at)
    }

    fn instance(&self, shared: &Shared) -> Result<Instance, MachineError> {
        self.ground.instance(&shared.machine, &self.state)
    }

    fn keep(&mut self, instance: &mut Instance) {
        self.state = instance.save(&self.ground.snapshot, &self.state);
        self.world = instance.world();
    }

    /// Runs a past action again; false if it shows anything else than it did.
    fn repeat(&mut self, shared: &Shared, past: &Past, cancel: &Cancel) -> bool {
        let Ok(mut instance) = self.instance(shared) else { return false };
        let mut surroundings = Repeating::new(past, cancel);
        let ended = instance.run(&past.code, &past.limits, self.world, &mut surroundings);
        let repeated = past.is_repeated_by(&ended);
        if repeated {
            self.keep(&mut instance);
        }
        self.ground.put_back(instance);
        repeated
    }
}
