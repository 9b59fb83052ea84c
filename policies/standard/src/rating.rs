//! What a usage costs, with the lines that explain it, or why it has no price.

use crate::{
    adjust::{self, Adjustment},
    settings::Unrated,
    table::{Model, Table, Won},
};
use alloc::{format, vec::Vec};
use proviso_sdk::{
    Context, Credits, Line, NamedQuantity, OutOfRange, Price, Quantity, Rating, Refusal, Rounding, Usage,
};

/// What `usage` costs.
pub(crate) fn rate(table: &Table<'_>, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
    let lines = Vec::with_capacity(usage.quantities.len() + 1);
    let adjustment = table.adjustments.and_then(|adjustments| adjust::find(adjustments, usage, context));
    let mut lines = Lines { lines, adjustment, rounding: table.rounding, usage, context };
    let mut rated = false;
    if let Some(won) = table.winner(usage, "") {
        rated = true;
        lines.add(&won, Quantity::ONE)?;
    }
    for quantity in &usage.quantities {
        let mut amount = quantity.amount;
        let Some(won) = table.winner(usage, &quantity.name) else { continue };
        rated = true;
        if amount.is_negative() {
            return Err(Refusal::invalid("negative_quantity", &format!("{} is negative", quantity.name)));
        }
        if !won.less.is_zero() {
            amount = without(won.less, quantity)?;
        }
        if amount.is_positive() {
            lines.add(&won, amount)?;
        }
    }
    if !rated && table.unrated == Unrated::Refuse {
        let detail = format!("no rate matches this usage of {}", usage.feature);
        return Err(Refusal::invalid("feature_not_rated", &detail));
    }
    let mut rating = Rating::of(lines.lines)?.in_credit(table.credit);
    let missing = table.minimum_charge.above(rating.cost);
    if rating.cost.is_positive() && missing.is_positive() {
        rating.lines.push(Line::fixed("minimum charge", missing));
        rating.cost = table.minimum_charge;
    }
    match table.maximum_charge {
        Some(maximum) if maximum < rating.cost => Ok(at_most(maximum, rating)),
        _ => Ok(rating),
    }
}

/// Lines add up to the cost, and none is negative: what the parts would cost gives way.
#[inline(never)]
fn at_most(maximum: Credits, rating: Rating) -> Rating {
    let line = Line::fixed(&format!("maximum charge, in place of {}", rating.cost), maximum);
    Rating { cost: maximum, lines: Vec::from([line]), ..rating }
}

/// A quantity without the parts of it that have prices of their own.
#[inline(never)]
fn without(parts: Quantity, quantity: &NamedQuantity) -> Result<Quantity, Refusal> {
    if parts > quantity.amount {
        let detail = format!("the parts of {} that have prices of their own exceed it", quantity.name);
        return Err(Refusal::invalid("parts_exceed_quantity", &detail));
    }
    Ok(quantity.amount.minus(parts)?)
}

struct Lines<'a> {
    lines: Vec<Line>,
    adjustment: Option<Adjustment>,
    rounding: Rounding,
    usage: &'a Usage,
    context: &'a Context,
}

impl Lines<'_> {
    fn add(&mut self, won: &Won<'_>, amount: Quantity) -> Result<(), OutOfRange> {
        match &won.model {
            Model::Flat(price) => self.push(won.label, Quantity::ONE, *price),
            Model::PerUnit(price) => self.push(won.label, amount, *price),
            Model::PerBlock { size, price } => {
                self.push(won.label, amount.blocks(*size, Rounding::Up)?, *price)
            }
            Model::Graduated(tiers) => {
                for (tier, part) in tiers.split(tiers.before(self.usage, self.context), amount)? {
                    self.push(tier.label, part, tier.price)?;
                }
                Ok(())
            }
            Model::Volume(tiers) => {
                let total = tiers.before(self.usage, self.context).plus(amount)?;
                match tiers.rows().find(|tier| total <= tier.up_to) {
                    Some(tier) => self.push(tier.label, amount, tier.price),
                    None => Err(OutOfRange),
                }
            }
        }
    }

    fn push(&mut self, label: &str, quantity: Quantity, price: Price) -> Result<(), OutOfRange> {
        let line = Line::priced(label, quantity, price, self.rounding)?;
        self.lines.push(match &self.adjustment {
            Some(adjustment) => adjustment.line(line, self.rounding)?,
            None => line,
        });
        Ok(())
    }
}
