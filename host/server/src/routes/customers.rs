//! Customers: who pays, on which plan, in which time zone.

use crate::{
    access::{Caller, Customer, Manage, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{IfMatch, Json, Paging, Query, cut, fitting, short},
    problem::Problem,
    wire,
};
use axum::extract::State;
use proviso_api::{
    Page,
    customer::{Customer as CustomerView, CustomerInput, CustomerTrial},
};
use proviso_engine::{
    Change, CustomerSummary, DecideError, EngineError,
    command::{Command, CustomerChange, Reply},
    customer_tag,
};
use proviso_ledger::{
    model::{
        answers::Allowance,
        customer::Profile,
        ids::{CustomerId, Key, Name},
        time::{Timestamp, Zone},
    },
    state::CustomerState,
};
use std::{borrow::Cow, sync::Arc};

problems!(
    PutProblems: CALLER CUSTOMER GRANTOR BODY LANE,
    CustomerClosed, TrialUsed, ChangedMeanwhile, TotalOutOfRange, TooMany, TooLarge; named PlanNotFound
);
problems!(ReadProblems: CALLER CUSTOMER LANE);
problems!(ListProblems: CALLER LIST LANE, CustomerNotFound);
problems!(DeleteProblems: CALLER CUSTOMER LANE, ChangedMeanwhile);

/// Create or change a customer
///
/// An absent field stays as it is, null clears it. The same request again changes nothing.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}",
    operation_id = "put_customer",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The caller's own key, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the customer that is changed"),
    ),
    request_body = CustomerInput,
    responses(
        (status = 200, description = "In force", body = CustomerView),
        (status = 201, description = "Created", body = CustomerView),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    IfMatch(expected): IfMatch,
    Json(body): Json<CustomerInput>,
) -> Result<Answer, Problem> {
    let CustomerInput { name, plan, time_zone, anchor, attributes, external_ids } = body;
    short("/name", name.value().map_or("", String::as_str))?;
    let mut plan: Change<Name> = plan.into_option().into();
    let mut time_zone: Change<Zone> = time_zone.into_option().into();
    let mut anchor: Change<Timestamp> = anchor.into_option().into();
    let mut attributes: Change<Vec<(String, String)>> =
        attributes.map(|attributes| attributes.0).into_option().into();
    if !customer.may_grant() {
        // Where periods end, what day it is and what a policy reads of the customer decide what it gets, as its plan does.
        let state = app.engine.state(&customer.id).await?;
        let profile = state.profile.as_ref();
        leave(&mut plan, profile.and_then(|profile| profile.plan.as_ref()))?;
        leave(&mut time_zone, profile.map(|profile| &profile.time_zone))?;
        leave(&mut anchor, profile.map(|profile| &profile.anchor))?;
        leave(&mut attributes, profile.map(|profile| &profile.attributes))?;
    }
    let change = CustomerChange {
        name: name.into_option().into(),
        plan,
        time_zone,
        anchor,
        attributes,
        external_ids: external_ids.map(|ids| ids.0).into_option().into(),
        allowance: Allowance::Carry,
        expected,
    };
    let command = Command::Configure(Box::new(change));
    match app.engine.execute(customer.request(command, None)).await {
        Ok(Reply::Configured { state, created }) => {
            Ok(Answer::put(created, &whole(&state, app.now())?)?.tagged(customer_tag(&state)?))
        }
        Ok(other) => Err(Problem::internal(format!("a customer was answered with {other:?}"))),
        Err(error @ EngineError::Decide(DecideError::PlanNotFound(_))) => {
            Err(Problem::from(error).named_by("/plan"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses a change for a key that may not make it. One to what is in force is none, also if that changes meanwhile.
fn leave<T: Clone + PartialEq>(change: &mut Change<T>, in_force: Option<&T>) -> Result<(), Problem> {
    if *change != Change::Keep && change.clone().apply(in_force.cloned()).as_ref() != in_force {
        return Err(Problem::key_may_not_grant());
    }
    *change = Change::Keep;
    Ok(())
}

/// Read a customer
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}",
    operation_id = "read_customer",
    tag = "Customers",
    params(("customer" = String, Path, description = "The customer")),
    responses((status = 200, description = "The customer", body = CustomerView), ReadProblems),
)]
pub async fn get(State(app): State<Arc<App>>, customer: Customer<Read>) -> Result<Answer, Problem> {
    shown(&*app.engine.state(&customer.id).await?, app.now())
}

/// List customers
#[utoipa::path(
    get,
    path = "/v1/customers",
    operation_id = "list_customers",
    tag = "Customers",
    params(Paging),
    responses((status = 200, description = "Customers by key", body = Page<CustomerView>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let (limit, after) = (paging.limit()?, paging.after::<Key>()?);
    if let Some(only) = caller.only_customer() {
        let state = app.engine.state(only).await?;
        return Answer::ok(&Page { data: vec![whole(&state, app.now())?], next_cursor: None });
    }
    let mut customers = app.engine.customers(after.as_ref(), limit + 1).await?;
    let views: Vec<_> = customers.iter().map(summary).collect();
    let limit = fitting(&views).min(limit as usize);
    let next_cursor = cut(&mut customers, limit, |one| one.customer.clone());
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
    params(
        ("customer" = String, Path, description = "The customer"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the customer that is closed"),
    ),
    responses((status = 200, description = "Closed", body = CustomerView), DeleteProblems),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    IfMatch(expected): IfMatch,
) -> Result<Answer, Problem> {
    let command = Command::Close(expected);
    app.engine.execute(customer.request(command, None)).await?;
    shown(&*app.engine.state(&customer.id).await?, app.now())
}

fn shown(state: &CustomerState, now: Timestamp) -> Result<Answer, Problem> {
    Ok(Answer::ok(&whole(state, now)?)?.tagged(customer_tag(state)?))
}

fn whole(state: &CustomerState, now: Timestamp) -> Result<CustomerView<'_>, Problem> {
    let profile = state.profile.as_ref();
    let profile = profile.ok_or_else(|| Problem::customer_not_found(&state.customer))?;
    let view = view(&state.customer, profile, state.closed, state.created_at);
    let trial = state.trial_ends_at(now).map(|ends_at| CustomerTrial { ends_at });
    Ok(CustomerView { period: Some(state.period.as_ref().map(wire::period)), trial, ..view })
}

fn summary(one: &CustomerSummary) -> CustomerView<'_> {
    view(&one.customer, &one.profile, one.closed, one.created_at)
}

fn view<'a>(
    customer: &CustomerId,
    profile: &'a Profile,
    closed: bool,
    created_at: Timestamp,
) -> CustomerView<'a> {
    CustomerView {
        customer: customer.clone(),
        name: Cow::Borrowed(&profile.name),
        plan: profile.plan.clone(),
        plan_version: profile.sold().map(|sold| sold.version),
        time_zone: Cow::Borrowed(profile.time_zone.name()),
        anchor: profile.anchor,
        attributes: wire::texts(&profile.attributes),
        external_ids: wire::texts(&profile.external_ids),
        closed,
        created_at,
        period: None,
        trial: None,
    }
}
