//! A plain list of unit prices, for policies whose own terms lie elsewhere.

use crate::{rating::Refusal, usage::Usage};
use alloc::{format, string::String, vec::Vec};
use proviso_amounts::{Price, Quantity};
use serde::Deserialize;

/// Unit prices: `[{"feature": "chat", "quantity": "tokens", "price": "0.002"}, …]`. Of the prices that match a
/// quantity, the first is taken.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct PriceList(Vec<UnitPrice>);

/// The price of one unit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitPrice {
    /// The feature; without it, every feature.
    #[serde(default)]
    pub feature: Option<String>,
    /// The quantity.
    pub quantity: String,
    /// What one unit costs.
    pub price: Price,
}

/// A part of a usage that has a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    /// The quantity's name for people: `input tokens` for `input_tokens`.
    pub label: String,
    /// How much.
    pub amount: Quantity,
    /// What one unit costs.
    pub price: Price,
}

impl PriceList {
    /// The parts of a usage that have a price, in the order of its quantities; quantities of zero are left out.
    ///
    /// # Errors
    /// Invalid: `feature_not_rated` when nothing of it has a price, `negative_quantity` when an amount is below zero.
    pub fn priced(&self, usage: &Usage) -> Result<Vec<Priced>, Refusal> {
        let mut priced = Vec::with_capacity(usage.quantities.len());
        let mut rated = false;
        for quantity in &usage.quantities {
            let fits = |unit: &&UnitPrice| {
                unit.quantity == quantity.name
                    && unit.feature.as_ref().is_none_or(|feature| *feature == usage.feature)
            };
            let Some(unit) = self.0.iter().find(fits) else { continue };
            rated = true;
            if quantity.amount.is_negative() {
                return Err(Refusal::invalid("negative_quantity", &format!("{} is negative", quantity.name)));
            }
            if quantity.amount.is_positive() {
                let label = quantity.name.replace('_', " ");
                priced.push(Priced { label, amount: quantity.amount, price: unit.price });
            }
        }
        if rated {
            Ok(priced)
        } else {
            let detail = format!("no price matches this usage of {}", usage.feature);
            Err(Refusal::invalid("feature_not_rated", &detail))
        }
    }

    /// Whether a price is below zero, which no contract means.
    #[must_use]
    pub fn has_negative(&self) -> bool {
        self.0.iter().any(|unit| unit.price.is_negative())
    }
}
