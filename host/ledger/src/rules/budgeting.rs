//! Budgets: what a usage adds to each that counts it, and whether a hard one allows that. A commit is never refused.

use super::rejection::Rejection;
use crate::{
    journal::{BudgetChanged, BudgetCount, Event, OverBudget, Refunded},
    model::{
        amounts::{Credits, Decimal},
        budget::{Budget, Measured, Subject},
        counter::{Window, WindowId},
        grant::CreditType,
        ids::{Key, ReservationId, Seq},
        time::Timestamp,
        usage::Usage,
    },
    state::{BudgetState, CustomerState, Draft},
};

/// The most budgets that count the usage of the same entity, of the same attribute's value, or of the whole customer.
pub const MOST_OF_SUBJECT: usize = 16;

/// A budget that is exceeded, and when asking again can help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub over: OverBudget,
    /// None when waiting does not help.
    pub retry_at: Option<Timestamp>,
}

impl CustomerState {
    /// The entry that puts a budget in force or changes it. What was counted stays, unless it counts something else from now on.
    ///
    /// # Errors
    /// A closed customer; too many budgets.
    pub fn set_budget(&self, id: Key, budget: Budget) -> Result<Draft, Rejection> {
        self.require_open()?;
        let before = self.budgets.get(&id);
        let moves = before.is_none_or(|before| before.budget.subject != budget.subject);
        let of_subject = self.budgets.of_subject(&budget.subject);
        if moves && of_subject >= MOST_OF_SUBJECT {
            return Err(Rejection::TooMany(of_subject, "budgets of this entity, attribute or customer"));
        }
        self.require_place_for_budget(&id, &budget)?;
        Ok(Draft::new(Event::BudgetChanged(Box::new(BudgetChanged { new: before.is_none(), id, budget }))))
    }

    /// The entry that takes a budget back.
    ///
    /// # Errors
    /// One that is not there.
    pub fn remove_budget(&self, id: Key) -> Result<Draft, Rejection> {
        match self.budgets.get(&id) {
            Some(_) => Ok(Draft::new(Event::BudgetRemoved { budget: id })),
            None => Err(Rejection::BudgetNotFound(id)),
        }
    }

    /// The window of a budget that holds `at`.
    #[must_use]
    pub fn budget_window(&self, budget: &Budget, at: Timestamp) -> WindowId {
        budget.window.id(at, self.within(at), &self.zone_at(at))
    }

    /// When the window of a budget that holds `at` ends by itself; none for one that rolls or never ends.
    #[must_use]
    pub fn budget_resets_at(&self, budget: &Budget, at: Timestamp) -> Option<Timestamp> {
        match budget.window {
            Window::Period => self.next_reset_at(),
            Window::Cycle => self.next_cycle_at(),
            Window::Hours(1) => Some(start_of_hour(at.0.div_euclid(HOUR).saturating_add(1))),
            window => window.next_start(self.budget_window(budget, at), &self.zone_at(at)),
        }
    }

    /// What a usage adds to the budgets that count it: in the windows of its time, or, where it `commits` a reservation that
    /// holds some of them, in the windows of that.
    pub(crate) fn budget_counts(
        &self,
        usage: &Usage,
        credit: &CreditType,
        cost: Credits,
        commits: Option<ReservationId>,
    ) -> Vec<BudgetCount> {
        if self.budgets.is_empty() {
            return Vec::new();
        }
        let time = self.time_of(usage);
        let held = commits.and_then(|id| self.reservations.get(&id)).map(|reservation| &reservation.budgets);
        let count = |(id, state): (&Key, &BudgetState)| {
            let add = state.budget.amount(usage, credit, cost);
            let held = held.and_then(|held| held.iter().find(|count| count.budget == *id));
            // A window of before the budget counted anew is not one of its windows.
            let held = held.filter(|_| commits.is_some_and(|commits| state.since < commits.entry));
            let window_id =
                held.map_or_else(|| self.budget_window(&state.budget, time), |count| count.window_id);
            (!add.is_zero()).then(|| BudgetCount { budget: id.clone(), window_id, add })
        };
        self.budgets.of_usage(usage).filter_map(count).collect()
    }

    /// The first hard budget that these counts exceed, the nearest to the entity first.
    pub(crate) fn exceeded(&self, counts: &[BudgetCount], at: Timestamp) -> Option<Exceeded> {
        let over = counts.iter().filter_map(|count| {
            let state = self.budgets.get(&count.budget).filter(|state| state.budget.hard)?;
            let total = state.total(count.window_id);
            let after = total.sum().checked_add(count.add);
            let is_over = after.is_none_or(|after| after > state.budget.limit);
            is_over.then_some((count, state, total))
        });
        let mut over = over.peekable();
        let (count, state, total) = over.peek().copied()?;
        let Budget { subject, measured, window, limit, .. } = &state.budget;
        let first = OverBudget {
            budget: count.budget.clone(),
            subject: subject.clone(),
            measured: measured.clone(),
            window: *window,
            limit: *limit,
            used: total.used,
            held: total.held,
            add: count.add,
        };
        // All of them must let it pass, so the last to open again counts.
        let opens = over.map(|(count, state, _)| self.opens_at(state, count, at));
        let retry_at = opens.reduce(|one, other| Some(one?.max(other?))).flatten();
        Some(Exceeded { over: first, retry_at })
    }

    /// The budgets that count a usage.
    pub fn budgets_of<'a>(&'a self, usage: &'a Usage) -> impl Iterator<Item = &'a Budget> {
        let budgets = self.budgets.of_usage(usage).map(|(_, state)| &state.budget);
        budgets.filter(|budget| budget.features.is_empty() || budget.features.contains(&usage.feature))
    }

    /// Whether a hard budget does not allow a usage of this cost.
    #[must_use]
    pub fn is_over_budget(&self, usage: &Usage, credit: &CreditType, cost: Credits, at: Timestamp) -> bool {
        self.exceeded(&self.budget_counts(usage, credit, cost, None), at).is_some()
    }

    /// When so much fits into a budget again, should nothing be used until then; none for what never fits, and for usage of a
    /// window that is over.
    fn opens_at(&self, state: &BudgetState, count: &BudgetCount, at: Timestamp) -> Option<Timestamp> {
        let BudgetCount { window_id, add, .. } = *count;
        let budget = &state.budget;
        if add > budget.limit || window_id != self.budget_window(budget, at) {
            return None;
        }
        let Window::Hours(hours) = budget.window else { return self.budget_resets_at(budget, at) };
        let mut left = state.total(window_id).sum().saturating_add(add);
        let leaves = state.totals(budget.window.span(window_id)).find_map(|(hour, total)| {
            left = left.saturating_sub(total.sum());
            (left <= budget.limit).then_some(hour)
        });
        leaves.map(|hour| start_of_hour(hour.saturating_add(i64::from(hours.max(1)))))
    }

    /// What a refund takes off the budgets that its charge counts toward, in the windows that are still kept.
    pub(crate) fn budgets_back(
        &self,
        counts: &[BudgetCount],
        made_by: Seq,
        refunded: &Refunded,
    ) -> Vec<BudgetCount> {
        let back = counts.iter().filter_map(|count| {
            let state = self.budgets.get(&count.budget).filter(|state| state.since < made_by)?;
            let used = state.windows.get(&count.window_id)?.used;
            let part = state.budget.part(&refunded.usage, &refunded.credit, refunded.amount).min(used);
            let add = part.checked_neg().filter(|add| add.is_negative())?;
            Some(BudgetCount { add, ..count.clone() })
        });
        back.collect()
    }
}

const HOUR: i64 = 3_600 * Timestamp::SECOND;

fn start_of_hour(hour: WindowId) -> Timestamp {
    Timestamp(0).plus_micros(hour.saturating_mul(HOUR))
}

impl OverBudget {
    /// What is exceeded, for people.
    pub(crate) fn detail(&self) -> String {
        let Self { budget, limit, used, held, add, .. } = self;
        let of = match &self.subject {
            Subject::Customer => "the customer".to_owned(),
            Subject::Entity(entity) => format!("entity {entity}"),
            Subject::Attribute { name, value } => format!("{name} {value}"),
        };
        let what = match &self.measured {
            Measured::Credits(credit) => credit.to_string(),
            Measured::Quantity(name) => name.clone(),
        };
        format!("budget {budget} of {of} allows {limit} {what}: {used} used, {held} held, {add} more needed")
    }
}

/// Whether so much of a whole is at least this percentage of it.
pub(crate) fn reaches(used: Decimal, whole: Decimal, percent: u16) -> bool {
    let hundred = Decimal::from_whole(100);
    let part =
        whole.mul_div(Decimal::from_whole(i64::from(percent)), hundred, crate::model::amounts::Rounding::Up);
    part.is_ok_and(|part| used >= part)
}
