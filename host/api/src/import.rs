//! What is moved in from another system, and out to one: one record a line. An export is written in the form that an import reads.

use crate::{
    budget::{BudgetAttribute, BudgetWindow},
    entitlement::EntitlementValue,
    maps::{Attributes, ExternalIds, Quantities, distinct},
    patch::null_is_default,
    problem::FieldError,
    schema,
};
use proviso_ledger::model::{
    amounts::{Credits, Money, Quantity},
    grant::Category,
    ids::{CustomerId, Key, Name},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The most records of one request.
pub const MAX_RECORDS: usize = 1_000;
/// The name under which `paid` has what was drawn beyond all grants.
pub const OVERAGE: &str = "overage";

/// What a record is about. Records of one customer are taken in their order: first the customer, then what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordType {
    /// A customer, created as it was.
    Customer,
    /// An entity under a customer.
    Entity,
    /// A budget.
    Budget,
    /// An override of an entitlement.
    Entitlement,
    /// A grant with what it has left.
    Grant,
    /// Overage that is outstanding.
    Overage,
    /// Usage that was billed elsewhere: shown, never billed.
    Usage,
    /// The customer is closed. Its last record.
    Closed,
    /// The end of an export. Without it an export is not whole.
    End,
}

impl RecordType {
    /// The name in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Entity => "entity",
            Self::Budget => "budget",
            Self::Entitlement => "entitlement",
            Self::Grant => "grant",
            Self::Overage => "overage",
            Self::Usage => "usage",
            Self::Closed => "closed",
            Self::End => "end",
        }
    }
}

/// How a customer's first period begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodStart {
    /// It runs already: the plan gives nothing now, what it gave comes as grants.
    #[default]
    Resume,
    /// It begins now: the plan gives what it gives to a new customer.
    Open,
}

impl PeriodStart {
    fn is_resume(&self) -> bool {
        *self == Self::Resume
    }
}

/// A customer as it was elsewhere. One that exists must be the same: an import changes none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerRecord {
    /// `customer`.
    pub r#type: RecordType,
    /// Its key.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// For people; defaults to the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The plan, which must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Name>)]
    pub plan: Option<Name>,
    /// The plan's version; defaults to the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_version: Option<u32>,
    /// The zone in which periods and days are counted; defaults to UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::TimeZone>)]
    pub time_zone: Option<Zone>,
    /// From where periods are counted, such as the start of the subscription; defaults to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub anchor: Option<Timestamp>,
    /// The caller's data, which policies may read.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    pub attributes: Attributes,
    /// Its ids in other systems.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "ExternalIds::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub external_ids: ExternalIds,
    /// How its first period begins; defaults to `resume`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "PeriodStart::is_resume")]
    pub period: PeriodStart,
    /// When the trial of its plan ends. Without it, a customer that resumes has had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub trial_ends_at: Option<Timestamp>,
}

/// An entity under a customer. Those above it come first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityRecord {
    /// `entity`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// Its key.
    #[schema(value_type = schema::Key)]
    pub entity: Key,
    /// The entity above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub parent: Option<Key>,
    /// The caller's data.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    pub attributes: Attributes,
}

/// A budget. What was used of it before does not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRecord {
    /// `budget`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// Its key.
    #[schema(value_type = schema::Key)]
    pub budget: Key,
    /// The entity whose usage counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// The attribute with which usage counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<BudgetAttribute>,
    /// Only usage of these features.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Vec<Key>,
    /// When it starts again.
    #[schema(value_type = String, example = "month")]
    pub window: BudgetWindow,
    /// How much may be used in a window, zero or more.
    #[schema(value_type = schema::Quantity)]
    pub limit: Quantity,
    /// The quantity that is limited; without it, credits are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// The type of the credits that are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// Whether what would exceed the limit is refused; defaults to true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<bool>,
    /// The percentages that are reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<u64>>)]
    pub warn_at: Option<Vec<u16>>,
}

/// An override of an entitlement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitlementRecord {
    /// `entitlement`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// The feature.
    #[schema(value_type = schema::Key)]
    pub feature: Key,
    /// What the customer is entitled to.
    pub entitlement: EntitlementValue,
    /// From when; defaults to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub starts_at: Option<Timestamp>,
    /// Until when, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub ends_at: Option<Timestamp>,
}

/// A grant with what it has left: `amount` less `used` and `voided`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantRecord {
    /// `grant`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// Its id in the other system. The same id again moves nothing in.
    #[schema(value_type = schema::Key)]
    pub id: Key,
    /// How many credits were granted, above zero.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// How many of them were spent; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "no_credits")]
    #[schema(value_type = schema::Credits)]
    pub used: Credits,
    /// How many of them were voided; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "no_credits")]
    #[schema(value_type = schema::Credits)]
    pub voided: Credits,
    /// The credit type; defaults to `credits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// Why it exists: `plan`, `trial`, `prepaid`, `promotional`, `top_up`, `contract`, `rollover` or `adjustment`.
    #[schema(value_type = String, example = "prepaid")]
    pub category: Category,
    /// A lower number is drawn first; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// When it became usable, however long ago; defaults to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub effective_at: Option<Timestamp>,
    /// When what is left of it expires, which must lie ahead; null is never. Defaults to what the terms say of its category, or never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Option<Timestamp>>,
    /// With the end of which period what is left of it expires: 0 is the running one, 1 the one after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_with_period: Option<u32>,
    /// The features that may draw on it; empty means all.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<schema::Key>)]
    pub features: Vec<Key>,
    /// What the customer paid for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Money>)]
    pub cost_basis: Option<Money>,
    /// The caller's own data.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    pub metadata: Attributes,
    /// Whether it is the allowance that the plan gave for the running period. Defaults to true for one of category `plan` or `trial`
    /// that expires with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<bool>,
}

/// Overage that is outstanding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverageRecord {
    /// `overage`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// Its id in the other system. The same id again moves nothing in.
    #[schema(value_type = schema::Key)]
    pub id: Key,
    /// The credit type; defaults to `credits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// How many credits, above zero.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
}

/// Usage that was billed elsewhere. Reports show it by its time of use, marked as imported; it moves no balance, counter or budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageRecord {
    /// `usage`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
    /// Its id in the other system. The same id again moves nothing in.
    #[schema(value_type = schema::Key)]
    pub id: Key,
    /// The feature that was used.
    #[schema(value_type = schema::Key)]
    pub feature: Key,
    /// How much of what.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = BTreeMap<String, schema::Quantity>)]
    pub quantities: Quantities,
    /// What else is known of it.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    pub attributes: Attributes,
    /// The user, team or agent who used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub entity: Option<Key>,
    /// Who stood above the entity then, its parent first; defaults to those of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<schema::Key>>, max_items = 6)]
    pub ancestors: Option<Vec<Key>>,
    /// When it was used, however long ago.
    #[schema(value_type = schema::Time)]
    pub occurred_at: Timestamp,
    /// The credit type; defaults to `credits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub credit: Option<Key>,
    /// What it cost; defaults to 0.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "no_credits")]
    #[schema(value_type = schema::Credits)]
    pub cost: Credits,
    /// What paid for it, by the grants' category; `overage` is what none paid.
    #[serde(default, deserialize_with = "distinct", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, schema::Credits>)]
    pub paid: BTreeMap<String, Credits>,
    /// Whether it takes earlier usage back: cost and quantities are subtracted.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub refund: bool,
}

/// The customer is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClosedRecord {
    /// `closed`.
    pub r#type: RecordType,
    /// The customer.
    #[schema(value_type = schema::Key)]
    pub customer: CustomerId,
}

/// What an export leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Terms of customers' own, which need policies: bind them again.
    #[serde(default)]
    pub terms: u64,
    /// Open reservations and leases: what they hold counts as not used.
    #[serde(default)]
    pub reservations: u64,
    /// Pending changes of plan.
    #[serde(default)]
    pub plan_changes: u64,
    /// Rules for automatic top-ups, with what they asked for: put them again.
    #[serde(default)]
    pub auto_top_ups: u64,
    /// Add-ons that customers have or had: attach them again, from the next cycle on.
    #[serde(default)]
    pub add_ons: u64,
    /// Promotions that customers redeemed: they could redeem them again elsewhere.
    #[serde(default)]
    pub redemptions: u64,
}

/// The last record of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndRecord {
    /// `end`.
    pub r#type: RecordType,
    /// How many customers the export has.
    pub customers: u64,
    /// How many records it has, without this one.
    pub records: u64,
    /// What it leaves out.
    pub left_out: LeftOut,
}

/// Any record.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ImportRecord {
    /// See [`CustomerRecord`].
    Customer(CustomerRecord),
    /// See [`EntityRecord`].
    Entity(EntityRecord),
    /// See [`BudgetRecord`].
    Budget(BudgetRecord),
    /// See [`EntitlementRecord`].
    Entitlement(EntitlementRecord),
    /// See [`GrantRecord`].
    Grant(Box<GrantRecord>),
    /// See [`OverageRecord`].
    Overage(OverageRecord),
    /// See [`UsageRecord`].
    Usage(Box<UsageRecord>),
    /// See [`ClosedRecord`].
    Closed(ClosedRecord),
    /// See [`EndRecord`].
    End(EndRecord),
}

/// What an import came to.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ImportReport {
    /// The import's name.
    #[schema(value_type = schema::Key)]
    pub import: String,
    /// How many records were read.
    pub records: u64,
    /// How many were moved in now, by type.
    #[schema(value_type = BTreeMap<String, u64>, example = json!({ "customer": 1, "grant": 2 }))]
    pub imported: BTreeMap<RecordType, u64>,
    /// How many were there already.
    pub repeated: u64,
    /// Those that were refused, in order.
    pub refused: Vec<RefusedRecord>,
}

/// A record that was refused. The others were moved in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RefusedRecord {
    /// Its line: 1 for the first.
    pub line: u64,
    /// What it is about, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<RecordType>,
    /// Its customer, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    pub customer: Option<String>,
    /// Its id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The status that it alone would have had; 429 and 503 may be sent again as they are.
    pub status: u16,
    /// Why, for machines: a code of the published list.
    pub code: String,
    /// Why, for people.
    pub detail: String,
    /// The fields that are wrong, as pointers into the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What a field is that may be null, where null is not the same as absent.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn no_credits(amount: &Credits) -> bool {
    amount.is_zero()
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_they_are_read() {
        for text in [
            r#"{"type":"grant","customer":"acme","id":"g-1","amount":"100","used":"40","category":"prepaid","expires_at":null}"#,
            r#"{"type":"grant","customer":"acme","id":"g-2","amount":"100","category":"plan","expires_with_period":0}"#,
        ] {
            let record: GrantRecord = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
        }
        let text = r#"{"type":"usage","customer":"acme","id":"u","feature":"chat","quantities":{"tokens":"7"},"occurred_at":"2024-02-03T04:05:06Z","cost":"1.5","paid":{"overage":"0.5","prepaid":"1"}}"#;
        let record: UsageRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let text = r#"{"type":"customer","customer":"acme","plan":"pro","period":"open"}"#;
        let record: CustomerRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }
}
