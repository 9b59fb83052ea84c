//! Entitlements and overrides of them.

use crate::{
    any_json,
    balance::Balance,
    patch::{Given, Patch},
    problem::FieldError,
    schema,
};
use proviso_ledger::model::{
    entitlement::{Entitlement as LedgerEntitlement, Source},
    ids::{CustomerId, Key},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The longest value of a static entitlement as JSON, in bytes.
pub const MAX_VALUE_BYTES: usize = 16 << 10;

/// The kind of an entitlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntitlementType {
    /// On or off.
    Boolean,
    /// A fixed value for the product to read.
    Static,
    /// Usage that is charged in credits.
    Metered,
}

/// What a feature is entitled to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "type": "static", "value": 25 }))]
pub struct EntitlementValue {
    /// Its kind.
    pub r#type: EntitlementType,
    /// Of `boolean`: true or false. Of `static`: any value of up to 16 KiB, at most 64 arrays and objects deep. Of `metered`:
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "any_json::option")]
    pub value: Option<Value>,
}

impl EntitlementValue {
    /// The entitlement.
    ///
    /// # Errors
    /// A value that does not fit the type; `place` is the JSON pointer to this in the request.
    pub fn read(self, place: &str) -> Result<LedgerEntitlement, FieldError> {
        let wrong = |detail: &str| Err(FieldError::new(format!("{place}/value"), detail));
        match (self.r#type, self.value) {
            (EntitlementType::Boolean, Some(Value::Bool(value))) => Ok(LedgerEntitlement::Boolean { value }),
            (EntitlementType::Boolean, _) => wrong("must be true or false"),
            (EntitlementType::Static, Some(value)) if value.to_string().len() > MAX_VALUE_BYTES => {
                wrong(&format!("longer than {MAX_VALUE_BYTES} bytes"))
            }
            (EntitlementType::Static, Some(value)) => Ok(LedgerEntitlement::Static { value }),
            (EntitlementType::Static, None) => wrong("is missing"),
            (EntitlementType::Metered, None) => Ok(LedgerEntitlement::Metered {}),
            (EntitlementType::Metered, Some(_)) => wrong("a metered feature has no value"),
        }
    }
}

impl From<&LedgerEntitlement> for EntitlementValue {
    fn from(entitlement: &LedgerEntitlement) -> Self {
        let (r#type, value) = match entitlement {
            LedgerEntitlement::Boolean { value } => (EntitlementType::Boolean, Some(Value::Bool(*value))),
            LedgerEntitlement::Static { value } => (EntitlementType::Static, Some(value.clone())),
            LedgerEntitlement::Metered {} => (EntitlementType::Metered, None),
        };
        Self { r#type, value }
    }
}

/// What to change of a customer's override of a feature: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "type": "boolean", "value": true, "ends_at": "2027-01-01T00:00:00Z" }))]
pub struct OverrideInput {
    /// Its kind; required for a new override. `value` belongs to it: with `type`, an absent value is none. Without it, a `value` is of
    /// the kind that is in force.
    #[serde(default)]
    #[schema(value_type = EntitlementType)]
    pub r#type: Given<EntitlementType>,
    /// Of `boolean`: true or false. Of `static`: any value of up to 16 KiB, at most 64 arrays and objects deep. Of `metered`:
    /// absent.
    #[serde(default, deserialize_with = "any_json::given")]
    #[schema(value_type = Value)]
    pub value: Given<Value>,
    /// From when; defaults to now.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub starts_at: Patch<Timestamp>,
    /// Until when, exclusive; null means without an end.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Patch<Timestamp>,
}

/// An override.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Override {
    /// The feature.
    #[schema(value_type = schema::Key)]
    pub feature: Key,
    /// Its kind.
    pub r#type: EntitlementType,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// From when.
    #[schema(value_type = schema::Time)]
    pub starts_at: Timestamp,
    /// Until when, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
}

/// Whether a customer may use a feature, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Entitlement {
    /// The feature.
    #[schema(value_type = schema::Key)]
    pub feature: Key,
    /// Its kind.
    pub r#type: EntitlementType,
    /// Whether it may be used now; of a metered feature, whether a usage of the smallest cost would be charged. A dearer one may be
    /// refused, and one that is free, as included units are, may be taken although this says no.
    pub has_access: bool,
    /// `ok`, or why not: `switched_off`, `closed`, or the code with which a usage would be refused.
    pub reason: String,
    /// Where it comes from: `override`, `add_on` or `plan`.
    #[schema(value_type = String, example = "plan")]
    pub source: Source,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Of a metered feature: the balance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
}

/// The most customers, and the most features, of one query.
pub const MAX_QUERIED: usize = 100;

/// Customers and features: each customer is asked about each feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "customers": ["acme", "beta"], "features": ["chat", "export"] }))]
pub struct EntitlementQuery {
    /// 1 to 100 customers.
    #[schema(value_type = Vec<schema::Key>, min_items = 1, max_items = 100)]
    pub customers: Vec<CustomerId>,
    /// 1 to 100 features.
    #[schema(value_type = Vec<schema::Key>, min_items = 1, max_items = 100)]
    pub features: Vec<Key>,
}

/// What was asked about each customer, in the order of the query.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueriedEntitlements {
    /// One for each customer.
    pub data: Vec<QueriedCustomer>,
}

/// What was asked about one customer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueriedCustomer {
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// Whether there is such a customer.
    pub exists: bool,
    /// Those features that its plan, an add-on or an override knows, in the order of the query.
    pub entitlements: Vec<Entitlement>,
    /// Those that neither knows.
    #[schema(value_type = Vec<schema::Key>)]
    pub unknown: Vec<Key>,
}
