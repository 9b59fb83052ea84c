//! `GET /v1/customers/{customer}/ledger`: the journal, newest entries first or oldest first, as a whole or what fits.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

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
    schema,
};
use proviso_engine::LedgerFilter;
use proviso_ledger::{
    journal::{After, Entry, Event, Line, Rated},
    model::{
        ids::{Key, Seq},
        time::Timestamp,
    },
};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

problems!(LedgerProblems: CALLER CUSTOMER LIST LANE);

/// Which entries are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Entries {
    /// Only entries of these types, separated by commas.
    #[param(example = "charged,committed,refunded")]
    r#type: Option<String>,
    /// Only entries about usage of this feature.
    #[param(value_type = Option<schema::Key>)]
    feature: Option<Key>,
    /// Only entries about usage of this entity, or of those that stood below it then.
    #[param(value_type = Option<schema::Key>)]
    entity: Option<Key>,
    /// Only entries accepted at this time or later.
    #[param(value_type = Option<schema::Time>)]
    from: Option<Timestamp>,
    /// Only entries accepted before this time.
    #[param(value_type = Option<schema::Time>)]
    to: Option<Timestamp>,
    /// `desc`, newest first, or `asc`; defaults to `desc`.
    #[param(inline)]
    order: Option<Order>,
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Read the ledger
///
/// Newest entries first, refusals included. A page ends early when its entries are large or few of many fit, and still has a next
/// one.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/ledger",
    operation_id = "read_ledger",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), Entries),
    responses((status = 200, description = "Entries", body = Page<LedgerEntry>), LedgerProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<Entries>,
) -> Result<Answer, Problem> {
    let Entries { r#type, feature, entity, from, to, order, limit, cursor: after } = query;
    let paging = Paging::new(limit, after);
    let filter = LedgerFilter {
        kinds: r#type.as_deref().map(kinds).transpose()?.unwrap_or_default(),
        feature,
        entity,
        from,
        to,
        oldest_first: order == Some(Order::Asc),
    };
    let (after, limit) = (paging.after::<Seq>()?, paging.limit()?);
    let page = app.engine.ledger(&customer.id, &filter, after, limit, PAGE_BYTES).await?;
    let data = page.entries.iter().map(|(entry, hash)| ledger_entry(entry, hash));
    let data = data.collect::<Result<Vec<_>, _>>()?;
    Answer::ok(&Page { data, next_cursor: page.next_after.map(|last| cursor(&last)) })
}

fn kinds(text: &str) -> Result<Vec<String>, Problem> {
    let kinds = text.split(',').map(str::trim).map(|kind| {
        let is_known = Event::KINDS.contains(&kind);
        let unknown = || Problem::bad_query(format!("type takes {}", Event::KINDS.join(", ")));
        is_known.then(|| kind.to_owned()).ok_or_else(unknown)
    });
    kinds.collect()
}

fn ledger_entry<'a>(entry: &'a Entry, hash: &'a str) -> Result<LedgerEntry<'a>, Problem> {
    let (r#type, event) = particulars(entry)?;
    Ok(LedgerEntry {
        entry: entry.seq,
        at: entry.at,
        r#type,
        by: entry.by.as_ref(),
        key: entry.key.as_ref(),
        event,
        decision: entry.decision(),
        explanation: explanation(&entry.event),
        transfers: &entry.transfers,
        counts: &entry.counts,
        budgets: &entry.budgets,
        thresholds: &entry.thresholds,
        after: entry.after.as_ref().map(|After { balance, next_reset_at }| BalanceAfter {
            credit: balance.credit.clone(),
            balance: wire::balance(balance, *next_reset_at),
        }),
        hash,
    })
}

/// What an entry says of itself, in a list of sentences. Its parts are in the event, for machines.
fn explanation(event: &Event) -> Vec<String> {
    let cost = |rated: &Rated| rated.lines.iter().map(line).collect::<Vec<_>>();
    match event {
        Event::Charged(charged) => cost(&charged.rated),
        Event::Reserved(reserved) => cost(&reserved.rated),
        Event::Committed(committed) => {
            let unrated =
                committed.as_reserved.iter().map(|one| format!("as reserved, since {}", one.detail));
            cost(&committed.rated).into_iter().chain(unrated).collect()
        }
        Event::Refused(refused) => {
            let why = format!("{}: {}", refused.code, refused.detail);
            refused.rated.iter().flat_map(cost).chain([why]).collect()
        }
        Event::PeriodClosed(closed) => closed.notes.clone(),
        Event::PeriodOpened(opened) => opened.notes.clone(),
        Event::Adjusted(adjusted) => vec![adjusted.reason.clone()],
        Event::Refunded(refunded) => vec![refunded.reason.clone()],
        _ => Vec::new(),
    }
}

fn line(line: &Line) -> String {
    let Line { label, quantity, unit_cost, cost } = line;
    format!("{label}: {quantity} x {unit_cost} = {cost}")
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
