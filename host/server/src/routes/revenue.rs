//! `GET /v1/revenue` and `GET /v1/customers/{customer}/revenue`: what of prepaid credits is deferred, earned, or lost to expiry.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use super::{
    csv_table::{self, accepts_csv, cell},
    usage_report::TimeOrDate,
};
use crate::{
    access::{Customer, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Paging, Query, cursor},
    problem::Problem,
};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use proviso_api::{Page, report::RevenueOfGroup, schema};
use proviso_engine::{Revenue, RevenueBy, RevenuePage, RevenueReport};
use proviso_ledger::model::{
    ids::CustomerId,
    time::{Timestamp, Zone},
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::IntoParams;

/// Which revenue, and how it is grouped.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevenueQuery {
    /// From when: an instant, or a date in `time_zone`; defaults to the beginning.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    from: Option<TimeOrDate>,
    /// Until when, exclusive: an instant, or a date in `time_zone`; defaults to now.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    to: Option<TimeOrDate>,
    /// Some of `month`, `currency`, `customer`, `category` and `grant`, separated by commas; defaults to `month,currency`.
    /// Currencies are never added up.
    #[param(example = "month,currency")]
    group_by: Option<String>,
    /// The zone of dates and months; defaults to UTC.
    #[param(value_type = Option<schema::TimeZone>)]
    time_zone: Option<Zone>,
    /// By customer: how many groups a page has at most before it ends with a whole customer, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// By customer: where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

problems!(OfCustomerProblems: CALLER CUSTOMER LIST LANE);
problems!(OfAllProblems: CALLER OPERATOR LIST);

/// Report a customer's revenue
///
/// By the time of the entries: what was paid for credits (their `cost_basis`) is deferred until they are burnt (`earned`), expire
/// (`breakage`) or are voided. A refund of a charge defers again what was earned. `Accept: text/csv` answers a table.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/revenue",
    operation_id = "report_revenue",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), RevenueQuery),
    responses(
        (status = 200, description = "By group", content(
            (Page<RevenueOfGroup> = "application/json"),
            (String = "text/csv"),
        )),
        OfCustomerProblems,
    ),
)]
pub async fn of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<RevenueQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (report, names, paging) = query.read(app.now())?;
    // All of a customer's rows are one page, so that no cursor leads to another.
    paging.limit()?;
    if paging.after::<CustomerId>()?.is_some() {
        return Err(Problem::bad_cursor());
    }
    let rows = app.engine.revenue(&customer.id, &report).await?;
    answer(&headers, &names, rows, None)
}

/// Report the revenue of all customers
///
/// As of one customer. Grouped by `customer`, it comes in pages of whole customers; a page may be short, or empty, and still have a
/// next one. Else all journals are read for one answer.
#[utoipa::path(
    get,
    path = "/v1/revenue",
    operation_id = "report_revenue_of_all",
    tag = "Reading",
    params(RevenueQuery),
    responses(
        (status = 200, description = "By group", content(
            (Page<RevenueOfGroup> = "application/json"),
            (String = "text/csv"),
        )),
        OfAllProblems,
    ),
)]
pub async fn of_all(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(query): Query<RevenueQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (report, names, paging) = query.read(app.now())?;
    let (limit, mut after) = (paging.limit()? as usize, paging.after::<CustomerId>()?);
    if accepts_csv(&headers) {
        let mut rows = Vec::new();
        loop {
            let page = app.engine.revenue_of_all(&report, after, limit).await?;
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                rows.sort_by(|a, b| a.group.cmp(&b.group));
                return answer(&headers, &names, rows, None);
            }
        }
    }
    let RevenuePage { rows, next } = app.engine.revenue_of_all(&report, after, limit).await?;
    answer(&headers, &names, rows, next)
}

impl RevenueQuery {
    fn read(self, now: Timestamp) -> Result<(RevenueReport, Vec<String>, Paging), Problem> {
        let Self { from, to, group_by, time_zone, limit, cursor } = self;
        let zone = time_zone.unwrap_or_default();
        let end = now.plus_micros(1);
        // What is yet to come has no revenue.
        let to = to.map_or(end, |to| to.instant(&zone)).min(end);
        let from = from.map_or(Timestamp(i64::MIN).plus_micros(0), |from| from.instant(&zone));
        if from > to {
            return Err(Problem::bad_query("from must not lie after to, nor after now"));
        }
        let group_by = group_by.as_deref().unwrap_or("month,currency");
        let names: Vec<String> = group_by.split(',').map(|name| name.trim().to_owned()).collect();
        let by = names.iter().enumerate().map(|(place, name)| match name.as_str() {
            _ if names.iter().take(place).any(|before| before == name) => {
                Err(Problem::bad_query(format!("group_by names {name} twice")))
            }
            "month" => Ok(RevenueBy::Month),
            "currency" => Ok(RevenueBy::Currency),
            "customer" => Ok(RevenueBy::Customer),
            "category" => Ok(RevenueBy::Category),
            "grant" => Ok(RevenueBy::Grant),
            _ => Err(Problem::bad_query(
                "group_by takes month, currency, customer, category and grant, separated by commas",
            )),
        });
        let group_by = by.collect::<Result<Vec<_>, _>>()?;
        Ok((RevenueReport { from, to, group_by, zone }, names, Paging::new(limit, cursor)))
    }
}

fn answer(
    headers: &HeaderMap,
    names: &[String],
    rows: Vec<Revenue>,
    next: Option<CustomerId>,
) -> Result<Response, Problem> {
    if accepts_csv(headers) {
        return table(names, &rows);
    }
    let data = rows.into_iter().map(|row| {
        let Revenue { group, currency, opening, sold, earned, breakage, voided, refunded, deferred } = row;
        let group: BTreeMap<_, _> = names.iter().cloned().zip(group).collect();
        let currency = currency.to_string();
        RevenueOfGroup { group, currency, opening, sold, earned, breakage, voided, refunded, deferred }
    });
    let next_cursor = next.map(|last| cursor(&last));
    Ok(Answer::ok(&Page { data: data.collect(), next_cursor })?.into_response())
}

/// The columns of amounts, after those of the grouping.
const AMOUNTS: [&str; 7] = ["opening", "sold", "earned", "breakage", "voided", "refunded", "deferred"];

fn table(names: &[String], rows: &[Revenue]) -> Result<Response, Problem> {
    let has_currency = names.iter().any(|name| name == "currency");
    let currency = (!has_currency).then_some("currency");
    let heads = names.iter().map(String::as_str).chain(currency).chain(AMOUNTS);
    csv_table::answer(|writer| {
        writer.write_record(heads)?;
        for row in rows {
            let amounts =
                [row.opening, row.sold, row.earned, row.breakage, row.voided, row.refunded, row.deferred];
            let currency = currency.map(|_| row.currency.to_string());
            let texts = row.group.iter().map(|value| cell(value)).chain(currency);
            writer.write_record(texts.chain(amounts.map(|amount| amount.to_string())))?;
        }
        Ok(())
    })
}
