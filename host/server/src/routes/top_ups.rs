//! Automatic top-ups: the rules, the top-ups that they ask for, and the answers of whoever takes the money.

use crate::{
    access::{Caller, Customer, Grantor, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, CreditKey, IfMatch, Json, Keyed, MaybeJson, Paging, Query, cut},
    problem::Problem,
    render, wire,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page,
    budget::BudgetWindow,
    patch::Patch,
    plan_grant::Expires,
    problem::FieldError,
    top_up::{
        AutoTopUp, AutoTopUpInput, AutoTopUpStatus, AwaitedTopUp, DeclineInput, MAX_FAILURES, MAX_TEXT,
        MAX_TOP_UPS, PaymentInput, SECONDS, TopUp, TopUpDeclined, TopUpPaid, TopUpStatus,
    },
};
use proviso_engine::{
    AutoTopUpChange, Expected, auto_top_up_tag,
    command::{Command, Reply},
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        grant::CreditType,
        ids::{Key, TopUpId},
        time::Timestamp,
        top_up::Fill,
    },
    rules::{
        rejection::Rejection,
        top_up::{TopUpOutlook, TopUpPayment},
    },
    state::{self, AutoTopUpState, CustomerState, TopUpState},
};
use serde::Deserialize;
use std::{borrow::Cow, ops::RangeInclusive, sync::Arc};

problems!(RulesProblems: CALLER CUSTOMER LIST LANE);
problems!(RuleProblems: CALLER CUSTOMER LANE, AutoTopUpNotFound);
problems!(PutProblems: CALLER CUSTOMER GRANTOR BODY LANE, CustomerClosed, ChangedMeanwhile, TooMany);
problems!(DeleteProblems: CALLER CUSTOMER GRANTOR LANE, AutoTopUpNotFound, TopUpPending, ChangedMeanwhile);
problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(AwaitedProblems: CALLER LIST LANE, CustomerNotFound);
problems!(ReadProblems: CALLER CUSTOMER LANE, TopUpNotFound);
problems!(
    PayProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    TopUpNotFound, TopUpClosed, CustomerClosed, TooMany, TooLarge, TotalOutOfRange
);
problems!(
    DeclineProblems: CALLER UNCONDITIONAL CUSTOMER GRANTOR BODY REQUIRED_KEY LANE,
    TopUpNotFound, TopUpClosed
);

/// List rules for top-ups
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/auto-top-ups",
    operation_id = "list_auto_top_ups",
    tag = "Top-ups",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "By credit type", body = Page<AutoTopUp>), RulesProblems),
)]
pub async fn rules(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let at = app.now().max(state.at);
    let rules = state.auto_top_ups.iter().map(|(credit, rule)| auto_top_up(&state, credit, rule, at));
    Answer::ok(&paging.page(rules, |one| one.credit.clone())?)
}

/// Read the rule for the top-ups of a credit type
///
/// With what keeps it from asking for a payment now. The `ETag` is that of the rule alone.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/auto-top-ups/{credit}",
    operation_id = "read_auto_top_up",
    tag = "Top-ups",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("credit" = String, Path, description = "The credit type"),
    ),
    responses((status = 200, description = "The rule", body = AutoTopUp), RuleProblems),
)]
pub async fn rule(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(credit): At<CreditKey>,
) -> Result<Answer, Problem> {
    shown(&app, &*app.engine.state(&customer.id).await?, &credit.0, false)
}

/// Create or change the rule for the top-ups of a credit type
///
/// An absent field stays as it is, null clears it. Once less than the threshold is available, one payment is asked for: a journal entry
/// of type `top_up_requested`, and a top-up that is `pending` until it is answered with `pay` or `decline`, or expires. While it is
/// pending no other is asked for. Putting a rule ends a cool-down and what failed payments hold back.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}/auto-top-ups/{credit}",
    operation_id = "put_auto_top_up",
    tag = "Top-ups",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("credit" = String, Path, description = "The credit type, such as `credits`; percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule that is changed"),
    ),
    request_body = AutoTopUpInput,
    responses(
        (status = 200, description = "In force", body = AutoTopUp),
        (status = 201, description = "Created", body = AutoTopUp),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(credit): At<CreditKey>,
    IfMatch(expected): IfMatch,
    Json(body): Json<AutoTopUpInput>,
) -> Result<Answer, Problem> {
    let command = Command::SetAutoTopUp(Box::new(change(credit.0.clone(), body, expected)?));
    let is_new = match app.engine.execute(customer.request(command, None)).await? {
        Reply::Entry(outcome) => {
            matches!(&outcome.entry.event, Event::AutoTopUpChanged(changed) if changed.new)
        }
        Reply::State(_) => false,
        other => return Err(Problem::internal(format!("a rule was answered with {other:?}"))),
    };
    shown(&app, &*app.engine.state(&customer.id).await?, &credit.0, is_new)
}

/// Take the rule for the top-ups of a credit type back
///
/// Not while a top-up is pending, whose payment may be under way.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}/auto-top-ups/{credit}",
    operation_id = "delete_auto_top_up",
    tag = "Top-ups",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("credit" = String, Path, description = "The credit type"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the rule that is taken back"),
    ),
    responses((status = 204, description = "Taken back"), DeleteProblems),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(credit): At<CreditKey>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let command = Command::RemoveAutoTopUp(credit.0, expected);
    app.engine.execute(customer.request(command, None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Which top-ups are listed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Only these: `pending`, `paid`, `declined`, `expired` or `cancelled`.
    #[param(value_type = Option<String>)]
    status: Option<TopUpStatus>,
    /// Only those of this credit type.
    #[param(value_type = Option<String>)]
    credit: Option<Key>,
    /// How many items at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next_cursor` of the page before; empty for the first page.
    cursor: Option<String>,
}

/// List top-ups
///
/// Of each credit type the last 100 that were paid or may be, and the last 100 others, oldest first. Those of before are in the ledger, as entries of type `top_up_requested`.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/top-ups",
    operation_id = "list_top_ups",
    tag = "Top-ups",
    params(("customer" = String, Path, description = "The customer"), Listing),
    responses((status = 200, description = "Top-ups", body = Page<TopUp>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(Listing { status, credit, limit, cursor }): Query<Listing>,
) -> Result<Answer, Problem> {
    let paging = Paging::new(limit, cursor);
    let state = app.engine.state(&customer.id).await?;
    let all = state.auto_top_ups.values().flat_map(|rule| &rule.recent).map(top_up);
    let is_asked = |one: &TopUp<'_>| {
        status.is_none_or(|status| one.status == status)
            && credit.as_ref().is_none_or(|credit| one.credit == *credit)
    };
    let mut asked: Vec<TopUp<'_>> = all.filter(is_asked).collect();
    asked.sort_by_key(|one| one.id);
    Answer::ok(&paging.page(asked, |one| one.id)?)
}

/// List the top-ups of all customers that await their payment
///
/// What whoever takes money asks for from time to time. A page takes in `limit` customers, by key; it may have fewer items, or none,
/// and yet not be the last.
#[utoipa::path(
    get,
    path = "/v1/top-ups",
    operation_id = "list_awaited_top_ups",
    tag = "Top-ups",
    params(Paging),
    responses(
        (status = 200, description = "By customer", body = Page<AwaitedTopUp>),
        AwaitedProblems,
    ),
)]
pub async fn awaited(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let (limit, after) = (paging.limit()?, paging.after::<Key>()?);
    let mut customers = match caller.only_customer() {
        Some(only) => vec![only.clone()],
        None => app.engine.customers_awaiting_payment(after.as_ref(), limit + 1).await?,
    };
    let next_cursor = cut(&mut customers, limit as usize, Clone::clone);
    let mut states = Vec::with_capacity(customers.len());
    for customer in &customers {
        states.push(app.engine.state(customer).await?);
    }
    let pending = states.iter().flat_map(|state| {
        let pending = state.auto_top_ups.values().filter_map(AutoTopUpState::pending);
        pending.map(|one| AwaitedTopUp { customer: state.customer.clone(), top_up: top_up(one) })
    });
    Answer::ok(&Page { data: pending.collect::<Vec<_>>(), next_cursor })
}

/// Read a top-up
///
/// As long as it is listed.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/top-ups/{top_up}",
    operation_id = "read_top_up",
    tag = "Top-ups",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("top_up" = String, Path, description = "The top-up"),
    ),
    responses((status = 200, description = "The top-up", body = TopUp), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<TopUpId>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let (_, found) = state.top_up(id).ok_or(Rejection::TopUpNotFound(id))?;
    Answer::ok(&top_up(found))
}

/// Answer a top-up: it was paid
///
/// Its credits are given once, with what was paid as their cost basis. One that has expired is taken all the same as long as no other
/// was asked for since, as the money was taken; else this is refused, and the payment has to be given back.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/top-ups/{top_up}/pay",
    operation_id = "pay_top_up",
    tag = "Top-ups",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("top_up" = String, Path, description = "The top-up"),
        ("Idempotency-Key" = String, Header, description = "New for each request, the same for its repeats"),
    ),
    request_body = Option<PaymentInput>,
    responses((status = 200, description = "Its credits were given", body = TopUpPaid), PayProblems),
)]
pub async fn pay(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(id): At<TopUpId>,
    Keyed { idempotency, body: MaybeJson(body) }: Keyed<MaybeJson<PaymentInput>>,
) -> Result<Answer, Problem> {
    let PaymentInput { payment, cost_basis } = body;
    require_short("/payment", payment.as_deref())?;
    let command = Command::PayTopUp(id, Box::new(TopUpPayment { payment, cost_basis }));
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, paid)
}

/// Answer a top-up: its payment was declined
///
/// None is asked for until the rule's cool-down has passed; after too many failures in a row, until the rule is put again.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/top-ups/{top_up}/decline",
    operation_id = "decline_top_up",
    tag = "Top-ups",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("top_up" = String, Path, description = "The top-up"),
        ("Idempotency-Key" = String, Header, description = "New for each request, the same for its repeats"),
    ),
    request_body = Option<DeclineInput>,
    responses((status = 200, description = "Noted", body = TopUpDeclined), DeclineProblems),
)]
pub async fn decline(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(id): At<TopUpId>,
    Keyed { idempotency, body: MaybeJson(DeclineInput { reason }) }: Keyed<MaybeJson<DeclineInput>>,
) -> Result<Answer, Problem> {
    require_short("/reason", reason.as_deref())?;
    let command = Command::DeclineTopUp(id, reason);
    let outcome = app.record(customer.request(command, Some(idempotency))).await?;
    render::answer(&outcome, declined)
}

pub(super) fn require_short(pointer: &str, text: Option<&str>) -> Result<(), Problem> {
    let fits = |text: &str| (1..=MAX_TEXT).contains(&text.len()) && !text.contains(char::is_control);
    match text {
        Some(text) if !fits(text) => {
            let detail = format!("must be 1 to {MAX_TEXT} bytes without control characters");
            Err(Problem::invalid_field(pointer, detail))
        }
        _ => Ok(()),
    }
}

/// A body in the engine's words. What depends on what is in force is checked where the change is made.
fn change(credit: CreditType, body: AutoTopUpInput, expected: Expected) -> Result<AutoTopUpChange, Problem> {
    let mut errors = Vec::new();
    let fill = match (body.target.value(), body.amount.value()) {
        (Some(_), Some(_)) => {
            let detail = "a top-up brings an amount or fills up to a target, not both";
            errors.push(FieldError::new("/amount", detail));
            None
        }
        (Some(target), None) => Some(Fill::Target(*target)),
        (None, amount) => amount.copied().map(Fill::Amount),
    };
    let mut within = |pointer: &str, value: &Patch<u32>, range: RangeInclusive<u32>| {
        if value.value().is_some_and(|value| !range.contains(value)) {
            let detail = format!("must be {} to {}", range.start(), range.end());
            errors.push(FieldError::new(pointer, detail));
        }
    };
    within("/max", &body.max, 1..=MAX_TOP_UPS);
    within("/cool_down_seconds", &body.cool_down_seconds, SECONDS);
    within("/answer_seconds", &body.answer_seconds, SECONDS);
    within("/max_failures", &body.max_failures, 1..=MAX_FAILURES);
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    Ok(AutoTopUpChange {
        credit,
        threshold: body.threshold.into_option(),
        fill,
        most: body.max.into_option().into(),
        window: body.per.map(|window| window.0).into_option().into(),
        cool_down_seconds: body.cool_down_seconds.into_option().into(),
        answer_seconds: body.answer_seconds.into_option().into(),
        most_failures: body.max_failures.into_option().into(),
        unit_price: body.unit_price.into_option().into(),
        priority: body.priority.into_option().into(),
        expires: body.expires.map(|expires| expires.0).into_option().into(),
        enabled: body.enabled.into_option().into(),
        expected,
    })
}

fn shown(app: &App, state: &CustomerState, credit: &CreditType, is_new: bool) -> Result<Answer, Problem> {
    let rule = state.auto_top_ups.get(credit).ok_or_else(|| Rejection::AutoTopUpNotFound(credit.clone()))?;
    let view = auto_top_up(state, credit, rule, app.now().max(state.at));
    Ok(Answer::put(is_new, &view)?.tagged(auto_top_up_tag(state, credit)?))
}

fn auto_top_up<'a>(
    state: &CustomerState,
    credit: &CreditType,
    of: &'a AutoTopUpState,
    at: Timestamp,
) -> AutoTopUp<'a> {
    let rule = &of.rule;
    let (outlook, count, retry_at) = state.top_up_outlook(of, at);
    let (target, amount) = match rule.fill {
        Fill::Target(target) => (Some(target), None),
        Fill::Amount(amount) => (None, Some(amount)),
    };
    AutoTopUp {
        credit: credit.clone(),
        threshold: rule.threshold,
        target,
        amount,
        max: rule.most,
        per: BudgetWindow(rule.window),
        cool_down_seconds: rule.cool_down_seconds,
        answer_seconds: rule.answer_seconds,
        max_failures: rule.most_failures,
        unit_price: rule.unit_price,
        priority: rule.priority,
        expires: Expires(rule.expires),
        enabled: rule.enabled,
        status: match outlook {
            TopUpOutlook::Ready => AutoTopUpStatus::Ready,
            TopUpOutlook::Disabled => AutoTopUpStatus::Disabled,
            TopUpOutlook::Pending => AutoTopUpStatus::Pending,
            TopUpOutlook::CoolingDown => AutoTopUpStatus::CoolingDown,
            TopUpOutlook::LimitReached => AutoTopUpStatus::LimitReached,
            TopUpOutlook::PaymentsFailed => AutoTopUpStatus::PaymentsFailed,
        },
        count,
        failures: of.failures,
        retry_at,
        pending: of.pending().map(top_up),
    }
}

fn top_up(one: &TopUpState) -> TopUp<'_> {
    let requested = &one.requested;
    TopUp {
        id: one.id,
        credit: requested.credit.clone(),
        status: match one.status {
            state::TopUpStatus::Pending => TopUpStatus::Pending,
            state::TopUpStatus::Paid => TopUpStatus::Paid,
            state::TopUpStatus::Declined => TopUpStatus::Declined,
            state::TopUpStatus::Expired => TopUpStatus::Expired,
            state::TopUpStatus::Cancelled => TopUpStatus::Cancelled,
        },
        amount: requested.amount,
        price: requested.price,
        available: requested.available,
        required: requested.required,
        number: requested.number,
        requested_at: one.requested_at,
        expires_at: requested.expires_at,
        ended_at: one.ended_at,
        grant: one.grant,
        paid: one.paid,
        payment: one.payment.as_deref().map(Cow::Borrowed),
        reason: one.reason.as_deref().map(Cow::Borrowed),
    }
}

fn paid(entry: &Entry) -> Result<Answer, Problem> {
    let Event::TopUpPaid(paid) = &entry.event else { return Err(render::mismatch(entry)) };
    Answer::ok(&TopUpPaid {
        id: paid.top_up,
        status: TopUpStatus::Paid,
        payment: paid.payment.as_deref().map(Cow::Borrowed),
        expired_before: paid.expired_before,
        grant: wire::new_grant(&paid.grant, entry.at),
        balance: render::balance(entry)?,
        entry: entry.seq,
    })
}

fn declined(entry: &Entry) -> Result<Answer, Problem> {
    let Event::TopUpDeclined(declined) = &entry.event else { return Err(render::mismatch(entry)) };
    Answer::ok(&TopUpDeclined {
        id: declined.top_up,
        status: TopUpStatus::Declined,
        reason: declined.reason.as_deref().map(Cow::Borrowed),
        balance: render::balance(entry)?,
        entry: entry.seq,
    })
}
