//! A usage, as charges, checks, reservations and batches send it. Its fields are declared once.

use crate::{
    maps::{Attributes, Quantities},
    patch::null_is_default,
    schema,
};
use proviso_ledger::model::{
    ids::{CustomerId, IdempotencyKey, Key},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most charges of one batch.
pub const MAX_BATCH: usize = 1_000;

/// Defines a body that holds a usage, with fields of its own beside it. Unknown fields must be refused with a pointer to
/// them, which serde's `flatten` can't do.
macro_rules! usage_bodies {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })+) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// The feature that was used.
            #[schema(value_type = schema::Key, example = "chat")]
            pub feature: Key,
            /// How much of what; at most 64.
            #[schema(value_type = BTreeMap<String, schema::Quantity>)]
            pub quantities: Quantities,
            /// What else is known of it; at most 64.
            #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Attributes::is_empty")]
            #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>)]
            pub attributes: Attributes,
            /// The user, team or agent under the customer who used it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<schema::Key>)]
            pub entity: Option<Key>,
            /// When it was used; defaults to now.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Option<schema::Time>)]
            pub occurred_at: Option<Timestamp>,
        }
    )+};
}

usage_bodies! {
    /// A usage.
    #[schema(example = json!({
        "feature": "chat",
        "quantities": { "input_tokens": 1200, "output_tokens": 300 },
        "attributes": { "model": "large" },
        "entity": "user-7"
    }))]
    Usage {}

    /// A usage to come, for which credits are set aside.
    #[schema(example = json!({
        "feature": "chat",
        "quantities": { "input_tokens": 1200, "output_tokens": 2000 },
        "ttl_seconds": 300
    }))]
    ExpectedUsage {
        /// How long the hold lasts, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(minimum = 1, maximum = 86400, default = 900)]
        ttl_seconds: Option<u32>,
    }

    /// One charge of a batch.
    #[schema(example = json!({
        "customer": "acme",
        "idempotency_key": "7f9c2e",
        "feature": "chat",
        "quantities": { "input_tokens": 1200 }
    }))]
    BatchCharge {
        /// The customer who pays.
        #[schema(value_type = schema::Key)]
        customer: CustomerId,
        /// New for each charge of the customer, the same for its repeats.
        #[schema(value_type = String, min_length = 1, max_length = 255)]
        idempotency_key: IdempotencyKey,
    }

    /// A usage that a client let pass under a lease.
    #[schema(example = json!({
        "idempotency_key": "7f9c2e",
        "feature": "chat",
        "quantities": { "input_tokens": 1200 },
        "occurred_at": "2026-11-23T10:00:00Z"
    }))]
    LeaseSettlement {
        /// New for each usage of the customer, the same for its repeats, in whichever batch.
        #[schema(value_type = String, min_length = 1, max_length = 255)]
        idempotency_key: IdempotencyKey,
    }
}

impl From<LeaseSettlement> for Usage {
    fn from(body: LeaseSettlement) -> Self {
        let LeaseSettlement { idempotency_key: _, feature, quantities, attributes, entity, occurred_at } =
            body;
        Self { feature, quantities, attributes, entity, occurred_at }
    }
}

impl From<ExpectedUsage> for Usage {
    fn from(body: ExpectedUsage) -> Self {
        let ExpectedUsage { ttl_seconds: _, feature, quantities, attributes, entity, occurred_at } = body;
        Self { feature, quantities, attributes, entity, occurred_at }
    }
}

impl From<BatchCharge> for Usage {
    fn from(body: BatchCharge) -> Self {
        let BatchCharge {
            customer: _,
            idempotency_key: _,
            feature,
            quantities,
            attributes,
            entity,
            occurred_at,
        } = body;
        Self { feature, quantities, attributes, entity, occurred_at }
    }
}

/// How long a reservation holds from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ttl_seconds": 900 }))]
pub struct Extension {
    /// In seconds.
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_seconds: u32,
}

/// What a reservation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "quantities": { "input_tokens": 1200, "output_tokens": 410 } }))]
pub struct ActualUsage {
    /// How much of what was used; at most 64.
    #[schema(value_type = BTreeMap<String, schema::Quantity>)]
    pub quantities: Quantities,
    /// Attributes that replace those of the reservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, schema::Attribute>>)]
    pub attributes: Option<Attributes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_is_written_as_it_is_read() {
        let text = r#"{"feature":"openai/gpt-4o","quantities":{"a":"1.5","b":"2"},"attributes":{"m":"x"},"entity":"Zoë"}"#;
        let usage: Usage = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&usage).unwrap(), text);
        for unknown in [
            r#"{"feature":"f","quantities":{},"ttl":1}"#,
            r#"{"feature":"f","quantities":{},"customer":"c"}"#,
        ] {
            assert!(
                serde_json::from_str::<ExpectedUsage>(unknown)
                    .unwrap_err()
                    .to_string()
                    .contains("unknown field")
            );
        }
    }
}
