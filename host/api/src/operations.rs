//! Health and the test clock.

use crate::schema;
use proviso_ledger::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// The host's health.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: Cow<'static, str>,
}

/// The host's time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestClock {
    /// Now.
    #[schema(value_type = schema::Time)]
    pub now: Timestamp,
}
