//! `GET /v1/audit`: who changed what, when, and from what to what.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Admin, Operator},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Paging, Query, cursor, fitting},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{Page, audit::AuditEntry, schema};
use proviso_engine::{AuditFilter, AuditPage, CATALOG_KINDS, CUSTOMER_KINDS};
use proviso_ledger::model::{
    ids::{CustomerId, Name},
    time::Timestamp,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

problems!(AuditProblems: CALLER OPERATOR LIST LANE, CustomerNotFound);

/// Which changes are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Changes {
    /// Only changes that this API key asked for.
    #[param(value_type = Option<schema::Id>, example = "key_2")]
    actor: Option<Name>,
    /// Only changes of this type.
    #[param(example = "plan_changed")]
    r#type: Option<String>,
    /// The changes of this customer, instead of those of plans, policies and API keys.
    #[param(value_type = Option<schema::Key>)]
    customer: Option<CustomerId>,
    /// Only changes made at this time or later.
    #[param(value_type = Option<schema::Time>)]
    from: Option<Timestamp>,
    /// Only changes made before this time.
    #[param(value_type = Option<schema::Time>)]
    to: Option<Timestamp>,
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

/// Read who changed what
///
/// Changes of plans, their terms, policies, versions and API keys, newest first; with `customer`, those of that customer, as its
/// ledger has them: profile, plan, terms, overrides, grants, voids, adjustments, refunds, resets. Secrets are in none of them.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "read_audit",
    tag = "Operating",
    params(Changes),
    responses((status = 200, description = "Changes, newest first", body = Page<AuditEntry>), AuditProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Admin>,
    Query(query): Query<Changes>,
) -> Result<Answer, Problem> {
    let Changes { actor, r#type, customer, from, to, limit, cursor: before } = query;
    let paging = Paging::new(limit, before);
    let kinds = if customer.is_some() { &CUSTOMER_KINDS[..] } else { &CATALOG_KINDS[..] };
    if r#type.as_ref().is_some_and(|kind| !kinds.contains(&kind.as_str())) {
        return Err(Problem::bad_query(format!("type takes one of {}", kinds.join(", "))));
    }
    let filter = AuditFilter { actor, kind: r#type, from, to };
    let (before, limit) = (paging.after::<u64>()?, paging.limit()?);
    let page = match &customer {
        Some(customer) => app.engine.customer_audit(customer, &filter, before, limit).await?,
        None => app.engine.audit(&filter, before, limit).await?,
    };
    let AuditPage { entries, mut next_before } = page;
    let mut data: Vec<AuditEntry> = entries
        .into_iter()
        .map(|entry| AuditEntry {
            number: entry.number,
            at: entry.at,
            actor: entry.actor,
            r#type: entry.kind,
            subject: entry.subject,
            before: entry.before,
            after: entry.after,
        })
        .collect();
    let fits = fitting(&data);
    if fits < data.len() {
        data.truncate(fits);
        next_before = data.last().map(|last| last.number);
    }
    Answer::ok(&Page { data, next_cursor: next_before.map(|number| cursor(&number)) })
}
