//! `POST /v1/customers/{customer}/check`: what a charge would do now.

use super::usages::UsageBody;
use crate::{
    access::{Customer, Usage},
    answers::{Answer, Balance, Line, Offer, Policy, lines},
    app::App,
    extract::Json,
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    EngineError,
    command::{CheckOutcome, Command, Reply, Request},
};
use proviso_ledger::{
    model::{amounts::Credits, ids::Key, time::Timestamp},
    rules::rejection::Rejection,
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a charge would do now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check<'a> {
    /// Whether it would be charged.
    allowed: bool,
    /// `ok`, or the code with which the charge would be refused.
    reason: &'a str,
    /// For people; empty when it is allowed.
    detail: &'a str,
    /// The cost; null when it could not be rated.
    #[schema(value_type = Option<schema::Credits>)]
    cost: Option<Credits>,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    /// The explanation of the cost.
    lines: Vec<Line<'a>>,
    /// What may be bought to go on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offers: Vec<Offer<'a>>,
    /// The earliest time at which asking again can help.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    retry_at: Option<Timestamp>,
    /// The balance as it is.
    balance: Balance,
    /// Who decided; null when no policy was asked.
    policy: Option<Policy<'a>>,
    /// Whether a fault put other terms, or none, in the place of those in force.
    degraded: bool,
}

/// Check a charge
///
/// Answers what a charge would do at this moment, and changes nothing.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/check",
    operation_id = "check",
    tag = "Usage",
    params(("customer" = String, Path, description = "Who would pay")),
    request_body = UsageBody,
    responses(
        (status = 200, description = "Whether it would be charged, and why", body = Check),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn check(
    State(app): State<Arc<App>>,
    customer: Customer<Usage>,
    body: Json<UsageBody>,
) -> Result<Answer, Problem> {
    let command = Command::Check(Box::new(body.value.into()));
    let request = Request { customer: customer.id.clone(), command, idempotency: None };
    match app.engine.execute(request).await {
        Ok(Reply::Check(outcome)) => Answer::ok(&Check::new(&outcome)),
        Ok(other) => Err(Problem::internal(format!("a check was answered with {other:?}"))),
        Err(
            error @ (EngineError::NotEntitled(..)
            | EngineError::NoTermsInForce
            | EngineError::Rejected(Rejection::CustomerClosed)),
        ) => not_now(&app, &customer, error.into()).await,
        Err(error) => Err(error.into()),
    }
}

impl<'a> Check<'a> {
    fn new(outcome: &'a CheckOutcome) -> Self {
        Self {
            allowed: outcome.allowed,
            reason: &outcome.reason,
            detail: &outcome.detail,
            cost: outcome.cost,
            credit: &outcome.credit,
            lines: lines(&outcome.lines),
            offers: outcome.offers.iter().map(Offer::new).collect(),
            retry_at: outcome.retry_at,
            balance: Balance::new(&outcome.balance, outcome.next_reset_at),
            policy: outcome.policy.as_ref().map(Policy::new),
            degraded: outcome.degraded,
        }
    }
}

/// A charge would be turned away before any policy is asked: that is an answer to the question, not a failure of it.
async fn not_now(app: &App, customer: &Customer<Usage>, problem: Problem) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let credit = state.main_credit();
    let balance = state.balance(&credit, app.engine.clock().now().max(state.at));
    Answer::ok(&Check {
        allowed: false,
        reason: problem.code(),
        detail: problem.detail(),
        cost: None,
        credit: &credit,
        lines: Vec::new(),
        offers: Vec::new(),
        retry_at: None,
        balance: Balance::new(&balance, state.next_reset_at()),
        policy: None,
        degraded: false,
    })
}
