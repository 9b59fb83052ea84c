//! A loaded policy and its calls: plain data in, plain data or a fault out. Each call runs in an instance of its own,
//! so nothing that one call did can be seen by the next.

use crate::{
    fault::{Cause, Fault, Finding, Rejection},
    sandbox::{Exceeded, Guest, Sandbox},
    trusted::{Artifact, Entry, Export},
    v1,
};
use proviso_ledger::{
    credits::Credits,
    decision::{
        Context, Manifest, Overage, PeriodView, Prepared, Problem, Rating, Refusal, ResetOutcome, Usage,
    },
    ids::Digest,
    time::{Moment, Zone},
};
use std::{string::FromUtf16Error, sync::Arc};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, WasmBacktrace, component::InstancePre};

/// What a call came to, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided<T> {
    /// The result.
    pub value: T,
    /// Fuel burnt: the same for the same arguments, always.
    pub fuel: u64,
    /// What the policy logged.
    pub log: Vec<String>,
}

impl<T> Decided<T> {
    fn try_map<U>(self, f: impl FnOnce(T) -> Result<U, v1::Invalid>) -> Result<Decided<U>, Fault> {
        let Self { value, fuel, log } = self;
        match f(value) {
            Ok(value) => Ok(Decided { value, fuel, log }),
            Err(invalid) => {
                Err(Fault { cause: Cause::InvalidOutput { what: invalid.to_string() }, fuel, log })
            }
        }
    }
}

/// A policy, compiled and ready. Calls may run on any number of threads at once; none of them blocks but to compute.
pub struct Module {
    sandbox: Arc<Sandbox>,
    pre: InstancePre<Guest>,
    entries: Entries,
    digest: Digest,
    manifest: Manifest,
}

struct Entries {
    describe: Entry<Describe>,
    prepare: Entry<Prepare>,
    rate: Entry<Rate>,
    overage: Entry<OverageCall>,
    reset: Entry<Reset>,
}

macro_rules! export {
    ($export:ident, $name:literal, ($($param:ty),*) -> $return:ty) => {
        struct $export;
        impl Export for $export {
            const NAME: &'static str = $name;
            type Params<'a> = ($($param,)*);
            type Return = ($return,);
        }
    };
}
export!(Describe, "describe", () -> v1::Manifest);
export!(Prepare, "prepare", (&'a str) -> Result<v1::Prepared, Vec<v1::Problem>>);
export!(Rate, "rate", (v1::Usage<'a>, v1::Context<'a>, &'a [u8]) -> Result<v1::Rating, v1::Refusal>);
export!(OverageCall, "overage",
    (v1::Usage<'a>, v1::RatingArgument<'a>, i64, v1::Context<'a>, &'a [u8]) -> v1::OverageOutcome);
export!(Reset, "reset", (Option<v1::Period>, v1::Period, v1::Context<'a>, &'a [u8]) -> v1::ResetOutcome);

impl Module {
    /// Loads compiled code, checks its types and asks it what it is.
    pub(crate) fn new(sandbox: Arc<Sandbox>, digest: Digest, artifact: &Artifact) -> Result<Self, Rejection> {
        let unfit = |code, place: &str| {
            let place = place.to_owned();
            move |error: wasmtime::Error| {
                Rejection(vec![Finding { code, place, detail: format!("{error:#}") }])
            }
        };
        let component = artifact.load(&sandbox.engine).map_err(unfit("not_loadable", "module"))?;
        let pre = sandbox.linker.instantiate_pre(&component).map_err(unfit("foreign_import", "imports"))?;
        let faulted =
            |place: &'static str| move |fault: Fault| Rejection::one(fault.code(), place, fault.to_string());
        let (mut store, instance) =
            instantiate(&sandbox, &pre, sandbox.limits.fuel_for_prepare).map_err(faulted("instantiation"))?;
        let unlike = unfit("wrong_type", "exports");
        let entries = (|| {
            Ok(Entries {
                describe: Entry::find(&pre, &mut store, &instance)?,
                prepare: Entry::find(&pre, &mut store, &instance)?,
                rate: Entry::find(&pre, &mut store, &instance)?,
                overage: Entry::find(&pre, &mut store, &instance)?,
                reset: Entry::find(&pre, &mut store, &instance)?,
            })
        })()
        .map_err(unlike)?;
        drop(store);
        let manifest = describe(&sandbox, &pre, &entries).map_err(faulted("describe"))?.value;
        Ok(Self { sandbox, pre, entries, digest, manifest })
    }

    /// The SHA-256 of the module's bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What the policy says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Asks the policy again what it is; [`Module::manifest`] remembers the answer.
    ///
    /// # Errors
    /// A fault.
    pub fn describe(&self) -> Result<Decided<Manifest>, Fault> {
        describe(&self.sandbox, &self.pre, &self.entries)
    }

    /// Checks settings (JSON text) and turns them into the policy's own form, or says what is wrong with them.
    ///
    /// # Errors
    /// A fault.
    pub fn prepare(&self, settings: &str) -> Result<Decided<Result<Prepared, Vec<Problem>>>, Fault> {
        let limits = &self.sandbox.limits;
        self.call(&self.entries.prepare, limits.fuel_for_prepare, (settings,))?.try_map(|(result,)| {
            match result {
                Ok(prepared) => prepared.check(limits).map(Ok),
                Err(problems) => v1::problems(problems).map(Err),
            }
        })
    }

    /// What a usage costs, or why it may not happen. `zone` is the customer's; `form` is what [`Module::prepare`] made.
    ///
    /// # Errors
    /// A fault.
    pub fn rate(
        &self,
        usage: &Usage,
        context: &Context,
        zone: &Zone,
        form: &[u8],
    ) -> Result<Decided<Result<Rating, Refusal>>, Fault> {
        let needs = self.manifest.needs;
        let filling = v1::Filling {
            balances: needs.balances,
            grants: needs.grants,
            customer_attributes: needs.customer_attributes,
        };
        let params = (usage_argument(usage, context, zone), v1::Context::new(context, filling), form);
        self.decide(&self.entries.rate, params)?.try_map(|(result,)| match result {
            Ok(rating) => rating.check().map(Ok),
            Err(refusal) => refusal.check().map(Err),
        })
    }

    /// What happens when the cost exceeds what is available by `shortfall`.
    ///
    /// # Errors
    /// A fault.
    pub fn overage(
        &self,
        usage: &Usage,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        zone: &Zone,
        form: &[u8],
    ) -> Result<Decided<Overage>, Fault> {
        let needs = self.manifest.needs;
        let filling = v1::Filling {
            balances: true,
            grants: needs.grants,
            customer_attributes: needs.customer_attributes,
        };
        let usage = usage_argument(usage, context, zone);
        let params = (usage, rating.into(), shortfall.0, v1::Context::new(context, filling), form);
        self.decide(&self.entries.overage, params)?.try_map(|(outcome,)| outcome.check())
    }

    /// What the end of a period does; `closing` is none when the customer's first period opens.
    ///
    /// # Errors
    /// A fault.
    pub fn reset(
        &self,
        closing: Option<&PeriodView>,
        next: &PeriodView,
        context: &Context,
        form: &[u8],
    ) -> Result<Decided<ResetOutcome>, Fault> {
        let attributes = self.manifest.needs.customer_attributes;
        let filling = v1::Filling { balances: true, grants: true, customer_attributes: attributes };
        let params = (closing.map(Into::into), next.into(), v1::Context::new(context, filling), form);
        self.decide(&self.entries.reset, params)?.try_map(|(outcome,)| outcome.check())
    }

    fn decide<E: Export>(
        &self,
        entry: &Entry<E>,
        params: E::Params<'_>,
    ) -> Result<Decided<E::Return>, Fault> {
        self.call(entry, self.sandbox.limits.fuel_per_decision, params)
    }

    fn call<E: Export>(
        &self,
        entry: &Entry<E>,
        fuel: u64,
        params: E::Params<'_>,
    ) -> Result<Decided<E::Return>, Fault> {
        call(&self.sandbox, &self.pre, entry, fuel, params)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("digest", &self.digest).field("name", &self.manifest.name).finish()
    }
}

fn usage_argument<'a>(usage: &'a Usage, context: &Context, zone: &Zone) -> v1::Usage<'a> {
    let local: Moment =
        if usage.occurred_at == context.now.at { context.now } else { zone.moment(usage.occurred_at) };
    v1::Usage::new(usage, &local)
}

fn describe(
    sandbox: &Sandbox,
    pre: &InstancePre<Guest>,
    entries: &Entries,
) -> Result<Decided<Manifest>, Fault> {
    call(sandbox, pre, &entries.describe, sandbox.limits.fuel_for_prepare, ())?
        .try_map(|(manifest,)| manifest.check())
}

fn call<E: Export>(
    sandbox: &Sandbox,
    pre: &InstancePre<Guest>,
    entry: &Entry<E>,
    fuel: u64,
    params: E::Params<'_>,
) -> Result<Decided<E::Return>, Fault> {
    let (mut store, instance) = instantiate(sandbox, pre, fuel)?;
    match entry.call(&mut store, &instance, params) {
        Ok(value) => {
            let left = store.get_fuel().unwrap_or(0);
            Ok(Decided {
                value,
                fuel: fuel.saturating_sub(left),
                log: std::mem::take(&mut store.data_mut().log),
            })
        }
        Err(error) => Err(fault(sandbox, store, fuel, &error)),
    }
}

fn instantiate(
    sandbox: &Sandbox,
    pre: &InstancePre<Guest>,
    fuel: u64,
) -> Result<(Store<Guest>, wasmtime::component::Instance), Fault> {
    loop {
        let unusable = |error: wasmtime::Error| Fault {
            cause: Cause::Trap { what: format!("{error:#}"), functions: Vec::new() },
            fuel: 0,
            log: Vec::new(),
        };
        let mut store = sandbox.store(fuel).map_err(unusable)?;
        match pre.instantiate(&mut store) {
            Ok(instance) => return Ok((store, instance)),
            // All slots are taken, by calls of which each ends by its deadline: that is no fault of this policy.
            Err(error) if error.is::<PoolConcurrencyLimitError>() => std::thread::yield_now(),
            Err(error) => return Err(fault(sandbox, store, fuel, &error)),
        }
    }
}

fn fault(sandbox: &Sandbox, mut store: Store<Guest>, fuel: u64, error: &wasmtime::Error) -> Fault {
    let limits = &sandbox.limits;
    let cause = if let Some(Exceeded(cause)) = error.downcast_ref() {
        cause.clone()
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        match trap {
            Trap::OutOfFuel => Cause::OutOfFuel { limit: fuel },
            Trap::Interrupt => {
                Cause::Deadline { limit_ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX) }
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
        Cause::OutputTooLarge { limit_bytes: limits.returned_bytes }
    };
    let left = if matches!(cause, Cause::OutOfFuel { .. }) { 0 } else { store.get_fuel().unwrap_or(0) };
    Fault { cause, fuel: fuel.saturating_sub(left), log: std::mem::take(&mut store.data_mut().log) }
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
