//! Changes of plan: carried out at once, put off until later, or only tried.

use crate::{
    DecideError, Decider, Journal, Stop,
    profile::Steps,
    request::{CustomerPlanChange, Outcome, PlanChangePreview, Reply},
};
use proviso_ledger::{
    journal::{CloseReason, Entry, Event},
    model::time::Timestamp,
    rules::rejection::Rejection,
    state::{CustomerState, Draft, Origin},
};
use std::sync::Arc;

/// The most ends of periods that a preview looks ahead over.
const MOST_PERIODS: usize = 32;

impl Decider<'_> {
    pub(crate) fn change_plan(
        &self,
        state: &mut CustomerState,
        change: &CustomerPlanChange,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let CustomerPlanChange { plan, version, when, allowance, dry_run } = change;
        state.require_open()?;
        let sold = match plan {
            Some(plan) => Some(self.known_plan(plan, *version)?.sold()),
            None => None,
        };
        if version.is_none() && state.plan() == plan.as_ref() {
            // A newer version of the same plan is asked for by its number.
            return Err(Rejection::PlanUnchanged.into());
        }
        state.require_other_plan(sold.as_ref().map(|sold| (&sold.plan, sold.version)))?;
        let Some(when) = *when else {
            let before = state.profile.clone();
            let before = before.ok_or_else(|| DecideError::CustomerNotFound(state.customer.clone()))?;
            let profile = before.on(sold);
            let mut steps = Steps::new(state, at, origin, journal);
            self.put_profile(&mut steps, profile, *allowance)?;
            if *dry_run {
                let made = steps.made.written.iter().map(|written| &written.entry);
                return Ok(Reply::Preview(Box::new(preview(at, made))));
            }
            return steps.finish(state, journal);
        };
        let is_other_plan = state.plan() != plan.as_ref();
        let mut draft = state.schedule_plan_change(at, sold.clone(), when, *allowance)?;
        if let Event::PlanChangeScheduled(scheduled) = &draft.event
            && is_other_plan
        {
            self.require_trial(state, sold.as_ref(), scheduled.effective_at)?;
        }
        if *dry_run {
            return self.try_later(state, at, draft);
        }
        draft.origin.clone_from(origin);
        let entry = journal.seal(state, at, draft)?;
        Ok(Reply::Entry(Outcome { entry, replayed: false }))
    }

    /// What a change that is put off would do, if nothing else happened until then.
    fn try_later(&self, state: &CustomerState, at: Timestamp, draft: Draft) -> Result<Reply, Stop> {
        let (mut next, mut journal) = (state.clone(), Journal::default());
        journal.seal(&mut next, at, draft)?;
        let effective_at = next.plan_change_at().unwrap_or(at);
        let id = next.plan_change.as_ref().map(|change| change.id);
        let mut made: Vec<Arc<Entry>> = Vec::new();
        while let Some((due_at, due)) = next.next_due() {
            // The new plan's trial may have put off another change.
            let is_done = next.plan_change.as_ref().map(|change| change.id) != id;
            if is_done && next.starting.is_none() {
                break;
            }
            let ends_period = |entry: &&Arc<Entry>| matches!(entry.event, Event::PeriodClosed(_));
            if made.iter().filter(ends_period).count() > MOST_PERIODS {
                return Err(DecideError::PreviewTooFar.into());
            }
            made.push(self.carry_out(&mut next, due_at, due, &mut journal)?);
        }
        Ok(Reply::Preview(Box::new(preview(effective_at, made.iter()))))
    }

    /// The next entry of a pending change of plan that is due: the end of the running period, then the new plan.
    pub(crate) fn due_plan_change(&self, state: &CustomerState, at: Timestamp) -> Result<Draft, Stop> {
        let pending = state.plan_change.as_ref().ok_or(Rejection::NoPeriodEnd)?;
        if state.period.is_some() {
            return self.close_period(state, at, CloseReason::of_change_to(pending.plan.as_ref()));
        }
        Ok(state.carry_out_plan_change()?)
    }
}

/// What the entries up to a change of plan say of the period that ends with it and the one that begins.
pub(crate) fn preview<'a>(
    effective_at: Timestamp,
    entries: impl Iterator<Item = &'a Arc<Entry>>,
) -> PlanChangePreview {
    let mut preview = PlanChangePreview { effective_at, plan_version: None, closed: None, opened: None };
    for entry in entries {
        match &entry.event {
            Event::PeriodClosed(_) => (preview.closed, preview.opened) = (Some(entry.clone()), None),
            Event::Configured(configured) => preview.plan_version = configured.profile.plan_version,
            Event::PeriodOpened(_) => preview.opened = Some(entry.clone()),
            _ => {}
        }
    }
    // Of a period that ended before, without one that was to end now.
    preview.closed = preview.closed.filter(|closed| closed.at == effective_at);
    preview
}
