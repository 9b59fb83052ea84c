//! `GET /v1/customers/{customer}/ledger`: the journal, newest entries first.

use crate::{
    access::{Customer, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{PAGE_BYTES, Paging, Query, cursor},
    problem::Problem,
    wire,
};
use axum::extract::State;
use proviso_api::{
    Page,
    ledger::{BalanceAfter, LedgerEntry},
};
use proviso_ledger::{
    journal::{After, Entry},
    model::ids::Seq,
};
use serde_json::Value;
use std::sync::Arc;

problems!(LedgerProblems: CALLER CUSTOMER LIST LANE);

/// Read the ledger
///
/// Newest entries first, refusals included. A page ends early when its entries are large.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/ledger",
    operation_id = "read_ledger",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "Entries, newest first", body = Page<LedgerEntry>), LedgerProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let page = app.engine.ledger(&customer.id, paging.after::<Seq>()?, paging.limit()?, PAGE_BYTES).await?;
    let data = page.entries.iter().map(|(entry, hash)| ledger_entry(entry, hash));
    let data = data.collect::<Result<Vec<_>, _>>()?;
    Answer::ok(&Page { data, next_cursor: page.next_before.map(|before| cursor(&before)) })
}

fn ledger_entry<'a>(entry: &'a Entry, hash: &'a str) -> Result<LedgerEntry<'a>, Problem> {
    let (r#type, event) = particulars(entry)?;
    Ok(LedgerEntry {
        entry: entry.seq,
        at: entry.at,
        r#type,
        key: entry.key.as_ref(),
        event,
        decision: entry.decision(),
        transfers: &entry.transfers,
        counts: &entry.counts,
        after: entry.after.as_ref().map(|After { balance, next_reset_at }| BalanceAfter {
            credit: balance.credit.clone(),
            balance: wire::balance(balance, *next_reset_at),
        }),
        hash,
    })
}

/// An event's name and content, without the decision, which has a field of its own, and without the settings as the policy
/// prepared them, which only the policy can read.
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
