//! What happens when a cost exceeds what is available.

use crate::{
    calendar::Expiry,
    context::Context,
    rating::Refusal,
    usage::{NamedQuantity, Usage},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use proviso_amounts::{Credits, Money};

/// Something the customer may buy to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// For machines.
    pub code: String,
    /// For people.
    pub label: String,
    /// What it brings.
    pub credits: Credits,
    /// What it costs, if that is known here.
    pub price: Option<Money>,
}

impl Offer {
    /// Credits to buy, with their price in real money when it is known.
    #[must_use]
    pub fn new(code: &str, label: &str, credits: Credits, price: Option<Money>) -> Self {
        Self { code: code.to_owned(), label: label.to_owned(), credits, price }
    }
}

/// Credits to be issued at once, so that the charge can be drawn from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopUp {
    /// How many.
    pub amount: Credits,
    /// A lower number is drawn first.
    pub priority: i32,
    /// When what is left of them expires.
    pub expires: Expiry,
    /// What the customer pays for them.
    pub cost_basis: Option<Money>,
}

impl TopUp {
    /// Credits that do not expire and cost nothing.
    #[must_use]
    pub fn new(amount: Credits) -> Self {
        Self { amount, priority: 0, expires: Expiry::NEVER, cost_basis: None }
    }

    /// When what is left of them expires.
    #[must_use]
    pub fn expires(mut self, expires: Expiry) -> Self {
        self.expires = expires;
        self
    }

    /// What the customer pays for them.
    #[must_use]
    pub fn paid(mut self, price: Option<Money>) -> Self {
        self.cost_basis = price;
        self
    }
}

/// What happens when a cost exceeds what is available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverageOutcome {
    /// Not allowed.
    Deny(Refusal),
    /// Go on, as long as the outstanding and the held overage of this credit stay at or below this limit.
    Allow(Credits),
    /// Not before one of these was bought.
    RequirePurchase(Vec<Offer>),
    /// Issue credits, then go on.
    TopUp(TopUp),
    /// Not as much, but with these quantities it would be allowed. The host rates those again.
    Reduce(Vec<NamedQuantity>),
}

impl OverageOutcome {
    /// Denied. Waiting for the next period, which may bring credits, can help unless the usage is late.
    #[must_use]
    pub fn insufficient(shortfall: Credits, usage: &Usage, context: &Context) -> Self {
        let refusal = Refusal::denied("insufficient_credits", &format!("{shortfall} credits are missing"));
        let end = context.period.end.filter(|_| !usage.late);
        Self::Deny(refusal.retry_at(end.map(|end| end.at)))
    }
}
