//! Prices that fall with the month's volume: all units of a usage cost what the tier says that the month's total reaches with it.
#![cfg_attr(target_arch = "wasm32", no_std)]

use proviso_sdk::prelude::*;
use serde::Deserialize;

/// The settings of one contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeTiers {
    /// What is counted, such as `tokens`.
    quantity: String,
    /// Prices by the month's total, in rising order; the last one has no end.
    tiers: Vec<Tier>,
}

/// One price.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    /// Up to this total, included.
    #[serde(default)]
    up_to: Option<Quantity>,
    /// What one unit costs.
    price: Price,
}

impl Policy for VolumeTiers {
    const ABOUT: About = About::new("{{name}}", "1.0.0", "Prices that fall with the month's volume.")
        .settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"));

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut before = Some(Quantity::ZERO);
        for (index, tier) in self.tiers.iter().enumerate() {
            let rises = before.is_some_and(|before| tier.up_to.is_none_or(|up_to| up_to > before));
            if !rises {
                problems.push(Problem::new(&format!("/tiers/{index}/up_to"), "must be above the tier before"));
            }
            if tier.price.is_negative() {
                problems.push(Problem::new(&format!("/tiers/{index}/price"), "must not be negative"));
            }
            before = tier.up_to;
        }
        if before.is_some() {
            problems.push(Problem::new("/tiers", "the last tier must have no up_to"));
        }
        problems
    }

    fn counters(&self) -> Vec<Counter> {
        vec![Counter::quantity("volume", &self.quantity, Window::Month)]
    }

    fn rate(&self, usage: &Usage, context: &Context) -> Result<Rating, Refusal> {
        let amount = usage.quantity(&self.quantity);
        let total = context.quantity_counter(0).before(usage).plus(amount)?;
        let fits = |tier: &&Tier| tier.up_to.is_none_or(|up_to| total <= up_to);
        let Some(tier) = self.tiers.iter().find(fits) else {
            return Err(Refusal::invalid("no_tier", "the settings have no tier for this volume"));
        };
        Ok(Rating::of([Line::priced(&self.quantity, amount, tier.price, Rounding::Up)?])?)
    }
}

proviso_sdk::export!(VolumeTiers, no_std);
