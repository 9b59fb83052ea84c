//! What is sold beside plans, the same in all histories: packs of credits, and promotions.

use crate::{
    commands::GrantSpec,
    settings::{Amount, HOUR, ONE, Unit},
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

/// An add-on: its cycle, and its grants, each once or with each cycle.
#[derive(Debug, PartialEq)]
pub struct AddOnSpec {
    pub key: &'static str,
    pub interval: Option<(Unit, i64)>,
    pub grants: &'static [(bool, Pack)],
}

pub const ADD_ONS: [AddOnSpec; 3] = [
    AddOnSpec {
        key: "monthly",
        interval: Some((Unit::Month, 1)),
        grants: &[
            (
                false,
                Pack { key: "most", amount: 50 * ONE, with_period: Some(0), price: Some(5 * ONE), ..PACK },
            ),
            (
                false,
                Pack { key: "chats", amount: 7 * ONE, with_period: Some(1), features: &["chat"], ..PACK },
            ),
            (
                true,
                Pack { key: "hello", amount: 11 * ONE, category: "promotional", hours: Some(300), ..PACK },
            ),
        ],
    },
    AddOnSpec {
        key: "once",
        interval: None,
        grants: &[(true, Pack { key: "gift", amount: 20 * ONE, credit: "tokens", ..PACK })],
    },
    AddOnSpec {
        key: "weekly",
        interval: Some((Unit::Week, 2)),
        grants: &[
            (false, Pack { key: "w", amount: ONE / 7, with_period: Some(0), category: "plan", ..PACK }),
            (false, Pack { key: "t", amount: 3 * ONE, credit: "tokens", hours: Some(100), ..PACK }),
        ],
    },
];
