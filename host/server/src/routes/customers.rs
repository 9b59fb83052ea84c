//! Customers: who pays, on which plan, in which time zone.

use crate::{
    access::{Caller, Customer, Manage, Read},
    answers::{Answer, Period, texts},
    app::App,
    extract::{Attributes, Json, Page, Paging, Query, cut},
    problem::{FieldError, Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    CustomerSummary, EngineError,
    command::{Command, ProfileChange, Reply, Request},
};
use proviso_ledger::{
    model::{
        customer::Profile,
        ids::{CustomerId, Key},
        time::{Timestamp, Zone},
    },
    rules::rejection::Rejection,
    state::CustomerState,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// The longest name for people, in bytes.
pub const LONGEST_NAME: usize = 512;

/// A customer, as the caller describes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CustomerInput, example = json!({ "name": "Acme Inc.", "plan": "pro", "time_zone": "Europe/Berlin" }))]
pub struct CustomerBody {
    /// For people; the customer's key, when it is not said.
    #[serde(default)]
    name: Option<String>,
    /// The plan. A change of it closes the period and begins one on the new plan.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    plan: Option<Key>,
    /// The zone in which periods and days are counted; UTC, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::TimeZone>)]
    time_zone: Option<Zone>,
    /// From where periods are counted; stays as it was (or is now), when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    anchor: Option<Timestamp>,
    /// The caller's data, which policies may read; at most 64.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    attributes: Attributes,
    /// The customer's id at Stripe.
    #[serde(default)]
    stripe_customer: Option<String>,
}

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerAnswer<'a> {
    /// Its key.
    #[schema(value_type = schema::Key)]
    customer: &'a CustomerId,
    /// For people.
    name: &'a str,
    /// The plan.
    #[schema(value_type = Option<schema::Key>)]
    plan: Option<&'a Key>,
    /// The zone in which periods and days are counted.
    #[schema(value_type = schema::TimeZone)]
    time_zone: &'a str,
    /// From where periods are counted.
    #[schema(value_type = schema::Time)]
    anchor: Timestamp,
    /// The caller's data.
    attributes: BTreeMap<&'a str, &'a str>,
    /// The customer's id at Stripe.
    stripe_customer: Option<&'a str>,
    /// Whether it was closed: no new charges; the ledger stays.
    closed: bool,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    created_at: Timestamp,
    /// The current period; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<Option<Period>>,
}

/// Create or replace a customer
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}",
    operation_id = "put_customer",
    tag = "Customers",
    params(("customer" = String, Path, description = "The caller's own key")),
    request_body = CustomerBody,
    responses(
        (status = 200, description = "Replaced", body = CustomerAnswer),
        (status = 201, description = "Created", body = CustomerAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    body: Json<CustomerBody>,
) -> Result<Answer, Problem> {
    let CustomerBody { name, plan, time_zone, anchor, attributes, stripe_customer } = body.value;
    let name = name.unwrap_or_else(|| customer.id.to_string());
    short("/name", &name)?;
    short("/stripe_customer", stripe_customer.as_deref().unwrap_or_default())?;
    let profile = Profile {
        name,
        plan,
        interval: None,
        time_zone: time_zone.unwrap_or_default(),
        anchor: anchor.unwrap_or_default(),
        attributes: attributes.0,
        stripe_customer,
    };
    let command = Command::Configure(Box::new(ProfileChange { profile, anchor }));
    let request = Request { customer: customer.id.clone(), command, idempotency: None };
    match app.engine.execute(request).await {
        Ok(Reply::Configured { state, created }) => Answer::put(created, &answer(&state)?),
        Ok(other) => Err(Problem::internal(format!("a customer was answered with {other:?}"))),
        Err(error @ EngineError::PlanNotFound(_)) => Err(Problem::from(error).named_by("/plan")),
        Err(error) => Err(error.into()),
    }
}

/// Read a customer
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}",
    operation_id = "read_customer",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer")),
    responses(
        (status = 200, description = "The customer", body = CustomerAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(State(app): State<Arc<App>>, customer: Customer<Read>) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    Answer::ok(&answer(&state)?)
}

/// List customers
#[utoipa::path(
    get,
    path = "/v1/customers",
    operation_id = "list_customers",
    tag = "Customers",
    params(Paging),
    responses(
        (status = 200, description = "Customers by key", body = Page<CustomerAnswer>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let (limit, after) = (paging.limit()?, paging.after::<Key>()?);
    if let Some(only) = caller.only_customer() {
        let state = app.engine.state(only).await?;
        return Answer::ok(&Page { data: vec![answer(&state)?], next_cursor: None });
    }
    let mut customers = app.engine.customers(after.as_ref(), limit + 1).await?;
    let next_cursor = cut(&mut customers, limit as usize, |one| one.customer.clone());
    Answer::ok(&Page { data: customers.iter().map(summary).collect(), next_cursor })
}

/// Close a customer
///
/// No new charges, reservations or grants; the ledger stays. Closing again changes nothing.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}",
    operation_id = "close_customer",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer")),
    responses(
        (status = 200, description = "Closed", body = CustomerAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(State(app): State<Arc<App>>, customer: Customer<Manage>) -> Result<Answer, Problem> {
    let request = Request { customer: customer.id.clone(), command: Command::Close, idempotency: None };
    match app.engine.execute(request).await {
        Ok(_) | Err(EngineError::Rejected(Rejection::CustomerClosed)) => {}
        Err(error) => return Err(error.into()),
    }
    let state = app.engine.state(&customer.id).await?;
    Answer::ok(&answer(&state)?)
}

fn answer(state: &CustomerState) -> Result<CustomerAnswer<'_>, Problem> {
    let profile = state.profile.as_ref();
    let profile = profile.ok_or_else(|| Problem::customer_not_found(&state.customer))?;
    let mut answer = describe(&state.customer, profile, state.closed, state.created_at);
    answer.period = Some(state.period.as_ref().map(Period::from));
    Ok(answer)
}

fn summary(one: &CustomerSummary) -> CustomerAnswer<'_> {
    describe(&one.customer, &one.profile, one.closed, one.created_at)
}

fn describe<'a>(
    customer: &'a CustomerId,
    profile: &'a Profile,
    closed: bool,
    created_at: Timestamp,
) -> CustomerAnswer<'a> {
    CustomerAnswer {
        customer,
        name: &profile.name,
        plan: profile.plan.as_ref(),
        time_zone: profile.time_zone.name(),
        anchor: profile.anchor,
        attributes: texts(&profile.attributes),
        stripe_customer: profile.stripe_customer.as_deref(),
        closed,
        created_at,
        period: None,
    }
}

/// Checks the length of a text for people.
pub fn short(pointer: &str, text: &str) -> Result<(), Problem> {
    if text.len() <= LONGEST_NAME {
        return Ok(());
    }
    let detail = format!("longer than {LONGEST_NAME} bytes");
    Err(Problem::invalid(vec![FieldError::new(pointer, detail)]))
}
