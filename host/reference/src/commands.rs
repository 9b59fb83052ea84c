//! The commands of a history. A command names grants and reservations by a number that is resolved when it is carried out, so that a
//! history stays meaningful when commands are dropped from it.

use crate::{
    packs::{AddOnSpec, Pack},
    settings::*,
};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change<T> {
    Keep,
    Clear,
    Set(T),
}

/// When a change of plan takes effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    Now,
    PeriodEnd,
    /// From now.
    In(i64),
}

/// How time passes. None of these passes more than 40 periods at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Advance {
    By(i64),
    /// To the end of the running period, and so much further.
    PeriodEnd(i64),
    /// To the next instant at which anything is due, and so much further.
    Due(i64),
    /// To the next local midnight, and so much further.
    Midnight(i64),
}

#[derive(Debug, Clone, PartialEq)]
pub struct UsageSpec {
    pub feature: &'static str,
    pub units: Amount,
    pub entity: Option<&'static str>,
    pub model: Option<&'static str>,
    /// So long ago; none means now.
    pub ago: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GrantSpec {
    pub credit: &'static str,
    pub amount: Amount,
    pub category: &'static str,
    pub priority: i32,
    pub features: Vec<&'static str>,
    /// From now.
    pub effective_in: Option<i64>,
    /// From now.
    pub expires_in: Option<i64>,
    pub with_period: Option<u32>,
    pub paid: Option<Amount>,
}

/// Credits that a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseSpec {
    pub credit: &'static str,
    pub amount: Amount,
    pub features: Vec<&'static str>,
    pub entity: Option<&'static str>,
    /// In seconds.
    pub ttl: u32,
}

/// Whose usage a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Customer,
    Entity(&'static str),
    Model(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub struct BudgetSpec {
    pub who: Who,
    pub features: Vec<&'static str>,
    /// Units, or credits of a type.
    pub units: bool,
    pub credit: &'static str,
    pub window: Window,
    pub limit: Amount,
    pub hard: bool,
}

/// A rule for top-ups.
#[derive(Debug, Clone, PartialEq)]
pub struct TopUpSpec {
    pub threshold: Amount,
    /// Above the threshold; without it, an amount.
    pub target: Option<Amount>,
    pub amount: Amount,
    pub most: u32,
    pub window: Window,
    /// In seconds.
    pub cool: i64,
    /// In seconds.
    pub wait: i64,
    pub failures: u32,
    /// Whether a credit costs a cent.
    pub priced: bool,
    pub priority: i32,
    /// How long a grant lasts.
    pub hours: Option<i64>,
    pub with_period: Option<u32>,
    pub enabled: bool,
}

/// What of a charge is refunded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    Rest,
    /// Of its cost, so many percent.
    Cost(u32),
    /// Of what was used, so many percent.
    Units(u32),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Pass(Advance),
    Configure {
        plan: Change<&'static str>,
        zone: Change<&'static str>,
        /// From now.
        anchor: Change<i64>,
        allowance: Mode,
    },
    /// A change of plan; none takes the plan away.
    ChangePlan {
        plan: Option<&'static str>,
        when: When,
        allowance: Mode,
        dry_run: bool,
    },
    /// Another version of a plan is sold from now on.
    Sell {
        plan: &'static str,
        own: Box<OwnGrants>,
    },
    /// A move to one of the versions of the plan, if the customer is on it.
    Migrate {
        plan: &'static str,
        pick: u64,
        period_end: bool,
        allowance: Mode,
        dry_run: bool,
    },
    /// Calls the pending change off.
    CancelPlanChange,
    Bind {
        settings: Box<Settings>,
        starts_in: Option<i64>,
        lasts: Option<i64>,
    },
    BindToPlan {
        plan: &'static str,
        settings: Box<Settings>,
        starts_in: Option<i64>,
        lasts: Option<i64>,
    },
    EndTerms {
        pick: u64,
        ends_in: Option<i64>,
    },
    Grant(GrantSpec),
    /// So many of a pack of credits are bought.
    Buy {
        pack: &'static Pack,
        quantity: u32,
    },
    /// So many of an add-on from now or later on, for ever or for a time.
    Attach {
        add_on: &'static AddOnSpec,
        quantity: u32,
        starts_in: Option<i64>,
        lasts: Option<i64>,
    },
    Detach {
        add_on: &'static AddOnSpec,
        void: bool,
    },
    /// A promotion is redeemed: once.
    Redeem {
        promotion: &'static Pack,
    },
    /// A grant that another system gave, of which so many percent were used and so many voided there.
    ImportGrant {
        spec: GrantSpec,
        used: u32,
        voided: u32,
        allowance: Option<bool>,
    },
    ImportOverage {
        credit: &'static str,
        amount: Amount,
    },
    /// Usage that another system billed: the money of this one must not move.
    ImportUsage(UsageSpec),
    Void {
        pick: u64,
    },
    Adjust {
        credit: &'static str,
        amount: Amount,
    },
    Reset {
        anchor_now: bool,
    },
    Close,
    Charge(UsageSpec),
    Check(UsageSpec),
    Reserve(UsageSpec, u32),
    /// Of what was reserved, so many percent.
    Commit {
        pick: u64,
        percent: u32,
    },
    Release {
        pick: u64,
    },
    Extend {
        pick: u64,
        ttl: u32,
    },
    Lease(LeaseSpec),
    ExtendLease {
        pick: u64,
        /// The total.
        amount: Option<Amount>,
        ttl: Option<u32>,
    },
    CloseLease {
        pick: u64,
    },
    Settle {
        pick: u64,
        usage: UsageSpec,
    },
    Refund {
        pick: u64,
        part: Part,
        reissue: bool,
    },
    SetEntity {
        entity: &'static str,
        parent: Option<&'static str>,
    },
    SetBudget {
        id: &'static str,
        spec: BudgetSpec,
    },
    RemoveBudget {
        id: &'static str,
    },
    SetTopUp {
        credit: &'static str,
        spec: Box<TopUpSpec>,
    },
    RemoveTopUp {
        credit: &'static str,
    },
    AnswerTopUp {
        pick: u64,
        paid: bool,
    },
    Read,
}
