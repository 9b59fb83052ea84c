//! A usage as a request describes it: what charges, checks and reservations have in common.

use crate::{
    extract::{Attributes, Quantities},
    schema,
};
use proviso_engine::command::UsageRequest;
use proviso_ledger::model::{ids::Key, time::Timestamp, usage::Usage};
use serde::Deserialize;
use utoipa::ToSchema;

/// What was used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Usage, example = json!({
    "feature": "chat",
    "quantities": { "input_tokens": 1200, "output_tokens": 300 },
    "attributes": { "model": "large" },
    "entity": "user-7"
}))]
pub struct UsageBody {
    /// The feature that was used.
    #[schema(value_type = schema::Key)]
    pub feature: Key,
    /// How much of what; at most 64.
    #[schema(value_type = BTreeMap<String, schema::Quantity>)]
    pub quantities: Quantities,
    /// What else is known of it; at most 64.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    pub attributes: Attributes,
    /// The user, team or agent under the customer who used it.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// When it was used; now, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub occurred_at: Option<Timestamp>,
}

impl From<UsageBody> for UsageRequest {
    fn from(body: UsageBody) -> Self {
        let usage = Usage {
            feature: body.feature,
            quantities: body.quantities.0,
            attributes: body.attributes.0,
            entity: body.entity,
            occurred_at: body.occurred_at.unwrap_or_default(),
        };
        Self { usage, has_time: body.occurred_at.is_some() }
    }
}
