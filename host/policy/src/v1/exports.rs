//! The exported functions: what each is handed, and the checked result.

use super::{
    check::Checked,
    lift::{self, problems},
    lower::{self, Filling},
};
use crate::{
    call::{Called, Callee},
    fault::{Cause, Fault},
    limits::Budgets,
    trusted::{Entry, Export},
};
use proviso_decide::policy::Decided;
use proviso_ledger::model::{
    amounts::Credits,
    answers::{
        CloseOutcome, Manifest, Needs, OpenOutcome, Overage, Prepared, Rating, Refusal, SettingsProblem,
    },
    view::{Closing, Context, Opening, UsageView},
};

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
export!(Describe, "describe", () -> lift::Manifest);
export!(Prepare, "prepare", (&'a str) -> Result<lift::Prepared, Vec<lift::Problem>>);
export!(Rate, "rate", (lower::Usage<'a>, lower::Context<'a>, &'a [u8]) -> Result<lift::Rating, lift::Refusal>);
export!(OverageCall, "overage",
    (lower::Usage<'a>, lower::Rating<'a>, lower::Decimal, lower::Context<'a>, &'a [u8]) -> lift::OverageOutcome);
export!(Close, "close", (lower::Closing, lower::Context<'a>, &'a [u8]) -> lift::CloseOutcome);
export!(Open, "open", (lower::Opening<'a>, lower::Context<'a>, &'a [u8]) -> lift::OpenOutcome);

/// The exports of one component.
pub(crate) struct Exports {
    describe: Entry<Describe>,
    prepare: Entry<Prepare>,
    rate: Entry<Rate>,
    overage: Entry<OverageCall>,
    close: Entry<Close>,
    open: Entry<Open>,
}

impl Exports {
    /// Finds them and checks their types.
    pub(crate) fn find(callee: &Callee) -> Result<wasmtime::Result<Self>, Fault> {
        let (mut store, instance) = callee.instantiate(&callee.limits().prepare)?;
        let pre = callee.pre();
        Ok((|| {
            Ok(Self {
                describe: Entry::find(pre, &mut store, &instance)?,
                prepare: Entry::find(pre, &mut store, &instance)?,
                rate: Entry::find(pre, &mut store, &instance)?,
                overage: Entry::find(pre, &mut store, &instance)?,
                close: Entry::find(pre, &mut store, &instance)?,
                open: Entry::find(pre, &mut store, &instance)?,
            })
        })())
    }

    pub(crate) fn describe(&self, callee: &Callee, budgets: &Budgets) -> Called<Manifest> {
        let decided = callee.call(&self.describe, &budgets.prepare, ())?;
        checked(decided, |(manifest,)| manifest.check())
    }

    pub(crate) fn prepare(
        &self,
        callee: &Callee,
        budgets: &Budgets,
        settings: &str,
    ) -> Called<Result<Prepared, Vec<SettingsProblem>>> {
        let decided = callee.call(&self.prepare, &budgets.prepare, (settings,))?;
        checked(decided, |(result,)| match result {
            Ok(prepared) => prepared.check(callee.limits()).map(Ok),
            Err(found) => problems(found).map(Err),
        })
    }

    pub(crate) fn rate(
        &self,
        callee: &Callee,
        budgets: &Budgets,
        needs: Needs,
        usage: &UsageView<'_>,
        context: &Context,
        form: &[u8],
    ) -> Called<Result<Rating, Refusal>> {
        let filling = Filling::needed(needs);
        let params = (lower::Usage::new(usage, filling), lower::Context::new(context, filling), form);
        let budget = budgets.decision.for_grants(filling.grants(context));
        let decided = callee.call(&self.rate, &budget, params)?;
        checked(decided, |(result,)| match result {
            Ok(rating) => rating.check().map(Ok),
            Err(refusal) => refusal.check().map(Err),
        })
    }

    #[allow(clippy::too_many_arguments, reason = "those of the interface, and whom to call")]
    pub(crate) fn overage(
        &self,
        callee: &Callee,
        budgets: &Budgets,
        needs: Needs,
        usage: &UsageView<'_>,
        rating: &Rating,
        shortfall: Credits,
        context: &Context,
        form: &[u8],
    ) -> Called<Overage> {
        let filling = Filling { balances: true, ..Filling::needed(needs) };
        let usage = lower::Usage::new(usage, filling);
        let params = (usage, rating.into(), shortfall.into(), lower::Context::new(context, filling), form);
        let budget = budgets.decision.for_grants(filling.grants(context));
        let decided = callee.call(&self.overage, &budget, params)?;
        checked(decided, |(outcome,)| outcome.check())
    }

    pub(crate) fn close(
        &self,
        callee: &Callee,
        budgets: &Budgets,
        needs: Needs,
        closing: &Closing,
        context: &Context,
        form: &[u8],
    ) -> Called<CloseOutcome> {
        let params = (closing.into(), lower::Context::new(context, at_boundary(needs)), form);
        let decided = callee.call(&self.close, &budgets.period, params)?;
        checked(decided, |(outcome,)| outcome.check())
    }

    pub(crate) fn open(
        &self,
        callee: &Callee,
        budgets: &Budgets,
        needs: Needs,
        opening: &Opening,
        context: &Context,
        form: &[u8],
    ) -> Called<OpenOutcome> {
        let params = (opening.into(), lower::Context::new(context, at_boundary(needs)), form);
        let decided = callee.call(&self.open, &budgets.period, params)?;
        checked(decided, |(outcome,)| outcome.check())
    }
}

fn at_boundary(needs: Needs) -> Filling {
    Filling { balances: true, grants: true, ..Filling::needed(needs) }
}

fn checked<T, U>(decided: Decided<T>, check: impl FnOnce(T) -> Checked<U>) -> Called<U> {
    let Decided { value, fuel, log } = decided;
    match check(value) {
        Ok(value) => Ok(Decided { value, fuel, log }),
        Err(invalid) => Err(Fault { cause: Cause::InvalidOutput { what: invalid.to_string() }, fuel, log }),
    }
}
