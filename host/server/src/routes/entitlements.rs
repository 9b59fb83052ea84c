//! Entitlements: what a customer may use, and the overrides that set a customer apart from its plan.

use crate::{
    access::{Caller, Customer, Grantor, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, FeatureKey, IfMatch, Json, MaybeKeyed, Paging, Query, cursor, cut, fitting},
    problem::{Problem, refusal_code},
    render, wire,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_api::{
    Page,
    entitlement::{
        Entitlement, EntitlementQuery, EntitlementType, EntitlementValue, MAX_QUERIED, Override,
        OverrideInput, QueriedCustomer, QueriedEntitlements,
    },
};
use proviso_engine::{
    Access, DecideError, EngineError, EntitlementPage, OverrideChange, QueryFuel, Tag,
    command::{Command, Reply},
    standing_override,
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        entitlement::{Entitlement as LedgerEntitlement, Override as LedgerOverride},
        ids::Key,
    },
    state::CustomerState,
};
use std::sync::Arc;

problems!(ListProblems: CALLER CUSTOMER LIST LANE);
problems!(ReadProblems: CALLER CUSTOMER LANE, FeatureNotFound);
problems!(
    PutProblems: CALLER CUSTOMER GRANTOR BODY KEY LANE,
    CustomerClosed, ChangedMeanwhile, TooMany, TooLarge
);
problems!(DeleteProblems: CALLER CUSTOMER GRANTOR LANE, ChangedMeanwhile);

/// List entitlements
///
/// All features that the plan, an add-on or an override of the customer names. A page ends early when its items are large or take long to
/// find out about.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/entitlements",
    operation_id = "list_entitlements",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), Paging),
    responses((status = 200, description = "By feature", body = Page<Entitlement>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    // Only the page is evaluated: each feature may ask a policy.
    let (limit, after) = (paging.limit()? as usize, paging.after::<Key>()?);
    let page = app.engine.entitlements(&customer.id, after.as_ref(), limit).await?;
    let EntitlementPage { entitlements, has_more, state } = page;
    let mut data: Vec<_> = entitlements.into_iter().map(|access| entitlement(&app, access, &state)).collect();
    let limit = fitting(&data);
    let last = data.last().filter(|_| has_more).map(|last| cursor(&last.feature));
    let next_cursor = cut(&mut data, limit, |one| one.feature.clone()).or(last);
    Answer::ok(&Page { data, next_cursor })
}

/// Read an entitlement
///
/// The `ETag` is that of the customer's override; without an override there is none.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/entitlements/{feature}",
    operation_id = "read_entitlement",
    tag = "Reading",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("feature" = String, Path, description = "The feature"),
    ),
    responses(
        (status = 200, description = "Whether the feature may be used, and why", body = Entitlement),
        ReadProblems,
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(feature): At<FeatureKey>,
) -> Result<Answer, Problem> {
    let (answer, state) = app.engine.entitlement(&customer.id, &feature.0).await?;
    let tag = override_tag(&app, &state, &feature.0)?;
    Ok(Answer::ok(&entitlement(&app, answer, &state))?.tagged(tag))
}

problems!(QueryProblems: CALLER UNCONDITIONAL BODY LANE, TooMuchWork);

/// Query entitlements
///
/// Many customers and many features at once, up to 100 of each, as far as the policies that are asked for them burn no more
/// than one request may (`too_much_work`). Nothing is changed.
#[utoipa::path(
    post,
    path = "/v1/entitlements/query",
    operation_id = "query_entitlements",
    tag = "Reading",
    request_body = EntitlementQuery,
    responses((status = 200, description = "By customer", body = QueriedEntitlements), QueryProblems),
)]
pub async fn query(
    State(app): State<Arc<App>>,
    caller: Caller<Read>,
    Json(body): Json<EntitlementQuery>,
) -> Result<Answer, Problem> {
    let EntitlementQuery { customers, features } = body;
    for (pointer, count) in [("/customers", customers.len()), ("/features", features.len())] {
        if !(1..=MAX_QUERIED).contains(&count) {
            return Err(Problem::invalid_field(pointer, format!("must have 1 to {MAX_QUERIED} items")));
        }
    }
    let features: Arc<[Key]> = features.into();
    let (mut data, mut fuel) = (Vec::with_capacity(customers.len()), QueryFuel::default());
    for customer in customers {
        // As if it did not exist: a narrowed key must not learn of other customers.
        let asked = match caller.sees(&customer) {
            true => app.engine.query_entitlements(&customer, features.clone(), &mut fuel).await,
            false => Err(DecideError::CustomerNotFound(customer.clone()).into()),
        };
        let mut answer =
            QueriedCustomer { customer, exists: true, entitlements: Vec::new(), unknown: Vec::new() };
        match asked {
            Ok((found, state)) => {
                for (feature, access) in features.iter().zip(found) {
                    match access {
                        Some(access) => answer.entitlements.push(entitlement(&app, access, &state)),
                        None => answer.unknown.push(feature.clone()),
                    }
                }
            }
            Err(EngineError::Decide(DecideError::CustomerNotFound(_))) => answer.exists = false,
            Err(error) => return Err(error.into()),
        }
        data.push(answer);
    }
    Answer::ok(&QueriedEntitlements { data })
}

/// Override an entitlement
///
/// Sets the customer apart from its plan, or changes how it is set apart: an absent field stays as it is. Of several
/// overrides that hold now, the one that started last wins.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}/entitlements/{feature}",
    operation_id = "put_entitlement_override",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("feature" = String, Path, description = "The feature"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the override that is changed"),
    ),
    request_body = OverrideInput,
    responses((status = 200, description = "In force", body = Override), PutProblems),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(feature): At<FeatureKey>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: Json(body) }: MaybeKeyed<Json<OverrideInput>>,
) -> Result<Answer, Problem> {
    let OverrideInput { r#type, value, starts_at, ends_at } = body;
    let entitlement = match (r#type.into_option(), value.into_option()) {
        (Some(r#type), value) => Some(read(EntitlementValue { r#type, value })?),
        // The kind stays: of an override that has one, else it is missing. A kind that another request sets meanwhile is
        // compared by whoever sends the ETag.
        (None, Some(value)) => {
            let state = app.engine.state(&customer.id).await?;
            let standing = standing_override(&state, &feature.0, app.now().max(state.at));
            let standing = standing.map(|standing| EntitlementValue::from(&standing.entitlement));
            let EntitlementValue { r#type, .. } = standing.ok_or_else(|| {
                Problem::invalid_field(
                    "/type",
                    "is missing: the customer has no override of this feature yet",
                )
            })?;
            Some(read(EntitlementValue { r#type, value: Some(value) })?)
        }
        (None, None) => None,
    };
    let change = OverrideChange {
        feature: feature.0.clone(),
        entitlement,
        starts_at: starts_at.into_option().into(),
        ends_at: ends_at.into_option().into(),
        expected,
    };
    let command = Command::SetOverride(Box::new(change));
    match app.engine.execute(customer.request(command, idempotency)).await? {
        Reply::Entry(outcome) => render::answer(&outcome, set),
        Reply::State(state) => {
            let standing = standing_override(&state, &feature.0, app.now().max(state.at));
            let standing = standing.ok_or_else(|| Problem::internal("an override is gone".to_owned()))?;
            Ok(Answer::ok(&override_of(standing))?.tagged(Some(Tag::of(standing)?)))
        }
        other => Err(Problem::internal(format!("an override was answered with {other:?}"))),
    }
}

/// Take overrides back
///
/// The plan decides again about this feature.
#[utoipa::path(
    delete,
    path = "/v1/customers/{customer}/entitlements/{feature}",
    operation_id = "delete_entitlement_override",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "The customer"),
        ("feature" = String, Path, description = "The feature"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the override that is taken back"),
    ),
    responses((status = 204, description = "Taken back"), DeleteProblems),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    customer: Customer<Grantor>,
    At(feature): At<FeatureKey>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let command = Command::RemoveOverride(feature.0, expected);
    app.engine.execute(customer.request(command, None)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn override_tag(app: &App, state: &CustomerState, feature: &Key) -> Result<Option<Tag>, Problem> {
    let standing = standing_override(state, feature, app.now().max(state.at));
    Ok(standing.map(Tag::of).transpose()?)
}

fn entitlement(app: &App, access: Access, state: &CustomerState) -> Entitlement {
    let Access { feature, entitlement, source, has_access, reason, by_policy, credit, fuel: _ } = access;
    let reason = refusal_code(&reason, by_policy).to_owned();
    let EntitlementValue { r#type, value } = EntitlementValue::from(&entitlement);
    let at = app.now().max(state.at);
    let balance = (r#type == EntitlementType::Metered).then(|| {
        let credit = credit.unwrap_or_else(|| state.main_credit());
        wire::balance_view(&state.balance_for(&credit, &feature, at), state.next_reset_at())
    });
    Entitlement { feature, r#type, has_access, reason, source, value, balance }
}

fn read(value: EntitlementValue) -> Result<LedgerEntitlement, Problem> {
    value.read("").map_err(|error| Problem::invalid(vec![error]))
}

fn set(entry: &Entry) -> Result<Answer, Problem> {
    let Event::OverrideSet(exception) = &entry.event else { return Err(render::mismatch(entry)) };
    Ok(Answer::ok(&override_of(exception))?.tagged(Some(Tag::of(exception)?)))
}

fn override_of(exception: &LedgerOverride) -> Override {
    let EntitlementValue { r#type, value } = EntitlementValue::from(&exception.entitlement);
    let LedgerOverride { feature, starts_at, ends_at, .. } = exception;
    Override { feature: feature.clone(), r#type, value, starts_at: *starts_at, ends_at: *ends_at }
}
