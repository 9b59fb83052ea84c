//! One call of a policy: a fresh instance with its own fuel, memory and deadline, and how an error of wasmtime becomes a
//! fault. Nothing that one call did can be seen by the next.

use crate::{
    fault::{Cause, Fault},
    limits::{Budget, Limits},
    sandbox::{Exceeded, Guest, Sandbox},
    trusted::{Entry, Export},
};
use proviso_decide::policy::Decided;
use std::{cell::Cell, string::FromUtf16Error, sync::Arc};
use wasmtime::{
    PoolConcurrencyLimitError, Store, Trap, WasmBacktrace,
    component::{Instance, InstancePre},
};

/// A call's result or its fault.
pub(crate) type Called<T> = Result<Decided<T>, Fault>;

thread_local! {
    static BURNT: Cell<u64> = const { Cell::new(0) };
}

/// Units of fuel that calls on this thread have burnt since it began, faults included: what a piece of work cost is the
/// difference, whichever policies it asked.
#[must_use]
pub fn fuel_burnt_on_this_thread() -> u64 {
    BURNT.get()
}

/// A component that is ready to be instantiated, and the sandbox to do it in.
pub(crate) struct Callee {
    sandbox: Arc<Sandbox>,
    pre: InstancePre<Guest>,
}

impl Callee {
    pub(crate) const fn new(sandbox: Arc<Sandbox>, pre: InstancePre<Guest>) -> Self {
        Self { sandbox, pre }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.sandbox.limits
    }

    pub(crate) const fn pre(&self) -> &InstancePre<Guest> {
        &self.pre
    }

    pub(crate) fn call<E: Export>(
        &self,
        entry: &Entry<E>,
        budget: &Budget,
        params: E::Params<'_>,
    ) -> Called<E::Return> {
        let called = self.call_once(entry, budget, params);
        let fuel = called.as_ref().map_or_else(|fault| fault.fuel, |decided| decided.fuel);
        BURNT.set(BURNT.get().saturating_add(fuel));
        called
    }

    fn call_once<E: Export>(
        &self,
        entry: &Entry<E>,
        budget: &Budget,
        params: E::Params<'_>,
    ) -> Called<E::Return> {
        let (mut store, instance) = self.instantiate(budget)?;
        match entry.call(&mut store, &instance, params) {
            Ok(value) => {
                let fuel = self.burnt(&store, budget);
                let log = std::mem::take(&mut store.data_mut().log);
                if fuel > budget.fuel {
                    let limit = budget.fuel;
                    return Err(Fault { cause: Cause::OutOfFuel { limit }, fuel: limit, log });
                }
                Ok(Decided { value, fuel, log })
            }
            Err(error) => Err(self.fault(budget, store, &error)),
        }
    }

    pub(crate) fn instantiate(&self, budget: &Budget) -> Result<(Store<Guest>, Instance), Fault> {
        loop {
            let unusable = |error: wasmtime::Error| Fault {
                cause: Cause::Trap { what: format!("{error:#}"), functions: Vec::new() },
                fuel: 0,
                log: Vec::new(),
            };
            let mut store = self.sandbox.store(budget).map_err(unusable)?;
            match self.pre.instantiate(&mut store) {
                Ok(instance) => return Ok((store, instance)),
                // All slots are taken, by calls of which each ends by its deadline: that is no fault of this policy.
                Err(error) if error.is::<PoolConcurrencyLimitError>() => std::thread::yield_now(),
                Err(error) => return Err(self.fault(budget, store, &error)),
            }
        }
    }

    /// What the instructions burnt, and what the memory costs that they ran in.
    fn burnt(&self, store: &Store<Guest>, budget: &Budget) -> u64 {
        let left = store.get_fuel().unwrap_or(0);
        budget.fuel.saturating_sub(left).saturating_add(store.data().memory_fuel(&self.sandbox.limits))
    }

    fn fault(&self, budget: &Budget, mut store: Store<Guest>, error: &wasmtime::Error) -> Fault {
        let cause = cause(budget, error);
        let is_exhausted = matches!(cause, Cause::OutOfFuel { .. });
        let fuel = if is_exhausted { budget.fuel } else { self.burnt(&store, budget).min(budget.fuel) };
        Fault { cause, fuel, log: std::mem::take(&mut store.data_mut().log) }
    }
}

fn cause(budget: &Budget, error: &wasmtime::Error) -> Cause {
    if let Some(Exceeded(cause)) = error.downcast_ref() {
        cause.clone()
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        match trap {
            Trap::OutOfFuel => Cause::OutOfFuel { limit: budget.fuel },
            Trap::Interrupt => {
                Cause::Deadline { limit_ms: u64::try_from(budget.deadline.as_millis()).unwrap_or(u64::MAX) }
            }
            Trap::StackOverflow => Cause::StackOverflow,
            other => {
                let what = other.to_string();
                let what = what.strip_prefix("wasm trap: ").unwrap_or(&what).to_owned();
                Cause::Trap { what, functions: functions(error) }
            }
        }
    } else if is_broken_value(error) {
        Cause::InvalidOutput { what: error.root_cause().to_string() }
    } else {
        Cause::OutputTooLarge { limit_bytes: budget.returned_bytes }
    }
}

/// Whether a value could not be read because it breaks the canonical ABI. wasmtime says so in plain messages and in
/// the standard library's errors. The one error of a type of its own is that too many bytes were handed over, and
/// that type is private: so it is known by being none of the others.
fn is_broken_value(error: &wasmtime::Error) -> bool {
    error.is::<&'static str>()
        || error.is::<String>()
        || error.is::<std::str::Utf8Error>()
        || error.is::<std::char::DecodeUtf16Error>()
        || error.is::<FromUtf16Error>()
        || error.is::<std::num::TryFromIntError>()
}

/// The functions that a trap went through, innermost first, by the names the module gives them.
fn functions(error: &wasmtime::Error) -> Vec<String> {
    const SHOWN: usize = 8;
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => name.chars().take(120).filter(|c| !c.is_control()).collect(),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().take(SHOWN).map(name).collect()
}
