//! Entitlements: what a customer may use, and the overrides that set a customer apart from its plan.

use crate::{
    access::{Customer, Manage, Read},
    answers::{Answer, Balance},
    app::App,
    extract::{At, FeatureKey, IdempotencyHeader, Json, Page, Paging, Query},
    problem::{FieldError, Problem, ProblemBody},
    render, schema,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use proviso_engine::{EntitlementAnswer, command::Command};
use proviso_ledger::{
    model::{
        entitlement::{Entitlement, Override as LedgerOverride, Source},
        ids::Key,
        time::Timestamp,
    },
    state::CustomerState,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// What kind of entitlement it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EntitlementType)]
pub enum Kind {
    /// On or off.
    Boolean,
    /// A fixed value for the product to read.
    Static,
    /// Usage that is charged in credits.
    Metered,
}

/// What a feature is entitled to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EntitlementInput, example = json!({ "type": "static", "value": 25 }))]
pub struct EntitlementBody {
    /// Its kind.
    r#type: Kind,
    /// Of `boolean`: true or false. Of `static`: any value. Of `metered`: nothing.
    #[serde(default)]
    value: Option<Value>,
}

impl EntitlementBody {
    /// The entitlement, which stands at `place` of the request.
    pub fn read(self, place: &str) -> Result<Entitlement, Problem> {
        let wrong = |detail: &str| Problem::invalid(vec![FieldError::new(format!("{place}/value"), detail)]);
        match (self.r#type, self.value) {
            (Kind::Boolean, Some(Value::Bool(value))) => Ok(Entitlement::Boolean { value }),
            (Kind::Boolean, _) => Err(wrong("must be true or false")),
            (Kind::Static, Some(value)) => Ok(Entitlement::Static { value }),
            (Kind::Static, None) => Err(wrong("must be there")),
            (Kind::Metered, None) => Ok(Entitlement::Metered {}),
            (Kind::Metered, Some(_)) => Err(wrong("a metered feature has no value")),
        }
    }
}

/// An entitlement's kind and value, as they are answered.
pub fn kind_and_value(entitlement: &Entitlement) -> (Kind, Option<Value>) {
    match entitlement {
        Entitlement::Boolean { value } => (Kind::Boolean, Some(Value::Bool(*value))),
        Entitlement::Static { value } => (Kind::Static, Some(value.clone())),
        Entitlement::Metered {} => (Kind::Metered, None),
    }
}

/// What a customer is entitled to, apart from its plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OverrideInput, example = json!({ "type": "boolean", "value": true, "ends_at": "2027-01-01T00:00:00Z" }))]
pub struct OverrideBody {
    /// Its kind.
    r#type: Kind,
    /// Of `boolean`: true or false. Of `static`: any value. Of `metered`: nothing.
    #[serde(default)]
    value: Option<Value>,
    /// From when; now, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    starts_at: Option<Timestamp>,
    /// Until when, exclusive; without an end, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    ends_at: Option<Timestamp>,
}

/// An override.
#[derive(Debug, Serialize, ToSchema)]
pub struct Override<'a> {
    /// The feature.
    #[schema(value_type = schema::Key)]
    feature: &'a Key,
    /// Its kind.
    r#type: Kind,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// From when.
    #[schema(value_type = schema::Time)]
    starts_at: Timestamp,
    /// Until when, exclusive.
    #[schema(value_type = Option<schema::Time>)]
    ends_at: Option<Timestamp>,
}

impl<'a> Override<'a> {
    pub fn new(exception: &'a LedgerOverride) -> Self {
        let (r#type, value) = kind_and_value(&exception.entitlement);
        let LedgerOverride { feature, starts_at, ends_at, .. } = exception;
        Self { feature, r#type, value, starts_at: *starts_at, ends_at: *ends_at }
    }
}

/// What a customer may do with a feature, and who says so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entitlement)]
pub struct EntitlementView {
    /// The feature.
    #[schema(value_type = schema::Key)]
    feature: Key,
    /// Its kind.
    r#type: Kind,
    /// Whether it may be used now.
    has_access: bool,
    /// `ok`, or why not: `switched_off`, `closed`, or the code with which a usage would be refused.
    reason: String,
    /// Who says so: `override` or `plan`.
    #[schema(value_type = String, example = "plan")]
    source: Source,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    /// Of a metered feature: the balance.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<Balance>,
}

/// List entitlements
///
/// All features that the plan or an override of the customer names.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/entitlements",
    operation_id = "list_entitlements",
    tag = "Reading",
    params(("customer" = String, Path, description = "Whose"), Paging),
    responses(
        (status = 200, description = "By feature", body = Page<EntitlementView>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let found = app.engine.entitlements(&customer.id).await?;
    let views = found.into_iter().map(|(answer, state)| view(&app, answer, &state));
    Answer::ok(&paging.page(views, |view| view.feature.clone())?)
}

/// Read an entitlement
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/entitlements/{feature}",
    operation_id = "read_entitlement",
    tag = "Reading",
    params(
        ("customer" = String, Path, description = "Whose"),
        ("feature" = String, Path, description = "The feature"),
    ),
    responses(
        (status = 200, description = "Whether the feature may be used, and who says so", body = EntitlementView),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    At(feature): At<FeatureKey>,
) -> Result<Answer, Problem> {
    let (answer, state) = app.engine.entitlement(&customer.id, &feature.0).await?;
    Answer::ok(&view(&app, answer, &state))
}

/// Override an entitlement
///
/// Sets the customer apart from its plan. Of several overrides that hold now, the one that started last wins.
#[utoipa::path(
    put,
    path = "/v1/customers/{customer}/entitlements/{feature}",
    operation_id = "put_entitlement_override",
    tag = "Customers",
    params(
        ("customer" = String, Path, description = "Whose"),
        ("feature" = String, Path, description = "The feature"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
    ),
    request_body = OverrideBody,
    responses(
        (status = 200, description = "Set", body = Override),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(feature): At<FeatureKey>,
    key: IdempotencyHeader,
    body: Json<OverrideBody>,
) -> Result<Answer, Problem> {
    let path = [customer.id.as_str(), feature.0.as_str()].join("/");
    let idempotency = key.with(&[b"override", path.as_bytes(), &body.bytes]);
    let OverrideBody { r#type, value, starts_at, ends_at } = body.value;
    let exception = LedgerOverride {
        feature: feature.0,
        entitlement: EntitlementBody { r#type, value }.read("")?,
        starts_at: starts_at.unwrap_or_else(|| app.engine.clock().now()),
        ends_at,
    };
    let outcome = app.record(customer.id.clone(), Command::SetOverride(exception), idempotency).await?;
    render::answer(&customer.id, &outcome)
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
        ("customer" = String, Path, description = "Whose"),
        ("feature" = String, Path, description = "The feature"),
    ),
    responses(
        (status = 204, description = "Taken back"),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    customer: Customer<Manage>,
    At(feature): At<FeatureKey>,
) -> Result<Response, Problem> {
    let state = app.engine.state(&customer.id).await?;
    // Nothing to take back is nothing to put into the journal.
    if state.overrides.iter().any(|one| one.feature == feature.0) {
        app.record(customer.id, Command::RemoveOverride(feature.0), None).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn view(app: &App, answer: EntitlementAnswer, state: &CustomerState) -> EntitlementView {
    let EntitlementAnswer { feature, entitlement, source, has_access, reason } = answer;
    let (r#type, value) = kind_and_value(&entitlement);
    let balance = (r#type == Kind::Metered).then(|| {
        let balance = state.balance(&state.main_credit(), app.engine.clock().now().max(state.at));
        Balance::new(&balance, state.next_reset_at())
    });
    EntitlementView { feature, r#type, has_access, reason, source, value, balance }
}
