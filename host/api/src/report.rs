//! Usage reports.

use crate::schema;
use proviso_ledger::model::{
    amounts::{Credits, Decimal, Quantity},
    grant::Category,
    ids::{CustomerId, GrantId, Key},
    time::Timestamp,
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
    /// How many of them were imported: billed by another system, and only shown here.
    #[serde(default, skip_serializing_if = "is_none")]
    pub imported: u64,
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

/// Revenue of one group, in one currency: `opening + sold = earned + breakage + voided + deferred`, to the minor unit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevenueOfGroup {
    /// What all of it has in common.
    #[schema(example = json!({ "month": "2026-11" }))]
    pub group: BTreeMap<String, String>,
    /// Of all amounts; ISO 4217.
    #[schema(example = "EUR")]
    pub currency: String,
    /// What was deferred when the group's time began.
    #[schema(value_type = schema::Amount)]
    pub opening: Decimal,
    /// Cost bases of grants that were issued.
    #[schema(value_type = schema::Amount)]
    pub sold: Decimal,
    /// Of credits that were burnt, less `refunded`.
    #[schema(value_type = schema::Amount)]
    pub earned: Decimal,
    /// Of credits that expired.
    #[schema(value_type = schema::Amount)]
    pub breakage: Decimal,
    /// Of credits that were voided.
    #[schema(value_type = schema::Amount)]
    pub voided: Decimal,
    /// What refunds of charges took back of what had been earned.
    #[schema(value_type = schema::Amount)]
    pub refunded: Decimal,
    /// What was deferred when the group's time ended.
    #[schema(value_type = schema::Amount)]
    pub deferred: Decimal,
}

/// What grants had left over a time, ready to chart.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Burndowns {
    /// The instants of the points: where each interval begins, and the end.
    #[schema(value_type = Vec<schema::Time>)]
    pub points: Vec<Timestamp>,
    /// The grants that had something left at any of them, oldest first.
    pub grants: Vec<BurndownOfGrant>,
}

/// What one grant had left.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BurndownOfGrant {
    /// The grant.
    #[schema(value_type = schema::Key)]
    pub grant: GrantId,
    /// Its credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// Why it exists.
    #[schema(value_type = String, example = "prepaid")]
    pub category: Category,
    /// At each of the points, with what reservations held of it.
    #[schema(value_type = Vec<schema::Credits>)]
    pub left: Vec<Credits>,
}

/// When credits run out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Forecasts {
    /// As of when.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// By credit type.
    pub credits: Vec<ForecastOfCredit>,
}

/// When one credit type runs out, if it is used as in the last 28 days and no more is granted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ForecastOfCredit {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// What is left now, of all features.
    #[schema(value_type = schema::Credits)]
    pub available: Credits,
    /// Whole days that were observed, up to 28.
    pub observed_days: u32,
    /// Usage of a day; null while no whole day was observed.
    pub daily: Option<DailyUsage>,
    /// When credits run out at that usage; null while no whole day was observed.
    pub runs_out: Option<RunsOut>,
}

/// Usage of a day: means of seven days in a row.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DailyUsage {
    /// 10th percentile.
    #[schema(value_type = schema::Credits)]
    pub low: Credits,
    /// Median.
    #[schema(value_type = schema::Credits)]
    pub expected: Credits,
    /// 90th percentile.
    #[schema(value_type = schema::Credits)]
    pub high: Credits,
}

/// When credits run out; null where they last for a year or longer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RunsOut {
    /// At high usage.
    #[schema(value_type = Option<schema::Time>)]
    pub earliest: Option<Timestamp>,
    /// At expected usage.
    #[schema(value_type = Option<schema::Time>)]
    pub expected: Option<Timestamp>,
    /// At low usage.
    #[schema(value_type = Option<schema::Time>)]
    pub latest: Option<Timestamp>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}
