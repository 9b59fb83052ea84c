//! Changes of a customer's plan: now, later, or only tried.

use super::resets;
use crate::{
    access::{Customer, Grantor, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, DryRun, IfMatch, KeyedUnlessDry, PAGE_BYTES, Paging, Query},
    problem::Problem,
    render, wire,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page, ProblemCode,
    patch::Patch,
    period::PeriodStart,
    plan_change::{
        Expired, Fee, PlanChange as PlanChangeView, PlanChangeClose, PlanChangeInput, PlanChangeStatus, When,
    },
};
use proviso_engine::{
    DecideError, EngineError, LedgerFilter, Subject,
    command::{Command, CustomerPlanChange, Outcome, Reply},
};
use proviso_ledger::{
    journal::{self, DecisionRecord, Entry, Event, PlanChangeScheduled, PlanChangeTime},
    model::{
        ids::{CustomerId, PlanChangeId},
        transfer::Book,
    },
    state::CustomerState,
};
use std::{borrow::Cow, sync::Arc};

problems!(
    CreateProblems: CALLER CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    CustomerClosed, PlanUnchanged, TrialUsed, NoPeriodEnd, ChangedMeanwhile, TotalOutOfRange, TooMany;
    named PlanNotFound PlanVersionNotFound
);
problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, PlanChangeNotFound);
problems!(CancelProblems: CALLER CUSTOMER GRANTOR LANE, PlanChangeNotFound, ChangedMeanwhile);

impl DryRun for PlanChangeInput {
    fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// Change the plan
///
/// Now, the running period is closed by the old plan's terms and one is opened by the new plan's. Later, the same happens when it
/// is due; until then the change is pending and may be called off. A customer has one pending change at most: another change
/// of its plan, now or later, takes its place. With `dry_run`, the answer says what would happen if nothing else did until then;
/// its ids and entry numbers are not given yet.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/plan-changes",
    operation_id = "change_plan",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        (
            "Idempotency-Key" = Option<String>,
            Header,
            description = "New for each change, the same for its repeats; required without `dry_run`",
        ),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the customer"),
    ),
    request_body = PlanChangeInput,
    responses(
        (status = 200, description = "What it would do", body = PlanChangeView),
        (status = 201, description = "Done, or pending", body = PlanChangeView),
        CreateProblems,
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    IfMatch(expected): IfMatch,
    KeyedUnlessDry { idempotency, body }: KeyedUnlessDry<PlanChangeInput>,
) -> Result<Answer, Problem> {
    let PlanChangeInput { plan, plan_version, when, allowance, dry_run } = &body;
    let plan = match plan {
        Patch::Absent => return Err(Problem::invalid_field("/plan", "is missing; null takes the plan away")),
        Patch::Null => None,
        Patch::Value(plan) => Some(plan.clone()),
    };
    if plan.is_none() && plan_version.is_some() {
        return Err(Problem::invalid_field("/plan_version", "needs a plan"));
    }
    let time = match when {
        When::Now => None,
        When::PeriodEnd => Some(PlanChangeTime::PeriodEnd),
        When::At(at) => Some(PlanChangeTime::At(*at)),
    };
    let change = CustomerPlanChange {
        plan: plan.clone(),
        version: *plan_version,
        when: time,
        allowance: *allowance,
        dry_run: *dry_run,
    };
    let command = expected.of(Subject::Customer, Command::ChangePlan(Box::new(change)));
    let reply = match app.engine.execute(customer.request(command, idempotency)).await {
        Err(error @ EngineError::Decide(DecideError::PlanNotFound(_))) => {
            return Err(Problem::from(error).named_by("/plan"));
        }
        Err(error @ EngineError::Decide(DecideError::PlanVersionNotFound(..))) => {
            return Err(Problem::from(error).named_by("/plan_version"));
        }
        reply => reply?,
    };
    let view = |status, effective_at, plan_version| PlanChangeView {
        id: None,
        status,
        plan_version,
        plan,
        when: *when,
        effective_at,
        allowance: *allowance,
        closed: None,
        opened: None,
    };
    match reply {
        Reply::Preview(preview) => {
            let (closed, opened) = (preview.closed.as_deref(), preview.opened.as_deref());
            Answer::ok(&PlanChangeView {
                closed: closed.map(plan_change_close).transpose()?.flatten(),
                opened: opened.map(plan_change_open).transpose()?.flatten(),
                ..view(PlanChangeStatus::Preview, preview.effective_at, preview.plan_version)
            })
        }
        Reply::Entry(outcome) if matches!(outcome.entry.event, Event::PlanChangeScheduled(_)) => {
            render::answer(&outcome, scheduled)
        }
        Reply::Entry(Outcome { entry, replayed }) => {
            let before = before_last(&app, &customer.id, &entry).await?;
            let closed = before.iter().find(|entry| matches!(entry.event, Event::PeriodClosed(_)));
            let configured = std::iter::once(&*entry).chain(&before).find_map(|entry| match &entry.event {
                Event::Configured(configured) => Some(configured),
                _ => None,
            });
            let version = configured.and_then(|configured| configured.profile.plan_version);
            let answer = PlanChangeView {
                closed: closed.map(plan_change_close).transpose()?.flatten(),
                opened: plan_change_open(&entry)?,
                ..view(PlanChangeStatus::Done, entry.at, version)
            };
            Ok(Answer::new(StatusCode::CREATED, &answer)?.replayed(replayed))
        }
        other => Err(Problem::internal(format!("a change of plan was answered with {other:?}"))),
    }
}

/// The entries of a change of plan before its last, newest first, and where no period ran what was before them: the end of the
/// period, the new profile and the next period follow each other.
async fn before_last(app: &App, customer: &CustomerId, last: &Entry) -> Result<Vec<Entry>, Problem> {
    let steps = if matches!(last.event, Event::PeriodOpened(_)) { 2 } else { 1 };
    let filter = LedgerFilter::default();
    let page = app.engine.ledger(customer, &filter, Some(last.seq), steps, PAGE_BYTES).await?;
    let entries = page.entries.into_iter().map(|(entry, _)| entry);
    // Where no period ran, an end that stands before is that of another one.
    let ends = |(place, entry): &(usize, Entry)| {
        !matches!(entry.event, Event::PeriodClosed(_)) || *place + 1 == steps as usize
    };
    Ok(entries.enumerate().filter(ends).map(|(_, entry)| entry).collect())
}

/// List pending changes of plan
///
/// One at most. Those that took effect are in the ledger.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/plan-changes",
    operation_id = "list_plan_changes",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "Pending ones", body = Page<PlanChangeView>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let (_, after) = (paging.limit()?, paging.after::<PlanChangeId>()?);
    let state = app.engine.state(&customer.id).await?;
    let data = pending(&state).filter(|one| after.is_none_or(|after| one.id > Some(after)));
    Answer::ok(&Page { data: data.into_iter().collect(), next_cursor: None })
}

/// Read a pending change of plan
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/plan-changes/{change}",
    operation_id = "read_plan_change",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("change" = String, Path, description = "The change"),
    ),
    responses((status = 200, description = "The change", body = PlanChangeView), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(change): At<PlanChangeId>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let found = pending(&state).filter(|one| one.id == Some(change));
    let what = "pending change of plan";
    let missing = || Problem::not_found(ProblemCode::PlanChangeNotFound, what, &change.to_string());
    let tag = Subject::PlanChange.tag(&state)?;
    Ok(Answer::ok(&found.ok_or_else(missing)?)?.tagged(tag))
}

/// Cancel a pending change of plan
///
/// The customer stays on its plan.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}/plan-changes/{change}",
    operation_id = "cancel_plan_change",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("change" = String, Path, description = "The change"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the change"),
    ),
    responses((status = 204, description = "Cancelled"), CancelProblems),
)]
pub async fn cancel(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(change): At<PlanChangeId>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let command = expected.of(Subject::PlanChange, Command::CancelPlanChange(change));
    app.record(customer.request(command, None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The pending change, with the instant at which it takes effect as things are now.
fn pending(state: &CustomerState) -> Option<PlanChangeView<'static>> {
    let change = state.plan_change.as_ref()?;
    let scheduled = PlanChangeScheduled {
        plan: change.plan.clone(),
        plan_version: change.plan_version,
        interval: change.interval,
        when: change.when,
        effective_at: state.plan_change_at()?,
        allowance: change.allowance,
    };
    Some(pending_plan_change(change.id, &scheduled))
}

fn scheduled(entry: &Entry) -> Result<Answer, Problem> {
    let Event::PlanChangeScheduled(scheduled) = &entry.event else { return Err(render::mismatch(entry)) };
    let id = PlanChangeId { entry: entry.seq, index: 0 };
    Answer::new(StatusCode::CREATED, &pending_plan_change(id, scheduled))
}

/// A change of plan that is put off.
fn pending_plan_change(id: PlanChangeId, scheduled: &PlanChangeScheduled) -> PlanChangeView<'static> {
    PlanChangeView {
        id: Some(id),
        status: PlanChangeStatus::Pending,
        plan: scheduled.plan.clone(),
        plan_version: scheduled.plan_version,
        when: match scheduled.when {
            PlanChangeTime::PeriodEnd => When::PeriodEnd,
            PlanChangeTime::At(at) => When::At(at),
        },
        effective_at: scheduled.effective_at,
        allowance: scheduled.allowance,
        closed: None,
        opened: None,
    }
}

/// The end of a period that a change of plan brings.
fn plan_change_close(entry: &Entry) -> Result<Option<PlanChangeClose<'_>>, Problem> {
    let Event::PeriodClosed(closed) = &entry.event else { return Ok(None) };
    let expired = entry.transfers.iter().filter_map(|transfer| match (transfer.from, transfer.to) {
        (Book::Grant(grant), Book::Expired) => {
            Some(Expired { grant, credit: transfer.credit.clone(), amount: transfer.amount })
        }
        _ => None,
    });
    Ok(Some(PlanChangeClose {
        reason: closed.reason,
        period: wire::period(&closed.period),
        rolled_over: closed.grants.iter().map(|grant| wire::new_grant(grant, entry.at)).collect(),
        expired: expired.collect(),
        fees: closed.fees.iter().map(fee).collect(),
        settled: closed.settled.iter().map(resets::settled).collect(),
        notes: Cow::Borrowed(&closed.notes),
        balance: render::balance(entry)?,
        degraded: closed.decision.as_ref().is_some_and(DecisionRecord::is_degraded),
    }))
}

/// The beginning of a period that a change of plan brings.
fn plan_change_open(entry: &Entry) -> Result<Option<PeriodStart<'_>>, Problem> {
    match &entry.event {
        Event::PeriodOpened(opened) => resets::period_start(entry, opened).map(Some),
        _ => Ok(None),
    }
}

fn fee(fee: &journal::Fee) -> Fee<'_> {
    let journal::Fee { credit, label, amount, method } = fee;
    Fee { credit: credit.clone(), amount: *amount, method: *method, label: Cow::Borrowed(label) }
}
