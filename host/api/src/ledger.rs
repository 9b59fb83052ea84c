//! Entries of a customer's journal.

use crate::{balance::Balance, schema};
use proviso_ledger::{
    journal::{BudgetCount, Count, DecisionRecord, Threshold as LedgerThreshold},
    model::{
        ids::{IdempotencyKey, Key, Name},
        time::Timestamp,
        transfer::Transfer as LedgerTransfer,
    },
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// An entry of the journal.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerEntry<'a> {
    /// Its number: 1, 2, 3, with no gaps.
    pub entry: u64,
    /// When it was accepted.
    #[schema(value_type = schema::Time)]
    pub at: Timestamp,
    /// What happened.
    #[schema(example = "charged")]
    pub r#type: String,
    /// The API key that asked; absent for what time itself brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Id>, example = "key_2")]
    pub by: Option<&'a Name>,
    /// The idempotency key of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<&'a IdempotencyKey>,
    /// The particulars; of a charge, with the lines that explain its cost.
    #[schema(value_type = schema::AnyObject)]
    pub event: Value,
    /// How the policy came to its answer, with what shadows would have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::AnyObject>)]
    pub decision: Option<&'a DecisionRecord>,
    /// Why it came to this, for people: the lines of a cost, the reason of a refusal, the notes of a period's end or beginning.
    pub explanation: Vec<String>,
    /// The movements of credits, in order.
    #[schema(value_type = Vec<Transfer>)]
    pub transfers: &'a [LedgerTransfer],
    /// What was added to usage counters.
    #[schema(value_type = Vec<schema::AnyObject>)]
    pub counts: &'a [Count],
    /// What was added to budgets.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<schema::AnyObject>)]
    pub budgets: &'a [BudgetCount],
    /// Which percentages of budgets and of the balance are reached with this, each for the first time in its window or period.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<Threshold>)]
    pub thresholds: &'a [LedgerThreshold],
    /// The balance after this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<BalanceAfter>,
    /// SHA-256 of the entry, chained to the one before it.
    pub hash: &'a str,
}

/// A movement of credits from one book of the customer to another.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the ledger's own type")]
pub struct Transfer {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: String,
    /// The book that gives, such as `issued` or `grant/grant_12`.
    from: String,
    /// The book that takes, such as `spent` or `reserved/res_12`.
    to: String,
    /// How much.
    #[schema(value_type = schema::Credits)]
    amount: String,
}

/// A percentage of a budget or of a balance that is reached.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of the ledger's own type")]
pub struct Threshold {
    /// The budget, when it is one's.
    #[schema(value_type = Option<schema::Key>)]
    budget: Option<String>,
    /// The number of the budget's window.
    r#in: Option<i64>,
    /// The credit type, when it is a balance's.
    #[schema(value_type = Option<schema::Key>)]
    credit: Option<String>,
    /// The percentage.
    percent: u16,
    /// What is used by now.
    #[schema(value_type = schema::Amount)]
    used: String,
    /// What the percentage is of: the budget's limit, or what was granted.
    #[schema(value_type = schema::Amount)]
    limit: String,
}

/// The balance after an entry.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceAfter {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    pub credit: Key,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub balance: Balance,
}
