//! What a period's end does. In: the grants that stand, the periods. Out: what rolls over, what expires, what is issued
//! and how overage is settled. The amounts never exceed what remains.

use crate::settings::{Allowance, Ending, ResetSettings, RolloverSettings, Settle};
use alloc::{format, vec::Vec};
use proviso_sdk::{
    Credits, Rounding,
    types::{Context, Grant, NewGrant, Period, ResetOutcome, Rollover, Settlement},
};

impl Ending {
    pub(crate) fn reset(&self, closing: Option<&Period>, next: &Period, context: &Context) -> ResetOutcome {
        let mut outcome = ResetOutcome::default();
        let Some(reset) = &self.reset else { return outcome };
        if let Some(closing) = closing {
            reset.close(closing, next, context, &mut outcome);
        }
        outcome.issue = reset.allowance.iter().map(|allowance| allowance.grant(reset, next)).collect();
        if closing.is_some() {
            reset.settle(&self.credit, context, &mut outcome);
        }
        outcome
    }
}

impl ResetSettings {
    /// Rolls over what may be kept of the grants that end, and ends them.
    fn close(&self, closing: &Period, next: &Period, context: &Context, outcome: &mut ResetOutcome) {
        let ends = |grant: &Grant| self.ends(&grant.category) || self.rollover_ends(grant, closing, context);
        if let Some(rollover) = &self.rollover {
            let mut credits: Vec<&str> = Vec::new();
            for grant in &context.grants {
                if !credits.contains(&grant.credit.as_str()) {
                    credits.push(&grant.credit);
                }
            }
            for credit in credits {
                let of_credit = || context.grants.iter().filter(|grant| grant.credit == credit);
                // What was carried over before and goes on living counts against the most that may be held.
                let living = of_credit().filter(|grant| grant.category == "rollover" && !ends(grant));
                let held = living.fold(0, |sum: i64, grant| sum.saturating_add(grant.remaining));
                let mut moved = Credits::ZERO;
                for grant in of_credit().filter(|grant| self.ends(&grant.category)) {
                    let amount = rollover.part_of(grant.remaining(), moved, Credits(held));
                    if amount.is_positive() {
                        moved = Credits(moved.0.saturating_add(amount.0));
                        let priority = rollover.priority.unwrap_or(grant.priority);
                        outcome.roll_over.push(Rollover::new(
                            &grant.id,
                            amount,
                            priority,
                            rollover.expiry(next),
                        ));
                    }
                }
                if moved.is_positive() {
                    outcome.notes.push(format!("{moved} {credit} rolled over"));
                }
            }
        }
        outcome.expire =
            context.grants.iter().filter(|grant| ends(grant)).map(|grant| grant.id.clone()).collect();
    }

    /// Whether a grant that was carried over has lived for as many periods as it may.
    fn rollover_ends(&self, grant: &Grant, closing: &Period, context: &Context) -> bool {
        let periods = self.rollover.as_ref().and_then(|rollover| rollover.expires_after_periods);
        let Some(periods) = periods.filter(|_| grant.category == "rollover") else { return false };
        let due = grant.expires_at.is_some_and(|at| at <= context.now.at);
        due || closing.periods_since(grant.effective_at).is_some_and(|age| age >= i64::from(periods))
    }

    fn settle(&self, credit: &str, context: &Context, outcome: &mut ResetOutcome) {
        let outstanding = context.overage(credit);
        let settlement = match self.overage {
            Settle::Keep => return,
            Settle::Invoice => Settlement::invoice(credit, outstanding),
            Settle::Waive => Settlement::waive(credit, outstanding),
            Settle::Deduct => Settlement::deduct(credit, outstanding.min(standing(credit, context, outcome))),
        };
        if settlement.amount > 0 {
            outcome.settle.push(settlement);
        }
    }
}

/// What can be drawn for no particular feature once the rest of the reset is done.
fn standing(credit: &str, context: &Context, outcome: &ResetOutcome) -> Credits {
    let unscoped = |grant: &&Grant| grant.credit == credit && grant.features.is_empty();
    let old = context.grants.iter().filter(unscoped).map(|grant| {
        if outcome.expire.contains(&grant.id) {
            let kept = outcome.roll_over.iter().find(|rollover| rollover.grant == grant.id);
            kept.map_or(0, |rollover| rollover.amount)
        } else {
            grant.remaining
        }
    });
    let new = outcome.issue.iter().filter(|grant| grant.credit == credit && grant.features.is_empty());
    Credits(old.chain(new.map(|grant| grant.amount)).fold(0, i64::saturating_add))
}

impl RolloverSettings {
    /// What may be carried over of a grant's rest, after `moved` of other grants, with `held` from earlier periods.
    fn part_of(&self, remaining: Credits, moved: Credits, held: Credits) -> Credits {
        let part = match self.percent {
            Some(percent) => remaining.percent(percent, Rounding::Down).unwrap_or(remaining),
            None => remaining,
        };
        let below_cap = self.cap.map_or(Credits::MAX, |cap| cap.above(moved));
        let below_max = self.max.map_or(Credits::MAX, |max| max.above(held).above(moved));
        part.min(below_cap).min(below_max)
    }

    /// The next period's end, when that is its last. Later ends are unknown here: its age decides at each reset.
    fn expiry(&self, next: &Period) -> Option<i64> {
        let end = next.end.as_ref().map(|end| end.at);
        end.filter(|_| self.expires_after_periods == Some(1))
    }
}

impl Allowance {
    fn grant(&self, reset: &ResetSettings, next: &Period) -> NewGrant {
        let end = next.end.as_ref().map(|end| end.at);
        NewGrant {
            credit: self.credit.clone(),
            features: self.features.clone(),
            cost_basis: self.cost_basis.as_ref().and_then(|money| money.times(1).ok()),
            ..NewGrant::new(&self.category, self.amount)
                .priority(self.priority)
                // The reset comes before what expires at its instant, so this does not keep it from rolling over.
                .expires_at(end.filter(|_| reset.ends(&self.category)))
        }
    }
}
