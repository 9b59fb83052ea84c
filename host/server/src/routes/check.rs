//! `POST /v1/customers/{customer}/check`: what a charge would do now.

use super::submission::usage_request;
use crate::{
    access::{self, Customer},
    answer::Answer,
    app::App,
    documented::problems,
    extract::Json,
    problem::{Problem, refusal_code},
    wire,
};
use axum::extract::State;
use proviso_api::{charge::Check, decision::Late, usage::Usage};
use proviso_engine::command::{CheckOutcome, Command, Reply};
use std::{borrow::Cow, sync::Arc};

problems!(CheckProblems: CALLER UNCONDITIONAL CUSTOMER BODY LANE RATED);

/// Check a charge
///
/// Answers what a charge would do at this moment, and changes nothing.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/check",
    operation_id = "check",
    tag = "Usage",
    params(("customer" = String, Path, description = "The customer who would pay")),
    request_body = Usage,
    responses((status = 200, description = "Whether it would be charged, and why", body = Check), CheckProblems),
)]
pub async fn check(
    State(app): State<Arc<App>>,
    customer: Customer<access::Usage>,
    Json(usage): Json<Usage>,
) -> Result<Answer, Problem> {
    let command = Command::Check(Box::new(usage_request(usage)));
    match app.engine.execute(customer.request(command, None)).await? {
        Reply::Check(outcome) => Answer::ok(&answer(&outcome)),
        other => Err(Problem::internal(format!("a check was answered with {other:?}"))),
    }
}

fn answer(outcome: &CheckOutcome) -> Check<'_> {
    let reason = refusal_code(&outcome.reason, outcome.by_policy);
    Check {
        allowed: outcome.allowed,
        policy_code: (reason != outcome.reason).then_some(Cow::Borrowed(&*outcome.reason)),
        reason: Cow::Borrowed(reason),
        detail: Cow::Borrowed(&outcome.detail),
        cost: outcome.cost,
        credit: outcome.credit.clone(),
        lines: wire::lines(&outcome.lines),
        offers: outcome.offers.iter().map(wire::offer).collect(),
        suggestions: outcome.suggestions.iter().map(wire::suggestion).collect(),
        late: outcome.late.map(|period| Late { period }),
        retry_at: outcome.retry_at,
        pending_top_up: outcome.pending_top_up.map(wire::pending_top_up),
        over_budget: outcome.over_budget.as_deref().map(wire::over_budget).unwrap_or_default(),
        balance: wire::balance_view(&outcome.balance, outcome.next_reset_at),
        policy: outcome.policy.as_ref().map(wire::deciding_policy),
        degraded: outcome.degraded,
    }
}
