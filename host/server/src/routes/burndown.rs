//! `GET /v1/customers/{customer}/burndown`: what each grant had left over a time, ready to chart.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use super::{
    csv_table::{self, accepts_csv},
    usage_report::TimeOrDate,
};
use crate::{
    access::{Customer, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::Query,
    problem::Problem,
};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use proviso_api::{
    report::{BurndownOfGrant, Burndowns},
    schema,
};
use proviso_engine::Burndown;
use proviso_ledger::model::{
    amounts::Credits,
    time::{Timestamp, Zone},
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

problems!(BurndownProblems: CALLER CUSTOMER LANE, InvalidQuery);

/// How far back a chart reaches by default: 30 days, in microseconds.
const DEFAULT_SPAN: i64 = 30 * 86_400 * Timestamp::SECOND;
const HOUR: i64 = 3_600 * Timestamp::SECOND;
/// The most points of a chart.
const MOST_POINTS: usize = 400;

/// How far points are apart.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Hours.
    Hour,
    /// Local days.
    #[default]
    Day,
    /// Local months.
    Month,
}

/// Which time, and how many points.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Chart {
    /// From when: an instant, or a date in `time_zone`; defaults to 30 days before `to`.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    from: Option<TimeOrDate>,
    /// Until when: an instant, or a date in `time_zone`; defaults to now, and is not ahead of it.
    #[param(value_type = Option<schema::TimeOrDate>, inline)]
    to: Option<TimeOrDate>,
    /// How far points are apart: at most 400 may come of it. Defaults to `day`.
    #[param(inline)]
    interval: Option<Step>,
    /// The zone of dates, days and months; defaults to the customer's.
    #[param(value_type = Option<schema::TimeZone>)]
    time_zone: Option<Zone>,
}

/// Chart what grants had left
///
/// At `from`, at the beginning of each hour, day or month after it, and at `to`: all that was due by then is in it. `Accept:
/// text/csv` answers a row for each point, with a column for each grant.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/burndown",
    operation_id = "chart_burndown",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), Chart),
    responses(
        (status = 200, description = "By grant", content(
            (Burndowns = "application/json"),
            (String = "text/csv"),
        )),
        BurndownProblems,
    ),
)]
pub async fn read(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<Chart>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let zone = app.engine.state(&customer.id).await?.zone();
    let points = query.points(app.now(), zone)?;
    let grants = app.engine.burndown(&customer.id, &points).await?;
    if accepts_csv(&headers) {
        return table(&points, &grants);
    }
    let grants = grants.into_iter().map(|Burndown { grant, left }| BurndownOfGrant {
        grant: grant.id,
        credit: grant.credit.clone(),
        category: grant.category,
        left,
    });
    Ok(Answer::ok(&Burndowns { points, grants: grants.collect() })?.into_response())
}

impl Chart {
    fn points(self, now: Timestamp, zone: Zone) -> Result<Vec<Timestamp>, Problem> {
        let Self { from, to, interval, time_zone } = self;
        let zone = time_zone.unwrap_or(zone);
        let to = to.map_or(now, |to| to.instant(&zone)).min(now);
        let from = from.map_or_else(|| to.plus_micros(-DEFAULT_SPAN), |from| from.instant(&zone));
        if from > to {
            return Err(Problem::bad_query("from must not lie after to, nor after now"));
        }
        let step = interval.unwrap_or_default();
        let mut points = vec![from];
        let mut last = from;
        loop {
            last = match step {
                Step::Hour => Timestamp((last.0.div_euclid(HOUR) + 1) * HOUR),
                Step::Day => zone.start_of_day(zone.day(last) + 1),
                Step::Month => zone.start_of_month(zone.month(last) + 1),
            };
            if last >= to {
                break;
            }
            points.push(last);
            if points.len() >= MOST_POINTS {
                return Err(Problem::bad_query(format!(
                    "more than {MOST_POINTS} points: choose a longer interval"
                )));
            }
        }
        if from < to {
            points.push(to);
        }
        Ok(points)
    }
}

fn table(points: &[Timestamp], grants: &[Burndown]) -> Result<Response, Problem> {
    csv_table::answer(|writer| {
        let heads = grants.iter().map(|one| one.grant.id.to_string());
        writer.write_record(["at".to_owned()].into_iter().chain(heads))?;
        for (place, at) in points.iter().enumerate() {
            let left =
                grants.iter().map(|one| one.left.get(place).map(Credits::to_string).unwrap_or_default());
            writer.write_record([at.to_string()].into_iter().chain(left))?;
        }
        Ok(())
    })
}
