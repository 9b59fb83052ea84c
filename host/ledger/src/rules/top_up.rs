//! Automatic top-ups: when a payment is asked for, and what its answer does.
//!
//! A payment is asked for by an entry of its own, once for each gap: as long as one is pending no other is asked for, however many
//! usages find too little. That is due by the state alone, so that whoever comes first (the usage that crossed the threshold, another
//! request, the sweeper) writes the same entry, and never two.

use super::{
    grants::{GrantRequest, GrantTerms},
    rejection::Rejection,
};
use crate::{
    journal::{
        AutoTopUpChanged, Event, HaltReason, Refused, TopUpDeclined, TopUpPaid, TopUpRequested, TopUpsHalted,
    },
    model::{
        amounts::{Credits, Money},
        answers::SettleFrom,
        counter::Window,
        grant::{Category, CreditType},
        ids::TopUpId,
        time::Timestamp,
        top_up::{AutoTopUp, Fill},
    },
    state::{AutoTopUpState, CustomerState, Draft, TopUpState, TopUpStatus},
};

/// The most credit types that have a rule.
pub const MOST_RULES: usize = 64;

/// What is due for the top-ups of a credit type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpStep {
    /// A payment is asked for.
    Request,
    /// Its answer is not awaited any more.
    Expiry,
    /// None is asked for, and that is said.
    Halt(HaltReason),
}

/// What keeps a rule from asking for a payment, as things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpOutlook {
    /// Nothing: it asks when less than the threshold is available.
    Ready,
    /// It is switched off, or the customer is closed.
    Disabled,
    /// A top-up awaits its payment.
    Pending,
    /// The last was not paid.
    CoolingDown,
    /// As many as may be were asked for in the window.
    LimitReached,
    /// Too many in a row were not paid.
    PaymentsFailed,
}

/// What was paid for a top-up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopUpPayment {
    /// The payment's id.
    pub payment: Option<String>,
    /// What was paid; none means what was asked for.
    pub cost_basis: Option<Money>,
}

impl CustomerState {
    /// The entry that puts the rule for the top-ups of a credit type in force or changes it.
    ///
    /// # Errors
    /// A closed customer; amounts out of range; a target that is not above the threshold; too many rules.
    pub fn set_auto_top_up(&self, credit: CreditType, rule: AutoTopUp) -> Result<Draft, Rejection> {
        self.require_open()?;
        if rule.threshold.is_negative() || !rule.threshold.is_acceptable() {
            return Err(Rejection::ThresholdOutOfRange);
        }
        match rule.fill {
            Fill::Amount(amount) if !amount.is_positive() || !amount.is_acceptable() => {
                return Err(Rejection::AmountOutOfRange("amount"));
            }
            Fill::Target(target) if !target.is_positive() || !target.is_acceptable() => {
                return Err(Rejection::AmountOutOfRange("target"));
            }
            Fill::Target(target) if target <= rule.threshold => {
                return Err(Rejection::TargetNotAbove(rule.threshold));
            }
            Fill::Amount(_) | Fill::Target(_) => {}
        }
        let new = !self.auto_top_ups.contains_key(&credit);
        if new && self.auto_top_ups.len() >= MOST_RULES {
            return Err(Rejection::TooMany(MOST_RULES, "rules for top-ups"));
        }
        Ok(Draft::new(Event::AutoTopUpChanged(Box::new(AutoTopUpChanged { credit, new, rule }))))
    }

    /// The entry that takes the rule back.
    ///
    /// # Errors
    /// One that is not there, or whose top-up is pending: its payment may be under way.
    pub fn remove_auto_top_up(&self, credit: CreditType) -> Result<Draft, Rejection> {
        let Some(state) = self.auto_top_ups.get(&credit) else {
            return Err(Rejection::AutoTopUpNotFound(credit));
        };
        match state.pending() {
            Some(pending) => Err(Rejection::TopUpPending(pending.id)),
            None => Ok(Draft::new(Event::AutoTopUpRemoved { credit })),
        }
    }

    /// What is due next for top-ups, when, and of which credit type.
    #[must_use]
    pub fn next_top_up(&self) -> Option<(Timestamp, &CreditType, TopUpStep)> {
        if self.closed {
            return None;
        }
        let due = self.auto_top_ups.iter().filter_map(|(credit, state)| {
            let (at, step) = self.due_of(credit, state)?;
            Some((at, credit, step))
        });
        due.min_by_key(|(at, ..)| *at)
    }

    fn due_of(&self, credit: &CreditType, state: &AutoTopUpState) -> Option<(Timestamp, TopUpStep)> {
        if let Some(pending) = state.pending() {
            return Some((pending.requested.expires_at, TopUpStep::Expiry));
        }
        if !state.rule.enabled {
            return None;
        }
        let is_low = |at| self.available_to_all(credit, at) < state.rule.threshold;
        let now = self.at;
        if is_low(now)
            && let Some(reason) = self.halts(state, now)
            && !self.was_said(state, reason, now)
        {
            return Some((now, TopUpStep::Halt(reason)));
        }
        let at = self.may_request_at(state, now)?;
        is_low(at).then_some((at, TopUpStep::Request))
    }

    /// Why none is asked for at `at`, beside a cool-down.
    fn halts(&self, state: &AutoTopUpState, at: Timestamp) -> Option<HaltReason> {
        if state.is_suspended() {
            return Some(HaltReason::PaymentsFailed);
        }
        (self.asked_in_window(state, at) >= state.rule.most).then_some(HaltReason::LimitReached)
    }

    fn was_said(&self, state: &AutoTopUpState, reason: HaltReason, at: Timestamp) -> bool {
        let said = state.halted.filter(|halted| halted.reason == reason);
        said.is_some_and(|halted| match reason {
            HaltReason::PaymentsFailed => true,
            HaltReason::LimitReached => self.is_in_window(state.rule.window, halted.at, at),
        })
    }

    /// The first instant from `at` on at which a payment may be asked for; none when only another entry brings one.
    fn may_request_at(&self, state: &AutoTopUpState, at: Timestamp) -> Option<Timestamp> {
        if state.is_suspended() {
            return None;
        }
        let at = state.cools_until().map_or(at, |until| until.max(at));
        if self.asked_in_window(state, at) < state.rule.most {
            return Some(at);
        }
        match state.rule.window {
            // The entry that begins one comes first.
            Window::Period | Window::Cycle => None,
            _ => self.window_opens_at(state, at),
        }
    }

    /// How many of the window of `at` were paid for, or may be.
    fn asked_in_window(&self, state: &AutoTopUpState, at: Timestamp) -> u32 {
        let counted = counted(state).filter(|one| self.is_in_window(state.rule.window, one.requested_at, at));
        u32::try_from(counted.count()).unwrap_or(u32::MAX)
    }

    /// Whether `then` lies in the window that holds the later instant `at`; of periods and cycles in the one that runs, since
    /// older ones are forgotten.
    fn is_in_window(&self, window: Window, then: Timestamp, at: Timestamp) -> bool {
        match window {
            Window::Hours(hours) if hours != 1 => then.plus_micros(i64::from(hours) * HOUR) > at,
            Window::Period => match (&self.period, self.past.last()) {
                (Some(running), _) => then >= running.start,
                (None, Some(last)) => last.period.end.is_none_or(|end| then >= end),
                (None, None) => true,
            },
            Window::Cycle => then.0 >= self.cycle_window,
            Window::Hours(_) | Window::Day | Window::Week | Window::Month | Window::Lifetime => {
                let zone = self.zone();
                let id = |at| window.id(at, self.within(at), &zone);
                id(then) == id(at)
            }
        }
    }

    /// When the first of a full window no longer counts.
    fn window_opens_at(&self, state: &AutoTopUpState, at: Timestamp) -> Option<Timestamp> {
        let opens = match state.rule.window {
            Window::Period => self.next_reset_at(),
            Window::Cycle => self.next_cycle_at(),
            Window::Hours(1) => Some(Timestamp(hour(at).saturating_add(1).saturating_mul(HOUR))),
            Window::Hours(hours) => {
                let over = self.asked_in_window(state, at).saturating_sub(state.rule.most);
                let counts = |one: &&TopUpState| self.is_in_window(state.rule.window, one.requested_at, at);
                let first = counted(state).filter(counts).nth(over as usize)?;
                Some(first.requested_at.plus_micros(i64::from(hours) * HOUR))
            }
            window => {
                let zone = self.zone();
                window.next_start(window.id(at, self.within(at), &zone), &zone)
            }
        };
        opens.filter(|opens| *opens > at)
    }

    /// What keeps a rule from asking for a payment at `at`; how many it asked for in that window, without those that were not paid;
    /// and the instant from which on it may ask again, where time alone brings it.
    #[must_use]
    pub fn top_up_outlook(
        &self,
        state: &AutoTopUpState,
        at: Timestamp,
    ) -> (TopUpOutlook, u32, Option<Timestamp>) {
        let asked = self.asked_in_window(state, at);
        let outlook = if !state.rule.enabled || self.closed {
            return (TopUpOutlook::Disabled, asked, None);
        } else if state.pending().is_some() {
            return (TopUpOutlook::Pending, asked, None);
        } else if state.is_suspended() {
            TopUpOutlook::PaymentsFailed
        } else if state.cools_until().is_some_and(|until| until > at) {
            TopUpOutlook::CoolingDown
        } else if asked >= state.rule.most {
            TopUpOutlook::LimitReached
        } else {
            return (TopUpOutlook::Ready, asked, None);
        };
        let opens = || self.window_opens_at(state, at).filter(|_| outlook == TopUpOutlook::LimitReached);
        (outlook, asked, self.may_request_at(state, at).or_else(opens))
    }

    /// The entry for what is due for top-ups at `at`; none when nothing is.
    #[must_use]
    pub fn due_top_up(&self, at: Timestamp, terms: &GrantTerms) -> Option<Draft> {
        let (_, credit, step) = self.next_top_up()?;
        let state = self.auto_top_ups.get(credit)?;
        match step {
            TopUpStep::Request => self.request_top_up(at, credit, None, terms),
            TopUpStep::Expiry => {
                let top_up = state.pending()?.id;
                let event = Event::TopUpExpired { top_up, credit: credit.clone() };
                Some(Draft::moving(event, credit.clone(), Vec::new()))
            }
            TopUpStep::Halt(reason) => {
                let until = match reason {
                    HaltReason::LimitReached => self.window_opens_at(state, at),
                    HaltReason::PaymentsFailed => None,
                };
                let available = self.available_to_all(credit, at);
                let halted = TopUpsHalted { credit: credit.clone(), reason, available, until };
                Some(Draft::moving(Event::TopUpsHalted(Box::new(halted)), credit.clone(), Vec::new()))
            }
        }
    }

    /// The entry that asks for the payment of a top-up because of a refused usage: one that costs more than is available, though
    /// not less than the threshold is, and not more than there would be afterwards. Else none: what a top-up would not make
    /// possible must not buy one.
    #[must_use]
    pub fn top_up_for(&self, refused: &Refused, at: Timestamp, terms: &GrantTerms) -> Option<Draft> {
        let state = self.auto_top_ups.get(&refused.credit)?;
        let cost = refused.rated.as_ref()?.cost;
        let is_short = refused.over_budget.is_none() && refused.late.is_none() && cost > refused.available;
        let is_free = state.pending().is_none() && state.rule.enabled && !self.closed;
        if !is_short || !is_free || self.may_request_at(state, at) != Some(at) {
            return None;
        }
        let amount = state.rule.amount(self.available_to_all(&refused.credit, at), Credits::ZERO)?;
        if refused.available.saturating_add(amount) < cost {
            return None;
        }
        self.request_top_up(at, &refused.credit, Some(cost), terms)
    }

    fn request_top_up(
        &self,
        at: Timestamp,
        credit: &CreditType,
        required: Option<Credits>,
        terms: &GrantTerms,
    ) -> Option<Draft> {
        let state = self.auto_top_ups.get(credit)?;
        let rule = &state.rule;
        let available = self.available_to_all(credit, at);
        // What a purchase pays first does not stay.
        let owed = match terms.settle_from {
            SettleFrom::Purchases => self.outstanding(credit).max(Credits::ZERO),
            SettleFrom::Reset | SettleFrom::Never => Credits::ZERO,
        };
        let amount = rule.amount(available, owed)?;
        let requested = TopUpRequested {
            credit: credit.clone(),
            amount,
            available,
            price: rule.price(amount),
            number: self.asked_in_window(state, at).saturating_add(1),
            required,
            expires_at: at.plus_micros(i64::from(rule.answer_seconds) * Timestamp::SECOND),
        };
        Some(Draft::moving(Event::TopUpRequested(Box::new(requested)), credit.clone(), Vec::new()))
    }

    /// The entry that gives the credits of a top-up that was paid. One that has expired is paid all the same as long as it is the
    /// last that was asked for: the money was taken.
    ///
    /// # Errors
    /// A closed customer; a top-up that is not there, or was answered before; too many grants.
    pub fn pay_top_up(
        &self,
        at: Timestamp,
        id: TopUpId,
        paid: TopUpPayment,
        terms: &GrantTerms,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        let (state, one) = self.top_up(id).ok_or(Rejection::TopUpNotFound(id))?;
        let is_last = state.recent.last().is_some_and(|last| last.id == id);
        let expired_before = one.status == TopUpStatus::Expired;
        if one.status != TopUpStatus::Pending && !(expired_before && is_last) {
            return Err(Rejection::TopUpClosed(id, one.status.as_str()));
        }
        let rule = &state.rule;
        let expires = rule.expires.of(at, &self.zone());
        let request = GrantRequest {
            credit: one.requested.credit.clone(),
            amount: one.requested.amount,
            category: Category::TopUp,
            priority: rule.priority,
            effective_at: None,
            expires,
            features: Vec::new(),
            cost_basis: paid.cost_basis.or(one.requested.price),
            metadata: vec![("top_up".to_owned(), id.to_string())],
        };
        self.paid_top_up(at, (id, paid.payment, expired_before), request, terms)
    }

    /// The entry that gives the credits of a paid top-up as they are named.
    ///
    /// # Errors
    /// As of any grant.
    pub fn paid_top_up(
        &self,
        at: Timestamp,
        (top_up, payment, expired_before): (TopUpId, Option<String>, bool),
        request: GrantRequest,
        terms: &GrantTerms,
    ) -> Result<Draft, Rejection> {
        let (grant, transfers) = self.granting(at, request, terms)?;
        let credit = grant.credit.clone();
        let paid = TopUpPaid { top_up, payment, expired_before, grant };
        Ok(Draft::moving(Event::TopUpPaid(Box::new(paid)), credit, transfers))
    }

    /// The entry that records that the payment of a top-up was declined.
    ///
    /// # Errors
    /// A top-up that is not there, or is not pending.
    pub fn decline_top_up(&self, id: TopUpId, reason: Option<String>) -> Result<Draft, Rejection> {
        let (_, one) = self.top_up(id).ok_or(Rejection::TopUpNotFound(id))?;
        if one.status != TopUpStatus::Pending {
            return Err(Rejection::TopUpClosed(id, one.status.as_str()));
        }
        let credit = one.requested.credit.clone();
        let declined = TopUpDeclined { top_up: id, credit: credit.clone(), reason };
        Ok(Draft::moving(Event::TopUpDeclined(Box::new(declined)), credit, Vec::new()))
    }
}

/// Those that were paid, or may be.
fn counted(state: &AutoTopUpState) -> impl Iterator<Item = &TopUpState> {
    state.recent.iter().filter(|one| one.counts())
}

const HOUR: i64 = 3_600 * Timestamp::SECOND;

const fn hour(at: Timestamp) -> i64 {
    at.0.div_euclid(HOUR)
}
