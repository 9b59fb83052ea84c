//! Changes of plan that are put off until later, called off, and carried out when they are due.

use super::rejection::Rejection;
use crate::{
    journal::{Configured, Event, PlanChangeScheduled, PlanChangeTime},
    model::{
        answers::Allowance,
        customer::SoldPlan,
        ids::{Name, PlanChangeId},
        time::Timestamp,
    },
    state::{CustomerState, Draft},
};

impl CustomerState {
    /// The entry that puts a change of plan off. It takes the place of one that was pending.
    ///
    /// # Errors
    /// A closed customer; the plan that it is on; an instant that does not lie ahead; the end of a period where none runs or
    /// ends by itself.
    pub fn schedule_plan_change(
        &self,
        at: Timestamp,
        sold: Option<SoldPlan>,
        when: PlanChangeTime,
        allowance: Allowance,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        self.require_other_plan(sold.as_ref().map(|sold| (&sold.plan, sold.version)))?;
        let (plan, plan_version, interval) = match sold {
            Some(SoldPlan { plan, version, interval }) => (Some(plan), Some(version), interval),
            None => (None, None, None),
        };
        let effective_at = match when {
            PlanChangeTime::At(time) if time <= at => return Err(Rejection::NotLater("when", at)),
            PlanChangeTime::At(time) => time,
            PlanChangeTime::PeriodEnd => self.next_reset_at().ok_or(Rejection::NoPeriodEnd)?,
        };
        let scheduled = PlanChangeScheduled { plan, plan_version, interval, when, effective_at, allowance };
        Ok(Draft::new(Event::PlanChangeScheduled(scheduled)))
    }

    /// Says whether a version of a plan is another one than the customer's.
    ///
    /// # Errors
    /// [`Rejection::PlanUnchanged`].
    pub fn require_other_plan(&self, plan: Option<(&Name, u32)>) -> Result<(), Rejection> {
        let is_same = match plan {
            Some((plan, version)) => self.plan() == Some(plan) && self.plan_version() == Some(version),
            None => self.plan().is_none(),
        };
        if is_same { Err(Rejection::PlanUnchanged) } else { Ok(()) }
    }

    /// The entry that calls the pending change of plan off.
    ///
    /// # Errors
    /// One that is not pending, since it took effect, was called off, or another took its place.
    pub fn cancel_plan_change(&self, change: PlanChangeId) -> Result<Draft, Rejection> {
        match &self.plan_change {
            Some(pending) if pending.id == change => Ok(Draft::new(Event::PlanChangeCancelled { change })),
            _ => Err(Rejection::PlanChangeNotFound(change)),
        }
    }

    /// The entry that puts the customer on the plan that it awaits. A running period must be closed before; the next begins
    /// after.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn carry_out_plan_change(&self) -> Result<Draft, Rejection> {
        self.require_open()?;
        let (Some(pending), Some(profile)) = (&self.plan_change, &self.profile) else {
            return Err(Rejection::NoPeriodEnd);
        };
        let mut profile = profile.clone();
        profile.plan.clone_from(&pending.plan);
        (profile.plan_version, profile.interval) = (pending.plan_version, pending.interval);
        let configured = Configured { profile, period_end: None, plan_change: Some(pending.id) };
        Ok(Draft::new(Event::Configured(configured)))
    }
}
