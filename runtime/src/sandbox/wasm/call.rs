//! Running an action: fuel in slices, tool calls in between.

use wasmi::{Error, TypedResumableCall, Val};

use super::super::guest::{Answer, End, Ended, FuelGauge, Interruption, Request, Surroundings};
use super::super::limits::{Limit, Limits};
use super::super::wasi::World;
use super::host::{Leave, end_of, index, memory_error, memory_limits};
use super::{HOST_FUEL, Instance, MachineError};
use crate::cancel::Cancel;

impl Instance {
    /// Runs one action.
    pub fn run(
        &mut self,
        source: &str,
        limits: &Limits,
        world: World,
        surroundings: &mut dyn Surroundings,
    ) -> Ended {
        self.held = None;
        let guest = self.store.data_mut();
        guest.limits = memory_limits(limits);
        guest.exchange.prepare(limits, world);
        let mut fuel = FuelGauge::new(limits.fuel_max);
        let end = self.run_source(source, &mut fuel, surroundings);
        let end = end.unwrap_or_else(|error| end_of(&error));
        // A trap leaves its last slice uncounted.
        let _ = self.note(&mut fuel);
        let exchange = &mut self.store.data_mut().exchange;
        drop(exchange.take_answer());
        let printed = std::mem::take(&mut exchange.printed);
        Ended { end, printed, fuel: fuel.spent(exchange.charged) }
    }

    fn run_source(
        &mut self,
        source: &str,
        fuel: &mut FuelGauge,
        surroundings: &mut dyn Surroundings,
    ) -> Result<End, Error> {
        let Some((pointer, length)) = self.place(source.as_bytes())? else {
            return Ok(reached(Limit::Memory));
        };
        if !self.refill(fuel, 0)? {
            return Ok(reached(Limit::Fuel));
        }
        let call = self.run.call_resumable(&mut self.store, (pointer, length))?;
        match self.drive(call, fuel, surroundings)? {
            Ok(_) => self.finish(pointer),
            Err(end) => Ok(end),
        }
    }

    /// Imports the modules that the module `name` imports. `None` if it was cancelled.
    pub(super) fn preload(
        &mut self,
        name: &str,
        cancel: &Cancel,
    ) -> Result<Option<i32>, MachineError> {
        self.held = None;
        let preload = self.exports.get_typed_func::<(i32, i32), i32>(&self.store, "preload")?;
        let place = self.place(name.as_bytes())?;
        let place = place.ok_or_else(|| MachineError("it has no memory left".to_owned()))?;
        let mut fuel = FuelGauge::new(HOST_FUEL);
        self.refill(&mut fuel, 0)?;
        let call = preload.call_resumable(&mut self.store, place)?;
        match self.drive(call, &mut fuel, &mut Preparing(cancel))? {
            Ok(0) => {
                self.store.set_fuel(HOST_FUEL)?;
                self.release.call(&mut self.store, place.0)?;
                Ok(Some(0))
            }
            Ok(code) => Ok(Some(code)),
            Err(End::Interrupted(Interruption::Cancelled)) => Ok(None),
            Err(end) => Err(MachineError(format!("preload ended: {end:?}"))),
        }
    }

    /// Goes on with a call until it returns, `Ok`, or ends otherwise, `Err`.
    fn drive(
        &mut self,
        mut call: TypedResumableCall<i32>,
        fuel: &mut FuelGauge,
        surroundings: &mut dyn Surroundings,
    ) -> Result<Result<i32, End>, Error> {
        loop {
            self.note(fuel)?;
            let (required, answer) = match &call {
                TypedResumableCall::Finished(code) => return Ok(Ok(*code)),
                TypedResumableCall::OutOfFuel(stopped) => (stopped.required_fuel(), None),
                TypedResumableCall::HostTrap(left) => {
                    let Some(Leave::Call(request)) = left.host_error().downcast_ref() else {
                        return Ok(Err(end_of(left.host_error())));
                    };
                    let exchange = &mut self.store.data_mut().exchange;
                    match surroundings.call(request, fuel.left(exchange.charged)) {
                        Ok(Answer { result, fuel }) => {
                            exchange.charged = exchange.charged.saturating_add(fuel);
                            (0, Some(result))
                        }
                        Err(limit) => return Ok(Err(reached(limit))),
                    }
                }
            };
            if let Some(interruption) = surroundings.interruption() {
                return Ok(Err(End::Interrupted(interruption)));
            }
            let answer = answer.map(|answer| self.store.data_mut().exchange.answer_call(answer));
            if !self.refill(fuel, required)? {
                return Ok(Err(reached(Limit::Fuel)));
            }
            call = match call {
                TypedResumableCall::Finished(code) => return Ok(Ok(code)),
                TypedResumableCall::OutOfFuel(stopped) => stopped.resume(&mut self.store)?,
                TypedResumableCall::HostTrap(left) => {
                    left.resume(&mut self.store, &[Val::I32(answer.unwrap_or(-1))])?
                }
            };
        }
    }

    /// Takes the guest's report after `run` returned, and frees the source at `pointer`.
    fn finish(&mut self, pointer: i32) -> Result<End, Error> {
        self.store.set_fuel(HOST_FUEL)?;
        self.release.call(&mut self.store, pointer)?;
        let report = self.store.data_mut().exchange.report.take();
        let silent = || End::Aborted("the action ended without a report".to_owned());
        Ok(report.map_or_else(silent, End::Reported))
    }

    /// Counts the fuel used since the last refill.
    fn note(&self, fuel: &mut FuelGauge) -> Result<(), Error> {
        fuel.note(self.store.get_fuel()?);
        Ok(())
    }

    /// Gives the next slice. False if what is `required` is not left.
    fn refill(&mut self, fuel: &mut FuelGauge, required: u64) -> Result<bool, Error> {
        let slice = fuel.next_slice(required, self.store.data().exchange.charged);
        self.store.set_fuel(slice.unwrap_or_default())?;
        Ok(slice.is_some())
    }

    /// Copies `bytes` into the guest. `None` if it has no memory left.
    fn place(&mut self, bytes: &[u8]) -> Result<Option<(i32, i32)>, Error> {
        self.store.set_fuel(HOST_FUEL)?;
        let length = i32::try_from(bytes.len()).map_err(|error| Error::new(error.to_string()))?;
        let pointer = self.allocate.call(&mut self.store, length.max(1))?;
        if pointer == 0 {
            return Ok(None);
        }
        self.memory.write(&mut self.store, index(pointer), bytes).map_err(memory_error)?;
        Ok(Some((pointer, length)))
    }
}

/// While a snapshot is made there are no tools and no limits but fuel.
struct Preparing<'a>(&'a Cancel);

impl Surroundings for Preparing<'_> {
    fn call(&mut self, _request: &Request, _fuel_left: u64) -> Result<Answer, Limit> {
        Err(Limit::HostCalls)
    }

    fn interruption(&mut self) -> Option<Interruption> {
        self.0.is_cancelled().then_some(Interruption::Cancelled)
    }
}

fn reached(limit: Limit) -> End {
    End::Interrupted(Interruption::Limit(limit))
}
