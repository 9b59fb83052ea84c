//! A customer's move to another version of its plan. It is asked of many customers, some of whom were moved before, have left the plan
//! meanwhile or are about to: those are told apart here, on the state that the move would be decided on.

use crate::{
    Decider, Journal, Stop,
    plan_change::preview,
    profile::Steps,
    request::{CustomerMigration, CustomerPlanChange, Migrated, Reply},
};
use proviso_ledger::{
    journal::{Event, PlanChangeTime},
    model::time::Timestamp,
    rules::rejection::Rejection,
    state::{CustomerState, Origin, PendingPlanChange},
};

impl Decider<'_> {
    pub(crate) fn migrate(
        &self,
        state: &mut CustomerState,
        migration: &CustomerMigration,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let sold = self.known_plan(&migration.plan, Some(migration.to))?.sold();
        let reply = |migrated| Ok(Reply::Migrated(Box::new(migrated)));
        if !is_concerned(state, migration) {
            return reply(Migrated::NotConcerned);
        }
        let when = migration.at_period_end.then_some(PlanChangeTime::PeriodEnd);
        if let (Some(when), Some(pending)) = (when, &state.plan_change) {
            if is_same(pending, migration, when) {
                return reply(Migrated::Pending(state.plan_change_at().unwrap_or(at)));
            }
            // There is one pending change at most, and this one must not take the place of a downgrade or a trial's end.
            if pending.plan.as_ref() != Some(&migration.plan) {
                return Err(Rejection::PlanChangePending.into());
            }
        }
        if migration.dry_run || when.is_some() {
            let change = CustomerPlanChange {
                plan: Some(migration.plan.clone()),
                version: Some(migration.to),
                when,
                allowance: migration.allowance,
                dry_run: migration.dry_run,
            };
            return match self.change_plan(state, &change, origin, at, journal)? {
                Reply::Preview(preview) => reply(Migrated::Preview(*preview)),
                Reply::Entry(outcome) => match &outcome.entry.event {
                    Event::PlanChangeScheduled(scheduled) => reply(Migrated::Pending(scheduled.effective_at)),
                    _ => reply(Migrated::NotConcerned),
                },
                other => Ok(other),
            };
        }
        let Some(before) = state.profile.clone() else { return reply(Migrated::NotConcerned) };
        let mut steps = Steps::new(state, at, origin, journal);
        self.put_profile(&mut steps, before.on(Some(sold)), migration.allowance)?;
        let done = preview(at, steps.made.written.iter().map(|written| &written.entry));
        steps.finish(state, journal)?;
        reply(Migrated::Done(done))
    }
}

fn is_concerned(state: &CustomerState, migration: &CustomerMigration) -> bool {
    let version = state.profile.as_ref().and_then(|profile| profile.sold()).map(|sold| sold.version);
    let is_from = migration.from.is_none_or(|from| version == Some(from));
    !state.closed && state.plan() == Some(&migration.plan) && version != Some(migration.to) && is_from
}

/// Whether the customer awaits this very move.
fn is_same(pending: &PendingPlanChange, migration: &CustomerMigration, when: PlanChangeTime) -> bool {
    (pending.plan.as_ref(), pending.plan_version) == (Some(&migration.plan), Some(migration.to))
        && (pending.when, pending.allowance) == (when, migration.allowance)
}
