//! Add-ons: what is sold on top of plans, and what of it customers have.

use super::plans::{entitlement_values, read_entitlements};
use crate::{
    access::{Customer, Grantor, Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{AddOnName, At, IfMatch, Json, MaybeJson, Paging, Query, short},
    problem::Problem,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page, Patch,
    add_on::{
        AddOn as View, AddOnInput, CustomerAddOn, CustomerAddOnInput, CustomerAddOnStatus, MAX_QUANTITY,
    },
    plan::IntervalUnits,
    plan_grant::{PlanGrant, read_grants},
};
use proviso_engine::{
    AddOnChange, AddOnProductChange, DecideError, EngineError, Tag, acting_as, add_on_tag,
    catalog::AddOn,
    command::{Command, Reply},
};
use proviso_ledger::{
    journal::Event,
    model::{grant::Category, ids::Name, time::Timestamp},
    rules::rejection::Rejection,
    state::{AddOnState, CustomerState},
};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};

problems!(PutProblems: CALLER OPERATOR BODY CATALOG, InvalidPath, ChangedMeanwhile);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, AddOnNotFound);
problems!(ListProblems: CALLER OPERATOR LIST);
problems!(CustomerListProblems: CALLER CUSTOMER LIST LANE);
problems!(CustomerReadProblems: CALLER CUSTOMER LANE, AddOnNotAttached);
problems!(
    CustomerPutProblems: CALLER CUSTOMER GRANTOR BODY LANE,
    AddOnNotFound, AddOnNotAttached, AddOnWithdrawn, AddOnVersionNotSold, CustomerClosed, ChangedMeanwhile, TooMany,
    TooLarge, TotalOutOfRange
);
problems!(
    CustomerDeleteProblems: CALLER CUSTOMER GRANTOR LANE,
    AddOnNotAttached, CustomerClosed, ChangedMeanwhile
);

/// Create or change an add-on
///
/// An absent field stays as it is, null clears it. Another cycle, other grants or entitlements make its next version: customers stay on the
/// one that they were sold until a `version` is put for them.
#[utoipa::path(
    put,
    path = "/v1/add-ons/{add_on}",
    operation_id = "put_add_on",
    tag = "Selling",
    params(
        ("add_on" = String, Path, description = "The add-on's key"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the add-on that is changed"),
    ),
    request_body = AddOnInput,
    responses(
        (status = 200, description = "In force", body = View),
        (status = 201, description = "Created", body = View),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(add_on): At<AddOnName>,
    IfMatch(expected): IfMatch,
    Json(body): Json<AddOnInput>,
) -> Result<Answer, Problem> {
    short("/name", body.name.value().map(String::as_str).unwrap_or_default())?;
    require_quantity("/max_quantity", &body.max_quantity)?;
    let grants = match body.grants.into_option() {
        Some(Some(mut grants)) => {
            // Who has an add-on has bought it.
            for grant in &mut grants {
                grant.category.get_or_insert(Category::Prepaid);
            }
            let grants = read_grants(grants, "/grants");
            Some(Some(grants.map_err(|error| Problem::invalid(vec![error]))?))
        }
        absent_or_null => absent_or_null.map(|_| None),
    };
    let entitlements = match body.entitlements.into_option() {
        Some(Some(entitlements)) => Some(Some(read_entitlements(entitlements)?)),
        absent_or_null => absent_or_null.map(|_| None),
    };
    let change = AddOnProductChange {
        name: body.name.into_option().into(),
        interval: body.interval.map(|interval| interval.0).into_option().into(),
        grants: grants.into(),
        entitlements: entitlements.into(),
        max_quantity: body.max_quantity.into_option().into(),
        for_sale: body.for_sale.into_option().into(),
    };
    let put = acting_as(caller.by(), app.engine.put_add_on(add_on.0, change, expected)).await;
    let (add_on, created) = put?;
    Ok(Answer::put(created, &view(&add_on))?.tagged(Some(Tag::of(&*add_on)?)))
}

/// Read an add-on
#[utoipa::path(
    get,
    path = "/v1/add-ons/{add_on}",
    operation_id = "read_add_on",
    tag = "Selling",
    params(("add_on" = String, Path, description = "The add-on")),
    responses((status = 200, description = "The add-on", body = View), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(add_on): At<AddOnName>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let add_on = catalog.add_ons.get(&add_on.0).ok_or(DecideError::AddOnNotFound(add_on.0))?;
    Ok(Answer::ok(&view(add_on))?.tagged(Some(Tag::of(&**add_on)?)))
}

/// List add-ons
#[utoipa::path(
    get,
    path = "/v1/add-ons",
    operation_id = "list_add_ons",
    tag = "Selling",
    params(Paging),
    responses((status = 200, description = "Add-ons by key", body = Page<View>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    Answer::ok(&paging.page(catalog.add_ons.values().map(|add_on| view(add_on)), |one| one.add_on.clone())?)
}

/// List a customer's add-ons
///
/// Those that it has or will have.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/add-ons",
    operation_id = "list_customer_add_ons",
    tag = "Selling",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "Add-ons by key", body = Page<CustomerAddOn>), CustomerListProblems),
)]
pub async fn list_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let state = app.engine.state(&customer.id).await?;
    let at = app.now().max(state.at);
    let standing = state.add_ons.iter().filter(|(_, one)| !one.attachment.is_over(at));
    Answer::ok(&paging.page(standing.map(|(name, one)| attached(name, one, at)), |one| one.add_on.clone())?)
}

/// Read an add-on of a customer
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/add-ons/{add_on}",
    operation_id = "read_customer_add_on",
    tag = "Selling",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("add_on" = String, Path, description = "The add-on"),
    ),
    responses((status = 200, description = "The add-on", body = CustomerAddOn), CustomerReadProblems),
)]
pub async fn get_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(add_on): At<AddOnName>,
) -> Result<Answer, Problem> {
    shown(&app, &*app.engine.state(&customer.id).await?, &add_on.0, false)
}

/// Attach an add-on to a customer, or change it
///
/// An absent field stays as it is, null clears it. What it gives is given at once: within one of its cycles no more than its largest
/// quantity gives once, however often it is attached, changed and taken away.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}/add-ons/{add_on}",
    operation_id = "put_customer_add_on",
    tag = "Selling",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("add_on" = String, Path, description = "The add-on"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the add-on as the customer has it"),
    ),
    request_body = Option<CustomerAddOnInput>,
    responses(
        (status = 200, description = "In force", body = CustomerAddOn),
        (status = 201, description = "Attached", body = CustomerAddOn),
        CustomerPutProblems,
    ),
)]
pub async fn put_to_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(add_on): At<AddOnName>,
    IfMatch(expected): IfMatch,
    MaybeJson(body): MaybeJson<CustomerAddOnInput>,
) -> Result<Answer, Problem> {
    require_quantity("/quantity", &body.quantity)?;
    let change = AddOnChange {
        add_on: add_on.0.clone(),
        quantity: body.quantity.into_option().into(),
        version: body.version.into_option(),
        starts_at: body.starts_at.into_option().into(),
        ends_at: body.ends_at.into_option().into(),
        expected,
    };
    let is_new = match app.engine.execute(customer.request(Command::SetAddOn(Box::new(change)), None)).await?
    {
        Reply::Entry(outcome) => {
            matches!(&outcome.entry.event, Event::AddOnChanged(changed) if changed.new)
        }
        Reply::State(_) => false,
        other => return Err(Problem::internal(format!("an add-on was answered with {other:?}"))),
    };
    shown(&app, &*app.engine.state(&customer.id).await?, &add_on.0, is_new)
}

/// What becomes of what the add-on has given.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Ending {
    /// Whether what is left of what it has given is voided; defaults to false: that lives on until its own end.
    void: Option<bool>,
}

/// Take an add-on away from a customer
///
/// Its entitlements end, and it gives nothing more.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}/add-ons/{add_on}",
    operation_id = "delete_customer_add_on",
    tag = "Selling",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("add_on" = String, Path, description = "The add-on"),
        Ending,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the add-on as the customer has it"),
    ),
    responses((status = 204, description = "Taken away"), CustomerDeleteProblems),
)]
pub async fn delete_of_customer(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(add_on): At<AddOnName>,
    Query(Ending { void }): Query<Ending>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let command = Command::EndAddOn { add_on: add_on.0, void: void.unwrap_or(false), expected };
    app.engine.execute(customer.request(command, None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn require_quantity(pointer: &str, quantity: &Patch<u32>) -> Result<(), Problem> {
    match quantity.value() {
        Some(quantity) if !(1..=MAX_QUANTITY).contains(quantity) => {
            Err(Problem::invalid_field(pointer, format!("must be 1 to {MAX_QUANTITY}")))
        }
        _ => Ok(()),
    }
}

fn view(add_on: &AddOn) -> View<'_> {
    let sold = &add_on.sold;
    View {
        add_on: add_on.add_on.clone(),
        name: Cow::Borrowed(&add_on.name),
        version: sold.version,
        interval: sold
            .interval
            .map(|interval| IntervalUnits { unit: interval.unit(), count: interval.count() }),
        grants: sold.grants.iter().map(PlanGrant::from).collect(),
        entitlements: entitlement_values(&sold.entitlements),
        max_quantity: add_on.max_quantity,
        for_sale: add_on.for_sale,
        created_at: add_on.created_at,
    }
}

fn shown(app: &App, state: &CustomerState, add_on: &Name, is_new: bool) -> Result<Answer, Problem> {
    let at = app.now().max(state.at);
    let found = state.add_on(add_on, at).ok_or_else(|| Rejection::AddOnNotAttached(add_on.clone()))?;
    let tag = add_on_tag(state, add_on, at).map_err(EngineError::from)?;
    Ok(Answer::put(is_new, &attached(add_on, found, at))?.tagged(tag))
}

fn attached(add_on: &Name, state: &AddOnState, at: Timestamp) -> CustomerAddOn {
    let attachment = &state.attachment;
    let is_active = attachment.covers(at);
    // What an earlier cycle has given counts no more.
    let runs = state.cycle.is_some_and(|cycle| cycle.end > at);
    let given = state.given.iter().filter(|_| runs).map(|given| (given.credit.clone(), given.amount));
    CustomerAddOn {
        add_on: add_on.clone(),
        version: attachment.sold.version,
        quantity: attachment.quantity,
        status: if is_active { CustomerAddOnStatus::Active } else { CustomerAddOnStatus::Scheduled },
        starts_at: attachment.starts_at,
        ends_at: attachment.ends_at,
        next_grant_at: state.next_at,
        given: given.collect(),
    }
}
