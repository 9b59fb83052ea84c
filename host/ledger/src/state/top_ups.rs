//! Automatic top-ups of a customer: the rule of each credit type, and what became of the last top-ups. One at a time awaits its
//! payment.

use super::CustomerState;
use crate::{
    journal::{Entry, Event, HaltReason, PendingTopUp, TopUpRequested},
    model::{
        amounts::{Credits, Money},
        grant::CreditType,
        ids::{GrantId, TopUpId},
        time::Timestamp,
        top_up::AutoTopUp,
    },
};
use serde::{Deserialize, Serialize};

/// What became of a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopUpStatus {
    /// It awaits its payment.
    Pending,
    /// It was paid, and its credits were given.
    Paid,
    /// Its payment was declined.
    Declined,
    /// Nobody answered in time. A payment that comes all the same is taken, as long as no other top-up was asked for since.
    Expired,
    /// The customer was closed before.
    Cancelled,
}

impl TopUpStatus {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A top-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUpState {
    /// The entry that asked for its payment made its id.
    pub id: TopUpId,
    /// When.
    pub requested_at: Timestamp,
    /// What that entry said.
    #[serde(flatten)]
    pub requested: TopUpRequested,
    /// What became of it.
    pub status: TopUpStatus,
    /// When it was answered, or no answer was awaited any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The credits that it brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// What was paid for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Money>,
    /// The id of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// Why its payment was declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl TopUpState {
    /// Whether it was paid, or may be: then it counts toward the rule's limit.
    #[must_use]
    pub const fn counts(&self) -> bool {
        matches!(self.status, TopUpStatus::Pending | TopUpStatus::Paid)
    }
}

/// The alarm that was raised last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// Why.
    pub reason: HaltReason,
    /// When.
    pub at: Timestamp,
}

/// The top-ups of one credit type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoTopUpState {
    /// The rule.
    pub rule: AutoTopUp,
    /// The last top-ups, oldest first: of those that count toward the rule's limit as many as a window may have, and as many others. Only
    /// the last may be pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<TopUpState>,
    /// How many of the last were not paid, in a row, since the rule was put.
    #[serde(default)]
    pub failures: u32,
    /// The alarm that was raised last, since the rule was put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halted>,
}

impl AutoTopUpState {
    /// The top-up that awaits its payment.
    #[must_use]
    pub fn pending(&self) -> Option<&TopUpState> {
        self.recent.last().filter(|last| last.status == TopUpStatus::Pending)
    }

    /// Whether too many in a row were not paid.
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        self.failures >= self.rule.most_failures
    }

    /// Forgets the oldest where there are as many as are kept, so that another one can be asked for. Those that were not paid push out
    /// none that counts toward the rule's limit: else failures would raise it.
    fn make_place(&mut self) {
        for counts in [true, false] {
            let most = AutoTopUp::MOST as usize - usize::from(counts);
            let of_kind = self.recent.iter().filter(|one| one.counts() == counts).count();
            let mut excess = of_kind.saturating_sub(most);
            self.recent.retain(|one| {
                let forgotten = excess > 0 && one.counts() == counts;
                excess -= usize::from(forgotten);
                !forgotten
            });
        }
    }

    /// Until when none is asked for, since the last was not paid.
    #[must_use]
    pub fn cools_until(&self) -> Option<Timestamp> {
        let failed = self.recent.last().filter(|_| self.failures > 0)?.ended_at?;
        Some(failed.plus_micros(i64::from(self.rule.cool_down_seconds) * Timestamp::SECOND))
    }
}

impl CustomerState {
    /// The top-up of a credit type that awaits its payment.
    #[must_use]
    pub fn pending_top_up(&self, credit: &CreditType) -> Option<PendingTopUp> {
        let TopUpState { id, requested, .. } = self.auto_top_ups.get(credit)?.pending()?;
        Some(PendingTopUp { id: *id, amount: requested.amount, expires_at: requested.expires_at })
    }

    /// Whether any top-up awaits its payment.
    #[must_use]
    pub fn awaits_payment(&self) -> bool {
        self.auto_top_ups.values().any(|of| of.pending().is_some())
    }

    /// A top-up that is remembered, with its credit type's others.
    #[must_use]
    pub fn top_up(&self, id: TopUpId) -> Option<(&AutoTopUpState, &TopUpState)> {
        self.auto_top_ups.values().find_map(|of| Some((of, of.recent.iter().find(|one| one.id == id)?)))
    }

    /// What may be drawn by any feature: what a threshold is compared with.
    pub(crate) fn available_to_all(&self, credit: &CreditType, at: Timestamp) -> Credits {
        self.available(credit, None, at)
    }

    /// Takes in what an entry says of top-ups. Their credits are taken in as any grant's are.
    pub(crate) fn note_top_up(&mut self, entry: &Entry) {
        match &entry.event {
            Event::AutoTopUpChanged(changed) => {
                let fresh = || AutoTopUpState {
                    rule: changed.rule.clone(),
                    recent: Vec::new(),
                    failures: 0,
                    halted: None,
                };
                let state = self.auto_top_ups.entry(changed.credit.clone()).or_insert_with(fresh);
                state.rule.clone_from(&changed.rule);
                (state.failures, state.halted) = (0, None);
            }
            Event::AutoTopUpRemoved { credit } => drop(self.auto_top_ups.remove(credit)),
            Event::TopUpRequested(requested) => {
                let Some(state) = self.auto_top_ups.get_mut(&requested.credit) else { return };
                state.make_place();
                state.recent.push(TopUpState {
                    id: TopUpId { entry: entry.seq, index: 0 },
                    requested_at: entry.at,
                    requested: (**requested).clone(),
                    status: TopUpStatus::Pending,
                    ended_at: None,
                    grant: None,
                    paid: None,
                    payment: None,
                    reason: None,
                });
            }
            Event::TopUpPaid(paid) => self.end_top_up(&paid.grant.credit, paid.top_up, |failures, one| {
                (one.status, one.ended_at) = (TopUpStatus::Paid, Some(entry.at));
                (one.grant, one.paid) = (Some(paid.grant.id), paid.grant.cost_basis);
                one.payment.clone_from(&paid.payment);
                *failures = 0;
            }),
            Event::TopUpDeclined(declined) => {
                self.end_top_up(&declined.credit, declined.top_up, |failures, one| {
                    (one.status, one.ended_at) = (TopUpStatus::Declined, Some(entry.at));
                    one.reason.clone_from(&declined.reason);
                    *failures = failures.saturating_add(1);
                });
            }
            Event::TopUpExpired { top_up, credit } => self.end_top_up(credit, *top_up, |failures, one| {
                (one.status, one.ended_at) = (TopUpStatus::Expired, Some(entry.at));
                *failures = failures.saturating_add(1);
            }),
            Event::TopUpsHalted(halted) => {
                if let Some(state) = self.auto_top_ups.get_mut(&halted.credit) {
                    state.halted = Some(Halted { reason: halted.reason, at: entry.at });
                }
            }
            Event::Closed {} => {
                for last in self.auto_top_ups.values_mut().filter_map(|state| state.recent.last_mut()) {
                    if last.status == TopUpStatus::Pending {
                        (last.status, last.ended_at) = (TopUpStatus::Cancelled, Some(entry.at));
                    }
                }
            }
            _ => {}
        }
    }

    fn end_top_up(&mut self, credit: &CreditType, id: TopUpId, end: impl FnOnce(&mut u32, &mut TopUpState)) {
        if let Some(AutoTopUpState { recent, failures, .. }) = self.auto_top_ups.get_mut(credit)
            && let Some(one) = recent.iter_mut().find(|one| one.id == id)
        {
            end(failures, one);
        }
    }
}
