//! What a step can be held to.

use super::{
    schema,
    values::{At, Ends, Late},
};
use proviso_api::schema as wire;
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::Key,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What must hold after a step. What is not named is not looked at, with two exceptions: a step that names none of `code`,
/// `error` and `problems` must not be refused, and one that does not name `degraded` must see no policy fail.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Lists and tables need only hold what is named in them; all else in them is not looked at.
    #[serde(default)]
    pub partial: bool,
    /// What the usage costs; of a refusal, what it would have cost.
    #[schema(value_type = Option<wire::Credits>)]
    pub cost: Option<Credits>,
    /// The code of a refusal.
    pub code: Option<String>,
    /// What kind of a refusal.
    pub kind: Option<Kind>,
    /// A part of a refusal's text.
    pub detail: Option<String>,
    /// From when asking again can help.
    #[schema(value_type = Option<wire::Time>)]
    pub retry_at: Option<At>,
    /// The codes of what may be bought.
    pub offers: Option<Vec<String>>,
    /// What to change, as `detail: name = value, name = value`.
    pub suggestions: Option<Vec<String>>,
    /// A part of the message when a step can't be carried out.
    pub error: Option<String>,
    /// The pointers to settings that the policy refuses.
    pub problems: Option<Vec<String>>,
    /// The lines that explain the cost, as `label: quantity x unit cost = cost`.
    pub lines: Option<Vec<String>>,
    /// What was drawn, by grant.
    #[schema(value_type = Option<BTreeMap<String, wire::Credits>>)]
    pub draws: Option<BTreeMap<String, Credits>>,
    /// What was drawn beyond all grants.
    #[schema(value_type = Option<wire::Credits>)]
    pub overage: Option<Credits>,
    /// What a commit gave back.
    #[schema(value_type = Option<wire::Credits>)]
    pub returned: Option<Credits>,
    /// What of a commit became overage that the terms would not have allowed to new usage.
    #[schema(value_type = Option<wire::Credits>)]
    pub exceeded: Option<Credits>,
    /// The quantities that were reserved where the policy allowed less than was asked for.
    #[schema(value_type = Option<BTreeMap<String, wire::Quantity>>)]
    pub reduced_to: Option<BTreeMap<String, Quantity>>,
    /// The number of the ended period that the usage belongs to, or `no`.
    #[schema(value_type = Option<schema::LateForm>)]
    pub late: Option<Late>,
    /// The customer's balance.
    pub balance: Option<ExpectBalance>,
    /// What each usable grant has left.
    #[schema(value_type = Option<BTreeMap<String, wire::Credits>>)]
    pub remaining: Option<BTreeMap<String, Credits>>,
    /// What open reservations hold of each grant.
    #[schema(value_type = Option<BTreeMap<String, wire::Credits>>)]
    pub held: Option<BTreeMap<String, Credits>>,
    /// When each usable grant expires: a time or `never`.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub expires: Option<BTreeMap<String, Ends>>,
    /// What was written to the journal since the customer's step before.
    pub entries: Option<Vec<String>>,
    /// The fees of the newest end of a period, by label.
    #[schema(value_type = Option<BTreeMap<String, wire::Credits>>)]
    pub fees: Option<BTreeMap<String, Credits>>,
    /// The overage that it settled, by method.
    #[schema(value_type = Option<BTreeMap<String, wire::Credits>>)]
    pub settled: Option<BTreeMap<String, Credits>>,
    /// Its notes.
    pub notes: Option<Vec<String>>,
    /// The fuel of the decision.
    pub fuel: Option<u64>,
    /// The most fuel of the decision.
    pub fuel_at_most: Option<u64>,
    /// What the policy logged.
    pub log: Option<Vec<String>>,
    /// What shadows would have said: a cost or a code, by the name that `as` gave their terms.
    pub shadows: Option<BTreeMap<String, String>>,
    /// Whether a policy failed in the step.
    pub degraded: Option<bool>,
}

/// Fields of a balance: of all grants, or as a feature sees it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectBalance {
    #[schema(value_type = Option<wire::Key>)]
    pub credit: Option<Key>,
    #[schema(value_type = Option<wire::Key>)]
    pub feature: Option<Key>,
    #[schema(value_type = Option<wire::Credits>)]
    pub granted: Option<Credits>,
    #[schema(value_type = Option<wire::Credits>)]
    pub used: Option<Credits>,
    #[schema(value_type = Option<wire::Credits>)]
    pub reserved: Option<Credits>,
    #[schema(value_type = Option<wire::Credits>)]
    pub available: Option<Credits>,
    #[schema(value_type = Option<wire::Credits>)]
    pub restricted: Option<Credits>,
    #[schema(value_type = Option<wire::Credits>)]
    pub overage: Option<Credits>,
    #[schema(value_type = Option<wire::Credits>)]
    pub held_overage: Option<Credits>,
    /// A time or `never`.
    #[schema(value_type = Option<String>)]
    pub next_reset_at: Option<Ends>,
}

/// What kind of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
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
