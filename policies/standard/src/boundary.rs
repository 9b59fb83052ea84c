//! What the end of a period and the beginning of the next one do. No more is carried over than remains or is held.

use crate::settings::{AllowanceSettings, ResetSettings, RolloverSettings, Settle, WithoutRates};
use alloc::{collections::BinaryHeap, format, vec::Vec};
use core::cmp::Reverse;
use proviso_sdk::{
    Category, CloseOutcome, CloseReason, Closing, Context, Credits, Decimal, Expiry, Grant, Instant,
    NewGrant, OpenOutcome, OpenReason, Opening, Percent, Rollover, Rounding, Settlement, SettlementMethod,
};

impl WithoutRates {
    pub(crate) fn close(&self, closing: &Closing, context: &Context) -> CloseOutcome {
        let mut outcome = CloseOutcome::default();
        let Some(reset) = &self.reset else { return outcome };
        let at = context.now.at;
        let ending: Vec<&Grant> = context.grants.iter().filter(|grant| reset.ends_now(grant, at)).collect();
        // Of a grant that has this period's end as its own, the host expires what is left.
        let unnamed = ending.iter().filter(|grant| grant.expires == Expiry::NEVER);
        outcome.expire = unnamed.map(|grant| grant.id.clone()).collect();
        // After a customer's closing there is no period to carry anything into.
        if let (Some(rollover), true) = (&reset.rollover, closing.reason != CloseReason::Closed) {
            rollover.carry_over(&ending, at, context, &mut outcome);
        }
        let method = match reset.overage {
            Settle::Keep => None,
            Settle::Invoice => Some(SettlementMethod::Invoice),
            // Else moving from plan to plan would forgive it as often as one moves.
            Settle::Waive => (!matches!(closing.reason, CloseReason::PlanChanged | CloseReason::PlanEnded))
                .then_some(SettlementMethod::Waive),
            // The allowance of the next period pays, unless there is none.
            Settle::Deduct => matches!(closing.reason, CloseReason::PlanEnded | CloseReason::Closed)
                .then_some(SettlementMethod::Deduct),
        };
        outcome.settle.extend(method.and_then(|method| self.settlement(method, context)));
        outcome
    }

    pub(crate) fn open(&self, opening: &Opening, context: &Context) -> OpenOutcome {
        let mut outcome = OpenOutcome::default();
        let Some(reset) = &self.reset else { return outcome };
        outcome.issue = reset.allowance.iter().map(|allowance| allowance.grant(reset, opening)).collect();
        if reset.overage == Settle::Deduct {
            outcome.settle.extend(self.settlement(SettlementMethod::Deduct, context));
        }
        outcome
    }

    /// All that is outstanding, if anything is.
    fn settlement(&self, method: SettlementMethod, context: &Context) -> Option<Settlement> {
        let owed = context.overage(&self.credit).is_positive();
        owed.then(|| Settlement::all(&self.credit, method))
    }
}

impl ResetSettings {
    /// Whether a grant ends with the period that ends at this instant: as it says itself, or because its category does.
    /// What becomes usable only at that instant belongs to the next period.
    fn ends_now(&self, grant: &Grant, at: Instant) -> bool {
        self.ends(grant.category)
            && match grant.expires {
                Expiry { at: None, with_period: None } => grant.effective_at < at,
                Expiry { at: end, with_period } => with_period == Some(0) && end.is_none_or(|end| end > at),
            }
    }
}

/// The newest first. What expires first, and then what was given first, is the oldest.
fn newest_first<'a>(grants: impl Iterator<Item = &'a Grant>) -> Vec<&'a Grant> {
    let grants: Vec<&Grant> = grants.collect();
    let age = |(place, grant): (usize, &&Grant)| {
        let Expiry { at, with_period } = grant.expires;
        (with_period.unwrap_or(u32::MAX), at.unwrap_or(Instant::MAX), grant.effective_at, Reverse(place))
    };
    // A heap is a fraction of a sort's code, of which a module has a copy for each type.
    let mut ages: BinaryHeap<_> = grants.iter().enumerate().map(age).collect();
    core::iter::from_fn(|| ages.pop()).filter_map(|(.., Reverse(place))| grants.get(place).copied()).collect()
}

/// Takes as much of `amount` as is left.
fn take(left: &mut Credits, amount: Credits) -> Credits {
    let taken = amount.min(*left);
    *left = left.saturating_sub(taken);
    taken
}

impl RolloverSettings {
    /// Carries over what may be kept of the grants that end, each credit type for itself. What exceeds a limit is taken
    /// from the oldest: from what earlier periods carried over, then from the oldest of the grants that end.
    fn carry_over(&self, ending: &[&Grant], at: Instant, context: &Context, outcome: &mut CloseOutcome) {
        let mut credits: Vec<&str> = Vec::new();
        for grant in &context.grants {
            if !credits.contains(&grant.credit.as_str()) {
                credits.push(&grant.credit);
            }
        }
        for credit in credits {
            let grants = newest_first(ending.iter().copied().filter(|grant| grant.credit == credit));
            let mut left = self.cap.unwrap_or(Credits::LARGEST).min(self.max.unwrap_or(Credits::LARGEST));
            let amounts: Vec<Credits> =
                grants.iter().map(|grant| take(&mut left, self.part_of(grant.remaining))).collect();
            // What comes back is carried over as if it had been neither held nor used. Of what the limits leave, each grant gets
            // a fixed part, since nobody knows yet which reservation or refund gives back what.
            let held: Vec<Credits> =
                grants.iter().map(|grant| take(&mut left, self.part_of(grant.held))).collect();
            if let Some(max) = self.max {
                // What earlier periods carried over is not cut for what may never come back.
                let sum = |credits: &[Credits]| {
                    credits.iter().fold(Credits::ZERO, |sum, one| sum.saturating_add(*one))
                };
                let room = max.above(sum(&amounts).saturating_add(sum(&held)));
                let living = context.grants.iter().filter(|grant| lives_on(grant, credit, at));
                let living = living.fold(Credits::ZERO, |sum, one| {
                    sum.saturating_add(one.remaining).saturating_add(one.held)
                });
                left = left.min(room.above(living));
            }
            let (mut moved, mut kept) = (Credits::ZERO, Credits::ZERO);
            for ((grant, amount), held) in grants.into_iter().zip(amounts).zip(held) {
                let used = grant.amount.saturating_sub(grant.remaining).saturating_sub(grant.held);
                let limit = held.saturating_add(take(&mut left, self.part_of(used.max(Credits::ZERO))));
                if amount.is_positive() || limit.is_positive() {
                    moved = moved.saturating_add(amount);
                    kept = kept.saturating_add(amount).saturating_add(held);
                    let expires = Expiry {
                        at: grant.expires.at,
                        with_period: self.expires_after_periods.map(|n| n.saturating_sub(1)),
                    };
                    let rollover =
                        Rollover::new(&grant.id, amount).held(self.share(), limit).expires(expires);
                    outcome.roll_over.push(rollover.priority(self.priority.unwrap_or(grant.priority)));
                }
            }
            if moved.is_positive() {
                outcome.notes.push(format!("{moved} {credit} rolled over"));
            }
            if let Some(max) = self.max {
                trim(credit, max.above(kept), at, context, outcome);
            }
        }
    }

    fn part_of(&self, credits: Credits) -> Credits {
        let part = self.percent.map(|percent| credits.percent(percent, Rounding::Down));
        part.and_then(Result::ok).unwrap_or(credits)
    }

    fn share(&self) -> Decimal {
        let share = self.percent.map(|percent| percent.decimal().div(Percent::ALL.decimal(), Rounding::Down));
        share.and_then(Result::ok).unwrap_or(Decimal::ONE)
    }
}

/// Whether an earlier period carried it over and it goes on living.
fn lives_on(grant: &Grant, credit: &str, at: Instant) -> bool {
    let Expiry { at: end, with_period } = grant.expires;
    grant.category == Category::Rollover
        && grant.credit == credit
        && with_period != Some(0)
        && end.is_none_or(|end| end > at)
}

/// Ends what exceeds `left` of the credits that earlier periods carried over and that go on living, the oldest first.
fn trim(credit: &str, mut left: Credits, at: Instant, context: &Context, outcome: &mut CloseOutcome) {
    for grant in newest_first(context.grants.iter().filter(|grant| lives_on(grant, credit, at))) {
        let amount = take(&mut left, grant.remaining);
        let held = take(&mut left, grant.held);
        if amount == grant.remaining && held == grant.held {
            continue;
        }
        if amount.is_positive() || held.is_positive() {
            let with_period = grant.expires.with_period.map(|periods| periods.saturating_sub(1));
            let rollover = Rollover::new(&grant.id, amount).held(Decimal::ONE, held).priority(grant.priority);
            outcome.roll_over.push(rollover.expires(Expiry { with_period, ..grant.expires }));
        }
        outcome.expire.push(grant.id.clone());
        let over = grant.remaining.saturating_sub(amount);
        if over.is_positive() {
            outcome
                .notes
                .push(format!("{over} {credit} of earlier rollovers exceed the most that may be kept"));
        }
    }
}

impl AllowanceSettings {
    fn grant(&self, reset: &ResetSettings, opening: &Opening) -> NewGrant {
        let asked = match (opening.reason, reset.allowance_on_change) {
            (OpenReason::PlanChanged, Some(allowance)) => allowance,
            _ => opening.allowance,
        };
        let expires = if reset.ends(self.category) { Expiry::with_its_period() } else { Expiry::NEVER };
        NewGrant {
            features: self.features.clone(),
            cost_basis: self.cost_basis,
            ..NewGrant::new(self.category, self.amount)
                .in_credit(&self.credit)
                .priority(self.priority)
                .expires(expires)
                .allowance(asked)
        }
    }
}
