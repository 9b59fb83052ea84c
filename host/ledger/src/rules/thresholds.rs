//! Thresholds: which percentages of budgets and of a balance an entry reaches. Each is said once in a window or a period, in the
//! entry of the charge that reaches it, whatever is refunded later.

use super::budgeting::reaches;
use crate::{
    journal::{BudgetCount, Entry, Event, Threshold, ThresholdOf},
    model::{
        amounts::Decimal,
        budget::DEFAULT_WARNINGS,
        grant::{CreditType, Grant},
        time::Timestamp,
    },
    state::{CustomerState, Warned},
};

impl CustomerState {
    /// What an entry that was just taken in reaches for the first time.
    pub(crate) fn reached_by(&self, entry: &Entry) -> Vec<Threshold> {
        if entry.charged_usage().is_none() {
            return Vec::new();
        }
        let mut reached = Vec::new();
        for BudgetCount { budget: id, window_id, .. } in &entry.budgets {
            let Some(state) = self.budgets.get(id) else { continue };
            let (total, limit) = (state.total(*window_id), state.budget.limit);
            let new = state.budget.warn_at.iter().filter(|percent| **percent > total.raised);
            reached.extend(new.filter(|percent| reaches(total.used, limit, **percent)).map(|percent| {
                let of = ThresholdOf::Budget { budget: id.clone(), window_id: *window_id };
                Threshold { of, percent: *percent, used: total.used, limit }
            }));
        }
        if let Some(after) = &entry.after {
            let credit = &after.balance.credit;
            let used = after.balance.used.saturating_add(after.balance.overage).decimal();
            let granted = after.balance.granted.decimal();
            let raised = self.warned_of(credit);
            reached.extend(reached_of_balance(used, granted).filter(|percent| *percent > raised).map(
                |percent| Threshold {
                    of: ThresholdOf::Balance { credit: credit.clone() },
                    percent,
                    used,
                    limit: granted,
                },
            ));
        }
        reached
    }

    /// Remembers what an entry says is reached.
    pub(crate) fn note_reached(&mut self, thresholds: &[Threshold]) {
        for Threshold { of, percent, .. } in thresholds {
            match of {
                ThresholdOf::Budget { budget, window_id } => self.budgets.raise(budget, *window_id, *percent),
                ThresholdOf::Balance { credit } => {
                    let percent = self.warned_of(credit).max(*percent);
                    self.warned.insert(credit.clone(), Warned { period: self.periods, percent });
                }
            }
        }
    }

    /// The highest percentage of a balance that was said to be used since the last period began.
    fn warned_of(&self, credit: &CreditType) -> u16 {
        let warned = self.warned.get(credit).filter(|warned| warned.period == self.periods);
        warned.map_or(0, |warned| warned.percent)
    }

    /// Where no period runs that would end what was said, new credits do: what is no longer reached is said again.
    pub(crate) fn rearm(&mut self, entry: &Entry) {
        if self.period.is_some() || self.warned.is_empty() || matches!(entry.event, Event::Refunded(_)) {
            return;
        }
        for credit in entry.grants().iter().map(|grant: &Grant| &grant.credit) {
            let reached = self.reached_now(credit, entry.at);
            if let Some(warned) = self.warned.get_mut(credit) {
                warned.percent = warned.percent.min(reached);
                if warned.percent == 0 {
                    self.warned.remove(credit);
                }
            }
        }
    }

    fn reached_now(&self, credit: &CreditType, at: Timestamp) -> u16 {
        let balance = self.balance(credit, at);
        let used = balance.used.saturating_add(balance.overage).decimal();
        reached_of_balance(used, balance.granted.decimal()).max().unwrap_or_default()
    }
}

fn reached_of_balance(used: Decimal, granted: Decimal) -> impl Iterator<Item = u16> {
    let reached = move |percent: &u16| granted.is_positive() && reaches(used, granted, *percent);
    DEFAULT_WARNINGS.into_iter().filter(reached)
}
