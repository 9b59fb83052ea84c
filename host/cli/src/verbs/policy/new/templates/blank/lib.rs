//! The terms of one contract: begin here. All that a policy can say: `docs/writing-policies.md` of Proviso.
#![cfg_attr(target_arch = "wasm32", no_std)]

use proviso_sdk::prelude::*;
use serde::Deserialize;

/// What differs from customer to customer; each field also belongs into `settings.schema.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// What one token costs.
    price: Price,
}

impl Policy for Contract {
    const ABOUT: About = About::new("{{name}}", "1.0.0", "The terms of one contract.")
        .settings_schema(proviso_sdk::settings_schema!("../settings.schema.json"));

    fn problems(&self) -> Vec<Problem> {
        let negative = self.price.is_negative();
        negative.then(|| Problem::new("/price", "must not be negative")).into_iter().collect()
    }

    fn rate(&self, usage: &Usage, _: &Context) -> Result<Rating, Refusal> {
        let tokens = usage.quantity("tokens");
        Ok(Rating::of([Line::priced("tokens", tokens, self.price, Rounding::Up)?])?)
    }
}

proviso_sdk::export!(Contract, no_std);
