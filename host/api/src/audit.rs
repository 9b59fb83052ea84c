//! Who changed what.

use crate::schema;
use proviso_ledger::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number: 1, 2, 3 among the changes of plans, policies and API keys; of a customer, its ledger's entry.
    pub number: u64,
    /// When it was made.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// The id of the API key that asked; null for a host's own configuration, and for what time itself brought.
    #[schema(example = "key_2")]
    pub actor: Option<String>,
    /// What kind of change.
    #[schema(example = "plan_changed")]
    pub r#type: String,
    /// What was changed.
    #[schema(example = "plan/pro")]
    pub subject: String,
    /// What was there before; null for what is new. Of a thing that stays, only what changed.
    #[schema(value_type = Option<schema::AnyObject>)]
    pub before: Option<Value>,
    /// What was there afterwards; null for what was taken away. Of a thing that stays, only what changed.
    #[schema(value_type = Option<schema::AnyObject>)]
    pub after: Option<Value>,
}
