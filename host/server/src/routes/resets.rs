//! `POST /v1/customers/{customer}/resets`: the period closes now, as the policy in force decides.

use super::reservations::Empty;
use crate::{
    access::{Customer, Grantor, Manage, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Keyed, MaybeJson, PeriodNumber},
    problem::Problem,
    render, wire,
};
use axum::extract::State;
use proviso_api::{
    grant,
    period::{Cycle, MissedPeriod, PeriodEnd, PeriodStart, ResetInput, Settled},
};
use proviso_engine::{Subject, command::Command};
use proviso_ledger::{
    journal::{self, DecisionRecord, Entry, Event},
    model::grant::Grant as LedgerGrant,
    state::MissedCall,
};
use std::{borrow::Cow, sync::Arc};

problems!(
    ResetProblems: CALLER CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, NoPeriod, ChangedMeanwhile, TotalOutOfRange, TooMany
);

/// Reset early
///
/// Closes the period now. The next boundary stays where it was.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/resets",
    operation_id = "reset_period",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("Idempotency-Key" = String, Header, description = "New for each reset, the same for its repeats"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the customer"),
    ),
    request_body = Option<ResetInput>,
    responses((status = 200, description = "A new period began", body = PeriodStart), ResetProblems),
)]
pub async fn reset(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    IfMatch(expected): IfMatch,
    Keyed { idempotency, body: MaybeJson(body) }: Keyed<MaybeJson<ResetInput>>,
) -> Result<Answer, Problem> {
    let command = expected.of(Subject::Customer, Command::Reset { anchor_now: body.anchor.is_some() });
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, boundary)
}

problems!(
    RetryProblems: CALLER UNCONDITIONAL CUSTOMER BODY REQUIRED_KEY LANE,
    CustomerClosed, NothingMissed, StillFails, TotalOutOfRange, TooMany, InvalidPath
);
problems!(MissedProblems: CALLER CUSTOMER LANE);

/// Make a period good
///
/// Does what a policy's failure left undone when the period ended or began, once the terms in force work again: its grants are
/// there from its start on, and what was drawn elsewhere meanwhile is drawn from them.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/periods/{number}/retry",
    operation_id = "retry_period",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("number" = u32, Path, description = "The number of the period"),
        ("Idempotency-Key" = String, Header, description = "New for each try, the same for its repeats"),
    ),
    responses((status = 200, description = "Made good", body = PeriodStart), RetryProblems),
)]
pub async fn retry(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(number): At<PeriodNumber>,
    Keyed { idempotency, body: MaybeJson(Empty {}) }: Keyed<MaybeJson<Empty>>,
) -> Result<Answer, Problem> {
    let outcome = app.record(customer.request(Command::RetryPeriod(number.0), Some(idempotency))).await?;
    render::answer(&outcome, boundary)
}

/// List periods to be made good
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/periods/missed",
    operation_id = "list_missed_periods",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer")),
    responses(
        (status = 200, description = "What a policy's failures left undone", body = Vec<MissedPeriod>),
        MissedProblems,
    ),
)]
pub async fn missed(State(app): State<Arc<App>>, customer: Customer<Read>) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let what = |what: &MissedCall| if matches!(what, MissedCall::Close { .. }) { "close" } else { "open" };
    let missed = state.missed.iter();
    let missed = missed.map(|one| MissedPeriod { number: one.number, what: what(&one.what).into() });
    Answer::ok(&missed.collect::<Vec<_>>())
}

fn boundary(entry: &Entry) -> Result<Answer, Problem> {
    match &entry.event {
        Event::PeriodOpened(opened) => Answer::ok(&period_start(entry, opened)?),
        Event::PeriodClosed(closed) => Answer::ok(&period_end(entry, closed)?),
        _ => Err(render::mismatch(entry)),
    }
}

/// The beginning of a period.
pub fn period_start<'a>(
    entry: &'a Entry,
    opened: &'a journal::PeriodOpened,
) -> Result<PeriodStart<'a>, Problem> {
    Ok(PeriodStart {
        reason: opened.reason,
        period: wire::period(&opened.period),
        cycle: Cycle { start: opened.cycle.start, end: opened.cycle.end },
        grants: opened.grants.iter().map(|grant| opened_grant(grant, opened, entry)).collect(),
        trial_ends_at: opened.trial.as_ref().map(|trial| trial.ends_at),
        settled: opened.settled.iter().map(settled).collect(),
        notes: Cow::Borrowed(&opened.notes),
        balance: render::balance(entry)?,
        policy: opened.decision.as_ref().map(|decision| wire::deciding_policy(&decision.policy)),
        entry: entry.seq,
        degraded: opened.decision.as_ref().is_some_and(DecisionRecord::is_degraded),
    })
}

/// A grant of the period that begins. One that expires with it expires at its end, as that is now.
fn opened_grant<'a>(
    grant: &'a LedgerGrant,
    opened: &journal::PeriodOpened,
    entry: &Entry,
) -> grant::Grant<'a> {
    let shown = wire::new_grant(grant, entry.at);
    let with_it = grant.expires_with_period == Some(opened.period.number);
    let end = opened.period.end.filter(|_| with_it);
    let expires_at = shown.expires_at.into_iter().chain(end).min();
    grant::Grant { expires_at, ..shown }
}

fn period_end<'a>(entry: &'a Entry, closed: &'a journal::PeriodClosed) -> Result<PeriodEnd<'a>, Problem> {
    Ok(PeriodEnd {
        reason: closed.reason,
        period: wire::period(&closed.period),
        grants: closed.grants.iter().map(|grant| wire::new_grant(grant, entry.at)).collect(),
        settled: closed.settled.iter().map(settled).collect(),
        notes: Cow::Borrowed(&closed.notes),
        balance: render::balance(entry)?,
        entry: entry.seq,
    })
}

/// Overage that a period settled.
pub fn settled(one: &journal::Settlement) -> Settled {
    Settled { credit: one.credit.clone(), amount: one.amount, method: one.method }
}
