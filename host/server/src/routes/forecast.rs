//! `GET /v1/customers/{customer}/forecast`: when credits run out.

use crate::{
    access::{Customer, Read},
    answer::Answer,
    app::App,
    documented::problems,
    problem::Problem,
};
use axum::extract::State;
use proviso_api::report::{DailyUsage, ForecastOfCredit, Forecasts, RunsOut};
use proviso_engine::{Cases, Forecast};
use std::sync::Arc;

problems!(ForecastProblems: CALLER CUSTOMER LANE);

/// Forecast when credits run out
///
/// If they are used as in the last 28 whole days, and no more is granted: the rate is the mean of seven days in a row, and its
/// 10th, 50th and 90th percentile give the latest, the expected and the earliest time. Grants are drawn in their order, up to their
/// ends.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/forecast",
    operation_id = "forecast_credits",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer")),
    responses((status = 200, description = "By credit type", body = Forecasts), ForecastProblems),
)]
pub async fn read(State(app): State<Arc<App>>, customer: Customer<Read>) -> Result<Answer, Problem> {
    let (at, forecasts) = app.engine.forecast(&customer.id).await?;
    let credits = forecasts.into_iter().map(|forecast| {
        let Forecast { credit, available, days, daily, runs_out } = forecast;
        ForecastOfCredit {
            credit,
            available,
            observed_days: days,
            daily: daily.map(|Cases { low, expected, high }| DailyUsage { low, expected, high }),
            runs_out: runs_out.map(|Cases { low, expected, high }| RunsOut {
                earliest: high,
                expected,
                latest: low,
            }),
        }
    });
    Answer::ok(&Forecasts { at, credits: credits.collect() })
}
