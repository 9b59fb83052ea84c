//! Automatic top-ups: the rule of a credit type, and the top-ups that it asks for.

use crate::{
    balance::Balance,
    budget::BudgetWindow,
    grant::Grant,
    patch::{Given, Patch},
    plan_grant::{Expires, ExpiresSchema},
    schema,
};
use proviso_ledger::model::{
    amounts::{Credits, Money},
    ids::{CustomerId, GrantId, Key, TopUpId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// The most top-ups that a rule may ask for in a window.
pub const MAX_TOP_UPS: u32 = 100;
/// The most failures in a row that a rule may bear.
pub const MAX_FAILURES: u32 = 100;
/// The shortest and the longest times, in seconds: a minute and 30 days.
pub const SECONDS: std::ops::RangeInclusive<u32> = 60..=2_592_000;
/// The longest id of a payment, and the longest reason, in bytes.
pub const MAX_TEXT: usize = 512;

/// What to change of the rule for the top-ups of a credit type: an absent field stays as it is, null clears it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "threshold": "100", "target": "1000", "max": 5, "per": "day", "unit_price": { "amount": "0.01", "currency": "EUR" }
}))]
pub struct AutoTopUpInput {
    /// A top-up is asked for once less than this is available to any feature. Required for a new rule.
    #[serde(default)]
    #[schema(value_type = schema::Credits, example = "100")]
    pub threshold: Given<Credits>,
    /// It brings what is missing to so many credits, with the overage that purchases pay: more than the threshold. This or `amount`
    /// is required for a new rule; each takes the place of the other.
    #[serde(default)]
    #[schema(value_type = schema::Credits, example = "1000")]
    pub target: Given<Credits>,
    /// It brings so many credits.
    #[serde(default)]
    #[schema(value_type = schema::Credits)]
    pub amount: Given<Credits>,
    /// So many at most in each window, those that await a payment included: 1 to 100; defaults to 5.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    pub max: Patch<u32>,
    /// The window in which they are counted, as of a budget: `hour`, `day`, `week`, `month`, `period`, `lifetime` or `hours:N`, which
    /// rolls here to the microsecond; defaults to `day`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "day")]
    pub per: Patch<BudgetWindow>,
    /// For so many seconds after one that was declined, or not answered, none is asked for: 60 to 2592000; defaults to 3600.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 60, maximum = 2_592_000)]
    pub cool_down_seconds: Patch<u32>,
    /// How long an answer is awaited: 60 to 2592000; defaults to 86400.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 60, maximum = 2_592_000)]
    pub answer_seconds: Patch<u32>,
    /// After so many in a row that were not paid, none is asked for until the rule is put again: 1 to 100; defaults to 3.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    pub max_failures: Patch<u32>,
    /// What one credit costs: the price of a top-up is that of its credits, rounded half up to the minor unit.
    #[serde(default)]
    #[schema(value_type = Option<schema::Money>)]
    pub unit_price: Patch<Money>,
    /// The priority of the grants; defaults to 0.
    #[serde(default)]
    #[schema(value_type = Option<i32>)]
    pub priority: Patch<i32>,
    /// When what is left of a grant expires; defaults to never, or to what the terms say of its category, `top_up`.
    #[serde(default)]
    #[schema(value_type = Option<ExpiresSchema>)]
    pub expires: Patch<Expires>,
    /// Whether top-ups are asked for; defaults to true. One that is pending can be answered in any case.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}

/// What keeps a rule from asking for a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutoTopUpStatus {
    /// Nothing: it asks when less than the threshold is available.
    Ready,
    /// It is switched off, or the customer is closed.
    Disabled,
    /// A top-up awaits its payment.
    Pending,
    /// The last was not paid.
    CoolingDown,
    /// As many as may be were asked for in the window.
    LimitReached,
    /// Too many in a row were not paid: put the rule again.
    PaymentsFailed,
}

/// The rule for the top-ups of a credit type.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AutoTopUp<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// A top-up is asked for once less than this is available to any feature.
    #[schema(value_type = schema::Credits)]
    pub threshold: Credits,
    /// It brings what is missing to so many credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub target: Option<Credits>,
    /// It brings so many credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub amount: Option<Credits>,
    /// So many at most in each window.
    pub max: u32,
    /// The window.
    #[schema(value_type = String, example = "day")]
    pub per: BudgetWindow,
    /// For so long after one that was not paid none is asked for.
    pub cool_down_seconds: u32,
    /// How long an answer is awaited.
    pub answer_seconds: u32,
    /// After so many in a row that were not paid, none is asked for until the rule is put again.
    pub max_failures: u32,
    /// What one credit costs.
    #[schema(value_type = Option<schema::Money>)]
    pub unit_price: Option<Money>,
    /// The priority of the grants.
    pub priority: i32,
    /// When what is left of a grant expires.
    #[schema(value_type = ExpiresSchema)]
    pub expires: Expires,
    /// Whether top-ups are asked for.
    pub enabled: bool,
    /// What keeps it from asking now.
    pub status: AutoTopUpStatus,
    /// How many of the window of now were paid, or may be.
    pub count: u32,
    /// How many in a row were not paid, since the rule was put.
    pub failures: u32,
    /// From when on it may ask again, where time alone brings that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub retry_at: Option<Timestamp>,
    /// The top-up that awaits its payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<TopUp<'a>>,
}

/// What became of a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopUpStatus {
    /// It awaits its payment.
    Pending,
    /// It was paid, and its credits were given.
    Paid,
    /// Its payment was declined.
    Declined,
    /// Nobody answered in time. It may still be paid as long as no other was asked for since.
    Expired,
    /// The customer was closed before.
    Cancelled,
}

/// A top-up: a payment that is asked for once, and what became of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopUp<'a> {
    /// Its id: the same however often it is read, so that nobody pays twice.
    #[schema(value_type = schema::Id, example = "topup_42")]
    pub id: TopUpId,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    /// What became of it.
    pub status: TopUpStatus,
    /// How many credits it brings.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// What it costs, where the rule names a price.
    #[schema(value_type = Option<schema::Money>)]
    pub price: Option<Money>,
    /// How many credits were available to any feature when it was asked for.
    #[schema(value_type = schema::Credits)]
    pub available: Credits,
    /// The cost of the refused usage that it was asked for; absent where less than the threshold was available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Credits>)]
    pub required: Option<Credits>,
    /// Its place among those of its window, from 1.
    pub number: u32,
    /// When it was asked for.
    #[schema(value_type = schema::Time)]
    pub requested_at: Timestamp,
    /// Until when an answer is awaited.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// When it was answered, or no answer was awaited any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub ended_at: Option<Timestamp>,
    /// The grant of its credits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Id>)]
    pub grant: Option<GrantId>,
    /// What was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Money>)]
    pub paid: Option<Money>,
    /// The id of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Cow<'a, str>>,
    /// Why its payment was declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}

/// A top-up that awaits its payment, of one of the customers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AwaitedTopUp<'a> {
    /// The customer.
    #[schema(value_type = schema::Key, example = "acme")]
    pub customer: CustomerId,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub top_up: TopUp<'a>,
}

/// That a top-up was paid.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TopUpPayment, example = json!({ "payment": "pi_3NqX" }))]
pub struct PaymentInput {
    /// The id of the payment, for people and other systems: at most 512 bytes.
    #[serde(default)]
    pub payment: Option<String>,
    /// What was paid, which becomes the cost basis of the grant; defaults to the price that was asked for.
    #[serde(default)]
    #[schema(value_type = Option<schema::Money>)]
    pub cost_basis: Option<Money>,
}

/// That the payment of a top-up was declined.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TopUpDecline, example = json!({ "reason": "card_expired" }))]
pub struct DeclineInput {
    /// Why, for people: at most 512 bytes.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A top-up that was paid, with the grant that it brought.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopUpPaid<'a> {
    /// The top-up.
    #[schema(value_type = schema::Id, example = "topup_42")]
    pub id: TopUpId,
    /// `paid`.
    pub status: TopUpStatus,
    /// The id of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Cow<'a, str>>,
    /// Whether it had expired before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expired_before: bool,
    /// The grant.
    pub grant: Grant<'a>,
    /// The balance afterwards.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A top-up whose payment was declined.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TopUpDeclined<'a> {
    /// The top-up.
    #[schema(value_type = schema::Id, example = "topup_42")]
    pub id: TopUpId,
    /// `declined`.
    pub status: TopUpStatus,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// The balance.
    pub balance: Balance,
    /// The number of the journal's entry.
    pub entry: u64,
}

/// A top-up that awaits its payment while credits are missing: what is bought beside it may be once too often.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct PendingTopUp {
    /// Its id.
    #[schema(value_type = schema::Id, example = "topup_42")]
    pub id: TopUpId,
    /// How many credits it brings.
    #[schema(value_type = schema::Credits)]
    pub amount: Credits,
    /// Until when its payment is awaited.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
}
