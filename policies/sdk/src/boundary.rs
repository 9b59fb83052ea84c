//! What the end of a period and the beginning of the next one do.

use crate::{
    calendar::{Cycle, Expiry, Instant, Period},
    context::Category,
    rating::CREDITS,
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use proviso_amounts::{Credits, Decimal, Money};
use serde::Deserialize;

/// Why a period ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CloseReason {
    /// It ran to its end.
    #[default]
    Scheduled,
    /// Someone asked for it.
    Early,
    /// The customer moves to another plan.
    PlanChanged,
    /// The customer has no plan from now on.
    PlanEnded,
    /// The customer was closed: nothing comes after.
    Closed,
}

/// A period that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The period, with the end that it was to have. It ends at the context's `now`.
    pub period: Period,
    /// The cycle that it belongs to: what is promised for a whole cycle is due for a period in proportion.
    pub cycle: Cycle,
    /// Why it ends.
    pub reason: CloseReason,
}

/// Why a period begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpenReason {
    /// The customer's first on any plan.
    #[default]
    Started,
    /// The one before ran to its end.
    Scheduled,
    /// Someone asked for it.
    Early,
    /// The customer moved to another plan.
    PlanChanged,
}

/// How much of an allowance is issued when allowances were given in the same cycle already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowance {
    /// What exceeds what plan allowances of the credit type gave in this cycle.
    #[default]
    Carry,
    /// The rest of the cycle in proportion, less what was used beyond the proportion so far.
    Prorate,
    /// All of it.
    Full,
}

/// What plan allowances of one credit type gave in the current cycle: used, held, or carried over into other grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The credit type.
    pub credit: String,
    /// How much.
    pub amount: Credits,
}

/// A period that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The period.
    pub period: Period,
    /// Why it begins.
    pub reason: OpenReason,
    /// The cycle that it belongs to.
    pub cycle: Cycle,
    /// What was asked for with a change of plan.
    pub allowance: Allowance,
    /// What allowances of this cycle gave already.
    pub given: Vec<Given>,
}

/// Carries credits of a grant over into a new grant of category rollover, with its share of the cost basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollover {
    /// The grant's id.
    pub grant: String,
    /// Of what remains now.
    pub amount: Credits,
    /// Of what comes back to it after this period, from open reservations or by refunds of what was used: this share (0 to 1) of
    /// each amount, rounded down. The rest of it expires.
    pub held_share: Decimal,
    /// The most that is carried over of what comes back: at most what is held and used of it.
    pub held_limit: Credits,
    /// A lower number is drawn first.
    pub priority: i32,
    /// When what is left of the new grant expires.
    pub expires: Expiry,
}

impl Rollover {
    /// Carries `amount` over and nothing of what comes back.
    #[must_use]
    pub fn new(grant: &str, amount: Credits) -> Self {
        let (held_share, held_limit) = (Decimal::ZERO, Credits::ZERO);
        Self { grant: grant.to_owned(), amount, held_share, held_limit, priority: 0, expires: Expiry::NEVER }
    }

    /// Carries over what reservations and refunds give back later: `share` of each amount, at most `limit` in all.
    #[must_use]
    pub fn held(mut self, share: Decimal, limit: Credits) -> Self {
        (self.held_share, self.held_limit) = (share, limit);
        self
    }

    /// A lower number is drawn first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// When what is left of the new grant expires.
    #[must_use]
    pub fn expires(mut self, expires: Expiry) -> Self {
        self.expires = expires;
        self
    }
}

/// How a fee is paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FeeMethod {
    /// Like a charge, from grants that stand and were not just rolled over; beyond them as overage.
    #[default]
    Drawn,
    /// Billed outside.
    Invoiced,
}

/// A cost that a period's end brings, such as a true-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fee {
    /// The credit type.
    pub credit: String,
    /// For people.
    pub label: String,
    /// How much.
    pub amount: Credits,
    /// How it is paid.
    pub method: FeeMethod,
}

impl Fee {
    /// A fee in the usual credits that is drawn like a charge.
    #[must_use]
    pub fn drawn(label: &str, amount: Credits) -> Self {
        Self::new(label, amount, FeeMethod::Drawn)
    }

    /// A fee in the usual credits that is billed outside.
    #[must_use]
    pub fn invoiced(label: &str, amount: Credits) -> Self {
        Self::new(label, amount, FeeMethod::Invoiced)
    }

    fn new(label: &str, amount: Credits, method: FeeMethod) -> Self {
        Self { credit: CREDITS.to_owned(), label: label.to_owned(), amount, method }
    }

    /// In another credit type.
    #[must_use]
    pub fn in_credit(mut self, credit: &str) -> Self {
        credit.clone_into(&mut self.credit);
        self
    }
}

/// How overage is taken off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SettlementMethod {
    /// Billed outside.
    #[default]
    Invoice,
    /// Forgiven.
    Waive,
    /// Drawn from grants in burn-down order, as far as they reach.
    Deduct,
}

/// Takes outstanding overage off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The credit type.
    pub credit: String,
    /// None: all that is outstanding by then.
    pub amount: Option<Credits>,
    /// How.
    pub method: SettlementMethod,
}

impl Settlement {
    /// Bills all outstanding overage outside.
    #[must_use]
    pub fn invoice(credit: &str) -> Self {
        Self::all(credit, SettlementMethod::Invoice)
    }

    /// Forgives all outstanding overage.
    #[must_use]
    pub fn waive(credit: &str) -> Self {
        Self::all(credit, SettlementMethod::Waive)
    }

    /// Draws all outstanding overage from grants, as far as they reach.
    #[must_use]
    pub fn deduct(credit: &str) -> Self {
        Self::all(credit, SettlementMethod::Deduct)
    }

    /// All that is outstanding by then.
    #[must_use]
    pub fn all(credit: &str, method: SettlementMethod) -> Self {
        Self { credit: credit.to_owned(), amount: None, method }
    }

    /// No more than this.
    #[must_use]
    pub fn up_to(mut self, amount: Credits) -> Self {
        self.amount = Some(amount);
        self
    }
}

/// What the end of a period does, carried out in the order of the fields. A grant that expires with the period needs not
/// be named: what is left of it after the rollovers expires.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloseOutcome {
    /// What is carried over.
    pub roll_over: Vec<Rollover>,
    /// Ids of other grants whose remaining credits expire now.
    pub expire: Vec<String>,
    /// What the period's end costs.
    pub fees: Vec<Fee>,
    /// What happens to outstanding overage.
    pub settle: Vec<Settlement>,
    /// Lines for people, shown in the ledger.
    pub notes: Vec<String>,
}

/// Credits that a period opens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The credit type.
    pub credit: String,
    /// How many.
    pub amount: Credits,
    /// What the grant is.
    pub category: Category,
    /// A lower number is drawn first.
    pub priority: i32,
    /// None: now.
    pub effective_at: Option<Instant>,
    /// When what is left of it expires.
    pub expires: Expiry,
    /// The features that may draw on it; empty means all.
    pub features: Vec<String>,
    /// What the customer paid for it.
    pub cost_basis: Option<Money>,
    /// How much of it is issued in a cycle that gave allowances already.
    pub allowance: Allowance,
}

impl NewGrant {
    /// Usual credits for every feature that expire with the period. Of a plan's allowance only what exceeds what this
    /// cycle's allowances gave is issued; a grant of another category is issued in full.
    #[must_use]
    pub fn new(category: Category, amount: Credits) -> Self {
        Self {
            credit: CREDITS.to_owned(),
            amount,
            category,
            priority: 0,
            effective_at: None,
            expires: Expiry::with_its_period(),
            features: Vec::new(),
            cost_basis: None,
            allowance: if category == Category::Plan { Allowance::Carry } else { Allowance::Full },
        }
    }

    /// In another credit type.
    #[must_use]
    pub fn in_credit(mut self, credit: &str) -> Self {
        credit.clone_into(&mut self.credit);
        self
    }

    /// A lower number is drawn first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// When what is left of it expires.
    #[must_use]
    pub fn expires(mut self, expires: Expiry) -> Self {
        self.expires = expires;
        self
    }

    /// How much of it is issued in a cycle that gave allowances already.
    #[must_use]
    pub fn allowance(mut self, allowance: Allowance) -> Self {
        self.allowance = allowance;
        self
    }
}

/// What the beginning of a period does, carried out in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOutcome {
    /// What the period opens with.
    pub issue: Vec<NewGrant>,
    /// What happens to outstanding overage.
    pub settle: Vec<Settlement>,
    /// Lines for people, shown in the ledger.
    pub notes: Vec<String>,
}
