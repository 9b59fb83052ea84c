//! Backtests: what a version would have made of what is recorded. Jobs of this host, which run one after another.

use crate::{
    access::{Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, BacktestId, Json, PolicyName, VersionNumber},
    problem::{Problem, code_of},
    wire_backtest::backtest_report,
};
use axum::{extract::State, http::StatusCode};
use proviso_api::backtest::{BacktestInput, BacktestJob as View, BacktestState};
use proviso_engine::{BacktestJob, BacktestOf, BacktestStatus, DecideError, EngineError};
use std::sync::Arc;

problems!(
    StartProblems: CALLER UNCONDITIONAL OPERATOR BODY LANE,
    InvalidPath, PolicyNotFound, VersionNotFound; named CustomerNotFound PlanNotFound
);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, VersionNotFound, BacktestNotFound);

/// Start a backtest
///
/// Asks what is recorded of a version of a policy (deleted or not) in the place of the terms of a customer or a plan, or of all
/// terms that run the policy, and says in credits what would change. Jobs run one after another, beside what customers ask; they
/// are known to this host alone, and until it ends.
#[utoipa::path(
    post,
    path = "/v1/policies/{policy}/versions/{version}/backtests",
    operation_id = "start_backtest",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy"),
        ("version" = u32, Path, description = "The version that is tried"),
    ),
    request_body = BacktestInput,
    responses((status = 202, description = "It waits its turn, or runs", body = View), StartProblems),
)]
pub async fn start(
    State(app): State<Arc<App>>,
    caller: Operator<Read>,
    At(policy): At<PolicyName>,
    At(version): At<VersionNumber>,
    Json(body): Json<BacktestInput>,
) -> Result<Answer, Problem> {
    caller.may_bind(&policy.0)?;
    let BacktestInput { customer, plan, from, to, settings } = body;
    let of = match (customer, plan) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid_field("/plan", "can't be given together with customer"));
        }
        (Some(customer), None) => BacktestOf::Customer(customer),
        (None, Some(plan)) => BacktestOf::Plan(plan),
        (None, None) => BacktestOf::Policy(policy.0.clone()),
    };
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::invalid_field("/to", "must not lie before from"));
    }
    let started = app.engine.start_backtest((policy.0, version.0), settings, of, (from, to)).await;
    let job = started.map_err(|error| match error {
        EngineError::Decide(DecideError::CustomerNotFound(_)) => Problem::from(error).named_by("/customer"),
        EngineError::Decide(DecideError::PlanNotFound(_)) => Problem::from(error).named_by("/plan"),
        _ => error.into(),
    })?;
    answer(StatusCode::ACCEPTED, &job)
}

/// Read a backtest
///
/// With its report once it is done.
#[utoipa::path(
    get,
    path = "/v1/policies/{policy}/versions/{version}/backtests/{backtest}",
    operation_id = "read_backtest",
    tag = "Policies",
    params(
        ("policy" = String, Path, description = "The policy"),
        ("version" = u32, Path, description = "The version that is tried"),
        ("backtest" = String, Path, description = "The backtest"),
    ),
    responses((status = 200, description = "How far it is", body = View), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Operator<Read>,
    At(policy): At<PolicyName>,
    At(version): At<VersionNumber>,
    At(id): At<BacktestId>,
) -> Result<Answer, Problem> {
    caller.may_bind(&policy.0)?;
    let job = app.engine.backtest_job(&id.0)?;
    if (&job.policy, job.version) != (&policy.0, version.0) {
        return Err(EngineError::BacktestNotFound.into());
    }
    answer(StatusCode::OK, &job)
}

fn answer(status: StatusCode, job: &BacktestJob) -> Result<Answer, Problem> {
    let found = job.status();
    let mut view = View {
        id: job.id.clone(),
        policy: job.policy.clone(),
        version: job.version,
        status: BacktestState::Waiting,
        created_at: job.created_at,
        customers: 0,
        entries: 0,
        code: None,
        detail: None,
        report: None,
    };
    match &found {
        BacktestStatus::Waiting => {}
        BacktestStatus::Running(customers, entries) => {
            (view.status, view.customers, view.entries) = (BacktestState::Running, *customers, *entries);
        }
        BacktestStatus::Done(report) => {
            (view.status, view.customers, view.entries) =
                (BacktestState::Done, report.customers, report.entries);
            view.report = Some(backtest_report(report));
        }
        BacktestStatus::Failed(error) => {
            let code = code_of(error);
            // What is internal goes to the log where it is found, not to callers.
            let is_internal = code.status() >= 500;
            view.status = BacktestState::Failed;
            view.code = Some(code.as_str());
            view.detail = Some(if is_internal { code.meaning().to_owned() } else { error.to_string() });
        }
    }
    Answer::new(status, &view)
}
