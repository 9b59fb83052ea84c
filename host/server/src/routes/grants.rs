//! Grants: credits that a customer is given.

use super::reservations::Empty;
use crate::{
    access::{Customer, Manage, Read},
    answers::{Answer, Grant},
    app::App,
    extract::{At, Attributes, IdempotencyHeader, Json, MaybeJson, Page, Paging, Query},
    problem::{FieldError, Problem, ProblemBody},
    render::{self, Granted, Voided},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    EngineError,
    command::{Command, Reply, Request},
};
use proviso_ledger::{
    model::{
        amounts::{Credits, Money},
        grant::{Category, Grant as LedgerGrant, default_credit},
        ids::{GrantId, Key},
        time::Timestamp,
        transfer::Book,
    },
    rules::rejection::Rejection,
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The most features that one grant is scoped to.
const MOST_FEATURES: usize = 64;

/// Credits to give.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrantInput, example = json!({
    "amount": "500",
    "category": "prepaid",
    "expires_at": "2027-11-23T00:00:00Z",
    "cost_basis": { "amount": "49.9", "currency": "EUR" }
}))]
pub struct GrantBody {
    /// How many credits, above zero.
    #[schema(value_type = schema::Credits)]
    amount: Credits,
    /// The credit type; `credits`, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    credit: Option<Key>,
    /// Why it exists: `plan`, `trial`, `prepaid`, `promotional`, `top_up`, `contract`, `rollover` or `adjustment`.
    #[schema(value_type = String, example = "prepaid")]
    category: Category,
    /// A lower number is drawn first; 0, when it is not said.
    #[serde(default)]
    priority: i32,
    /// When it becomes usable; at once, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    effective_at: Option<Timestamp>,
    /// When its rest expires; never, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    expires_at: Option<Timestamp>,
    /// The features that may draw on it; empty means all.
    #[serde(default)]
    #[schema(value_type = Vec<schema::Key>)]
    features: Vec<Key>,
    /// What the customer paid for it.
    #[serde(default)]
    cost_basis: Option<MoneyBody>,
    /// The caller's own data; at most 64.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    metadata: Attributes,
}

/// Real money.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MoneyInput)]
pub struct MoneyBody {
    /// Zero or more.
    #[schema(value_type = schema::Credits, example = "49.9")]
    amount: Credits,
    /// ISO 4217: three capital letters.
    #[schema(example = "EUR")]
    currency: String,
}

/// Give credits
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/grants",
    operation_id = "create_grant",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "To whom"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = GrantBody,
    responses(
        (status = 201, description = "Given", body = Granted),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    key: IdempotencyHeader,
    body: Json<GrantBody>,
) -> Result<Answer, Problem> {
    let idempotency = key.with(&[b"grant", customer.id.as_str().as_bytes(), &body.bytes]);
    let grant = grant(body.value)?;
    let outcome = app.record(customer.id.clone(), Command::Grant(Box::new(grant)), idempotency).await?;
    render::answer(&customer.id, &outcome)
}

/// List grants
///
/// Those that still matter: grants of long ago of which nothing is left are found in the ledger.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/grants",
    operation_id = "list_grants",
    tag = "Customers",
    params(("customer" = String, Path, description = "Whose"), Paging),
    responses(
        (status = 200, description = "Grants, oldest first", body = Page<Grant>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let at = app.engine.clock().now().max(state.at);
    let mut grants: Vec<Grant<'_>> = state.grants.iter().map(|grant| Grant::of(grant, at)).collect();
    grants.sort_by_key(Grant::id);
    Answer::ok(&paging.page(grants, Grant::id)?)
}

/// Read a grant
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/grants/{grant}",
    operation_id = "read_grant",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "Whose"),
        ("grant" = String, Path, description = "The grant"),
    ),
    responses(
        (status = 200, description = "The grant", body = Grant),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(id): At<GrantId>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let grant = state.grant(id).ok_or(Rejection::GrantNotFound(id))?;
    Answer::ok(&Grant::of(grant, app.engine.clock().now().max(state.at)))
}

/// Void a grant
///
/// What it has left is gone; what was spent of it stays spent.
#[utoipa::path(
    post,
    path = "/v1/customers/{customer}/grants/{grant}/void",
    operation_id = "void_grant",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "Whose"),
        ("grant" = String, Path, description = "The grant"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    responses(
        (status = 200, description = "Voided", body = Voided),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn void(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(id): At<GrantId>,
    key: IdempotencyHeader,
    body: MaybeJson<Empty>,
) -> Result<Answer, Problem> {
    let path = [customer.id.as_str(), &id.to_string()].join("/");
    let idempotency = key.with(&[b"void", path.as_bytes(), &body.bytes]);
    let request = Request { customer: customer.id.clone(), command: Command::Void(id), idempotency };
    match app.engine.execute(request).await {
        Ok(Reply::Entry(outcome)) => render::answer(&customer.id, &outcome),
        Ok(other) => Err(Problem::internal(format!("a void was answered with {other:?}"))),
        // A state forgets grants of which nothing is left: the journal tells those from ones that never were.
        Err(EngineError::Rejected(Rejection::GrantNotFound(_))) if was_made(&app, &customer, id).await? => {
            Err(Rejection::GrantClosed(id).into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn was_made(app: &App, customer: &Customer<Manage>, id: GrantId) -> Result<bool, Problem> {
    let page = app.engine.ledger(&customer.id, id.entry.checked_add(1), 1).await?;
    let Some((entry, _)) = page.entries.first() else { return Ok(false) };
    let made = entry.transfers.iter().any(|transfer| transfer.to == Book::Grant(id));
    Ok(entry.seq == id.entry && made)
}

fn grant(body: GrantBody) -> Result<LedgerGrant, Problem> {
    let mut errors = Vec::new();
    if body.features.len() > MOST_FEATURES {
        errors.push(FieldError::new("/features", format!("more than {MOST_FEATURES} features")));
    }
    if let Some(basis) = &body.cost_basis {
        if basis.amount.is_negative() {
            errors.push(FieldError::new("/cost_basis/amount", "must not be negative"));
        }
        if basis.currency.len() != 3 || !basis.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            errors.push(FieldError::new("/cost_basis/currency", "must be three capital letters"));
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    Ok(LedgerGrant {
        id: GrantId { entry: 0, index: 0 },
        credit: body.credit.unwrap_or_else(default_credit),
        amount: body.amount,
        category: body.category,
        priority: body.priority,
        // No grant is effective before the entry that makes it.
        effective_at: body.effective_at.unwrap_or(Timestamp(i64::MIN)),
        expires_at: body.expires_at,
        features: body.features,
        cost_basis: body.cost_basis.map(|basis| CostBasis { amount: basis.amount, currency: basis.currency }),
        metadata: body.metadata.0,
    })
}
