//! `…/terms/{terms}/canary` and `…/terms/{terms}/rollout`: raising a canary's share, and how it fares.

use crate::{
    access::{Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Json, MaybeKeyed, Paging, PlanName, Query, cursor},
    problem::Problem,
    wire,
};
use axum::extract::State;
use proviso_api::{
    canary::{AffectedEntry, CanaryShareInput, Rollout as View, RolloutDrift, RolloutState as StateView},
    terms::Terms as TermsView,
};
use proviso_decide::catalog::Plans as _;
use proviso_engine::{Affected, Drift, ReportPlace, Rollout, RolloutState, acting_as};
use proviso_ledger::model::{grant::CreditType, ids::TermsId};
use std::sync::Arc;

problems!(
    RaiseProblems: CALLER OPERATOR BODY KEY CATALOG,
    InvalidPath, TermsNotFound, TermsEnded, NotACanary, CanaryShareLower, ChangedMeanwhile
);
problems!(ReportProblems: CALLER OPERATOR LIST, InvalidPath, PlanNotFound, TermsNotFound, NotACanary, NewerFormat);

/// Raise the share of a canary
///
/// From the next decision on. Customers are only ever added: those who had the canary's terms keep them.
#[utoipa::path(
    post,
    path = "/v1/plans/{plan}/terms/{terms}/canary",
    operation_id = "raise_plan_canary",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("terms" = String, Path, description = "The canary"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the terms"),
    ),
    request_body = CanaryShareInput,
    responses((status = 200, description = "The terms with the share that they have now", body = TermsView), RaiseProblems),
)]
pub async fn raise(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(plan): At<PlanName>,
    At(id): At<TermsId>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: Json(body) }: MaybeKeyed<Json<CanaryShareInput>>,
) -> Result<Answer, Problem> {
    if let Some(terms) = app.engine.catalog().terms_of(&plan.0).iter().find(|terms| terms.key.id == id) {
        caller.may_bind(&terms.policy.name)?;
    }
    let raised = app.engine.raise_canary(plan.0, id, body.share_percent, expected, idempotency);
    let raised = acting_as(caller.by(), raised).await?;
    Ok(Answer::ok(&wire::terms(&raised.value))?.replayed(raised.replayed))
}

/// Report on a canary of a plan
///
/// How it stands, what all hosts counted of its decisions, and every entry that it was to decide. A page takes in about 20,000
/// entries of the canary's customers; a report with a `next_cursor` goes on with further affected entries.
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/terms/{terms}/rollout",
    operation_id = "report_plan_rollout",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("terms" = String, Path, description = "The canary"),
        Paging,
    ),
    responses((status = 200, description = "How it fares", body = View), ReportProblems),
)]
pub async fn report(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
    At(id): At<TermsId>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let after = paging.after::<ReportPlace>()?;
    let rollout = app.engine.rollout(&plan.0, id, paging.limit()? as usize, after).await?;
    Answer::ok(&view(&rollout)?)
}

fn view(rollout: &Rollout) -> Result<View<'_>, Problem> {
    let Rollout { terms, state, replaces, counts, affected, next } = rollout;
    let usage = counts.usage.iter().map(|(credit, drift)| drift_view(Some(credit), drift));
    let periods = (counts.periods != Drift::default()).then(|| drift_view(None, &counts.periods));
    let canary = terms.canary.as_ref().map(wire::canary);
    Ok(View {
        terms: terms.key.clone(),
        id: terms.key.id,
        state: match state {
            RolloutState::Scheduled => StateView::Scheduled,
            RolloutState::Running => StateView::Running,
            RolloutState::Complete => StateView::Complete,
            RolloutState::Superseded => StateView::Superseded,
            RolloutState::Ended => StateView::Ended,
            RolloutState::RolledBack => StateView::RolledBack,
        },
        replaces: replaces.clone(),
        canary: canary.ok_or_else(|| Problem::internal("a rollout without a canary".to_owned()))?,
        decisions: counts.decisions,
        faults: counts.faults,
        drift: usage.chain(periods).collect(),
        affected: affected.iter().map(entry).collect(),
        next_cursor: next.as_ref().map(cursor),
    })
}

fn drift_view(credit: Option<&CreditType>, drift: &Drift) -> RolloutDrift {
    let Drift { cost, replaced_cost, apart } = *drift;
    RolloutDrift { credit: credit.cloned(), cost, replaced_cost, apart, percent: drift.percent() }
}

fn entry(affected: &Affected) -> AffectedEntry {
    let Affected { customer, entry, at, kind, feature, credit, cost, replaced_cost, fault } =
        affected.clone();
    AffectedEntry {
        customer,
        entry,
        at,
        r#type: kind.to_owned(),
        feature,
        credit,
        cost,
        replaced_cost,
        fault,
    }
}
