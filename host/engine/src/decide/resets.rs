//! A period's end, decided by the policy in force at its instant. A policy that faults can't hold a period open: what
//! `on_fault` names decides instead, or else nothing expires and nothing is issued, and the entry says so.

use super::{Decider, Stop, rating, stop};
use proviso_ledger::{
    context::View,
    decision::ResetOutcome,
    error::{Denied, Rejection},
    journal::{FaultRecord, ResetReason},
    state::{CustomerState, Draft, Period},
    terms::Terms,
    time::Timestamp,
};
use std::sync::Arc;
use tracing::warn;

enum Attempt {
    Draft(Box<Draft>),
    Faulted(FaultRecord, u64, Vec<String>),
}

impl Decider<'_> {
    pub(super) fn reset(
        &self,
        state: &CustomerState,
        at: Timestamp,
        reason: ResetReason,
    ) -> Result<Draft, Stop> {
        let opened = state.next_period(at).ok_or(Rejection::NoPeriod)?;
        let Ok(terms) = self.terms_in_force(state, at) else {
            return state.reset(at, reason, opened, None, ResetOutcome::default()).map_err(stop);
        };
        let (fault, fuel, log) = match self.attempt_reset(state, at, reason, &opened, &terms, None)? {
            Attempt::Draft(draft) => return Ok(*draft),
            Attempt::Faulted(fault, fuel, log) => (fault, fuel, log),
        };
        if let Some(other) = self.fallback(state, &terms, at)
            && let Attempt::Draft(draft) =
                self.attempt_reset(state, at, reason, &opened, &other, Some(&fault))?
        {
            return Ok(*draft);
        }
        let mut record = rating::record(&terms, fuel, log, Vec::new());
        record.fault = Some(fault);
        state.reset(at, reason, opened, Some(record), ResetOutcome::default()).map_err(stop)
    }

    fn attempt_reset(
        &self,
        state: &CustomerState,
        at: Timestamp,
        reason: ResetReason,
        opened: &Period,
        terms: &Arc<Terms>,
        fault: Option<&FaultRecord>,
    ) -> Result<Attempt, Stop> {
        let module = self.module(terms)?;
        let zone = state.zone();
        let closing = state.period.as_ref().map(|period| period.view(&zone));
        let next = opened.view(&zone);
        let mut context = state.context(terms, None, at, View::Reset);
        context.period = closing.unwrap_or(next);
        let faulted = |code: &str, detail: String, fuel, log| {
            warn!(customer = %state.customer, terms = %terms.key, code, detail, "a policy faulted at a reset");
            Attempt::Faulted(
                FaultRecord { terms: terms.key.clone(), code: code.to_owned(), detail },
                fuel,
                log,
            )
        };
        let decided = match module.reset(closing.as_ref(), &next, &context, &terms.prepared.form) {
            Ok(decided) => decided,
            Err(fault) => {
                let detail = fault.to_string();
                return Ok(faulted(fault.code(), detail, fault.fuel, fault.log));
            }
        };
        let mut record = rating::record(terms, decided.fuel, decided.log.clone(), Vec::new());
        record.fault = fault.cloned();
        match state.reset(at, reason, opened.clone(), Some(record), decided.value) {
            Ok(draft) => Ok(Attempt::Draft(Box::new(draft))),
            Err(Denied::InvalidDecision(detail)) => {
                Ok(faulted("invalid_output", detail, decided.fuel, decided.log))
            }
            Err(denied) => Err(stop(denied)),
        }
    }
}
