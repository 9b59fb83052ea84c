//! What an entry says has happened. These types are what is stored: a change of them is a change of the journal's format.

use super::{
    budget::{BudgetChanged, EntityChanged},
    imported::{GrantImported, OverageImported, UsageImported},
    lease::{LeaseEnded, LeaseExtended, LeaseOpened, Settled},
    period::{OverageSettled, PeriodClosed, PeriodOpened},
    record::{DecisionRecord, Draw, Line, Shape},
    refused::{RefusalsRepeated, Refused},
    selling::{AddOnChanged, AddOnEnded, AddOnGiven, BundlePurchased, PromotionRedeemed},
    top_up::{AutoTopUpChanged, TopUpDeclined, TopUpPaid, TopUpRequested, TopUpsHalted},
};
use crate::model::{
    amounts::{Credits, Decimal},
    answers::Allowance,
    counter::{CounterKey, WindowId},
    customer::Profile,
    entitlement::Override,
    grant::{CreditType, Grant},
    ids::{ChargeId, GrantId, Key, LeaseId, Name, PlanChangeId, ReservationId, TermsId, TopUpId},
    period::Interval,
    terms::Terms,
    time::Timestamp,
    usage::Usage,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The customer was created or changed.
    Configured(Configured),
    /// The customer was closed.
    Closed {},
    /// A change of plan was put off until later. It takes the place of one that was pending.
    PlanChangeScheduled(PlanChangeScheduled),
    /// A pending change of plan was called off.
    PlanChangeCancelled {
        /// Which.
        change: PlanChangeId,
    },
    /// Terms were bound to the customer.
    TermsBound(Arc<Terms>),
    /// The customer's terms were given an end.
    TermsEnded {
        /// Which.
        id: TermsId,
        /// Their end, exclusive.
        ends_at: Timestamp,
    },
    /// An entitlement of the customer was set apart from the plan.
    OverrideSet(Override),
    /// A feature's overrides were taken back.
    OverrideRemoved {
        /// The feature.
        feature: Key,
    },
    /// An entity was made known, moved or changed.
    EntityChanged(EntityChanged),
    /// An entity is no longer known: it stands by itself.
    EntityRemoved {
        /// Which.
        entity: Key,
    },
    /// A budget was put in force or changed.
    BudgetChanged(Box<BudgetChanged>),
    /// A budget was taken back.
    BudgetRemoved {
        /// Which.
        budget: Key,
    },
    /// Credits were granted.
    Granted(Grant),
    /// A grant was moved in from another system.
    GrantImported(Box<GrantImported>),
    /// Outstanding overage was moved in from another system.
    OverageImported(OverageImported),
    /// Usage was moved in that another system billed.
    UsageImported(Box<UsageImported>),
    /// What a grant had left was voided.
    Voided {
        /// Which.
        grant: GrantId,
    },
    /// A balance was corrected.
    Adjusted(Adjusted),
    /// A usage was charged.
    Charged(Box<Charged>),
    /// A charge, reservation or commit was refused.
    Refused(Box<Refused>),
    /// The same was refused again, under other idempotency keys.
    RefusalsRepeated(RefusalsRepeated),
    /// Credits were set aside for a usage to come.
    Reserved(Box<Reserved>),
    /// A reservation's time was moved.
    ReservationExtended {
        /// Which.
        reservation: ReservationId,
        /// When the hold ends by itself.
        expires_at: Timestamp,
    },
    /// A reservation's actual usage was charged.
    Committed(Box<Committed>),
    /// A charge was refunded, as a whole or in part.
    Refunded(Box<Refunded>),
    /// A reservation was given back.
    Released {
        /// Which.
        reservation: ReservationId,
    },
    /// A reservation's time ran out.
    ReservationExpired {
        /// Which.
        reservation: ReservationId,
    },
    /// Credits were handed to a client, which decides about its usage by itself.
    LeaseOpened(Box<LeaseOpened>),
    /// A lease got more credits, or more time.
    LeaseExtended(Box<LeaseExtended>),
    /// A lease was closed or its time ran out: what was not spent of it came back.
    LeaseEnded(LeaseEnded),
    /// Grants' time ran out.
    GrantsExpired {
        /// Which.
        grants: Vec<GrantId>,
    },
    /// A period ended.
    PeriodClosed(Box<PeriodClosed>),
    /// A period began.
    PeriodOpened(Box<PeriodOpened>),
    /// Overage was taken off that came after the customer was closed.
    OverageSettled(Box<OverageSettled>),
    /// The rule for the top-ups of a credit type was put in force or changed.
    AutoTopUpChanged(Box<AutoTopUpChanged>),
    /// A rule for top-ups was taken back.
    AutoTopUpRemoved {
        /// Of which credit type.
        credit: CreditType,
    },
    /// A payment for a top-up is asked for.
    TopUpRequested(Box<TopUpRequested>),
    /// A top-up was paid, and its credits were given.
    TopUpPaid(Box<TopUpPaid>),
    /// The payment of a top-up was declined.
    TopUpDeclined(Box<TopUpDeclined>),
    /// The payment of a top-up is awaited no more.
    TopUpExpired {
        /// Which.
        top_up: TopUpId,
        /// Of which credit type.
        credit: CreditType,
    },
    /// A top-up is due and none is asked for.
    TopUpsHalted(Box<TopUpsHalted>),
    /// A pack of credits was bought.
    BundlePurchased(Box<BundlePurchased>),
    /// A promotion was redeemed.
    PromotionRedeemed(Box<PromotionRedeemed>),
    /// An add-on was attached or changed.
    AddOnChanged(Box<AddOnChanged>),
    /// A cycle of an add-on began.
    AddOnGiven(Box<AddOnGiven>),
    /// An add-on was taken away.
    AddOnEnded(AddOnEnded),
}

impl Event {
    /// The names of all kinds.
    pub const KINDS: [&str; 46] = [
        "configured",
        "closed",
        "plan_change_scheduled",
        "plan_change_cancelled",
        "terms_bound",
        "terms_ended",
        "override_set",
        "override_removed",
        "entity_changed",
        "entity_removed",
        "budget_changed",
        "budget_removed",
        "granted",
        "grant_imported",
        "overage_imported",
        "usage_imported",
        "voided",
        "adjusted",
        "charged",
        "refused",
        "refusals_repeated",
        "reserved",
        "reservation_extended",
        "committed",
        "refunded",
        "released",
        "reservation_expired",
        "lease_opened",
        "lease_extended",
        "lease_ended",
        "grants_expired",
        "period_closed",
        "period_opened",
        "overage_settled",
        "auto_top_up_changed",
        "auto_top_up_removed",
        "top_up_requested",
        "top_up_paid",
        "top_up_declined",
        "top_up_expired",
        "top_ups_halted",
        "bundle_purchased",
        "promotion_redeemed",
        "add_on_changed",
        "add_on_given",
        "add_on_ended",
    ];

    /// The decision that it records.
    #[must_use]
    pub fn decision(&self) -> Option<&DecisionRecord> {
        match self {
            Self::Charged(charged) => Some(&charged.decision),
            Self::Refused(refused) => refused.decision.as_ref(),
            Self::Reserved(reserved) => Some(&reserved.decision),
            Self::Committed(committed) => Some(&committed.decision),
            Self::PeriodClosed(closed) => closed.decision.as_ref(),
            Self::PeriodOpened(opened) => opened.decision.as_ref(),
            Self::OverageSettled(settled) => settled.decision.as_ref(),
            _ => None,
        }
    }

    /// The name of its kind in the journal.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Configured(_) => "configured",
            Self::Closed {} => "closed",
            Self::PlanChangeScheduled(_) => "plan_change_scheduled",
            Self::PlanChangeCancelled { .. } => "plan_change_cancelled",
            Self::TermsBound(_) => "terms_bound",
            Self::TermsEnded { .. } => "terms_ended",
            Self::OverrideSet(_) => "override_set",
            Self::OverrideRemoved { .. } => "override_removed",
            Self::EntityChanged(_) => "entity_changed",
            Self::EntityRemoved { .. } => "entity_removed",
            Self::BudgetChanged(_) => "budget_changed",
            Self::BudgetRemoved { .. } => "budget_removed",
            Self::Granted(_) => "granted",
            Self::GrantImported(_) => "grant_imported",
            Self::OverageImported(_) => "overage_imported",
            Self::UsageImported(_) => "usage_imported",
            Self::Voided { .. } => "voided",
            Self::Adjusted(_) => "adjusted",
            Self::Charged(_) => "charged",
            Self::Refused(_) => "refused",
            Self::RefusalsRepeated(_) => "refusals_repeated",
            Self::Reserved(_) => "reserved",
            Self::ReservationExtended { .. } => "reservation_extended",
            Self::Committed(_) => "committed",
            Self::Refunded(_) => "refunded",
            Self::Released { .. } => "released",
            Self::ReservationExpired { .. } => "reservation_expired",
            Self::LeaseOpened(_) => "lease_opened",
            Self::LeaseExtended(_) => "lease_extended",
            Self::LeaseEnded(_) => "lease_ended",
            Self::GrantsExpired { .. } => "grants_expired",
            Self::PeriodClosed(_) => "period_closed",
            Self::PeriodOpened(_) => "period_opened",
            Self::OverageSettled(_) => "overage_settled",
            Self::AutoTopUpChanged(_) => "auto_top_up_changed",
            Self::AutoTopUpRemoved { .. } => "auto_top_up_removed",
            Self::TopUpRequested(_) => "top_up_requested",
            Self::TopUpPaid(_) => "top_up_paid",
            Self::TopUpDeclined(_) => "top_up_declined",
            Self::TopUpExpired { .. } => "top_up_expired",
            Self::TopUpsHalted(_) => "top_ups_halted",
            Self::BundlePurchased(_) => "bundle_purchased",
            Self::PromotionRedeemed(_) => "promotion_redeemed",
            Self::AddOnChanged(_) => "add_on_changed",
            Self::AddOnGiven(_) => "add_on_given",
            Self::AddOnEnded(_) => "add_on_ended",
        }
    }

    /// The usage that it is about.
    #[must_use]
    pub fn usage(&self) -> Option<&Usage> {
        match self {
            Self::Charged(charged) => Some(&charged.usage),
            Self::Refused(refused) => Some(&refused.usage),
            Self::Reserved(reserved) => Some(&reserved.usage),
            Self::Committed(committed) => Some(&committed.usage),
            Self::Refunded(refunded) => Some(&refunded.usage),
            Self::UsageImported(imported) => Some(&imported.usage),
            _ => None,
        }
    }

    /// The format that brought this kind of event: the oldest in which it can be written. Hosts that read only older ones
    /// don't know it. A field that an event gains later brings a format, too, where it is set.
    #[must_use]
    pub const fn format(&self) -> u32 {
        match self {
            Self::Configured(_)
            | Self::Closed {}
            | Self::PlanChangeScheduled(_)
            | Self::PlanChangeCancelled { .. }
            | Self::TermsBound(_)
            | Self::TermsEnded { .. }
            | Self::OverrideSet(_)
            | Self::OverrideRemoved { .. }
            | Self::EntityChanged(_)
            | Self::EntityRemoved { .. }
            | Self::BudgetChanged(_)
            | Self::BudgetRemoved { .. }
            | Self::Granted(_)
            | Self::GrantImported(_)
            | Self::OverageImported(_)
            | Self::UsageImported(_)
            | Self::Voided { .. }
            | Self::Adjusted(_)
            | Self::Charged(_)
            | Self::Refused(_)
            | Self::RefusalsRepeated(_)
            | Self::Reserved(_)
            | Self::ReservationExtended { .. }
            | Self::Committed(_)
            | Self::Refunded(_)
            | Self::Released { .. }
            | Self::ReservationExpired { .. }
            | Self::LeaseOpened(_)
            | Self::LeaseExtended(_)
            | Self::LeaseEnded(_)
            | Self::GrantsExpired { .. }
            | Self::PeriodClosed(_)
            | Self::PeriodOpened(_)
            | Self::OverageSettled(_)
            | Self::AutoTopUpChanged(_)
            | Self::AutoTopUpRemoved { .. }
            | Self::TopUpRequested(_)
            | Self::TopUpPaid(_)
            | Self::TopUpDeclined(_)
            | Self::TopUpExpired { .. }
            | Self::TopUpsHalted(_)
            | Self::BundlePurchased(_)
            | Self::PromotionRedeemed(_)
            | Self::AddOnChanged(_)
            | Self::AddOnGiven(_)
            | Self::AddOnEnded(_) => 1,
        }
    }

    /// The feature whose usage it is about.
    #[must_use]
    pub fn feature(&self) -> Option<&Key> {
        self.usage().map(|usage| &usage.feature)
    }
}

/// The customer as configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    /// The new profile.
    pub profile: Profile,
    /// When the running period ends under it; none when no period runs or it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_end: Option<Timestamp>,
    /// The pending change of plan that this carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_change: Option<PlanChangeId>,
}

/// When a pending change of plan takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanChangeTime {
    /// At the end of the period that runs then, wherever anchor and zone move that.
    PeriodEnd,
    /// At this instant.
    At(Timestamp),
}

/// A change of plan was put off until later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanChangeScheduled {
    /// The new plan; none takes the plan away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
    /// The new plan's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
    /// The new plan's interval, which never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// When it takes effect.
    pub when: PlanChangeTime,
    /// The instant of that, as anchor and zone were.
    pub effective_at: Timestamp,
    /// How the new plan's allowance is reduced by what was given in the cycle.
    #[serde(default)]
    pub allowance: Allowance,
}

/// A correction: credits given (as a grant) or taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// The credit type.
    pub credit: CreditType,
    /// Above zero: given. Below: taken.
    pub amount: Credits,
    /// Why.
    pub reason: String,
    /// The grant that carries what was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// What an entry adds to a counter; a reservation's is held until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted.
    #[serde(flatten)]
    pub counter: CounterKey,
    /// Whose total: an entity, an attribute's value, or empty for the customer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The window that it is counted in.
    #[serde(rename = "in")]
    pub window_id: WindowId,
    /// How much.
    pub add: Decimal,
}

/// What a usage was rated at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    /// The credit type.
    pub credit: CreditType,
    /// The cost.
    pub cost: Credits,
    /// The explanation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
}

/// A usage was charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Charged {
    /// What was used.
    pub usage: Usage,
    /// The number of the period that it occurred in, when that had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u32>,
    /// What it cost.
    pub rated: Rated,
    /// Who decided.
    pub decision: DecisionRecord,
    /// The lease that it was settled under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Box<Settled>>,
    /// A grant issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant>,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// A charge.
    Charge,
    /// A reservation.
    Reserve,
    /// A commit of this reservation, which stays open.
    Commit(ReservationId),
    /// The settlement of a usage under this lease, which is as it was.
    Settle(LeaseId),
}

/// Credits were set aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// What is expected to be used.
    pub usage: Usage,
    /// The number of the period that it occurred in, when that had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u32>,
    /// The quantities that were asked for, when the policy allowed less than those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduced_from: Option<Shape>,
    /// What that would cost: what is held.
    pub rated: Rated,
    /// Who decided; the commit is rated by the same terms.
    pub decision: DecisionRecord,
    /// When the hold ends by itself.
    pub expires_at: Timestamp,
    /// A grant issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant>,
}

/// A reservation's actual usage was charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// Which reservation.
    pub reservation: ReservationId,
    /// What was used.
    pub usage: Usage,
    /// The number of the period that it occurred in, when that had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u32>,
    /// What it cost.
    pub rated: Rated,
    /// Who decided.
    pub decision: DecisionRecord,
    /// Which of the held credits were spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<Draw>,
    /// What was spent of the overage that was held.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub taken_overage: Credits,
    /// What of the hold went back.
    pub returned: Credits,
    /// What became overage although the terms would not have allowed it to new usage.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub exceeded: Credits,
    /// Why the policy gave the usage no price, where it cost what was held for that reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_reserved: Option<Unrated>,
    /// A grant issued on the spot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<Grant>,
}

/// Why a policy gave the usage of a commit no price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unrated {
    /// The code of the policy's refusal.
    pub code: String,
    /// For people.
    pub detail: String,
    /// Whether such a usage has no price at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invalid: bool,
    /// What was reported, where that is invalid: what was reserved is billed and counted in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Box<Usage>>,
}

/// A charge, or the commit of a reservation, was refunded, as a whole or in part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refunded {
    /// Which charge.
    pub charge: ChargeId,
    /// 1 for the first refund of the charge, then 2, 3, with no gaps.
    pub number: u32,
    /// Why.
    pub reason: String,
    /// Whether credits that had expired were to be given anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reissue_expired: bool,
    /// What the charge was for, with the quantities that are given back.
    pub usage: Usage,
    /// The credit type.
    pub credit: CreditType,
    /// How much of the cost.
    pub amount: Credits,
    /// How much of the cost was refunded in all, with this.
    pub total: Credits,
    /// Which quantities were given back in all, with this.
    #[serde(default, skip_serializing_if = "Shape::is_empty")]
    pub total_quantities: Shape,
    /// What of it was overage that had been waived, so that nobody had paid for it: it comes back to nobody.
    #[serde(default, skip_serializing_if = "super::record::no_credits")]
    pub waived: Credits,
    /// What had expired of grants before late usage drew it, and expires again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired_again: Vec<Draw>,
    /// Grants that carry what could go back to no grant, and grants that the state had forgotten and that live on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}
