//! What is sold beside plans, the same in all histories: packs of credits, and promotions.

use crate::{
    commands::GrantSpec,
    settings::{Amount, HOUR, ONE},
};

/// A pack of credits, or what a promotion gives.
#[derive(Debug, PartialEq)]
pub struct Pack {
    pub key: &'static str,
    pub credit: &'static str,
    pub amount: Amount,
    pub category: &'static str,
    pub priority: i32,
    pub features: &'static [&'static str],
    pub hours: Option<i64>,
    pub with_period: Option<u32>,
    /// What one costs.
    pub price: Option<Amount>,
}

const PACK: Pack = Pack {
    key: "pack",
    credit: "credits",
    amount: 100 * ONE,
    category: "prepaid",
    priority: 0,
    features: &[],
    hours: None,
    with_period: None,
    price: None,
};

pub const PACKS: [Pack; 4] = [
    Pack { price: Some(9 * ONE + ONE / 100 * 99), ..PACK },
    Pack { key: "month", amount: 40 * ONE + ONE / 3, hours: Some(700), price: Some(ONE / 3), ..PACK },
    Pack { key: "tokens", credit: "tokens", category: "top_up", priority: 1, with_period: Some(1), ..PACK },
    Pack { key: "chats", features: &["chat"], price: Some(0), priority: -1, ..PACK },
];

const PROMOTION: Pack = Pack { key: "SPRING", amount: 30 * ONE, category: "promotional", ..PACK };

pub const PROMOTIONS: [Pack; 3] = [
    PROMOTION,
    Pack { key: "DAY", hours: Some(24), features: &["chat"], ..PROMOTION },
    Pack { key: "TOKENS", credit: "tokens", with_period: Some(0), ..PROMOTION },
];

impl Pack {
    /// The grant of so many.
    pub fn grant(&self, quantity: u32) -> GrantSpec {
        GrantSpec {
            credit: self.credit,
            amount: self.amount * Amount::from(quantity),
            category: self.category,
            priority: self.priority,
            features: self.features.to_vec(),
            effective_in: None,
            expires_in: self.hours.map(|hours| hours * HOUR),
            with_period: self.with_period,
            paid: self.price.map(|price| price * Amount::from(quantity)),
        }
    }
}
