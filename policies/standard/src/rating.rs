//! What a usage costs. In: the opened table, a usage, the counters. Out: lines and their sum, or a refusal.

use crate::{
    settings::Unrated,
    table::{Model, Table, Won},
};
use alloc::{format, vec::Vec};
use proviso_sdk::{
    Amount, Credits, OutOfRange, Rounding,
    types::{Context, Line, Rating, Refusal, Usage},
};

/// What `usage` costs.
pub(crate) fn rate(table: &Table<'_>, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
    let mut lines = Lines { lines: Vec::with_capacity(usage.quantities.len() + 1), rounding: table.rounding };
    let mut rated = false;
    if let Some(won) = table.winner(usage, "") {
        rated = true;
        lines.add(&won, Amount::ONE, context)?;
    }
    for quantity in &usage.quantities {
        let amount = Amount(quantity.amount);
        let Some(won) = table.winner(usage, &quantity.name) else { continue };
        rated = true;
        if amount < Amount::ZERO {
            return Err(Refusal::new("negative_quantity", &format!("{} is negative", quantity.name)));
        }
        if amount.is_positive() {
            lines.add(&won, amount, context)?;
        }
    }
    if !rated && table.unrated == Unrated::Refuse {
        let detail = format!("no rate matches this usage of {}", usage.feature);
        return Err(Refusal::new("feature_not_rated", &detail));
    }
    let mut rating = Rating::of(lines.lines)?.in_credit(table.credit);
    let missing = table.minimum_charge.above(Credits(rating.cost));
    if rating.cost > 0 && missing.is_positive() {
        rating.lines.push(Line::fixed("minimum charge", missing)?);
        rating.cost = table.minimum_charge.0;
    }
    Ok(rating)
}

struct Lines {
    lines: Vec<Line>,
    rounding: Rounding,
}

impl Lines {
    fn add(&mut self, won: &Won<'_>, amount: Amount, context: &Context) -> Result<(), OutOfRange> {
        match &won.model {
            Model::Flat(price) => self.push(won.label, Amount::ONE, *price),
            Model::PerUnit(price) => self.push(won.label, amount, *price),
            Model::PerBlock { size, price } => {
                self.push(won.label, amount.blocks(*size, Rounding::Up)?, *price)
            }
            Model::Graduated(tiers) => {
                for (tier, part) in tiers.split(tiers.before(context), amount)? {
                    self.push(tier.label, part, tier.price)?;
                }
                Ok(())
            }
            Model::Volume(tiers) => {
                let total = tiers.before(context).plus(amount)?;
                match tiers.rows().find(|tier| total <= tier.up_to) {
                    Some(tier) => self.push(tier.label, amount, tier.price),
                    None => Err(OutOfRange),
                }
            }
        }
    }

    fn push(&mut self, label: &str, quantity: Amount, price: proviso_sdk::Price) -> Result<(), OutOfRange> {
        self.lines.push(Line::priced(label, quantity, price, self.rounding)?);
        Ok(())
    }
}
