//! What a policy is shown, as plain data. Mirrors the arguments of `wit/v1/policy.wit`, whose meaning holds here too.

use super::{
    counter::Counted,
    grant::{Category, CreditType},
    ids::{CustomerId, GrantId, Key, Name},
    time::{Moment, Timestamp},
    usage::{Purpose, Usage},
};
use proviso_amounts::{Credits, Money};

/// A usage with what the host knows of its time and its user.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageView<'a> {
    /// What was used.
    pub usage: &'a Usage,
    /// Who used it: the entity itself, then its parent and so on up to the root.
    pub entities: Vec<EntityView>,
    /// When.
    pub occurred_at: Moment,
    /// What it is for.
    pub purpose: Purpose,
    /// The period that it occurred in.
    pub period: PeriodView,
    /// Whether that period had ended when it was reported.
    pub late: bool,
}

/// A user, team or agent as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityView {
    /// Its key.
    pub id: Key,
    /// Its attributes, sorted by name, where the policy needs them.
    pub attributes: Vec<(String, String)>,
}

/// One credit type's balance, as far as a decision is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceView {
    /// The credit type.
    pub credit: CreditType,
    /// The amounts of all live grants.
    pub granted: Credits,
    /// What was spent of them.
    pub used: Credits,
    /// What open reservations hold.
    pub reserved: Credits,
    /// What may be drawn without overage.
    pub available: Credits,
    /// What only other features may draw.
    pub restricted: Credits,
    /// Spent beyond all grants and not yet settled.
    pub overage: Credits,
    /// The part of `reserved` that is held beyond all grants.
    pub held_overage: Credits,
}

/// When what is left of a grant expires: at whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiry {
    /// At this instant.
    pub at: Option<Timestamp>,
    /// With the end of a period, counted from the one in which the grant becomes usable (of a grant that stands: the current
    /// one), which is 0.
    pub with_period: Option<u32>,
}

/// A grant as a policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantView {
    /// Its id.
    pub id: GrantId,
    /// Its credit type.
    pub credit: CreditType,
    /// Its category.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// What was granted.
    pub amount: Credits,
    /// Neither spent nor held.
    pub remaining: Credits,
    /// Held by open reservations.
    pub held: Credits,
    /// When it became usable.
    pub effective_at: Timestamp,
    /// When its rest expires.
    pub expires: Expiry,
    /// The features that may draw on it; empty means all.
    pub features: Vec<Key>,
    /// What the customer paid for it.
    pub cost_basis: Option<Money>,
}

/// One period as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodView {
    /// 1 for the first.
    pub number: u32,
    /// Its start.
    pub start: Moment,
    /// Its end, exclusive; none when it does not end by itself.
    pub end: Option<Moment>,
}

/// A contract that terms belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractView {
    /// Its id.
    pub id: String,
    /// Its start, which amendments don't move.
    pub start: Moment,
    /// Its end, exclusive.
    pub end: Option<Moment>,
}

/// All that a policy knows beside the usage. Lists that the manifest does not need may be empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The customer.
    pub customer: CustomerId,
    /// The plan: at the time of the usage, or of the period concerned.
    pub plan: Option<Name>,
    /// The customer's attributes, sorted by name.
    pub attributes: Vec<(String, String)>,
    /// When the host decides.
    pub now: Moment,
    /// The period that holds `now`; the one that closes or opens.
    pub period: PeriodView,
    /// When the terms that run took effect.
    pub terms_effective_at: Moment,
    /// The contract that the terms belong to.
    pub contract: Option<ContractView>,
    /// The IANA name of the zone in which all moments are read.
    pub time_zone: String,
    /// Balances by credit type.
    pub balances: Vec<BalanceView>,
    /// Live grants in burn-down order.
    pub grants: Vec<GrantView>,
    /// Counter values, in the order of the terms' counters.
    pub counters: Vec<Counted>,
}

/// The nominal time in which plan allowances are given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CycleView {
    /// Its start.
    pub start: Moment,
    /// Its end; none when it never ends.
    pub end: Option<Moment>,
}

/// A period that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// Which, with the end that it was to have. It ends at the context's `now`.
    pub period: PeriodView,
    /// The cycle that it belongs to.
    pub cycle: CycleView,
    /// Why: `scheduled`, `early`, `plan_changed`, `plan_ended` or `closed`.
    pub reason: &'static str,
}

/// A period that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Which.
    pub period: PeriodView,
    /// Why: `started`, `scheduled`, `early` or `plan_changed`.
    pub reason: &'static str,
    /// The cycle that it belongs to.
    pub cycle: CycleView,
    /// What was asked for with a change of plan: `carry`, `prorate` or `full`.
    pub allowance: &'static str,
    /// What plan allowances gave in this cycle.
    pub given: Vec<(CreditType, Credits)>,
}
