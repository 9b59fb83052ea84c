//! `GET /v1/customers/{customer}/usage`: usage and its cost, in groups.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Customer, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Paging, Query, cursor, fitting},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{
    Page,
    maps::is_name,
    report::{Cost, MAX_GROUPINGS, UsageOfGroup},
    schema,
};
use proviso_engine::{GroupBy, GroupKey, UsageGroup, UsagePage, UsageQuery};
use proviso_ledger::model::{
    ids::Seq,
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};
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
///
/// All pages of a report are of the same span and the same entries, those that the first page found.
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
    let Report { from, to, group_by, time_zone: zone, limit, cursor: after } = query;
    let paging = Paging::new(limit, after);
    let (limit, after) = (paging.limit()? as usize, paging.after::<ReportCursor>()?);
    // Further pages are of the same report, although time has gone on.
    let (from, to) = match &after {
        Some(ReportCursor(from, to, ..)) => (*from, *to),
        None => {
            let to = to.unwrap_or_else(|| app.now().plus_micros(1));
            (from.unwrap_or_else(|| to.plus_micros(-DEFAULT_SPAN)), to)
        }
    };
    if from > to {
        return Err(Problem::bad_query("from must not lie after to"));
    }
    let group_by = group_by.as_deref().unwrap_or("feature");
    let names: Vec<&str> = group_by.split(',').map(str::trim).collect();
    let groupings = names.iter().map(|name| grouping(name)).collect::<Result<Vec<_>, _>>()?;
    if groupings.len() > MAX_GROUPINGS {
        return Err(Problem::bad_query(format!("group_by names more than {MAX_GROUPINGS} properties")));
    }
    let (as_of, after) = after.map(|ReportCursor(_, _, as_of, after)| (as_of, after)).unzip();
    if after.as_ref().is_some_and(|after| after.len() != groupings.len()) {
        return Err(Problem::bad_cursor());
    }
    let query = UsageQuery { customer: customer.id, from, to, group_by: groupings, zone };
    let UsagePage { groups, as_of, has_more } = app.engine.usage(query, as_of, after, limit).await?;
    let keys: Vec<_> = groups.iter().map(|(key, _)| key.clone()).collect();
    let mut data: Vec<_> = groups.into_iter().map(|(key, group)| of_group(&names, key, group)).collect();
    let fits = fitting(&data);
    let is_cut = fits < data.len();
    data.truncate(fits);
    let last = keys.into_iter().take(fits).next_back().filter(|_| has_more || is_cut);
    let next_cursor = last.map(|key| cursor(&ReportCursor(from, to, as_of, key)));
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

/// Which report, up to which entry, and the last group before the page.
#[derive(Serialize, Deserialize)]
struct ReportCursor(Timestamp, Timestamp, Seq, GroupKey);

impl std::str::FromStr for ReportCursor {
    type Err = serde_json::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

impl std::fmt::Display for ReportCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}
