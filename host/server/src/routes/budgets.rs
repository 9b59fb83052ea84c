//! Budgets: how much may be used in a window of time, by a whole customer, below an entity, or with an attribute.

use crate::{
    access::{Customer, Manage, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, BudgetKey, IfMatch, Json, Paging, Query},
    problem::Problem,
    wire,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page, Patch,
    budget::{Budget as BudgetView, BudgetInput, MAX_FEATURES, MAX_WARNINGS},
    problem::FieldError,
};
use proviso_engine::{
    BudgetChange, Expected, budget_tag,
    command::{Command, Reply},
};
use proviso_ledger::{journal::Event, model::ids::Key, rules::rejection::Rejection, state::CustomerState};
use std::sync::Arc;

problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, BudgetNotFound);
problems!(
    PutProblems: CALLER CUSTOMER BODY LANE,
    CustomerClosed, ChangedMeanwhile, TooMany, TooLarge, BudgetNotFound
);
problems!(DeleteProblems: CALLER CUSTOMER LANE, BudgetNotFound, ChangedMeanwhile);

/// List budgets
///
/// Each with what counts toward it in the window of now.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/budgets",
    operation_id = "list_budgets",
    tag = "Entities and budgets",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "By key", body = Page<BudgetView>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let after = paging.after::<Key>()?;
    let at = app.now().max(state.at);
    let rest = state.budgets.after(after.as_ref()).map(|(id, budget)| wire::budget(&state, id, budget, at));
    Answer::ok(&paging.page(rest, |one| one.budget.clone())?)
}

/// Read a budget
///
/// With what counts toward it in the window of now. The `ETag` is that of the budget alone: it stays as usage is counted.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/budgets/{budget}",
    operation_id = "read_budget",
    tag = "Entities and budgets",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("budget" = String, Path, description = "The budget"),
    ),
    responses((status = 200, description = "The budget", body = BudgetView), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<BudgetKey>,
) -> Result<Answer, Problem> {
    shown(&app, &*app.engine.state(&customer.id).await?, &id.0, false)
}

/// Create or change a budget
///
/// An absent field stays as it is, null clears it. A budget counts usage that is taken from then on. What was counted stays,
/// unless entity, attribute, features, window or what is limited changes: then it begins at zero.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}/budgets/{budget}",
    operation_id = "put_budget",
    tag = "Entities and budgets",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("budget" = String, Path, description = "The caller's own key, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the budget that is changed"),
    ),
    request_body = BudgetInput,
    responses(
        (status = 200, description = "In force", body = BudgetView),
        (status = 201, description = "Created", body = BudgetView),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<BudgetKey>,
    IfMatch(expected): IfMatch,
    Json(body): Json<BudgetInput>,
) -> Result<Answer, Problem> {
    let command = Command::SetBudget(Box::new(change(id.0.clone(), body, expected)?));
    match app.engine.execute(customer.request(command, None)).await? {
        Reply::Entry(outcome) => {
            let is_new = matches!(&outcome.entry.event, Event::BudgetChanged(changed) if changed.new);
            shown(&app, &*app.engine.state(&customer.id).await?, &id.0, is_new)
        }
        Reply::State(state) => shown(&app, &state, &id.0, false),
        other => Err(Problem::internal(format!("a budget was answered with {other:?}"))),
    }
}

/// Take a budget back
///
/// It refuses nothing any more, and what it counted is forgotten.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}/budgets/{budget}",
    operation_id = "delete_budget",
    tag = "Entities and budgets",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("budget" = String, Path, description = "The budget"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the budget that is taken back"),
    ),
    responses((status = 204, description = "Taken back"), DeleteProblems),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<BudgetKey>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let command = Command::RemoveBudget(id.0, expected);
    app.engine.execute(customer.request(command, None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A body in the engine's words.
fn change(id: Key, body: BudgetInput, expected: Expected) -> Result<BudgetChange, Problem> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, detail: &str| errors.push(FieldError::new(pointer, detail));
    if body.entity.value().is_some() && body.attribute.value().is_some() {
        wrong("/attribute", "a budget is of an entity or of an attribute, not both");
    }
    if body.quantity.value().is_some() && body.credit.value().is_some() {
        wrong("/credit", "a budget limits credits or a quantity, not both");
    }
    if body.hard != Patch::Absent && body.soft != Patch::Absent {
        wrong("/soft", "says the opposite of hard: send one of them");
    }
    if body.features.value().is_some_and(|features| features.len() > MAX_FEATURES) {
        wrong("/features", &format!("has more than {MAX_FEATURES} items"));
    }
    if body.warn_at.value().is_some_and(|percents| percents.len() > MAX_WARNINGS) {
        wrong("/warn_at", &format!("has more than {MAX_WARNINGS} items"));
    }
    if body.limit.value().is_some_and(|limit| limit.is_number) && body.quantity.value().is_none() {
        wrong(
            "/limit",
            "credits are a decimal string such as \"12.5\": only with quantity it may be a number",
        );
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let soft = body.soft.map(|soft| !soft);
    let hard = if soft == Patch::Absent { body.hard } else { soft };
    Ok(BudgetChange {
        id,
        entity: body.entity.into_option().into(),
        attribute: body.attribute.map(|one| (one.name.0, one.value.0)).into_option().into(),
        features: body.features.into_option().into(),
        window: body.window.into_option().map(|window| window.0),
        limit: body.limit.into_option().map(|limit| limit.amount),
        quantity: body.quantity.map(|name| name.0).into_option().into(),
        credit: body.credit.into_option().into(),
        hard: hard.into_option().into(),
        warn_at: body
            .warn_at
            .map(|percents| percents.into_iter().map(|percent| percent.0).collect())
            .into_option()
            .into(),
        expected,
    })
}

fn shown(app: &App, state: &CustomerState, id: &Key, is_new: bool) -> Result<Answer, Problem> {
    let budget = state.budgets.get(id).ok_or_else(|| Rejection::BudgetNotFound(id.clone()))?;
    let view = wire::budget(state, id, budget, app.now().max(state.at));
    Ok(Answer::put(is_new, &view)?.tagged(budget_tag(state, id)?))
}
