//! Usage reports.

use crate::schema;
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::{CustomerId, Key},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most properties that usage is grouped by at once.
pub const MAX_GROUPINGS: usize = 4;

/// The usage of one group: charges and commits; refusals are not usage.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageOfGroup {
    /// What all of it has in common; null where a usage has no value.
    #[schema(example = json!({ "feature": "chat" }))]
    pub group: BTreeMap<String, Option<String>>,
    /// How many charges and commits.
    pub charges: u64,
    /// What they cost, less what was refunded.
    pub cost: Vec<Cost>,
    /// What was used, less what was refunded.
    #[schema(value_type = BTreeMap<String, schema::Amount>)]
    pub quantities: BTreeMap<String, Quantity>,
}

/// The usage of one group of one customer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageOfCustomer {
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The group and its usage.
    #[serde(flatten)]
    pub usage: UsageOfGroup,
}

/// A cost in one credit type.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Cost {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// How much.
    #[schema(value_type = schema::Credits)]
    pub cost: Credits,
}
