//! What a usage costs, with the lines that explain it, or why it may not happen.

use crate::{
    calendar::Instant,
    usage::{Attribute, NamedQuantity},
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use proviso_amounts::{Credits, OutOfRange, Price, Quantity, Rounding};

/// The credit type of customers that hold only one.
pub const CREDITS: &str = "credits";

/// A line that explains a part of a cost: `quantity × unit_cost ≈ cost`, rounded as the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// For people.
    pub label: String,
    /// How many units.
    pub quantity: Quantity,
    /// What one of them costs.
    pub unit_cost: Price,
    /// What they cost together.
    pub cost: Credits,
}

impl Line {
    /// What `quantity` costs at `unit_cost`; for whole units nothing is rounded.
    ///
    /// # Errors
    /// When one of the three is too large for the host: 10^15 or more.
    pub fn priced(
        label: &str,
        quantity: Quantity,
        unit_cost: Price,
        rounding: Rounding,
    ) -> Result<Self, OutOfRange> {
        let cost = unit_cost.times(quantity, rounding)?.accepted()?;
        let (quantity, unit_cost) = (quantity.accepted()?, unit_cost.accepted()?);
        Ok(Self { label: label.to_owned(), quantity, unit_cost, cost })
    }

    /// One thing at a fixed cost.
    #[must_use]
    pub fn fixed(label: &str, cost: Credits) -> Self {
        Self { label: label.to_owned(), quantity: Quantity::ONE, unit_cost: Price::of_one(cost), cost }
    }
}

/// What a usage costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// The credit type to draw.
    pub credit: String,
    /// The sum of the lines; the host refuses a rating where it is not.
    pub cost: Credits,
    /// What explains the cost; the host takes up to 256.
    pub lines: Vec<Line>,
    /// Ids of grants to draw first, in this order; the others follow in the host's burn-down order.
    pub draw_order: Vec<String>,
}

impl Rating {
    /// The sum of `lines`, drawn from the usual credits in the host's order.
    ///
    /// # Errors
    /// When the sum is too large for the host: 10^15 or more.
    pub fn of(lines: impl Into<Vec<Line>>) -> Result<Self, OutOfRange> {
        let lines = lines.into();
        let cost = Credits::checked_sum(lines.iter().map(|line| line.cost)).ok_or(OutOfRange)?.accepted()?;
        Ok(Self { credit: CREDITS.to_owned(), cost, lines, draw_order: Vec::new() })
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

/// What a refusal means for whoever asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RefusalKind {
    /// At another time, or with more credits, it may be allowed (402).
    #[default]
    Denied,
    /// Such a usage has no price, at any time (422).
    Invalid,
}

/// A usage that would be allowed, or cheaper, in the place of the one that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// For people, such as `use the small model`.
    pub detail: String,
    /// Attributes to change, with their new values.
    pub attributes: Vec<Attribute>,
    /// Quantities to change, with their new amounts.
    pub quantities: Vec<NamedQuantity>,
}

impl Suggestion {
    /// A suggestion that changes nothing yet.
    #[must_use]
    pub fn new(detail: &str) -> Self {
        Self { detail: detail.to_owned(), ..Self::default() }
    }

    /// With another value for an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push(Attribute { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// With another amount of a quantity.
    #[must_use]
    pub fn quantity(mut self, name: &str, amount: Quantity) -> Self {
        self.quantities.push(NamedQuantity { name: name.to_owned(), amount });
        self
    }
}

/// Why a policy says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub kind: RefusalKind,
    /// For machines: `[a-z][a-z0-9_]{0,63}`.
    pub code: String,
    /// For people.
    pub detail: String,
    /// The earliest time at which asking again can help.
    pub retry_at: Option<Instant>,
    /// What would be allowed instead.
    pub suggestions: Vec<Suggestion>,
}

impl Refusal {
    /// The usage may be allowed at another time or with more credits.
    #[must_use]
    pub fn denied(code: &str, detail: &str) -> Self {
        Self::new(RefusalKind::Denied, code, detail)
    }

    /// Such a usage has no price.
    #[must_use]
    pub fn invalid(code: &str, detail: &str) -> Self {
        Self::new(RefusalKind::Invalid, code, detail)
    }

    fn new(kind: RefusalKind, code: &str, detail: &str) -> Self {
        let (code, detail) = (code.to_owned(), detail.to_owned());
        Self { kind, code, detail, retry_at: None, suggestions: Vec::new() }
    }

    /// The earliest time at which asking again can help; leave it out when waiting can't.
    #[must_use]
    pub fn retry_at(mut self, at: impl Into<Option<Instant>>) -> Self {
        self.retry_at = at.into();
        self
    }

    /// What would be allowed instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: Suggestion) -> Self {
        self.suggestions.push(suggestion);
        self
    }
}

impl From<OutOfRange> for Refusal {
    fn from(_: OutOfRange) -> Self {
        Self::invalid("amount_out_of_range", "the cost is too large to be counted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{credits, quantity};

    #[test]
    fn a_rating_is_the_sum_of_its_lines_or_out_of_range() {
        let line = |amount: &str, price: &str| {
            Line::priced("n", quantity(amount), price.parse().unwrap(), Rounding::Up)
        };
        let rating =
            Rating::of([line("1000", "0.0000003").unwrap(), Line::fixed("fee", credits("1"))]).unwrap();
        assert_eq!(rating.cost, credits("1.0003"));
        for (amount, price) in
            [("1000000000000000", "0"), ("0", "1000000000000000"), ("999999999999999", "2")]
        {
            assert_eq!(line(amount, price), Err(OutOfRange), "{amount} x {price}");
        }
        let most = Line::fixed("most", Credits::LARGEST);
        assert_eq!(Rating::of([most.clone(), most]), Err(OutOfRange));
        assert_eq!(Refusal::from(OutOfRange).kind, RefusalKind::Invalid);
    }
}
