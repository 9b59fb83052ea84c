//! `GET /v1/customers/{customer}/ledger`: the journal, newest entries first.

use crate::{
    access::{Customer, Read},
    answers::{Answer, Balance},
    app::App,
    extract::{Page, Paging, Query, cursor},
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_ledger::{
    journal::{After, Count, DecisionRecord, Entry},
    model::{
        ids::{IdempotencyKey, Key, Seq},
        time::Timestamp,
        transfer::Transfer,
    },
};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// An entry of the journal.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerEntry<'a> {
    /// Its number: 1, 2, 3, with no gaps.
    entry: u64,
    /// When it was accepted.
    #[schema(value_type = schema::Time)]
    at: Timestamp,
    /// What happened.
    #[schema(example = "charged")]
    r#type: String,
    /// The idempotency key of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key: Option<&'a IdempotencyKey>,
    /// The particulars; of a charge, with the lines that explain its cost.
    #[schema(value_type = Object)]
    event: Value,
    /// How the policy came to its answer, with what shadows would have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    decision: Option<&'a DecisionRecord>,
    /// The movements of credits, in order.
    #[schema(value_type = Vec<TransferView>)]
    transfers: &'a [Transfer],
    /// What was added to usage counters.
    #[schema(value_type = Vec<Object>)]
    counts: &'a [Count],
    /// The balance after this entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<AfterView<'a>>,
    /// SHA-256 of the entry, chained to the one before it.
    hash: &'a str,
}

/// A movement of credits from one book of the customer to another.
#[derive(ToSchema)]
#[schema(as = Transfer)]
#[expect(dead_code, reason = "it stands for the ledger's type in the API document")]
pub struct TransferView {
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

/// The balance after an entry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BalanceAfter)]
pub struct AfterView<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    #[serde(flatten)]
    balance: Balance,
}

/// Read the ledger
///
/// Newest entries first, refusals included.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/ledger",
    operation_id = "read_ledger",
    tag = "Reading",
    params(("customer" = String, Path, description = "Whose"), Paging),
    responses(
        (status = 200, description = "Entries, newest first", body = Page<LedgerEntry>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let page = app.engine.ledger(&customer.id, paging.after::<Seq>()?, paging.limit()?).await?;
    let data = page.entries.iter().map(|(entry, hash)| LedgerEntry::new(entry, hash));
    let data = data.collect::<Result<Vec<_>, _>>()?;
    Answer::ok(&Page { data, next_cursor: page.next_before.map(|before| cursor(&before)) })
}

impl<'a> LedgerEntry<'a> {
    fn new(entry: &'a Entry, hash: &'a str) -> Result<Self, Problem> {
        let (r#type, event) = particulars(entry)?;
        Ok(Self {
            entry: entry.seq,
            at: entry.at,
            r#type,
            key: entry.key.as_ref(),
            event,
            decision: entry.decision(),
            transfers: &entry.transfers,
            counts: &entry.counts,
            after: entry.after.as_ref().map(|After { balance, next_reset_at }| AfterView {
                credit: &balance.credit,
                balance: Balance::new(balance, *next_reset_at),
            }),
            hash,
        })
    }
}

/// An event's name and content; the decision stands beside it, and what a policy made of its settings is of no use here.
fn particulars(entry: &Entry) -> Result<(String, Value), Problem> {
    let defect = |detail: String| Problem::internal(format!("entry {}: {detail}", entry.seq));
    let event = serde_json::to_value(&entry.event).map_err(|error| defect(error.to_string()))?;
    let Value::Object(event) = event else { return Err(defect("an event that is no object".to_owned())) };
    let named = event.into_iter().next();
    let (name, mut content) = named.ok_or_else(|| defect("an event without a name".to_owned()))?;
    if let Value::Object(fields) = &mut content {
        fields.remove("decision");
        fields.remove("prepared");
    }
    Ok((name, content))
}
