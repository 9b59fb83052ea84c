//! Commands that are several entries: a customer created, changed, closed, or begun anew. All or nothing: when a policy is not
//! loaded yet, the whole is decided again.

use crate::{
    DecideError, Decider, Journal, Stop,
    change::customer_tag,
    periods::fault_of,
    request::{CustomerChange, Outcome, Reply},
};
use proviso_ledger::{
    journal::{CloseReason, Event, OpenReason},
    model::{
        answers::Allowance,
        customer::{Profile, SoldPlan},
        time::{Timestamp, Zone},
    },
    rules::rejection::Rejection,
    state::{CustomerState, Draft, Origin},
};
use std::sync::Arc;

/// Entries in the making on a copy of the state.
pub(crate) struct Steps<'a> {
    pub next: CustomerState,
    pub made: Journal,
    at: Timestamp,
    origin: &'a Origin,
}

impl<'a> Steps<'a> {
    pub fn new(state: &CustomerState, at: Timestamp, origin: &'a Origin, journal: &Journal) -> Self {
        Self { next: state.clone(), made: journal.beside(), at, origin }
    }

    /// An entry that leads to the one that answers.
    pub fn step(&mut self, mut draft: Draft) -> Result<(), Stop> {
        draft.origin.by.clone_from(&self.origin.by);
        self.made.seal(&mut self.next, self.at, draft).map(drop)
    }

    /// The entry that answers the request.
    pub fn last(&mut self, mut draft: Draft) -> Result<(), Stop> {
        draft.origin.clone_from(self.origin);
        self.made.seal(&mut self.next, self.at, draft).map(drop)
    }

    /// Takes the entries over, and answers with the last of them.
    pub fn finish(mut self, state: &mut CustomerState, journal: &mut Journal) -> Result<Reply, Stop> {
        let last = self.made.written.last().map(|written| written.entry.clone());
        let entry = last.ok_or_else(|| DecideError::Internal("a command without an entry".to_owned()))?;
        *state = self.next;
        journal.written.append(&mut self.made.written);
        Ok(Reply::Entry(Outcome { entry, replayed: false }))
    }
}

impl Decider<'_> {
    /// Creates or changes the customer. Another plan ends the running period by the old terms and begins one by the new.
    pub(crate) fn configure(
        &self,
        state: &mut CustomerState,
        change: &CustomerChange,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let before = state.profile.clone();
        change.expected.check(|| customer_tag(state))?;
        state.require_open()?;
        let profile = self.changed(state, change, at)?;
        if before.as_ref() != Some(&profile) {
            let mut steps = Steps::new(state, at, origin, journal);
            self.put_profile(&mut steps, profile, change.allowance)?;
            steps.finish(state, journal)?;
        }
        Ok(Reply::Configured { state: Arc::new(state.clone()), created: before.is_none() })
    }

    /// Puts another profile in force; with another plan, the running period ends by the old terms, and one begins by the new. So it
    /// does with a version of the same plan that gives other credits.
    pub(crate) fn put_profile(
        &self,
        steps: &mut Steps<'_>,
        profile: Profile,
        allowance: Allowance,
    ) -> Result<(), Stop> {
        let at = steps.at;
        let before = steps.next.profile.as_ref();
        let plan_changed = before.is_some_and(|before| before.plan != profile.plan);
        if plan_changed {
            self.require_trial(&steps.next, profile.sold().as_ref(), at)?;
        }
        let other_credits = before.is_some_and(|before| self.gives_other(before, &profile));
        if (plan_changed || other_credits) && steps.next.period.is_some() {
            let draft =
                self.close_period(&steps.next, at, CloseReason::of_change_to(profile.plan.as_ref()))?;
            steps.step(draft)?;
        }
        let opens = profile.plan.is_some() && steps.next.period.is_none();
        let draft = steps.next.configure(at, profile)?;
        if !opens {
            return steps.last(draft);
        }
        steps.step(draft)?;
        let reason = OpenReason::of_change_after(steps.next.periods, other_credits);
        let draft = self.open_period(&steps.next, at, reason, allowance)?;
        steps.last(draft)
    }

    /// Whether two profiles have versions of one plan that give other credits with each period.
    fn gives_other(&self, before: &Profile, after: &Profile) -> bool {
        let (Some(before), Some(after)) = (before.sold(), after.sold()) else { return false };
        if before.plan != after.plan || before.version == after.version {
            return false;
        }
        let grants = |sold: &SoldPlan| {
            let version = self.plans.plan_version(&sold.plan, sold.version);
            version.map(|version| version.grants.as_slice())
        };
        grants(&before) != grants(&after)
    }

    pub(crate) fn changed(
        &self,
        state: &CustomerState,
        change: &CustomerChange,
        at: Timestamp,
    ) -> Result<Profile, Stop> {
        let before = state.profile.as_ref();
        let CustomerChange { name, plan, time_zone, anchor, attributes, external_ids, .. } = change.clone();
        let plan = plan.apply(before.and_then(|before| before.plan.clone()));
        // Who stays on a plan stays on the version that it was sold.
        let same = before.filter(|before| before.plan == plan);
        let sold = match &plan {
            Some(plan) => Some(self.known_plan(plan, None)?.sold()),
            None => None,
        };
        let plan_version = match same {
            Some(before) => before.plan_version,
            None => sold.as_ref().map(|sold| sold.version),
        };
        let interval = sold.and_then(|sold| sold.interval);
        let created_at = if before.is_some() { state.created_at } else { at };
        Ok(Profile {
            name: name
                .apply(before.map(|before| before.name.clone()))
                .unwrap_or_else(|| state.customer.to_string()),
            plan,
            plan_version,
            interval,
            time_zone: time_zone
                .apply(before.map(|before| before.time_zone.clone()))
                .unwrap_or_else(Zone::utc),
            anchor: anchor.apply(before.map(|before| before.anchor)).unwrap_or(created_at),
            attributes: attributes.apply(before.map(|before| before.attributes.clone())).unwrap_or_default(),
            external_ids: external_ids
                .apply(before.map(|before| before.external_ids.clone()))
                .unwrap_or_default(),
        })
    }

    /// Ends the running period now and begins the next, a new cycle.
    pub(crate) fn reset(
        &self,
        state: &mut CustomerState,
        anchor_now: bool,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        state.check_early_reset()?;
        let mut steps = Steps::new(state, at, origin, journal);
        let draft = self.close_period(&steps.next, at, CloseReason::Early)?;
        steps.step(draft)?;
        let anchored = steps.next.profile.clone().filter(|_| anchor_now);
        if let Some(profile) = anchored {
            let draft = steps.next.configure(at, Profile { anchor: at, ..profile })?;
            steps.step(draft)?;
        }
        let draft = self.open_period(&steps.next, at, OpenReason::Early, Allowance::Full)?;
        steps.last(draft)?;
        steps.finish(state, journal)
    }

    /// Closes the customer, after the running period by its terms.
    pub(crate) fn close_customer(
        &self,
        state: &mut CustomerState,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        state.require_open()?;
        let mut steps = Steps::new(state, at, origin, journal);
        if steps.next.period.is_some() {
            let draft = self.close_period(&steps.next, at, CloseReason::Closed)?;
            steps.step(draft)?;
        }
        let draft = steps.next.close_customer()?;
        steps.last(draft)?;
        steps.finish(state, journal)
    }

    /// Commits or releases a reservation of a closed customer. What is owed by then is settled at once, out of what came back, too,
    /// since no period is left whose end would do so.
    pub(crate) fn end_hold_after_closing(
        &self,
        state: &mut CustomerState,
        draft: Draft,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let mut steps = Steps::new(state, at, origin, journal);
        let ended = !matches!(draft.event, Event::Refused(_));
        steps.last(draft)?;
        let settles = if ended { self.settle_after_closing(&steps.next, at)? } else { None };
        let Some(draft) = settles else { return steps.finish(state, journal) };
        let entry = steps.made.written.last().map(|written| written.entry.clone());
        steps.step(draft)?;
        steps.finish(state, journal)?;
        let entry = entry.ok_or_else(|| DecideError::Internal("a command without an entry".to_owned()))?;
        Ok(Reply::Entry(Outcome { entry, replayed: false }))
    }

    /// Makes good what a fault left undone of a period.
    pub(crate) fn retry(
        &self,
        state: &mut CustomerState,
        number: u32,
        origin: &Origin,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let mut steps = Steps::new(state, at, origin, journal);
        let draft = self.retry_period(&steps.next, number, at)?;
        if let Some(fault) = fault_of(&draft) {
            return Err(Rejection::StillFails(number, fault).into());
        }
        steps.last(draft)?;
        steps.finish(state, journal)
    }
}
