//! What a step can be held to.

use super::values::{At, Ends, Late};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::Key,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What must hold after a step. What is not named is not looked at, with two exceptions: a step that names none of `code`,
/// `error` and `problems` must not be refused, and one that does not name `degraded` must see no policy fail.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    pub cost: Option<Credits>,
    pub code: Option<String>,
    pub kind: Option<Kind>,
    pub retry_at: Option<At>,
    pub offers: Option<Vec<String>>,
    pub suggestions: Option<Vec<String>>,
    pub error: Option<String>,
    pub problems: Option<Vec<String>>,
    pub lines: Option<Vec<String>>,
    pub draws: Option<BTreeMap<String, Credits>>,
    pub overage: Option<Credits>,
    pub returned: Option<Credits>,
    pub exceeded: Option<Credits>,
    pub reduced_to: Option<BTreeMap<String, Quantity>>,
    pub late: Option<Late>,
    pub balance: Option<ExpectBalance>,
    pub remaining: Option<BTreeMap<String, Credits>>,
    pub held: Option<BTreeMap<String, Credits>>,
    pub expires: Option<BTreeMap<String, Ends>>,
    pub entries: Option<Vec<String>>,
    pub fees: Option<BTreeMap<String, Credits>>,
    pub settled: Option<BTreeMap<String, Credits>>,
    pub notes: Option<Vec<String>>,
    pub fuel: Option<u64>,
    pub fuel_at_most: Option<u64>,
    pub log: Option<Vec<String>>,
    pub degraded: Option<bool>,
}

/// Fields of a balance: of all grants, or as a feature sees it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectBalance {
    pub credit: Option<Key>,
    pub feature: Option<Key>,
    pub granted: Option<Credits>,
    pub used: Option<Credits>,
    pub reserved: Option<Credits>,
    pub available: Option<Credits>,
    pub restricted: Option<Credits>,
    pub overage: Option<Credits>,
    pub held_overage: Option<Credits>,
    pub next_reset_at: Option<Ends>,
}

/// What kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Another time, or with more credits, it may be allowed.
    Denied,
    /// Such a usage has no price.
    Invalid,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Denied => "denied",
            Self::Invalid => "invalid",
        })
    }
}
