//! `GET /v1/customers/{customer}/usage`: what was used and what it cost, in groups.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Customer, Read},
    answers::Answer,
    app::App,
    extract::{Page, Paging, Query, cursor, is_name},
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_engine::{GroupBy, UsageGroup};
use proviso_ledger::model::{
    amounts::{Credits, Quantity},
    ids::Key,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// The most things that are grouped by at once.
const MOST_GROUPINGS: usize = 4;
/// How far back a report reaches when it is not said: 30 days, in microseconds.
const USUAL_SPAN: i64 = 30 * 86_400 * Timestamp::SECOND;

/// Which usage, and how it is grouped.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Report {
    /// From when; 30 days before `to`, when it is not said.
    #[param(value_type = Option<schema::Time>)]
    from: Option<Timestamp>,
    /// Until when, exclusive; now, when it is not said.
    #[param(value_type = Option<schema::Time>)]
    to: Option<Timestamp>,
    /// Up to four of `feature`, `entity`, `day` (in the customer's zone) and `attributes.<name>`, separated by commas;
    /// `feature`, when it is not said.
    #[param(example = "feature,attributes.model")]
    group_by: Option<String>,
    /// How many groups at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The usage of one group: charges and commits; refusals are none.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageOfGroup {
    /// What all of it has in common; null where a usage says nothing.
    #[schema(example = json!({ "feature": "chat" }))]
    group: BTreeMap<String, Option<String>>,
    /// How many charges and commits.
    charges: u64,
    /// What they cost.
    cost: Vec<CostOfCredit>,
    /// What was used.
    #[schema(value_type = BTreeMap<String, schema::Amount>)]
    quantities: BTreeMap<String, Quantity>,
}

/// A cost in one credit type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cost)]
pub struct CostOfCredit {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: Key,
    /// How much.
    #[schema(value_type = schema::Credits)]
    cost: Credits,
}

/// Report usage
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/usage",
    operation_id = "report_usage",
    tag = "Reading",
    params(("customer" = String, Path, description = "Whose"), Report),
    responses(
        (status = 200, description = "By group", body = Page<UsageOfGroup>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn report(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<Report>,
) -> Result<Answer, Problem> {
    let Report { from, to, group_by, limit, cursor: after } = query;
    let to = to.unwrap_or_else(|| app.engine.clock().now().plus_micros(1));
    let from = from.unwrap_or_else(|| to.plus_micros(-USUAL_SPAN));
    if from > to {
        return Err(Problem::bad_query("from must not lie after to".to_owned()));
    }
    let paging = Paging::new(limit, after);
    let (limit, after) = (paging.limit()? as usize, paging.after::<GroupCursor>()?);
    let group_by = group_by.as_deref().unwrap_or("feature");
    let names: Vec<&str> = group_by.split(',').map(str::trim).collect();
    let groupings = names.iter().map(|name| grouping(name)).collect::<Result<Vec<_>, _>>()?;
    if groupings.len() > MOST_GROUPINGS {
        return Err(Problem::bad_query(format!("group_by names more than {MOST_GROUPINGS} things")));
    }
    let groups = app.engine.usage(&customer.id, from, to, &groupings).await?;
    let mut rest =
        groups.into_iter().skip_while(|(key, _)| after.as_ref().is_some_and(|after| *key <= after.0));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let last = page.last().filter(|_| rest.next().is_some());
    let next_cursor = last.map(|(key, _)| cursor(&GroupCursor(key.clone())));
    let data = page.into_iter().map(|(key, group)| UsageOfGroup::new(&names, key, group)).collect();
    Answer::ok(&Page { data, next_cursor })
}

fn grouping(name: &str) -> Result<GroupBy, Problem> {
    match (name, name.strip_prefix("attributes.")) {
        ("feature", _) => Ok(GroupBy::Feature),
        ("entity", _) => Ok(GroupBy::Entity),
        ("day", _) => Ok(GroupBy::Day),
        (_, Some(attribute)) if is_name(attribute) => Ok(GroupBy::Attribute(attribute.to_owned())),
        _ => Err(Problem::bad_query(
            "group_by takes feature, entity, day and attributes.<name>, separated by commas".to_owned(),
        )),
    }
}

impl UsageOfGroup {
    fn new(names: &[&str], key: Vec<Option<String>>, group: UsageGroup) -> Self {
        Self {
            group: names.iter().map(|name| (*name).to_owned()).zip(key).collect(),
            charges: group.charges,
            cost: group.cost.into_iter().map(|(credit, cost)| CostOfCredit { credit, cost }).collect(),
            quantities: group.quantities,
        }
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
