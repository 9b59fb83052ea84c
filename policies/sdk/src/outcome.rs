//! Building what a policy answers. In: typed amounts. Out: the records of the interface, with sums that hold.

use crate::{
    Amount, Credits, OutOfRange, Price, Rounding, sum,
    types::{
        Context, Fee, Instant, Line, Money, NewGrant, Offer, OverageOutcome, Rating, Refusal, ResetOutcome,
        Rollover, Settlement, TopUp,
    },
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

/// The credit type of customers that hold only one.
pub const CREDITS: &str = "credits";

impl Line {
    /// What `quantity` costs at `unit_cost`.
    ///
    /// # Errors
    /// When the cost does not fit.
    pub fn priced(
        label: &str,
        quantity: Amount,
        unit_cost: Price,
        rounding: Rounding,
    ) -> Result<Self, OutOfRange> {
        let cost = unit_cost.times(quantity, rounding)?;
        Ok(Self { label: label.to_owned(), quantity: quantity.0, unit_cost: unit_cost.0, cost: cost.0 })
    }

    /// One thing at a fixed cost.
    ///
    /// # Errors
    /// When the cost is too large for a price.
    pub fn fixed(label: &str, cost: Credits) -> Result<Self, OutOfRange> {
        let unit_cost = Price::of_one(cost)?;
        Ok(Self { label: label.to_owned(), quantity: Amount::ONE.0, unit_cost: unit_cost.0, cost: cost.0 })
    }
}

impl Rating {
    /// The sum of `lines`, drawn from the usual credits in the host's order.
    ///
    /// # Errors
    /// When the sum does not fit.
    pub fn of(lines: impl Into<Vec<Line>>) -> Result<Self, OutOfRange> {
        let lines = lines.into();
        let cost = sum(lines.iter().map(|line| Credits(line.cost)))?;
        Ok(Self { credit: CREDITS.to_owned(), cost: cost.0, lines, draw_order: Vec::new() })
    }

    /// Draws another credit type.
    #[must_use]
    pub fn in_credit(mut self, credit: &str) -> Self {
        credit.clone_into(&mut self.credit);
        self
    }

    /// Draws these grants first, in this order.
    #[must_use]
    pub fn drawn_from(mut self, grants: impl IntoIterator<Item = String>) -> Self {
        self.draw_order.extend(grants);
        self
    }
}

impl Refusal {
    /// A code for machines (`[a-z][a-z0-9_]{0,63}`) and a sentence for people.
    #[must_use]
    pub fn new(code: &str, detail: &str) -> Self {
        Self { code: code.to_owned(), detail: detail.to_owned(), retry_at: None }
    }

    /// The earliest time at which asking again can help.
    #[must_use]
    pub fn retry_at(mut self, at: Instant) -> Self {
        self.retry_at = Some(at);
        self
    }
}

impl From<OutOfRange> for Refusal {
    fn from(_: OutOfRange) -> Self {
        Self::new("amount_out_of_range", "the cost is too large to be counted")
    }
}

impl OverageOutcome {
    /// Denied until the period ends, when the next reset may bring credits.
    #[must_use]
    pub fn insufficient(shortfall: Credits, context: &Context) -> Self {
        let mut refusal = Refusal::new("insufficient_credits", &format!("{shortfall} credits are missing"));
        refusal.retry_at = context.period.end.as_ref().map(|end| end.at);
        Self::Deny(refusal)
    }

    /// Allowed as long as the outstanding overage stays at or below `limit`.
    #[must_use]
    pub fn up_to(limit: Credits) -> Self {
        Self::Allow(limit.0)
    }
}

#[allow(clippy::derivable_impls)] // The type is generated.
impl Default for ResetOutcome {
    fn default() -> Self {
        Self {
            roll_over: Vec::new(),
            expire: Vec::new(),
            fees: Vec::new(),
            issue: Vec::new(),
            settle: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl NewGrant {
    /// A grant of the usual credits, usable at once by every feature, that does not expire.
    #[must_use]
    pub fn new(category: &str, amount: Credits) -> Self {
        Self {
            credit: CREDITS.to_owned(),
            amount: amount.0,
            category: category.to_owned(),
            priority: 0,
            effective_at: None,
            expires_at: None,
            features: Vec::new(),
            cost_basis: None,
        }
    }

    /// What is left of it expires then.
    #[must_use]
    pub fn expires_at(mut self, at: Option<Instant>) -> Self {
        self.expires_at = at;
        self
    }

    /// A lower number is drawn first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}

impl Rollover {
    /// Moves `amount` of a grant into a new one.
    #[must_use]
    pub fn new(grant: &str, amount: Credits, priority: i32, expires_at: Option<Instant>) -> Self {
        Self { grant: grant.to_owned(), amount: amount.0, priority, expires_at }
    }
}

impl Fee {
    /// A cost of the reset itself in the usual credits.
    #[must_use]
    pub fn new(label: &str, amount: Credits) -> Self {
        Self { credit: CREDITS.to_owned(), label: label.to_owned(), amount: amount.0 }
    }
}

impl Settlement {
    /// Takes overage off that is billed outside.
    #[must_use]
    pub fn invoice(credit: &str, amount: Credits) -> Self {
        Self { credit: credit.to_owned(), amount: amount.0, method: "invoice".to_owned() }
    }

    /// Forgives overage.
    #[must_use]
    pub fn waive(credit: &str, amount: Credits) -> Self {
        Self { credit: credit.to_owned(), amount: amount.0, method: "waive".to_owned() }
    }

    /// Draws overage from the grants that stand after the reset.
    #[must_use]
    pub fn deduct(credit: &str, amount: Credits) -> Self {
        Self { credit: credit.to_owned(), amount: amount.0, method: "deduct".to_owned() }
    }
}

impl Offer {
    /// Credits to buy, with their price in real money when it is known.
    #[must_use]
    pub fn new(code: &str, label: &str, credits: Credits, price: Option<Money>) -> Self {
        Self { code: code.to_owned(), label: label.to_owned(), credits: credits.0, price }
    }
}

impl Money {
    /// A decimal such as `99.90` and an ISO 4217 code such as `EUR`.
    #[must_use]
    pub fn new(amount: &str, currency: &str) -> Self {
        Self { amount: amount.to_owned(), currency: currency.to_owned() }
    }
}

impl TopUp {
    /// Credits that are issued at once.
    #[must_use]
    pub fn new(amount: Credits, expires_at: Option<Instant>, cost_basis: Option<Money>) -> Self {
        Self { amount: amount.0, expires_at, cost_basis }
    }
}
