//! `GET /v1/customers/{customer}/usage`: usage and its cost, in groups.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Customer, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Paging, Query, cursor},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{
    Page,
    maps::is_name,
    report::{Cost, MAX_GROUPINGS, UsageOfGroup},
    schema,
};
use proviso_engine::{GroupBy, UsageGroup};
use proviso_ledger::model::time::{Timestamp, Zone};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// How far back a report reaches by default: 30 days, in microseconds.
const DEFAULT_SPAN: i64 = 30 * 86_400 * Timestamp::SECOND;

/// Which usage, and how it is grouped.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Report {
    /// From when; defaults to 30 days before `to`.
    #[param(value_type = Option<schema::Time>)]
    from: Option<Timestamp>,
    /// Until when, exclusive; defaults to now.
    #[param(value_type = Option<schema::Time>)]
    to: Option<Timestamp>,
    /// Up to four of `feature`, `entity`, `model`, `hour`, `day`, `month` and `attributes.<name>`, separated by commas;
    /// defaults to `feature`.
    #[param(example = "feature,attributes.model")]
    group_by: Option<String>,
    /// The zone of hours, days and months; defaults to the customer's.
    #[param(value_type = Option<schema::TimeZone>)]
    time_zone: Option<Zone>,
    /// How many groups at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

problems!(UsageProblems: CALLER CUSTOMER LIST LANE);

/// Report usage
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/usage",
    operation_id = "report_usage",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), Report),
    responses(
        (status = 200, description = "By group", body = Page<UsageOfGroup>),
        UsageProblems,
    ),
)]
pub async fn report(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<Report>,
) -> Result<Answer, Problem> {
    let Report { from, to, group_by, time_zone, limit, cursor: after } = query;
    let to = to.unwrap_or_else(|| app.now().plus_micros(1));
    let from = from.unwrap_or_else(|| to.plus_micros(-DEFAULT_SPAN));
    if from > to {
        return Err(Problem::bad_query("from must not lie after to"));
    }
    let paging = Paging::new(limit, after);
    let (limit, after) = (paging.limit()? as usize, paging.after::<GroupCursor>()?);
    let group_by = group_by.as_deref().unwrap_or("feature");
    let names: Vec<&str> = group_by.split(',').map(str::trim).collect();
    let groupings = names.iter().map(|name| grouping(name)).collect::<Result<Vec<_>, _>>()?;
    if groupings.len() > MAX_GROUPINGS {
        return Err(Problem::bad_query(format!("group_by names more than {MAX_GROUPINGS} properties")));
    }
    let groups = app.engine.usage(&customer.id, from, to, &groupings, time_zone).await?;
    let mut rest =
        groups.into_iter().skip_while(|(key, _)| after.as_ref().is_some_and(|after| *key <= after.0));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let last = page.last().filter(|_| rest.next().is_some());
    let next_cursor = last.map(|(key, _)| cursor(&GroupCursor(key.clone())));
    let data = page.into_iter().map(|(key, group)| of_group(&names, key, group)).collect();
    Answer::ok(&Page { data, next_cursor })
}

fn grouping(name: &str) -> Result<GroupBy, Problem> {
    match (name, name.strip_prefix("attributes.")) {
        ("feature", _) => Ok(GroupBy::Feature),
        ("entity", _) => Ok(GroupBy::Entity),
        ("model", _) => Ok(GroupBy::Attribute("model".to_owned())),
        ("hour", _) => Ok(GroupBy::Hour),
        ("day", _) => Ok(GroupBy::Day),
        ("month", _) => Ok(GroupBy::Month),
        (_, Some(attribute)) if is_name(attribute) => Ok(GroupBy::Attribute(attribute.to_owned())),
        _ => Err(Problem::bad_query(
            "group_by takes feature, entity, model, hour, day, month and attributes.<name>, separated by commas",
        )),
    }
}

fn of_group(names: &[&str], key: Vec<Option<String>>, group: UsageGroup) -> UsageOfGroup {
    UsageOfGroup {
        group: names.iter().map(|name| (*name).to_owned()).zip(key).collect(),
        charges: group.charges,
        cost: group.cost.into_iter().map(|(credit, cost)| Cost { credit, cost }).collect(),
        quantities: group.quantities,
    }
}

/// A group's key as text.
struct GroupCursor(Vec<Option<String>>);

impl std::str::FromStr for GroupCursor {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Self)
    }
}

impl std::fmt::Display for GroupCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| std::fmt::Error)?)
    }
}
